"""The energy f(x, y) over boxes: contexts, networks, losses, refinement, uncertainty; no detector."""
