"""Training: the loop, its schedule, and what it leaves on disk."""
