"""Real time: streams into bronze, exactly once; the servers to develop them with."""
