"""What a step did: results of days, check results, the audit log, Dagster's events."""
