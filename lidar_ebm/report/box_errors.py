"""Where the errors are: for each label of a split what was found there, before and after refinement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lidar_ebm.boxes.matching import best_of_rows
from lidar_ebm.boxes.overlap import volume_overlaps
from lidar_ebm.datasets.kitti.raw_frame import boxes_in_space
from lidar_ebm.datasets.samples import Samples
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti.protocol import KITTI
from lidar_ebm.formats.kitti.files import read_labels
from lidar_ebm.geometry.boxes import points_in_boxes
from lidar_ebm.system.progress import progress_bar


@dataclass(frozen=True, eq=False)
class BoxErrors:
    """One row for each label of the configured classes, with the detection of its class that overlaps it most."""

    frame: np.ndarray  # [L] index in the split
    row: np.ndarray  # [L] the detection's place in its result file; -1 where none overlaps the label
    box: np.ndarray  # [L, 7] the label, LiDAR frame, m, rad
    score: np.ndarray  # [L] of the detection, NaN where there is none
    before: np.ndarray  # [L] 3-D IoU before refinement, 0 where there is none
    after: np.ndarray  # [L] the same after refinement
    needed: np.ndarray  # [L] IoU that counts as found for the class
    distance: np.ndarray  # [L] from the sensor, horizontal, m
    points: np.ndarray  # [L] in the label's box
    occlusion: np.ndarray  # [L] KITTI's 0 to 3

    def __len__(self) -> int:
        return len(self.frame)

    def most_improved(self, count: int) -> list[int]:
        """Rows of the `count` labels whose detection gained most overlap, at least a hundredth."""
        gain = self.after - self.before
        return [int(k) for k in np.argsort(-gain, kind="stable")[:count] if gain[k] >= 0.01]

    def worst(self, count: int) -> list[int]:
        """Rows of `count` labels that were found but missed the overlap needed after refinement, surest ones first."""
        missed = np.flatnonzero((self.after < self.needed) & (self.row >= 0))
        return [int(k) for k in missed[np.argsort(-self.score[missed], kind="stable")][:count]]


def find_errors(frames: Samples, before: Path, after: Path, *, class_names: Sequence[str], most: int) -> BoxErrors:
    """Put the labels of a split beside what result files say.

    Args:
        frames: the split.
        before: folder of result files without refinement.
        after: the same with refinement, line for line.
        class_names: labels of these types count.
        most: frames to look at, taken evenly, as all points are read.

    Raises:
        InputError: a file is missing, or the folders' files do not fit each other.
    """
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(int))
    rows: list[tuple[float, ...]] = []
    boxes: list[np.ndarray] = []
    with progress_bar("Comparing boxes", len(chosen)) as bar:
        for index in chosen.tolist():
            bar.advance()
            calibration = frames.calibration(index)
            labels = [label for label in frames.labels(index) if label.type in class_names]
            labels, known = boxes_in_space(labels, calibration, frames.frame_id(index))
            if not len(known):
                continue
            files = [folder / f"{frames.frame_id(index)}.txt" for folder in (before, after)]
            found = [boxes_in_space(read_labels(file, require_score=True), calibration, file) for file in files]
            if len(found[0][0]) != len(found[1][0]):
                raise InputError(f"{files[1]}: other detections than {files[0]}. Evaluate the run again.")
            inside = np.asarray(points_in_boxes(frames[index].points, known)).sum(axis=0)
            iou = [volume_overlaps(known, boxes_found) for _, boxes_found in found]  # [L, M] twice
            names, found_names = ([item.type for item in items] for items in (labels, found[1][0]))
            same = np.array([[name == other for other in found_names] for name in names], dtype=bool)
            best_rows, _ = best_of_rows(np.where(same.reshape(iou[0].shape), np.maximum(*iou), 0.0))
            for k, label in enumerate(labels):
                row = int(best_rows[k])
                pair = (iou[0][k][row], iou[1][k][row]) if row >= 0 else (0.0, 0.0)
                score = found[1][0][row].score if row >= 0 else None
                needed = KITTI.facts.required_overlap(label.type)
                far = float(np.hypot(known[k, 0], known[k, 1]))
                occluded = float(label.occluded)
                rows.append(
                    (index, row, np.nan if score is None else score, *pair, needed, far, inside[k], occluded),
                )
                boxes.append(known[k])
    columns = np.array(rows, dtype=np.float64).reshape(-1, 9).T
    frame, row_of, score_of, iou_before, iou_after, least, distance, points, occlusion = columns
    return BoxErrors(
        frame.astype(int),
        row_of.astype(int),
        np.array(boxes, dtype=np.float64).reshape(-1, 7),
        score_of,
        iou_before,
        iou_after,
        least,
        distance,
        points.astype(int),
        occlusion.astype(int),
    )
