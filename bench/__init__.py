"""Speed, measured side by side: `make bench`. One module per measure; see docs/performance.md."""
