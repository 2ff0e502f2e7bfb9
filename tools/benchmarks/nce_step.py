"""One NCE step of the published energy head: 16 labels with 129 candidates each, forward and backward.

The other side is the published loop over labels, whose map is repeated for every candidate; a second line gives it
grid_sample in one call for each label instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from harness import Comparison, Settings, compare, run
from published_energy import (
    GRID,
    energy_of,
    published_head,
    random_cars,
    sample_in_one_call,
    sample_on_expanded_map,
    shared_map,
)
from torch import Tensor, nn

from lidar_ebm.model.box_features import BevView, BoxContext

FRAMES, LABELS, CANDIDATES = 2, 16, 129


def measure(settings: Settings) -> Sequence[Comparison]:
    torch.manual_seed(0)
    head = published_head(settings.device)
    energy = head.bev
    assert energy is not None
    first = energy.head[0]
    assert isinstance(first, nn.Linear)
    bev = shared_map(FRAMES, settings.device)
    frame = torch.arange(LABELS, device=settings.device) % FRAMES
    labels = random_cars(LABELS, settings.device)
    spread = labels.new_tensor(head.noise.stds)[-1]
    candidates = labels[:, None] + spread * torch.randn(LABELS, CANDIDATES, 7, device=settings.device)
    candidates[:, 0] = labels
    candidates[..., 3:6] = candidates[..., 3:6].clamp(min=head.config.energy.min_size)
    log_q = head.noise.log_prob(candidates, labels)  # [labels, candidates]
    context = BoxContext(BevView(bev, GRID, frame), None)

    def step(f: Tensor) -> Tensor:
        """The gradient of the first layer's weights, from f [labels, candidates]."""
        head.zero_grad()
        logits = f - log_q
        (logits.logsumexp(1) - logits[:, 0]).mean().backward()
        assert first.weight.grad is not None
        return first.weight.grad

    def ours() -> Tensor:
        return step(head(context, candidates))

    def label_by_label(sample: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        rows = [
            energy_of(energy, sample(bev[n % FRAMES : n % FRAMES + 1], candidates[n]), candidates[n])
            for n in range(LABELS)
        ]
        return step(torch.stack(rows))

    torch.testing.assert_close(ours(), label_by_label(sample_in_one_call), atol=1e-4, rtol=1e-3)
    work = f"NCE step, {LABELS} labels × {CANDIDATES} boxes, forward + backward of the head"
    return [
        compare(
            settings,
            work,
            ours,
            lambda: label_by_label(sample_on_expanded_map),
            against="published loop over labels, map repeated",
            aim=5,
        ),
        compare(
            settings,
            work,
            ours,
            lambda: label_by_label(sample_in_one_call),
            against="loop over labels, one-call grid_sample each",
        ),
    ]


if __name__ == "__main__":
    run(measure, __doc__ or "")
