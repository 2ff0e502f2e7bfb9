"""Labels of a data set in KITTI's layout, with the rules that they allow to score by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lidar_ebm.evaluation.kitti.objects import Objects, pack_objects
from lidar_ebm.evaluation.kitti.point_counts import count_label_points, has_box_in_space
from lidar_ebm.evaluation.kitti.rules import lacks_rectangle
from lidar_ebm.formats.kitti.label import Label


@dataclass(frozen=True, eq=False)
class LabelsToScore:
    """Labels, and how they are to be scored."""

    labels: Objects
    lidar_only: bool  # by distance and points, as `ScoringOptions` has it
    notes: tuple[str, ...]  # why, where it is not the data set's own choice


def lack_rectangles(labels: Sequence[Sequence[Label]] | Objects, classes: Sequence[str]) -> str:
    """Reason why KITTI's own difficulties cannot be used: most labels of these classes have no 2-D box; else empty.

    KITTI ignores what is not 25 pixels high in the image, so that nearly nothing would count.
    """
    objects = labels if isinstance(labels, Objects) else pack_objects(labels, need_scores=False)
    of_classes = np.zeros(len(objects.scores), dtype=np.bool_)
    for name in classes:
        of_classes |= objects.is_type(name)
    of_classes &= has_box_in_space(objects)
    count, flat = int(of_classes.sum()), int((of_classes & lacks_rectangle(objects)).sum())
    if 2 * flat <= count:
        return ""
    return f"{flat} of {count} labels have no 2-D box, so difficulty is by distance and points in the box"


def labels_to_score(
    frames: Sequence[Sequence[Label]],
    names: Sequence[str],
    training: Path,
    *,
    classes: Sequence[str],
    lidar_only: bool,
) -> LabelsToScore:
    """The labels of some frames, with the points in their boxes where difficulty is to be by these.

    Args:
        frames: the labels of each frame, all of them.
        names: the frames' names.
        training: the data set's folder `training`.
        classes: that are scored.
        lidar_only: the data set has neither images nor calibration.

    Raises:
        InputError: a point cloud or a calibration cannot be read.
    """
    labels = pack_objects(frames, need_scores=False, names=names)
    reason = "" if lidar_only else lack_rectangles(labels, classes)
    if not lidar_only and not reason:
        return LabelsToScore(labels, False, ())
    calib = None if lidar_only else training / "calib"
    points = count_label_points(labels, names, training / "velodyne", calib)
    return LabelsToScore(replace(labels, points=points), True, (reason,) if reason else ())
