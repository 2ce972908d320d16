"""The append-only ledger: which rows make every day's as-of answer right."""
