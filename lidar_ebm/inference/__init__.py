"""Boxes of whole frames and splits: detection, refinement, uncertainty."""
