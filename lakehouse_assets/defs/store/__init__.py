"""A shop: users, products, orders and payments from a daily drop of CSV files."""
