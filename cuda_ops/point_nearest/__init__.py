"""The three nearest of a set of points, and the interpolation between them."""

from __future__ import annotations

from cuda_ops.point_nearest.op import interpolate, three_nearest

__all__ = ["interpolate", "three_nearest"]
