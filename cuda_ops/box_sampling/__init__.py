"""Rotated RoI pooling: bilinear reads of a bird's-eye-view map on each box's own grid."""
