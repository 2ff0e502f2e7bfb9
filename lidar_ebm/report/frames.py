"""Frames for the page's 3-D view: points and boxes as the script reads them, small."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np

from lidar_ebm.boxes.matching import best_of_rows
from lidar_ebm.boxes.overlap import volume_overlaps
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.datasets.samples import Samples
from lidar_ebm.inference.detection import LoadedDetector, RefinementPath

CENTIMETRES = 100  # points are kept to a centimetre, KITTI's own precision being two
MOST_POINTS = 40_000  # a frame; KITTI's have some 20,000 within the camera's view


@dataclass(frozen=True, eq=False)
class ViewedFrame:
    """One frame with what the run makes of it, step by step."""

    frame: Sample
    path: RefinementPath
    types: tuple[str, ...]  # of the detections
    label_types: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON: points as base64 of int16 centimetres and uint8 reflectance, boxes in m and rad."""
        points = self.frame.points
        if len(points) > MOST_POINTS:  # an even choice, the same in every report
            points = points[np.linspace(0, len(points) - 1, MOST_POINTS).astype(int)]
        places = np.clip(np.round(points[:, :3] * CENTIMETRES), -32768, 32767).astype("<i2")
        reflectance = np.clip(np.round(points[:, 3] * 255), 0, 255).astype(np.uint8)
        return {
            "name": self.frame.frame_id,
            "places": _encode(places),
            "reflectance": _encode(reflectance),
            "labels": self.frame.boxes.round(3).astype(float).round(3).tolist(),
            "label_types": list(self.label_types),
            "types": list(self.types),
            "scores": np.round(self.path.boxes.columns()["scores"], 4).tolist(),
            "steps": self.path.path.astype(float).round(3).tolist(),
            "f": np.nan_to_num(self.path.f.astype(float)).round(3).tolist(),
            "iou": self._overlaps().round(3).tolist(),
        }

    def _overlaps(self) -> np.ndarray:
        """3-D IoU [1 + T, M] of the boxes at every step with the label that they overlap most."""
        return np.stack([best_overlaps(boxes, self.frame.boxes) for boxes in self.path.path])


def best_overlaps(boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """3-D IoU [M] of boxes [M, 7] with the label of [L, 7] that they overlap most; 0 without labels."""
    return best_of_rows(volume_overlaps(boxes, labels))[1]


def view_frame(detector: LoadedDetector, frames: Samples, index: int, steps: int | None) -> ViewedFrame:
    """Detect in the `index`-th frame of a split.

    Raises:
        InputError: one of the frame's files cannot be used.
    """
    frame, names = frames[index], detector.config.class_names
    path = detector.refinement_path(frame.points, steps=steps)
    return ViewedFrame(frame, path, tuple(path.boxes.names.tolist()), tuple(names[k] for k in frame.labels.tolist()))


def spread(count: int, wanted: int, first: list[int]) -> list[int]:
    """`wanted` of `count` indices at most: those of `first`, then others as evenly as can be; rising."""
    chosen = set(first[:wanted])
    rest = [index for index in range(count) if index not in chosen]
    room = min(max(wanted - len(chosen), 0), len(rest))
    even = np.linspace(0, len(rest) - 1, room).round().astype(int) if room else np.zeros(0, int)
    return sorted(chosen | {rest[k] for k in even.tolist()})


def _encode(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
