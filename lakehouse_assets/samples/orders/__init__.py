"""Feeds of orders, as files and through Kafka."""
