"""Figures of draws: a sample that is drawn twice counts as if it stood there twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lidar_ebm.evaluation.nuscenes.bootstrap import figures_of_draws, resampled_figures
from lidar_ebm.evaluation.nuscenes.evaluation import compute_figures, walk_split
from lidar_ebm.evaluation.nuscenes.outcome import figure_keys, list_figures
from tests.evaluation.nuscenes.made import as_labels, as_objects, random_things
from tests.evaluation.nuscenes.reference import Thing

SAMPLES = 9


def things(seed: int) -> tuple[list[Thing], list[Thing]]:
    rng = np.random.default_rng(seed)
    labels = random_things(rng, SAMPLES, 90, scored=False, ties=False)
    return labels, random_things(rng, SAMPLES, 160, scored=True, ties=False)


@pytest.mark.parametrize("seed", range(5))
def test_draws_are_scorings_of_repeated_samples(seed: int) -> None:
    labels, detections = things(seed)
    rng = np.random.default_rng(seed)
    drawn = np.stack([np.bincount(rng.integers(SAMPLES, size=SAMPLES), minlength=SAMPLES) for _ in range(6)])
    drawn = np.vstack([np.ones((1, SAMPLES), np.int64), drawn]).astype(np.int32)
    walks = walk_split(as_labels(labels, SAMPLES), as_objects(detections))
    resampled = figures_of_draws(walks, drawn)
    for row, counts in enumerate(drawn.tolist()):
        copies = [sample for sample, count in enumerate(counts) for _ in range(count)]
        repeated = [
            [replace(each, sample=new) for new, old in enumerate(copies) for each in items if each.sample == old]
            for items in (labels, detections)
        ]
        whole = compute_figures(as_labels(repeated[0], len(copies)), as_objects(repeated[1]))
        for figure in list_figures(whole):
            key, scale = figure_keys()[figure.name]
            value = scale * resampled[figure.class_name, key][row]
            np.testing.assert_allclose(value, figure.value, rtol=0, atol=1e-10)


def test_scenes_are_drawn_whole() -> None:
    labels, detections = things(7)
    walks = walk_split(as_labels(labels, SAMPLES), as_objects(detections))
    one_scene = np.zeros(SAMPLES, np.int32)
    (drawn,) = resampled_figures([walks], one_scene, 5, 0, by_scene=True)
    whole = figures_of_draws(walks, np.ones((1, SAMPLES), np.int32))
    for key, values in drawn.items():
        np.testing.assert_allclose(values, np.repeat(whole[key], 5), rtol=0, atol=1e-12)


def test_draws_hang_on_the_seed_alone() -> None:
    labels, detections = things(3)
    split = as_labels(labels, SAMPLES)
    walks = walk_split(split, as_objects(detections))
    first, again = resampled_figures([walks, walks], split.scenes, 50, 4, by_scene=False)
    (other,) = resampled_figures([walks], split.scenes, 50, 5, by_scene=False)
    (few,) = resampled_figures([walks], split.scenes, 7, 4, by_scene=False)
    for key, values in first.items():
        np.testing.assert_array_equal(values, again[key])
        np.testing.assert_array_equal(values[:7], few[key])
    assert any((values != other[key]).any() for key, values in first.items() if not np.isnan(values).any())
