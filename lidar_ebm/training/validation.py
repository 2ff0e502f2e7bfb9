"""Average precision on the validation split while training goes on."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import nullcontext

from lidar_ebm.datasets.kitti.dataset import KittiDataset
from lidar_ebm.runs.model import Model
from lidar_ebm.system.processes import Group, together


def validation_ap(detector: Model, frames: KittiDataset, group: Group) -> tuple[float, float]:
    """3-D AP at KITTI's overlaps, without and with refinement, as the mean over the classes (0..100).

    The difficulty is the one that stands for all; labels without 2-D boxes are scored by distance and points. A class
    of which nothing is found counts as 0. The detector is left in evaluation mode. The processes of the group share the
    frames; all of them get the figures.
    """
    # Evaluation reads finished runs with this package, so it is loaded when it is needed and no sooner.
    from lidar_ebm.evaluation.kitti.protocol import KITTI
    from lidar_ebm.evaluation.options import ScoringOptions
    from lidar_ebm.evaluation.scoring import evaluate
    from lidar_ebm.inference.predict import predict, predicted_labels

    config = detector.config
    names = config.class_names
    counts = (0, config.refinement.steps)
    with together(group) if group.size > 1 else nullcontext():
        found = predict(detector, frames, steps=counts, title="Validating", group=group)
    labels = predicted_labels(found, frames, names)
    for note in labels.notes:
        warnings.warn(f"validation: {note}.", stacklevel=2)
    overlaps = {name: KITTI.facts.required_overlap(name) for name in names}
    options = ScoringOptions(classes=names, iou=overlaps, metrics=("3d",), lidar_only=labels.lidar_only)
    before, after = (evaluate(labels.labels, found.results[count], options) for count in counts)
    headline = KITTI.facts.headline
    return (
        _mean([before.ap(name, "3d", headline, overlaps[name], "R40") for name in names]),
        _mean([after.ap(name, "3d", headline, overlaps[name], "R40") for name in names]),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(0.0 if math.isnan(value) else value for value in values) / len(values)
