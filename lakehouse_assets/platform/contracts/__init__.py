"""What is known of a table's rows: a Pandera model, and the schema, rules and SQL that follow from it."""
