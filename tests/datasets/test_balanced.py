"""Class-balanced order of frames: every class gets as many draws, all of its own frames, and the seed decides."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.datasets.balanced import balanced_frames, balanced_order, class_shares
from lidar_ebm.datasets.opening import open_source
from lidar_ebm.datasets.samples import Samples
from lidar_ebm.errors import InputError


def drawn_frames(seed: int, count: int = 400) -> list[set[int]]:
    """Frames with four classes, of which the last is in one frame of a hundred, and none in some."""
    rng = np.random.default_rng(seed)
    shares = (0.8, 0.3, 0.05, 0.01)
    return [{index for index, share in enumerate(shares) if rng.random() < share} for _ in range(count)]


@pytest.mark.parametrize("seed", range(5))
def test_rare_classes_come_as_often_as_their_rule_says(seed: int) -> None:
    frames = drawn_frames(seed)
    seen = Counter(index for classes in frames for index in classes)
    draws = round(sum(seen.values()) / len(seen))
    order = balanced_order(frames, 4, seed)
    assert len(order) == draws * len(seen)  # the original's n / C draws of each class
    counts = Counter(order)
    for frame, classes in enumerate(frames):
        fewest = sum(draws // seen[index] for index in classes)
        assert fewest <= counts[frame] <= fewest + len(classes)
    before, after = class_shares(range(len(frames)), frames, 4), class_shares(order, frames, 4)
    assert min(after) >= 0.24 > min(before)  # a class has its own quarter, and what comes with others
    assert max(after) - min(after) < max(before) - min(before)


def test_the_seed_decides() -> None:
    frames = drawn_frames(0)
    assert balanced_order(frames, 4, 1) == balanced_order(frames, 4, 1)
    assert balanced_order(frames, 4, 1) != balanced_order(frames, 4, 2)


def test_frames_that_are_balanced_come_once() -> None:
    assert balanced_order([{0}, {1}, {2}] * 5, 3) == list(range(15))


@pytest.mark.parametrize("frames", [[], [set(), set()]])
def test_without_objects_there_is_no_frame(frames: list[set[int]]) -> None:
    assert balanced_order(frames, 3) == []
    assert class_shares([], frames, 3) == [0, 0, 0]


def test_classes_that_nobody_saw_get_no_share() -> None:
    assert balanced_order([{1}, {1}], 3) == [0, 1]


def test_a_split_is_ordered_by_its_labels(simulated: Path) -> None:
    source = open_source(simulated, "train")
    classes = (ClassConfig(merge=("Van",)), ClassConfig(name="Pedestrian"))
    order = balanced_frames(Samples(source, classes))
    assert set(order) <= set(range(len(source)))
    for frame in set(order):
        assert set(source[frame].boxes.names) & {"Car", "Van", "Pedestrian"}  # type: ignore[union-attr]
    with pytest.raises(InputError, match="no frame has a label of a configured class"):
        balanced_frames(Samples(source, (ClassConfig(name="forklift"),)))
