"""Boxes, frames of reference and the projections between them."""
