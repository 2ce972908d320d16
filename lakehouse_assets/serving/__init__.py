"""Reading the lake without Spark."""
