"""The program against the rules in plain Python, on random inputs full of ties and gaps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lidar_ebm.evaluation.nuscenes.evaluation import compute_figures
from tests.evaluation.nuscenes import reference
from tests.evaluation.nuscenes.made import as_labels, as_objects, random_things


def assert_close(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            assert_close(ours[key], value)
    elif math.isnan(theirs):
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(theirs, rel=0, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_random_scorings(seed: int, ties: bool) -> None:
    rng = np.random.default_rng((seed, ties))
    samples = int(rng.integers(1, 12))
    labels = random_things(rng, samples, int(rng.integers(0, 80)), scored=False, ties=ties)
    detections = random_things(rng, samples, int(rng.integers(0, 160)), scored=True, ties=ties)
    ours = compute_figures(as_labels(labels, samples), as_objects(detections))
    theirs = reference.figures(labels, detections)
    for name, value in theirs.items():
        assert_close(getattr(ours, name), value)
    for limit in (0.5, 2.0):
        for name in ("car", "barrier"):
            expected = reference.curve(
                [each for each in labels if each.name == name],
                [each for each in detections if each.name == name],
                limit,
            )
            curve = ours.curves[name, limit]
            for field, values in {"precision": curve.precision, "confidence": curve.confidence, **curve.errors}.items():
                np.testing.assert_allclose(values, expected[field], rtol=0, atol=1e-12)


@pytest.mark.parametrize("count", range(1, 21))
def test_recalls_one_step_above_are_not_reached(count: int) -> None:
    labels = [reference.Thing(0, "car", float(i), 0.0, (1, 1, 1), 0.0, (0, 0), "") for i in range(20)]
    detections = [
        reference.Thing(0, "car", float(i), 0.0, (1, 1, 1), 0.0, (0, 0), "", 0.9 - i / 100) for i in range(count)
    ]
    ours = compute_figures(as_labels(labels, 1), as_objects(detections)).curves["car", 0.5]
    reached = int((ours.confidence > 0).sum()) - 1
    # i/100 as a double product lies one step above for these.
    above = count * 5 in (35, 70, 95)
    assert reached == count * 5 - above
