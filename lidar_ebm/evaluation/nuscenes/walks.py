"""The walk of one class: its detections by falling score, the labels that they take, and the errors of the matches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.nuscenes.matching import match_centers
from lidar_ebm.evaluation.nuscenes.objects import Objects
from lidar_ebm.evaluation.nuscenes.rules import DISTANCES, HALF_TURN_CLASSES
from lidar_ebm.formats.nuscenes.classes import CLASSES


@dataclass(frozen=True, eq=False)
class Matches:
    """Matches of one class at one distance."""

    is_true: np.ndarray  # [n] bool in walking order
    rows: np.ndarray  # [m] int64, of the walk, that are true
    errors: Mapping[str, np.ndarray]  # [m] float64 by the error's name; NaN where there is none


@dataclass(frozen=True, eq=False)
class Walk:
    """Detections of one class in the order in which they are matched."""

    class_name: str
    scores: np.ndarray  # [n] float64, falling
    samples: np.ndarray  # [n] int32
    label_counts: np.ndarray  # [S] int64, of each sample
    matches: Mapping[float, Matches]  # by distance, m

    @property
    def label_count(self) -> int:
        """Labels of the class."""
        return int(self.label_counts.sum())


def walk_classes(
    labels: Objects, detections: Objects, tokens: Sequence[str], distances: Sequence[float] = DISTANCES
) -> Iterator[Walk]:
    """The walks of the ten classes, of labels and detections that are scored.

    Raises:
        InputError: a detection that is matched has no volume, or no numbers for a velocity.
    """
    for index, name in enumerate(CLASSES):
        own = labels.select(np.flatnonzero(labels.class_index == index))
        rows = np.flatnonzero(detections.class_index == index)
        # Of equal scores the later in the list comes first.
        rows = rows[np.argsort(detections.scores[rows], kind="stable")[::-1]]
        walked = detections.select(rows)
        offsets = np.searchsorted(own.sample, np.arange(len(tokens) + 1))
        matches = {}
        for distance in distances:
            taken = match_centers(
                walked.matched_sample,
                np.ascontiguousarray(walked.centers[:, :2]),
                offsets,
                np.ascontiguousarray(own.centers[:, :2]),
                distance,
            )
            true = np.flatnonzero(taken >= 0)
            matched = walked.select(true)
            _check_matched(matched, name, tokens)
            errors = match_errors(own.select(taken[true]), matched, name in HALF_TURN_CLASSES)
            matches[distance] = Matches(taken >= 0, true, errors)
        yield Walk(name, walked.scores, walked.sample, np.diff(offsets), matches)


def match_errors(labels: Objects, detections: Objects, half_turn: bool) -> dict[str, np.ndarray]:
    """The five errors [m] of matches, row by row.

    Args:
        labels: [m].
        detections: [m] that took them.
        half_turn: boxes turned by π are the same.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        offset = labels.centers[:, :2] - detections.centers[:, :2]
        common = np.minimum(labels.sizes, detections.sizes).prod(axis=1)
        union = labels.sizes.prod(axis=1) + detections.sizes.prod(axis=1) - common
        period = np.pi if half_turn else 2 * np.pi
        turned = np.mod(labels.yaw - detections.yaw + period / 2, period) - period / 2
        speed = labels.velocity - detections.velocity
        return {
            "trans_err": np.sqrt(offset[:, 0] ** 2 + offset[:, 1] ** 2),
            "scale_err": 1.0 - common / union,
            "orient_err": np.abs(turned),
            "vel_err": np.sqrt(speed[:, 0] ** 2 + speed[:, 1] ** 2),
            "attr_err": np.where(labels.attribute < 0, np.nan, labels.attribute != detections.attribute),
        }


def _check_matched(detections: Objects, name: str, tokens: Sequence[str]) -> None:
    for rows, field, problem in (
        (np.flatnonzero(~(detections.sizes > 0).all(axis=1)), "size", "is not above 0, so it has no volume to compare"),
        (np.flatnonzero(detections.bad_velocity), "velocity", "holds something else than two numbers"),
    ):
        for row in rows:
            center = ", ".join(f"{value:g}" for value in detections.centers[row])
            raise InputError(
                f"results: sample {tokens[detections.sample[row]]}: the {name} at {center} is matched to a label, and "
                f"its {field} {problem}. The benchmark's program stops here; mend the box."
            )
