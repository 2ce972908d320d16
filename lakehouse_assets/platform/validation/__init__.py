"""Validation: every row marked by its contract, every day decided, before anything is committed."""
