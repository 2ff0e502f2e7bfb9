"""Frames for the page's 3-D view: points and boxes as the script reads them, small."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lidar_ebm.boxes.matching import best_of_rows
from lidar_ebm.boxes.overlap import volume_overlaps
from lidar_ebm.types import TIME_LAG
from lidar_ebm.visualization.box_arrays import has_arrows, split_velocity
from lidar_ebm.visualization.scene_geometry import channel_limits

CENTIMETRES = 100  # points are kept to a centimetre, which is finer than sensors measure
MAXIMUM_POINTS = 40_000  # of a frame
LEVELS = 255  # of a channel


@dataclass(frozen=True, eq=False)
class ViewedFrame:
    """One frame with its labels and the detections in it, refinement step by step."""

    name: str
    points: np.ndarray  # [N, 3 + C] x, y, z (m, LiDAR frame), then a column for each channel
    channels: tuple[str, ...]
    labels: np.ndarray  # [L, 7], or [L, 9] with vx, vy
    label_types: tuple[str, ...]  # [L]
    types: tuple[str, ...]  # [M] of the detections
    scores: np.ndarray  # [M]
    path: np.ndarray  # [1 + T, M, 7 or 9] where each detection would be after 0..T steps
    path_f: np.ndarray  # [1 + T, M]

    def has_velocity(self) -> bool:
        """Tell if arrows of any box can be drawn."""
        return any(has_arrows(boxes) for boxes in (self.labels, *self.path))

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON: points as base64 of int16 centimetres and of a byte for each channel, boxes in m, rad, m/s.

        A velocity that is not known is null.
        """
        points = self.points[self._shown_points()]
        places = np.clip(np.round(points[:, :3] * CENTIMETRES), -32768, 32767).astype("<i2")
        return {
            "name": self.name,
            "places": _encode(places),
            "channels": {name: _channel(name, points[:, 3 + k]) for k, name in enumerate(self.channels)},
            "labels": _numbers(self.labels),
            "label_types": list(self.label_types),
            "types": list(self.types),
            "scores": self.scores.astype(float).round(4).tolist(),
            "steps": [_numbers(boxes) for boxes in self.path],
            "f": np.nan_to_num(self.path_f.astype(float)).round(3).tolist(),
            "iou": self._overlaps().round(3).tolist(),
        }

    def _shown_points(self) -> np.ndarray:
        """Rows of the points that are kept: an even choice, the same in every report.

        Of several sweeps the newest has half of the room, as objects stand whole in it alone.
        """
        rows = np.arange(len(self.points))
        if TIME_LAG not in self.channels or len(rows) <= MAXIMUM_POINTS:
            return _choose_evenly(rows, MAXIMUM_POINTS)
        lags = self.points[:, 3 + self.channels.index(TIME_LAG)]
        is_new = lags == lags.min()
        older = _choose_evenly(rows[~is_new], MAXIMUM_POINTS - min(int(is_new.sum()), MAXIMUM_POINTS // 2))
        return np.sort(np.concatenate([older, _choose_evenly(rows[is_new], MAXIMUM_POINTS - len(older))]))

    def _overlaps(self) -> np.ndarray:
        """3-D IoU [1 + T, M] of the boxes at every step with the label that they overlap best."""
        return np.stack([best_overlaps(boxes, self.labels) for boxes in self.path])


def best_overlaps(boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """3-D IoU [M] of boxes [M, 7 or 9] with the label of [L, 7 or 9] that they overlap best; 0 without labels."""
    return best_of_rows(volume_overlaps(split_velocity(boxes)[0], split_velocity(labels)[0]))[1]


def spread(count: int, wanted: int, first: list[int]) -> list[int]:
    """`wanted` of `count` indices at most: those of `first`, then others as evenly as can be; rising."""
    chosen = set(first[:wanted])
    rest = [index for index in range(count) if index not in chosen]
    room = min(max(wanted - len(chosen), 0), len(rest))
    even = np.linspace(0, len(rest) - 1, room).round().astype(int) if room else np.zeros(0, int)
    return sorted(chosen | {rest[k] for k in even.tolist()})


def _choose_evenly(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the rows [N], as evenly as can be."""
    return rows if len(rows) <= count else rows[np.linspace(0, len(rows) - 1, count).astype(int)]


def _numbers(boxes: np.ndarray) -> list[list[float | None]]:
    """Boxes to a millimetre; None for what is not finite, which JSON has no number for."""
    return [[value if math.isfinite(value) else None for value in row] for row in boxes.astype(float).round(3).tolist()]


def _channel(name: str, values: np.ndarray) -> dict[str, Any]:
    """A channel [N] as bytes, and the values that the lowest and the highest byte stand for."""
    low, high = channel_limits(name, values)
    shares = np.nan_to_num((values.astype(np.float64) - low) / (high - low))
    return {
        "low": low,
        "high": high,
        "bytes": _encode(np.clip(np.round(LEVELS * shares), 0, LEVELS).astype(np.uint8)),
    }


def _encode(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
