"""Feeds to try the lakehouse with: what the sources of each domain would deliver, good days and bad, by seed.

A folder is called as its domain. Found in it by name: `generate.py`, the command `lakehouse generate <domain>`;
`produce.py`, the command `lakehouse produce <domain>`; `demo.py`, the domain's part of `lakehouse demo`.
"""
