"""One NCE step of the published energy head: 16 labels with 129 candidates each, forward and backward.

The other side is the published loop over labels, whose map is repeated for every candidate, in torch's default memory
format. The detector is frozen, as published, so the head alone gets gradients; or it is not, and its map gets them too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from harness import Comparison, Settings, compare, run
from published_energy import (
    GRID,
    PublishedEnergy,
    published_head,
    random_cars,
    sample_in_one_call,
    sample_on_expanded_map,
    shared_map,
)
from torch import Tensor

from lidar_ebm.energy.box_features import BevView, BoxContext

FRAMES, LABELS, CANDIDATES = 2, 16, 129
FEW = 5  # rounds, where one takes half a minute


def measure(settings: Settings) -> Sequence[Comparison]:
    torch.manual_seed(0)
    head = published_head(settings.device)
    assert head.bev is not None
    own, energy = head.bev, PublishedEnergy(head.bev)
    bev = shared_map(FRAMES, settings.device)
    frame = torch.arange(LABELS, device=settings.device) % FRAMES
    labels = random_cars(LABELS, settings.device)
    candidates = labels[:, None] + 0.1 * torch.randn(LABELS, CANDIDATES, 7, device=settings.device)
    candidates[:, 0] = labels
    candidates[..., 3:6] = candidates[..., 3:6].clamp(min=head.config.energy.min_size)
    log_q = head.noise.log_prob(candidates, labels)  # [labels, candidates]

    def gradients(f: Tensor, *wanted: Tensor) -> tuple[Tensor, ...]:
        logits = f - log_q
        return torch.autograd.grad((logits.logsumexp(1) - logits[:, 0]).mean(), wanted)

    def ours(bev: Tensor) -> tuple[Tensor, ...]:
        f = head(BoxContext(BevView(bev, GRID, frame), None), candidates)
        wanted = (bev,) if bev.requires_grad else ()
        return gradients(f, *own.parameters(), *wanted)

    def label_by_label(sample: Callable[[Tensor, Tensor], Tensor], bev: Tensor) -> tuple[Tensor, ...]:
        rows = [energy(sample(bev[n % FRAMES : n % FRAMES + 1], candidates[n]), candidates[n]) for n in range(LABELS)]
        wanted = (bev,) if bev.requires_grad else ()
        return gradients(torch.stack(rows), *energy.parameters(), *wanted)

    plain = bev.contiguous()
    live, live_plain = bev.clone().requires_grad_(), plain.clone().requires_grad_()
    torch.testing.assert_close(ours(live)[-1], label_by_label(sample_in_one_call, live)[-1], atol=1e-5, rtol=1e-3)
    work = f"NCE step, {LABELS} labels × {CANDIDATES} boxes, forward + backward"
    repeated, one_call = "published loop over labels, map repeated", "loop over labels, one-call grid_sample"
    return [
        compare(
            settings,
            f"{work} of the head",
            lambda: ours(bev),
            lambda: label_by_label(sample_on_expanded_map, plain),
            against=repeated,
            aim=5,
        ),
        compare(
            settings,
            f"{work} of the head",
            lambda: ours(bev),
            lambda: label_by_label(sample_in_one_call, bev),
            against=f"{one_call}, channels-last",
        ),
        compare(
            settings,
            f"{work} of the head and to the map ({FEW} rounds)",
            lambda: ours(live),
            lambda: label_by_label(sample_on_expanded_map, live_plain),
            against=repeated,
            repeats=FEW,
        ),
        compare(
            settings,
            f"{work} of the head and to the map",
            lambda: ours(live),
            lambda: label_by_label(sample_in_one_call, live),
            against=f"{one_call}, channels-last",
        ),
    ]


if __name__ == "__main__":
    run(measure, __doc__ or "")
