"""KITTI's labels and results, as their lines give them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Scoring reads label files without torch, which takes a second and over a hundred MB to import; what needs it here
    # imports it itself.
    pass


# What KITTI's label and result files may name.
KITTI_TYPES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc", "DontCare")


@dataclass(frozen=True)
class Label:
    """One line of a KITTI label or result file, in the file's own frame (rectified camera) and order."""

    type: str
    truncated: float  # share of the object outside the image, 0..1; -1 unknown
    occluded: int  # 0 visible, 1 partly, 2 largely, 3 unknown; -1 for DontCare and results
    alpha: float  # observation angle, rad; -10 unknown
    bbox: tuple[float, float, float, float]  # x1, y1, x2, y2 in the left colour image, pixels
    dimensions: tuple[float, float, float]  # height, width, length, m
    location: tuple[float, float, float]  # centre of the bottom face, rectified camera frame, m
    rotation_y: float  # about the camera's y axis, rad
    score: float | None = None  # result files only


def official_spelling(name: str) -> str:
    """A class name as KITTI spells it, whatever its case; names of one's own stay as they are."""
    return {each.lower(): each for each in KITTI_TYPES}.get(name.lower(), name)
