"""The platform: days, contracts, writing, lineage. Knows no domain."""
