"""Average precision on the validation split, which training asks for while it goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext

from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.samples import Samples
from lidar_ebm.inference.predict import predict
from lidar_ebm.runs.model import Model
from lidar_ebm.system.processes import Group, together
from lidar_ebm.workflows.scoring import SplitScoring


class Validation:
    """3-D AP at the data set's own overlaps, without and with refinement, as the mean over the classes (0..100).

    The difficulty is the one that stands for all. A class without any detection counts as 0. The model is left in
    evaluation mode. The processes of the group share the frames; all of them get the figures.
    """

    def __init__(self, samples: Samples) -> None:
        """Args: samples: the split, of a data set on disk."""
        self.samples = samples
        self._scoring: SplitScoring | None = None

    def __call__(self, model: Model, group: Group) -> tuple[float, float]:
        """AP without and with refinement."""
        names = model.config.class_names
        assert isinstance(self.samples.frames, Frames)
        if self._scoring is None:
            self._scoring = SplitScoring.of(self.samples.frames, names)
            self._scoring.warn("validation")
        counts = (0, model.config.refinement.steps)
        with together(group) if group.size > 1 else nullcontext():
            predictions = predict(model, self.samples, steps=counts, title="Validating", group=group)
        overlaps = self._scoring.required_overlaps(names)
        headline = self._scoring.facts.headline
        before, after = (
            self._scoring.score(predictions.by_name(count), iou=overlaps, metrics=("3d",)) for count in counts
        )
        return (
            _mean([before.ap(name, "3d", headline, overlaps[name], "R40") for name in names]),
            _mean([after.ap(name, "3d", headline, overlaps[name], "R40") for name in names]),
        )


def _mean(values: Sequence[float]) -> float:
    return sum(0.0 if math.isnan(value) else value for value in values) / len(values)
