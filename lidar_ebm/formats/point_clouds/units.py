"""Checks on whether points are in metres, in the sensor's frame, x forward, y left, z up, with the ground below.

A network trained in that frame sees nothing in any other and says nothing of it. All findings are guesses by what
street scenes look like, to be shown, never to be acted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

KITTI_GROUND = -1.73  # m, height of the ground below KITTI's sensor
_FEWEST_POINTS = 100  # fewer tell nothing of axes
_FARTHEST = 500.0  # m; no LiDAR of a street measures farther
_ONE_SIDE = 0.98  # share of points that no scene has on one side
_BOTH_SIDES = 0.1
_FEW_IN_RANGE = 0.01
_NEAR = (3.0, 30.0)  # m from the sensor, where the ground is seen best
_GROUND_TOLERANCE = 1.0  # m; hills, lorries and other mounts
_HIGHEST_GROUND = 0.5  # m above the sensor, where it must be upside down


@dataclass(frozen=True)
class PointsReport:
    """Numbers of points in a detector's range and view, and what looks wrong."""

    total: int
    in_range: int
    in_view: int | None  # of those in range; None where there is no camera
    region: str  # "x 0…48, y -16…16, z -3…1 m"
    reflectance: str  # a clause on its source and scale; "" where nothing is to be said
    findings: tuple[str, ...]  # sentences and questions

    def __str__(self) -> str:
        line = f"{self.in_range:,} of {self.total:,} points are in {self.region}"
        if self.in_view is not None:
            line += f", {self.in_view:,} of them in the camera's view"
        if self.reflectance:
            line += f"; {self.reflectance}"
        return " ".join((f"{line}.", *self.findings))


def describe_points(
    points: np.ndarray,
    region: Sequence[float],
    *,
    in_view: np.ndarray | None = None,
    reflectance: str = "",
    ground: float | None = KITTI_GROUND,
) -> PointsReport:
    """Count the points that a detector will see, and say what looks like other units or axes.

    Args:
        points: [N, 3 or more] x, y, z, finite.
        region: x, y, z from and x, y, z to, in m: the detector's range.
        in_view: [N] bool, those in the camera's view; None without a camera.
        reflectance: a clause on its source and scale, from `scale_reflectance`.
        ground: z in m where the detector expects the ground; None: anywhere.
    """
    places = np.asarray(points[:, :3], np.float64)
    low, high = np.asarray(region[:3], np.float64), np.asarray(region[3:6], np.float64)
    inside = ((places >= low) & (places < high)).all(axis=1)
    shown = None if in_view is None else int((inside & np.asarray(in_view, bool)).sum())
    text = ", ".join(f"{axis} {start:g}…{end:g}" for axis, start, end in zip("xyz", low, high, strict=True)) + " m"
    findings: list[str] = []
    if not len(places):
        findings.append("The cloud has no points.")
    else:
        findings += _check_units(places) or _check_axes(places, low, high, ground)
        if inside.mean() < _FEW_IN_RANGE and len(places) >= _FEWEST_POINTS and not findings:
            findings.append("Are they in metres, x forward, y left, z up?")
        elif not inside.any() and not findings:
            findings.append("Are they in metres, x forward?")
        elif shown == 0 and inside.any():
            findings.append("No point is in the camera's view: are the calibration and the image's size this camera's?")
    return PointsReport(len(places), int(inside.sum()), shown, text, reflectance, tuple(findings))


def estimate_ground(points: np.ndarray) -> float | None:
    """The height z of the ground near the sensor in m: of the fullest layer of 0.2 m; None where few points tell."""
    places = np.asarray(points[:, :3], np.float64)
    distance = np.hypot(places[:, 0], places[:, 1])
    heights = places[(distance > _NEAR[0]) & (distance < _NEAR[1]), 2]
    heights = heights[np.abs(heights) < _NEAR[1]]
    if len(heights) < _FEWEST_POINTS:
        return None
    counts, edges = np.histogram(heights, bins=np.arange(-30.0, 30.2, 0.2))
    middle = edges[counts.argmax()] + 0.1
    return float(heights[np.abs(heights - middle) < 0.2].mean())


def _check_units(places: np.ndarray) -> list[str]:
    """A sentence where coordinates are too large for a sensor's metres."""
    centre = np.median(places[:, :2], axis=0)
    spread = np.quantile(np.abs(places[:, :2] - centre), 0.95, axis=0).max()
    far = float(np.abs(centre).max())
    if far > 2 * _FARTHEST and far > 5 * spread:
        return [
            f"Their middle is at ({centre[0]:.0f}, {centre[1]:.0f}): are they in a map's frame, such as UTM, and "
            "not in metres from the sensor? Subtract its place."
        ]
    reach = float(np.quantile(np.abs(places[:, :2]).max(axis=1), 0.95))
    if reach > _FARTHEST:
        unit = "millimetres (divide by 1000)" if reach > 10 * _FARTHEST else "centimetres or millimetres"
        return [f"They reach {reach:.0f}: are they in {unit} and not in metres?"]
    if len(places) >= _FEWEST_POINTS and 0 < reach < 0.5:
        return [f"They reach {reach:.2g}: are they in kilometres, or scaled to 1, and not in metres?"]
    return []


def _check_axes(places: np.ndarray, low: np.ndarray, high: np.ndarray, ground: float | None) -> list[str]:
    """Sentences where the scene lies otherwise than a sensor's that looks along x with z up."""
    if len(places) < _FEWEST_POINTS:
        return []
    left = np.quantile(places, 0.05, axis=0)
    spread = np.quantile(places, 0.95, axis=0) - left
    if spread[2] > 10 and spread[2] > 2 * min(spread[0], spread[1]):
        return [f"They spread over {spread[2]:.0f} m of z: is z not up (a camera's axes)?"]
    findings = []
    ahead, on_left = (places[:, :2] > 0).mean(axis=0)
    two_sided_x = _BOTH_SIDES < ahead < 1 - _BOTH_SIDES
    two_sided_y = _BOTH_SIDES < on_left < 1 - _BOTH_SIDES
    is_ahead = low[0] > -0.1 * high[0]
    if two_sided_x and not 1 - _ONE_SIDE < on_left < _ONE_SIDE:
        side = "left (y > 0)" if on_left > 0.5 else "right (y < 0)"
        findings.append(f"Nearly all of them are to the {side}: does x point forward, or y?")
    elif ahead < 1 - _ONE_SIDE and two_sided_y and is_ahead:
        findings.append("Nearly all of them are behind the sensor (x < 0): does x point forward?")
    height = estimate_ground(places)
    if height is None:
        return findings
    near = np.abs(places[:, 2]) < _NEAR[1]
    above = float((places[near, 2] > height + 0.5).mean())
    if height > _HIGHEST_GROUND and above < 0.15:
        findings.append(f"Most of them are below a plane at z = {height:.1f} m: does z point down?")
    elif ground is not None and above > 0.15 and abs(height - ground) > _GROUND_TOLERANCE and _is_floor(places, height):
        findings.append(f"The ground seems to be at z = {height:.1f} m; it is expected at about {ground:.1f} m.")
    return findings


def _is_floor(places: np.ndarray, height: float) -> bool:
    """Tell whether few points are below a layer."""
    return bool((places[:, 2] < height - 0.5).mean() < 0.1)
