"""Points near other points and near boxes: three nearest, interpolation, neighbourhoods, points in boxes' frames."""

from __future__ import annotations

from cuda_ops.point_ops.op import (
    FRAME_FEATURES,
    LAG_COLUMN,
    SIGNED_DISTANCES,
    box_frame_features,
    box_frame_features_ragged,
    gather_near_boxes,
    interpolate,
    points_in_boxes,
    three_nearest,
)

__all__ = [
    "FRAME_FEATURES",
    "LAG_COLUMN",
    "SIGNED_DISTANCES",
    "box_frame_features",
    "box_frame_features_ragged",
    "gather_near_boxes",
    "interpolate",
    "points_in_boxes",
    "three_nearest",
]
