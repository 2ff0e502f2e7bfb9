"""Resampled AP against scoring the drawn frames themselves."""

from __future__ import annotations

import numpy as np
import pytest

from lidar_ebm.evaluation.bootstrap import draw_frames, frame_counts, resampled_ap
from lidar_ebm.evaluation.kitti.objects import pack_objects
from lidar_ebm.evaluation.kitti.passes import run_passes
from lidar_ebm.evaluation.kitti.rules import DIFFICULTIES, METRICS
from lidar_ebm.evaluation.kitti.sources import CLASSES
from lidar_ebm.evaluation.result import RECALLS
from lidar_ebm.evaluation.scoring import evaluate
from tests.evaluation.kitti.random_frames import random_frames


@pytest.mark.parametrize("seed", [40, 41])
def test_a_resample_has_the_ap_of_its_frames(seed: int) -> None:
    labels, results = random_frames(30, seed)
    packed = pack_objects(labels, need_scores=False), pack_objects(results, need_scores=True)
    drawn = draw_frames(30, range(3), seed)
    drawn[0] = 1  # every frame once: the ordinary figures
    evaluations = []
    for weights in drawn:
        rows = np.repeat(np.arange(30), weights)
        evaluations.append(evaluate([labels[row] for row in rows], [results[row] for row in rows]))
    compared = 0
    for passes in run_passes(*packed, classes=CLASSES, iou=None, metrics=METRICS, difficulties=DIFFICULTIES):
        counts = frame_counts(*packed, passes)
        for metric in passes.metrics:
            values = resampled_ap(counts, drawn, orientation=metric == "aos")
            for recall in RECALLS:
                expected = [
                    each.ap(passes.class_name, metric, passes.difficulty.name, recall=recall) for each in evaluations
                ]
                # A resample may have drawn no detection of a class, which KITTI then does not score.
                assert values[recall].tolist() == pytest.approx(np.nan_to_num(expected), abs=1e-9)
                compared += 1
    assert compared == 3 * 4 * 3 * 3


def test_draws_depend_on_seed_and_row_alone() -> None:
    drawn = draw_frames(50, range(20), 3)
    np.testing.assert_array_equal(drawn[7:12], draw_frames(50, range(7, 12), 3))
    assert (drawn.sum(axis=1) == 50).all()
    assert len({tuple(row) for row in drawn.tolist()}) == 20
    assert not np.array_equal(drawn, draw_frames(50, range(20), 4))
    # Each draw is independent: the counts' variance over many is that of a binomial distribution.
    many = draw_frames(50, range(2000), 5)
    assert many.var() == pytest.approx(1 - 1 / 50, rel=0.05)
