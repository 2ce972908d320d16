"""Streams: records committed in batches, each exactly once."""
