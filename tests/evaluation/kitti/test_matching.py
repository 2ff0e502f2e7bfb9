"""The second pass for all scores at once against the rules walked anew at each score."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lidar_ebm.evaluation.kitti.matching import ABSENT, IGNORED, VALID, second_pass

STATES = np.array([VALID, IGNORED, ABSENT], dtype=np.int8)


class Scene:
    """Labels and detections that overlap in any way, of one frame."""

    def __init__(self, seed: int, labels: int, detections: int) -> None:
        rng = np.random.default_rng(seed)
        self.label_state = rng.choice(STATES, labels, p=(0.6, 0.25, 0.15))
        self.detection_state = rng.choice(STATES, detections, p=(0.6, 0.25, 0.15))
        self.label_alpha, self.detection_alpha = rng.uniform(-math.pi, math.pi, labels), rng.normal(size=detections)
        self.scores = rng.integers(0, max(detections // 2, 1), detections) / 7.0  # many are equal
        self.excused = rng.random(detections) < 0.2
        # Few values, so that overlaps are equal too; those at 0.5 do not suffice.
        self.overlap = rng.choice((0.0, 0.5, 0.6, 0.7, 0.8), (labels, detections))

    def run(self, lowest: float = -math.inf) -> tuple[np.ndarray, ...]:
        by_detection = np.argwhere(self.overlap.T > 0.3)  # [P, 2] detection, label; in both orders of file
        detection, label = by_detection.T
        return second_pass(
            self.label_state,
            self.label_alpha,
            self.detection_state,
            self.detection_alpha,
            self.scores,
            self.excused,
            np.argsort(-self.scores, kind="stable"),
            np.searchsorted(detection, np.arange(len(self.scores) + 1)),
            label.copy(),
            self.overlap.T[detection, label],
            0.5,
            lowest,
        )

    def count(self, threshold: float) -> tuple[int, int, int, float, list[int]]:
        """True positives, false positives, false negatives, similarity and each label's detection at one threshold."""
        usable = (self.detection_state != ABSENT) & (self.scores >= threshold)
        taken = [-1] * len(self.label_state)
        true = false_negatives = 0
        similarity = 0.0
        for i, state in enumerate(self.label_state):
            if state == ABSENT:
                continue
            free = [j for j in np.flatnonzero(usable) if j not in taken and self.overlap[i, j] > 0.5]
            counted = [j for j in free if self.detection_state[j] == VALID]
            if counted:
                taken[i] = max(counted, key=lambda j: (self.overlap[i, j], -j))
            elif free:
                taken[i] = free[0]
            if state == VALID and taken[i] < 0:
                false_negatives += 1
            elif state == VALID and self.detection_state[taken[i]] == VALID:
                true += 1
                similarity += (1 + math.cos(self.label_alpha[i] - self.detection_alpha[taken[i]])) / 2
        false = sum(
            self.detection_state[j] == VALID and j not in taken and not self.excused[j] for j in np.flatnonzero(usable)
        )
        return true, int(false), false_negatives, similarity, taken


@pytest.mark.parametrize("seed", range(60))
def test_counts_at_every_score_are_those_of_the_rules(seed: int) -> None:
    scene = Scene(seed, labels=1 + seed % 9, detections=1 + seed % 23)
    rows, true, false, false_negatives, similarity, taken = scene.run()
    assert sorted(rows) == np.flatnonzero(scene.detection_state != ABSENT).tolist()
    assert (np.diff(scene.scores[rows]) <= 0).all()
    valid = int((scene.label_state == VALID).sum())
    for threshold in np.unique(scene.scores[rows]):
        reached = int((scene.scores[rows] >= threshold).sum())
        expected = scene.count(threshold)
        assert (true[:reached].sum(), false[:reached].sum(), valid + false_negatives[:reached].sum()) == expected[:3]
        assert similarity[:reached].sum() == pytest.approx(expected[3])
        assert scene.run(lowest=threshold)[-1].tolist() == expected[4]
    if len(rows):
        assert taken.tolist() == scene.count(-math.inf)[4]


def test_nothing_to_match() -> None:
    for labels, detections in ((0, 0), (3, 0), (0, 3)):
        scene = Scene(1, labels, detections)
        _, true, false, false_negatives, _, taken = scene.run()
        assert not true.any()
        assert not false_negatives.any()
        assert false.sum() == ((scene.detection_state == VALID) & ~scene.excused).sum()
        assert len(taken) == labels
