"""One step: plan, read, transform, validate, write once, commit, record."""
