"""Files of Delta tables: written once by Spark as Parquet, described by statistics, committed by delta-rs."""
