"""The fingerprint of a table's code: everything that its rows depend on."""
