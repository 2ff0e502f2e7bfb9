"""The part of the ground that a bird's-eye view shows, by what is there: ahead of the sensor, or all around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lidar_ebm.visualization.box_arrays import split_velocity

View = tuple[float, float, float, float]  # low x, low y, high x, high y, LiDAR frame, m

BEHIND = -2.0  # m, of x: what lies further back is behind the sensor, not beside it
SHARE_BEHIND = 0.05  # of the points, from which on they are all around the sensor
REACH = 0.98  # share of the points that a view holds, as far as `FARTHEST` and `WIDEST` let it
AROUND = (20.0, 75.0)  # m that a view all around reaches to each side, lowest and highest
FARTHEST, WIDEST = (30.0, 70.0), (20.0, 40.0)  # m ahead, and to each side, of a view ahead, likewise
MINIMUM_SHAPE = 0.45  # of a view ahead: metres to each side for one ahead, so that it fills a picture
STEP = 5.0  # m that a view's sides are rounded up to


def is_all_around(points: ArrayLike, *boxes: ArrayLike, camera: bool = False) -> bool:
    """Tell if a frame has something behind the sensor to be shown.

    Args:
        points: [N, >= 2] LiDAR frame, m.
        boxes: [M, 7 or 9] each, labels and detections.
        camera: the frame has a camera that looks ahead, so that boxes alone are asked: points behind it have no label.
    """
    if any((_centers(each)[:, 0] < BEHIND).any() for each in boxes):
        return True
    x = _finite(points)[:, 0]
    return not camera and len(x) > 0 and float((x < BEHIND).mean()) >= SHARE_BEHIND


def view_of(points: ArrayLike, *boxes: ArrayLike, camera: bool = False) -> View:
    """View that holds nearly all points and all boxes of a frame, within limits beyond which nothing can be made out.

    Args:
        points: [N, >= 2] LiDAR frame, m.
        boxes: [M, 7 or 9] each.
        camera: as for `is_all_around`.
    """
    places, centers = _finite(points), np.concatenate([np.zeros((0, 2)), *map(_centers, boxes)])
    if is_all_around(points, *boxes, camera=camera):
        half = _side(np.abs(places).max(axis=1), np.abs(centers).max(axis=1, initial=0.0), AROUND)
        return (-half, -half, half, half)
    ahead = places[places[:, 0] >= BEHIND]
    far = _side(ahead[:, 0], centers[:, 0], FARTHEST)
    half = _side(np.abs(ahead[:, 1]), np.abs(centers[:, 1]), WIDEST)
    half = max(half, min(far * MINIMUM_SHAPE, WIDEST[1]))
    return (0.0, -half, far, half)


def view_of_range(bounds: ArrayLike) -> View:
    """View of a range [6] (low x, y, z, high x, y, z; m)."""
    low_x, low_y, _, high_x, high_y, _ = (float(value) for value in np.asarray(bounds))
    return (low_x, low_y, high_x, high_y)


def _side(points: np.ndarray, boxes: np.ndarray, limits: tuple[float, float]) -> float:
    """Metres to show in one direction: nearly all points, and all boxes with room around them."""
    lowest, highest = limits
    if not len(points) and not len(boxes):
        return highest
    reach = float(np.quantile(points, REACH)) if len(points) else lowest
    wanted = max(reach, float(boxes.max(initial=0.0)) + STEP)
    return float(np.clip(STEP * np.ceil(wanted / STEP), lowest, highest))


def _finite(points: ArrayLike) -> np.ndarray:
    places = np.asarray(points, np.float64)
    places = places.reshape(0, 2) if places.size == 0 else places[:, :2]
    return places[np.isfinite(places).all(axis=1)]


def _centers(boxes: ArrayLike) -> np.ndarray:
    return _finite(split_velocity(boxes)[0])
