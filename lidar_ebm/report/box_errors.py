"""Labels of a split beside the detections at their places, before and after refinement."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.boxes.overlap import volume_overlaps
from lidar_ebm.errors import InputError
from lidar_ebm.geometry.boxes import points_in_boxes

MINIMUM_GAIN = 0.01  # of overlap, from which on a box counts as improved


@dataclass(frozen=True, eq=False)
class ComparedFrame:
    """One frame to compare."""

    index: int  # in the split
    name: str
    points: np.ndarray  # [N, >= 3] LiDAR frame, m
    labels: Boxes
    before: Boxes  # detections before refinement
    after: Boxes  # the same after it, row for row


@dataclass(frozen=True, eq=False)
class BoxErrors:
    """One row for each label, with the detection of its class that overlaps it best."""

    frame: np.ndarray  # [L] index in the split
    row: np.ndarray  # [L] the detection's place among the frame's; -1 where none overlaps the label
    name: np.ndarray  # [L] str, the label's class
    box: np.ndarray  # [L, 7] the label, LiDAR frame, m, rad
    score: np.ndarray  # [L] of the detection, NaN where there is none
    before: np.ndarray  # [L] 3-D IoU before refinement, 0 where there is none
    after: np.ndarray  # [L] the same after refinement
    needed: np.ndarray  # [L] IoU from which on an object of the class counts as detected
    distance: np.ndarray  # [L] from the sensor, horizontal, m
    points: np.ndarray  # [L] in the label's box
    occlusion: np.ndarray  # [L] 0 visible, 1 partly, 2 largely, 3 unknown; NaN where labels do not say it

    def __len__(self) -> int:
        return len(self.frame)

    def improved(self, count: int) -> list[int]:
        """Rows of the `count` labels whose detection gained the greatest overlap, at least a hundredth."""
        gain = self.after - self.before
        return [int(k) for k in np.argsort(-gain, kind="stable")[:count] if gain[k] >= MINIMUM_GAIN]

    def worst(self, count: int) -> list[int]:
        """Rows of `count` labels that were met, but not as well as needed after refinement, surest ones first."""
        short = np.flatnonzero((self.after < self.needed) & (self.row >= 0))
        return [int(k) for k in short[np.argsort(-self.score[short], kind="stable")][:count]]


def find_errors(frames: Iterable[ComparedFrame], needed: Callable[[str], float]) -> BoxErrors:
    """Put labels beside detections.

    Args:
        frames: with labels of the classes that count.
        needed: IoU from which on an object of a class counts as detected.

    Raises:
        InputError: detections before and after refinement do not fit each other.
    """
    rows: list[tuple[float, ...]] = []
    boxes: list[np.ndarray] = []
    names: list[str] = []
    for frame in frames:
        if len(frame.before) != len(frame.after):
            raise InputError(
                f"frame {frame.name}: {len(frame.after)} detections after refinement, but {len(frame.before)} before "
                "it. Evaluate the run again."
            )
        labels = frame.labels.boxes
        if not len(labels):
            continue
        inside = np.asarray(points_in_boxes(frame.points, labels)).sum(axis=0)
        iou = [volume_overlaps(labels, detections.boxes) for detections in (frame.before, frame.after)]  # [L, M] twice
        occluded = frame.labels.occluded
        for k, name in enumerate(frame.labels.names.tolist()):
            of_class = frame.after.names == name
            best = np.where(of_class, np.maximum(iou[0][k], iou[1][k]), 0.0)
            row = int(best.argmax()) if best.size and best.max() > 0 else -1
            pair = (iou[0][k][row], iou[1][k][row]) if row >= 0 else (0.0, 0.0)
            score = frame.after.scores[row] if row >= 0 and frame.after.scores is not None else np.nan
            far = float(np.hypot(labels[k, 0], labels[k, 1]))
            hidden = np.nan if occluded is None else float(occluded[k])
            rows.append((frame.index, row, score, *pair, needed(name), far, inside[k], hidden))
            boxes.append(labels[k])
            names.append(name)
    columns = np.array(rows, dtype=np.float64).reshape(-1, 9).T
    frame_of, row_of, score_of, before, after, needed_of, distance, points, occlusion = columns
    return BoxErrors(
        frame_of.astype(int),
        row_of.astype(int),
        np.array(names, dtype=np.str_),
        np.array(boxes, dtype=np.float64).reshape(-1, 7),
        score_of,
        before,
        after,
        needed_of,
        distance,
        points.astype(int),
        occlusion,
    )
