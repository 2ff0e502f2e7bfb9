"""Average precision on the validation split while training goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext

from lidar_ebm.datasets.samples import Samples
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.runs.model import Model
from lidar_ebm.system.processes import Group, together

OTHER_OVERLAP = 0.5  # that a match exceeds in classes for which KITTI has no rule
DIFFICULTY = "moderate"


def validation_ap(detector: Model, frames: Samples, group: Group) -> tuple[float, float]:
    """Moderate 3-D AP at KITTI's overlaps, without and with refinement, as the mean over the classes (0..100).

    A class of which nothing is found counts as 0. The detector is left in evaluation mode. The processes of the group
    share the frames; all of them get the figures.
    """
    # Evaluation reads finished runs with this package, so it is loaded when it is needed and no sooner.
    from lidar_ebm.evaluation.kitti.average_precision import evaluate
    from lidar_ebm.evaluation.kitti.rules import OFFICIAL_OVERLAPS
    from lidar_ebm.inference.predict import predict

    config = detector.config
    names = config.class_names
    counts = (0, config.refinement.steps)
    with together(group) if group.size > 1 else nullcontext():
        found = predict(detector, frames, steps=counts, title="Validating", group=group)
    overlaps = {name: OFFICIAL_OVERLAPS.get(name, OTHER_OVERLAP) for name in names}
    before, after = (
        evaluate(found.labels, found.results[count], classes=names, iou=overlaps, metrics=("3d",)) for count in counts
    )
    return (
        _mean([before.ap(name, "3d", DIFFICULTY, overlaps[name], "R40") for name in names]),
        _mean([after.ap(name, "3d", DIFFICULTY, overlaps[name], "R40") for name in names]),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(0.0 if math.isnan(value) else value for value in values) / len(values)
