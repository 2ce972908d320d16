"""Declarations: tables, sources, kinds of write, and the catalog of all of them."""
