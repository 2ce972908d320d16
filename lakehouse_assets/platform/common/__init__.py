"""Days, errors and texts: what every room uses and what knows no table."""
