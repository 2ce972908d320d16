"""Landing: source files become immutable parts by feed day, and leave again on erasure."""
