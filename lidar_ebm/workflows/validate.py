"""The protocol's summary on the validation split, which training asks for while it goes on."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.samples import Samples
from lidar_ebm.inference.predict import predict
from lidar_ebm.runs.model import Model
from lidar_ebm.system.processes import Group, together
from lidar_ebm.workflows.scoring import SplitScoring


class Validation:
    """One figure without and with refinement, 0..100: the data set's protocol says which.

    By KITTI's rules and by distance: 3-D AP at the protocol's own overlaps and the difficulty that stands for all, as
    the mean over the classes; one without any detection counts as 0. By nuScenes': NDS. The model is left in evaluation
    mode. The processes of the group share the frames; all of them get the figures.
    """

    def __init__(self, samples: Samples) -> None:
        """Args: samples: the split, of a data set on disk."""
        self.samples = samples
        self._scoring: SplitScoring | None = None

    def __call__(self, model: Model, group: Group) -> tuple[float, float]:
        """The figure without and with refinement."""
        names = model.config.class_names
        assert isinstance(self.samples.frames, Frames)
        if self._scoring is None:
            self._scoring = SplitScoring.of(self.samples.frames, names)
            self._scoring.warn("validation")
        scoring, counts = self._scoring, (0, model.config.refinement.steps)
        with together(group) if group.size > 1 else nullcontext():
            predictions = predict(model, self.samples, steps=counts, title="Validating", group=group)
        before, after = (
            scoring.protocol.summary(partial(scoring.score, predictions.by_name(count)), names) for count in counts
        )
        return before, after
