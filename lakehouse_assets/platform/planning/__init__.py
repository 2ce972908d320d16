"""What a step makes of which pinned versions, and the reads of these versions."""
