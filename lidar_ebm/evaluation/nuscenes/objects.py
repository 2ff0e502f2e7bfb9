"""Objects of a split as columns, labels and detections alike, in the global frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.evaluation.nuscenes.rules import ATTRIBUTE_INDEX, CLASS_INDEX


@dataclass(frozen=True, eq=False)
class Objects:
    """Rows in the order that decides ties."""

    sample: np.ndarray  # [K] int32, whose ego pose and racks count; of the split's samples
    matched_sample: np.ndarray  # [K] int32, in which it is matched; -1: none of the split's
    class_index: np.ndarray  # [K] int8
    centers: np.ndarray  # [K, 3] float64, m
    sizes: np.ndarray  # [K, 3] float64 width, length, height, m
    yaw: np.ndarray  # [K] float64, rad
    velocity: np.ndarray  # [K, 2] float64, m/s; NaN where unknown
    attribute: np.ndarray  # [K] int8; -1 for none
    points: np.ndarray  # [K] int64 LiDAR and radar points; -1 where unknown
    scores: np.ndarray  # [K] float64; NaN of labels
    bad_velocity: np.ndarray  # [K] bool: holds no numbers, which matters once it is matched

    def __len__(self) -> int:
        return len(self.sample)

    def select(self, rows: np.ndarray) -> Objects:
        """Some of the objects."""
        return Objects(*(getattr(self, each.name)[rows] for each in fields(self)))


def objects_of_boxes(boxes_of_sample: Mapping[str, Boxes], sample_index: Mapping[str, int]) -> Objects:
    """Detections that stand in memory, in the global frame, by sample token; those of other classes are left out.

    Args:
        boxes_of_sample: with scores.
        sample_index: of the split's samples by token.
    """
    parts = []
    for token, boxes in boxes_of_sample.items():
        classes = np.array([CLASS_INDEX.get(name, -1) for name in boxes.names.tolist()], np.int8).reshape(-1)
        count = len(boxes)
        sample = np.full(count, sample_index[token], np.int32)
        attributes = [""] * count if boxes.attribute is None else boxes.attribute.tolist()
        objects = Objects(
            sample=sample,
            matched_sample=sample,
            class_index=classes,
            centers=boxes.boxes[:, :3],
            sizes=boxes.boxes[:, [4, 3, 5]],
            yaw=boxes.boxes[:, 6],
            velocity=np.full((count, 2), np.nan) if boxes.velocity is None else boxes.velocity,
            attribute=np.array([ATTRIBUTE_INDEX.get(name, -1) for name in attributes], np.int8).reshape(-1),
            points=np.full(count, -1, np.int64),
            scores=np.full(count, np.nan) if boxes.scores is None else boxes.scores,
            bad_velocity=np.zeros(count, bool),
        )
        parts.append(objects.select(classes >= 0))
    return join(parts)


def join(parts: list[Objects]) -> Objects:
    """Objects of several parts after each other."""
    every = [_NOTHING, *parts]
    return Objects(*(np.concatenate([getattr(part, each.name) for part in every]) for each in fields(Objects)))


_NOTHING = Objects(
    np.zeros(0, np.int32),
    np.zeros(0, np.int32),
    np.zeros(0, np.int8),
    np.zeros((0, 3)),
    np.zeros((0, 3)),
    np.zeros(0),
    np.zeros((0, 2)),
    np.zeros(0, np.int8),
    np.zeros(0, np.int64),
    np.zeros(0),
    np.zeros(0, bool),
)
