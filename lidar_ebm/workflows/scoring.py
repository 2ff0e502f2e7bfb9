"""Scoring detections of a split by the rules that its data set asks for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.kitti.data_set import KittiDataSet
from lidar_ebm.evaluation.kitti.data_set import labels_to_score
from lidar_ebm.evaluation.options import ScoringOptions
from lidar_ebm.evaluation.paired import compare_results
from lidar_ebm.evaluation.paired_result import PairedComparison
from lidar_ebm.evaluation.protocol import ScoringProtocol
from lidar_ebm.evaluation.protocols import protocols
from lidar_ebm.evaluation.result import Evaluation, ProtocolFacts
from lidar_ebm.evaluation.scoring import evaluate
from lidar_ebm.training.census import take_census


@dataclass(frozen=True, eq=False)
class SplitScoring:
    """The labels of a split, ready to score any detections in its frames."""

    frames: Frames
    labels: Any  # as `evaluate` takes them
    options: ScoringOptions
    protocol: ScoringProtocol
    notes: tuple[str, ...]  # why these rules, where they are not the data set's own

    @property
    def facts(self) -> ProtocolFacts:
        """Name of the rules, and the words that they use."""
        return self.protocol.facts

    @classmethod
    def of(cls, frames: Frames, classes: Sequence[str]) -> SplitScoring:
        """Read the labels of a split, and choose the rules.

        Raises:
            InputError: a label file, a calibration or a point cloud cannot be read.
        """
        data = frames.data_set
        protocol = protocols()[data.protocol]
        if isinstance(data, KittiDataSet):
            labels = labels_to_score(
                [data.label_lines(name) for name in frames.names],
                frames.names,
                data.root / "training",
                classes=classes,
                lidar_only=data.lidar_only,
            )
            options = ScoringOptions(classes=tuple(classes), lidar_only=labels.lidar_only, protocol="kitti")
            return cls(frames, labels.labels, options, protocol, labels.notes)
        options = ScoringOptions(classes=tuple(classes), protocol=data.protocol)
        return cls(frames, protocol.labels_of(data, frames.names), options, protocol, ())

    def score(self, results: Mapping[str, Boxes], **options: Any) -> Evaluation:
        """Score the detections of every frame, by its name; `options` replace fields of `ScoringOptions`."""
        evaluation = evaluate(self.labels, self._pack(results), replace(self.options, **options))
        return replace(evaluation, notes=(*self.notes, *evaluation.notes))

    def score_files(self, folder: Path, **options: Any) -> Evaluation:
        """Score the detections that stand in a folder, as `evaluate_run` writes them.

        Raises:
            InputError: a file is damaged.
        """
        return evaluate(self.labels, self._read(folder), replace(self.options, **options))

    def compare_files(
        self, first: Path, second: Path, *, names: tuple[str, str], resamples: int, **options: Any
    ) -> PairedComparison:
        """Compare the detections that stand in two folders, with an interval of each difference.

        Raises:
            InputError: a file is damaged.
        """
        chosen = replace(self.options, **options)
        return compare_results(
            self.labels, self._read(first), self._read(second), chosen, resamples=resamples, names=names
        )

    def _pack(self, results: Mapping[str, Boxes]) -> Any:
        data = self.frames.data_set
        if isinstance(data, KittiDataSet):
            return [data.result_labels(name, results[name]) for name in self.frames.names]
        # What is written for others to score has the same figures.
        return {name: data.as_written(boxes) for name, boxes in results.items()}

    def _read(self, folder: Path) -> Any:
        data = self.frames.data_set
        if isinstance(data, KittiDataSet):
            return [data.result_lines(folder, name) for name in self.frames.names]
        return {name: data.read_results(folder, name) or Boxes.empty(scores=True) for name in self.frames.names}

    def outside(self, classes: Sequence[ClassConfig], bounds: Sequence[float]) -> tuple[str, ...]:
        """A note for each class with labels outside the voxel range (low x y z, high x y z; m): nothing is found there.

        What a class merges is left out, as it is by the rules.
        """
        names = self.frames.names
        by_name = self.labels if isinstance(self.labels, Mapping) else None
        labels = [self.frames.labels(i) if by_name is None else by_name[name] for i, name in enumerate(names)]
        in_space = [each.select(np.isfinite(each.boxes).all(axis=1)) for each in labels]
        alone = [item.model_copy(update={"merge": ()}) for item in classes]
        return take_census(((each.boxes, each.names.tolist()) for each in in_space), alone, bounds).outside()

    def warn(self, what: str) -> None:
        """Say the notes as warnings."""
        for note in self.notes:
            warnings.warn(f"{what}: {note}.", stacklevel=3)
