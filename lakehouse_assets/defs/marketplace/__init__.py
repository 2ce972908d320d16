"""Orders of a marketplace: JSON documents in a bucket or a folder, in whatever order they arrive."""
