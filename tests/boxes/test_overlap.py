"""Overlaps against the kernel of the network's own, and against what can be reckoned by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cuda_ops.box_overlap.op import box_iou_3d
from lidar_ebm.boxes.overlap import center_distances, ground_overlaps, volume_overlaps
from lidar_ebm.errors import InputError


def test_overlaps_agree_with_the_kernel() -> None:
    generator = np.random.default_rng(0)
    low, high = (-4, -4, -1, 0.5, 0.5, 0.5, -math.pi), (4, 4, 1, 6, 3, 3, math.pi)
    a, b = generator.uniform(low, high, (40, 7)), generator.uniform(low, high, (30, 7))
    expected = box_iou_3d(torch.from_numpy(a).float(), torch.from_numpy(b).float()).numpy()
    assert (expected > 0.05).sum() > 100
    np.testing.assert_allclose(volume_overlaps(a, b), expected, atol=1e-5)
    flat_a, flat_b = a.copy(), b.copy()
    flat_a[:, [2, 5]] = flat_b[:, [2, 5]] = (0.0, 1.0)  # of equal heights the volume's is the ground's
    np.testing.assert_allclose(ground_overlaps(a, b), volume_overlaps(flat_a, flat_b), atol=1e-12)
    np.testing.assert_allclose(ground_overlaps(a, a).diagonal(), 1.0, atol=1e-12)


def test_by_hand() -> None:
    a = np.array([[0, 0, 0, 4, 2, 2, 0.0]])
    b = np.array(
        [[2, 0, 1, 4, 2, 2, math.pi], [0, 0, 0, 2, 4, 2, math.pi / 2], [0, 0, 2.5, 4, 2, 2, 0], [3, 4, 9, 0, 1, 1, 0]]
    )
    np.testing.assert_allclose(ground_overlaps(a, b), [[4 / 12, 1.0, 1.0, 0.0]], atol=1e-12)
    np.testing.assert_allclose(volume_overlaps(a, b), [[4 / 28, 1.0, 0.0, 0.0]], atol=1e-12)
    np.testing.assert_allclose(center_distances(a, b), [[2, 0, 0, 5]], atol=1e-12)
    assert volume_overlaps(a, np.zeros((0, 7))).shape == (1, 0)
    with pytest.raises(InputError, match=r"b: expected boxes \[N, 7\]"):
        volume_overlaps(a, np.zeros((2, 9)))
