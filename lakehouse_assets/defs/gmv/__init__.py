"""GMV of a marketplace, from daily files of change events to figures as they were known on any day."""
