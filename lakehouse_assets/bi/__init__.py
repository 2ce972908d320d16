"""Dashboards over the warehouse: Superset's files made from the declarations, and Superset itself."""
