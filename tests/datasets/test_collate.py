"""Frames put together, empty ones among them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.errors import InputError


def make_frame(points: int, boxes: int, seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    return Sample(
        frame_id=f"{seed:06d}",
        points=rng.normal(size=(points, 4)).astype(np.float32),
        boxes=rng.normal(size=(boxes, 7)).astype(np.float32),
        class_index=rng.integers(0, 3, boxes),
    )


@pytest.mark.parametrize(
    "counts", [[(5, 2), (3, 1)], [(5, 2), (0, 0)], [(0, 0), (5, 2)], [(4, 0), (0, 2), (3, 1)], [(0, 0)]]
)
def test_each_frame_is_found_again_in_the_batch(counts: list[tuple[int, int]]) -> None:
    frames = [make_frame(*count, seed) for seed, count in enumerate(counts)]
    batch = collate(frames)
    assert batch.batch_size == batch.boxes.batch_size == len(frames)
    assert batch.frame_ids == tuple(frame.frame_id for frame in frames)
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(batch.points[batch.point_batch_index == index].numpy(), frame.points)
        np.testing.assert_array_equal(batch.boxes.boxes[batch.boxes.batch_index == index].numpy(), frame.boxes)
        np.testing.assert_array_equal(
            batch.boxes.class_index[batch.boxes.batch_index == index].numpy(), frame.class_index
        )


def test_dtypes() -> None:
    batch = collate([make_frame(2, 1), make_frame(0, 0)])
    assert batch.points.dtype == batch.boxes.boxes.dtype == torch.float32
    assert (
        batch.point_batch_index.dtype == batch.boxes.batch_index.dtype == batch.boxes.class_index.dtype == torch.int64
    )


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one frame"):
        collate([])
