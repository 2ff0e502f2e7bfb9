"""The best of several ascents, and all the modes that they find."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lidar_ebm.ebm import TargetSpace, ascend, best_of_starts, modes

PEAKS = torch.tensor([[[0.0, 0.0], [3.0, 1.0], [-2.0, 2.0]], [[1.0, 1.0], [-3.0, 0.0], [4.0, -3.0]]])  # [N, K, D]
HEIGHTS = torch.tensor([[0.0, 1.0, -1.0], [2.0, 0.0, 0.5]])


def peaks(y: Tensor) -> Tensor:
    """Log of a mixture of three narrow normals for each of two inputs."""
    offset = y.unsqueeze(2) - PEAKS.unsqueeze(1)  # [N, S, K, D]
    return (HEIGHTS.unsqueeze(1) - 0.5 * (offset / 0.4).square().sum(-1)).logsumexp(-1)


def test_finds_the_highest_of_its_starts_peaks() -> None:
    starts = PEAKS + 0.3
    result = best_of_starts(peaks, starts, steps=60, step_length=0.05)
    best = PEAKS[torch.arange(2), HEIGHTS.argmax(1)]
    torch.testing.assert_close(result.y, best, rtol=0, atol=1e-3)
    torch.testing.assert_close(result.f, peaks(best.unsqueeze(1)).squeeze(1), rtol=0, atol=1e-4)
    torch.testing.assert_close(result.f0, peaks(best.unsqueeze(1) + 0.3).squeeze(1))


def test_one_start_is_an_ascent() -> None:
    y0 = PEAKS[:, 0] + 0.5
    one = best_of_starts(peaks, y0.unsqueeze(1), steps=5, step_length=0.05)
    plain = ascend(peaks, y0, steps=5, step_length=0.05)
    torch.testing.assert_close(one.y, plain.y)
    torch.testing.assert_close(one.f, plain.f)
    torch.testing.assert_close(one.f0, plain.f0)


def test_no_steps_choose_among_the_starts() -> None:
    result = best_of_starts(peaks, PEAKS, steps=0, step_length=1.0)
    assert torch.equal(result.y, PEAKS[torch.arange(2), HEIGHTS.argmax(1)])


def test_a_start_without_a_number_never_wins() -> None:
    starts = PEAKS.clone()
    starts[:, 1] = math.nan
    result = best_of_starts(peaks, starts, steps=3, step_length=0.01)
    assert result.f.isfinite().all()
    assert best_of_starts(peaks, starts[:, 1:2], steps=3, step_length=0.01).f.isnan().all()


def test_no_inputs_and_no_starts() -> None:
    flat = lambda y: y.sum(-1)  # noqa: E731
    assert best_of_starts(flat, torch.zeros(0, 3, 2), steps=2, step_length=1.0).y.shape == (0, 2)
    assert modes(flat, torch.zeros(0, 3, 2), steps=2, step_length=1.0).y.shape == (0, 2)
    for find in (best_of_starts, modes):
        with pytest.raises(ValueError, match="one start"):
            find(flat, torch.zeros(4, 0, 2), steps=2, step_length=1.0)
    with pytest.raises(ValueError, match="distance"):
        modes(flat, torch.zeros(1, 1, 2), steps=2, step_length=1.0, distance=-1.0)


def test_finds_every_mode_once_the_highest_first() -> None:
    generator = torch.Generator().manual_seed(0)
    starts = PEAKS.repeat_interleave(20, dim=1) + 0.5 * torch.randn(2, 60, 2, generator=generator)
    starts = starts[:, torch.randperm(60, generator=generator)]
    sizes: list[int] = []

    def energy(y: Tensor) -> Tensor:
        sizes.append(y.shape[0] * y.shape[1])
        return peaks(y)

    found = modes(energy, starts, steps=80, step_length=0.05, distance=0.1, chunk=32)
    assert max(sizes) <= 32
    assert found.counts.tolist() == [3, 3]
    assert found.row.tolist() == [0, 0, 0, 1, 1, 1]
    order = HEIGHTS.argsort(dim=1, descending=True)
    expected = PEAKS.gather(1, order.unsqueeze(-1).expand(-1, -1, 2)).view(6, 2)
    torch.testing.assert_close(found.y, expected, rtol=0, atol=2e-3)
    assert (found.f.view(2, 3).diff(dim=1) < 0).all()
    torch.testing.assert_close(found.share.view(2, 3).sum(1), torch.ones(2))
    torch.testing.assert_close(found.share, torch.full((6,), 1 / 3), rtol=0, atol=0.1)


def test_a_mode_at_the_seam_is_one_and_distances_count_in_scales() -> None:
    space = TargetSpace(("yaw", "size"), (2 * math.pi, None), (-math.inf, 1.0), (0.05, 10.0))

    def energy(y: Tensor) -> Tensor:
        """Highest at π and its opposite, whatever the size; lower bound for the size."""
        return 5 * (2 * y[..., 0]).cos() + 0.5 * (y[..., 0] + math.pi).cos() - 0.01 * (y[..., 1] - 0.5).square()

    starts = torch.tensor([[[3.0, 2.0], [-3.0, 2.5], [3.1, 5.0], [-3.14, 1.0], [0.1, 4.0], [-0.2, 3.0]]])
    found = modes(energy, starts, steps=200, step_length=0.08, space=space)
    assert found.counts.tolist() == [2]
    assert abs(abs(found.y[0, 0].item()) - math.pi) < 0.02
    assert abs(found.y[1, 0].item()) < 0.02
    torch.testing.assert_close(found.share, torch.tensor([4 / 6, 2 / 6]))
    assert (found.y[:, 1] >= 1.0).all()


def test_what_leaves_the_numbers_is_no_mode() -> None:
    def energy(y: Tensor) -> Tensor:
        return torch.where(y[..., 0] > 1, math.nan, -y.square().sum(-1))

    found = modes(
        energy, torch.tensor([[[0.5], [2.0], [-0.5], [3.0]], [[2.0], [2.0], [2.0], [2.0]]]), steps=50, step_length=0.2
    )
    assert found.counts.tolist() == [1, 0]
    assert found.share.tolist() == [0.5]
