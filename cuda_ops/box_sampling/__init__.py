"""Rotated RoI pooling: bilinear reads of a bird's-eye-view map on each box's own grid."""

from __future__ import annotations

from cuda_ops.box_sampling.op import part_sensitive_scores, sample_boxes
from cuda_ops.box_sampling.reference import bilinear_read, box_grid

__all__ = ["bilinear_read", "box_grid", "part_sensitive_scores", "sample_boxes"]
