"""Numbers of a result file that the benchmark's program takes, but that hardly anybody means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lidar_ebm.evaluation.nuscenes.objects import Objects
from lidar_ebm.evaluation.nuscenes.rules import ATTRIBUTE_INDEX, STOPS
from lidar_ebm.evaluation.problems import Problem
from lidar_ebm.formats.nuscenes.classes import ATTRIBUTES_OF_CLASS, CLASSES


def check_columns(objects: Objects, tokens: Sequence[str], box_counts: np.ndarray) -> Iterator[Problem]:
    """Find boxes with odd numbers; none of them blocks.

    Args:
        objects: of the whole file, as far as it can be read.
        tokens: of its samples, that `objects.sample` is an index of.
        box_counts: [F] boxes of each sample, those that cannot be read among them.
    """
    suits = np.zeros((len(CLASSES), len(ATTRIBUTE_INDEX)), bool)
    for row, name in enumerate(CLASSES):
        suits[row, [ATTRIBUTE_INDEX[each] for each in ATTRIBUTES_OF_CLASS[name]]] = True
        suits[row, -1] = True  # none
    scores, velocity = objects.scores, objects.velocity
    checks = (
        (
            ~(objects.sizes > 0).all(axis=1),
            "size",
            objects.sizes,
            f"{STOPS} as soon as such a box is matched; give a width, length and height above 0",
        ),
        (np.isinf(objects.centers).any(axis=1), "translation", objects.centers, "is beyond every range; give numbers"),
        (np.isinf(objects.sizes).any(axis=1), "size", objects.sizes, "no box is infinite; give numbers"),
        (
            np.isnan(velocity).any(axis=1) & ~objects.bad_velocity,
            "velocity",
            velocity,
            "such a match has no error of velocity, and the others then make the mean; give numbers",
        ),
        (np.isinf(velocity).any(axis=1), "velocity", velocity, "no object is so fast; give numbers"),
        (
            scores < 0,
            "detection_score",
            scores[:, None],
            f"{STOPS} unless every label of the class is matched; give scores from 0 to 1",
        ),
        (scores > 1, "detection_score", scores[:, None], "scores are from 0 to 1 by the rules"),
        (
            ~suits[objects.class_index, objects.attribute],
            "attribute_name",
            objects.class_index[:, None],
            "this attribute does not suit the class, so it is always wrong",
        ),
        (objects.points == 0, "num_pts", objects.points[:, None], "0 drops the box; leave the field out"),
        (
            objects.matched_sample != objects.sample,
            "sample_token",
            objects.sample[:, None],
            "is not the sample that the box stands under, whose labels it is then not compared with",
        ),
    )
    first = np.searchsorted(objects.sample, np.arange(len(tokens)))
    complete = np.bincount(objects.sample, minlength=len(tokens)) == box_counts
    for wrong, name, values, kind in checks:
        for row in np.flatnonzero(wrong).tolist():
            sample = int(objects.sample[row])
            box = f"box {row - first[sample]}" if complete[sample] else "a box"
            where = f"sample {tokens[sample]}, {box}: {name}"
            yield Problem(where, _shown(name, values[row]), kind, blocks=False)


def _shown(name: str, values: np.ndarray) -> str:
    if name == "attribute_name":
        return f"of a {CLASSES[int(values[0])]}"
    if name == "sample_token":
        return "another sample"
    return ", ".join(f"{value:g}" for value in values)
