"""A stream of documents by a class of one's own, without a domain (docs/write-your-own-stream.md)."""

from lakehouse_assets.streaming.api import BadTable, IncompleteProcess, Process, parsed, run

__all__ = ["BadTable", "IncompleteProcess", "Process", "parsed", "run"]
