"""Every way of training f over boxes: it learns, it treats labels one by one, and every parameter gets its gradient."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from cuda_ops.plain import plain_torch
from lidar_ebm.config.loading import load_config
from lidar_ebm.ebm.losses import NCE
from lidar_ebm.ebm.noise import GaussianMixtureNoise
from lidar_ebm.energy.energy_head import EnergyHead
from lidar_ebm.energy.noise import make_noise
from lidar_ebm.errors import InputError
from lidar_ebm.runs.model import make_energy
from lidar_ebm.types import Batch, BevFeatures, LabelBatch
from tests.cuda_ops.devices import needs_native
from tests.energy.energy_scenes import make_batch, make_config, make_head, make_maps
from tests.energy.memory_watch import Watch

CAR = torch.tensor([12.0, 2.0, -1.0, 4.0, 1.7, 1.5, 0.4])
SPREAD = torch.tensor([3.0, 2.0, 0.1, 0.3, 0.1, 0.1, 1.0])
KINDS = [("points",), ("bev",)]
METHODS = ("nce", "nce+", "ml-is", "kld-is", "ml-mcmc", "sm", "dsm", "learned-nce", "learned-ml-is")
LEARNED = ("learned-nce", "learned-ml-is")  # whose loss is measured by a proposal that changes
SMOOTH = ("sm", "dsm")


def head_for(method: str, kinds: tuple[str, ...], *overrides: str) -> EnergyHead:
    smooth = ["energy.activation=silu"] if method in SMOOTH else []
    settings = [f"energy.objective.method={method}", "energy.samples=16", "energy.objective.langevin_steps=4"]
    return make_energy(make_config(kinds, *settings, *smooth, "refinement.step_length=1e-3", *overrides))


def scene(frames: int = 6) -> tuple[Batch, BevFeatures]:
    """A car a frame, with its points and a map."""
    boxes = CAR + torch.randn(frames, 7) * SPREAD
    return make_batch(boxes, [60] * frames), make_maps(frames)


def ranking(head: EnergyHead, batch: Batch, maps: BevFeatures) -> float:
    """Error of f in telling the labels from samples around them: NCE's loss, whatever f was trained by."""
    labels, frame = batch.boxes.boxes, batch.boxes.batch_index
    context = head.context(batch, maps, labels, frame)
    loss = NCE(make_noise(head.config.energy), 64)
    with torch.no_grad():
        return float(loss(partial(head, context), labels, random=torch.Generator().manual_seed(7)))


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_learns_with_gradients_to_every_parameter(method: str, kinds: tuple[str, ...]) -> None:
    torch.manual_seed(2)
    head, (batch, maps) = head_for(method, kinds), scene()
    seeds = range(100, 106)
    loss_before, ranking_before = head.loss(batch, maps, seeds=seeds).item(), ranking(head, batch, maps)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for step in range(40):
        optimizer.zero_grad()
        head.loss(batch, maps, seeds=range(6 * step, 6 * step + 6)).backward()
        assert [name for name, p in head.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
        optimizer.step()
    # Adding a constant to f changes nothing, so the last bias alone may have no slope.
    idle = [name for name, p in head.named_parameters() if p.grad is not None and not p.grad.any()]
    assert all(name.endswith(("points.head.4.bias", "bev.head.3.bias")) for name in idle), idle
    if method not in LEARNED:
        assert head.loss(batch, maps, seeds=seeds).item() < loss_before - 0.05
    if (method, kinds) != ("sm", ("bev",)):  # between its cells, a map has next to no curvature
        assert ranking(head, batch, maps) < 0.95 * ranking_before
    labels = batch.boxes.boxes
    refined = head.refine(head.context(batch, maps, labels, torch.arange(6)), labels + 0.05 * torch.randn(6, 7))
    assert refined.y.isfinite().all()
    assert (refined.f > refined.f0).any()


@pytest.mark.parametrize("method", METHODS)
def test_frames_and_labels_count_one_by_one(method: str) -> None:
    """The loss of a batch is the mean over labels of what each frame alone gives; no labels give zero."""
    head, (batch, maps) = head_for(method, ("bev", "points")), scene(3)
    index = torch.tensor([0, 0, 2])  # two labels, none, one
    batch = replace(batch, boxes=replace(batch.boxes, batch_index=index))
    whole = head.loss(batch, maps, seeds=(5, 6, 7))
    alone = []
    for frame in range(3):
        mine = index == frame
        own = LabelBatch(batch.boxes.boxes[mine], batch.boxes.class_index[mine], index[mine], 3)
        loss = head.loss(replace(batch, boxes=own), maps, seeds=(5, 6, 7))
        head.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
        alone.append(loss * len(own.boxes))
    assert alone[1] == 0
    torch.testing.assert_close(torch.stack(alone).sum() / 3, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kinds", KINDS)
def test_the_published_loss_frame_by_frame(kinds: tuple[str, ...]) -> None:
    """NCE with clamped boundaries against a loop over the frames, each with its own generator, to the last bit."""
    config = make_config(kinds, "energy.samples=16")
    head, (batch, maps) = make_head(config), scene(3)
    labels, frame = batch.boxes.boxes.clone(), torch.tensor([0, 0, 2])
    labels[0, 6], labels[1, 5], labels[2, 6] = 3.1, 0.06, -3.12  # draws leave the space
    batch = replace(batch, boxes=replace(batch.boxes, boxes=labels, batch_index=frame))
    seeds = (2**63 - 1, 7, 2**32 + 5)
    near, samples = labels.clone(), torch.zeros(3, 16, 7)
    stds = torch.tensor(config.energy.noise.stds)
    for index, seed in enumerate(seeds):
        own, generator = torch.nonzero(frame == index)[:, 0], torch.Generator().manual_seed(seed)
        position, log_size, yaw = (torch.randn(len(own), 7, generator=generator)).split([3, 3, 1], dim=1)
        jitter = config.energy.points.neighbourhood_jitter
        sizes = labels[own, 3:6] * (log_size * jitter[1]).exp()
        near[own] = torch.cat([labels[own, :3] + position * jitter[0], sizes, labels[own, 6:] + yaw * jitter[2]], dim=1)
        component = torch.randint(3, (len(own), 16), generator=generator)
        samples[own] = labels[own].unsqueeze(1) + torch.randn(len(own), 16, 7, generator=generator) * stds[component]
    candidates = torch.cat([labels.unsqueeze(1), samples], dim=1)
    log_q = GaussianMixtureNoise(stds).log_prob(candidates, labels)
    shown = candidates.clone()
    shown[..., 3:6] = shown[..., 3:6].clamp(min=0.05)
    yaw = shown[..., 6]
    shown[..., 6] = torch.where(yaw.abs() > math.pi, yaw - 2 * math.pi * yaw.sign(), yaw)
    logits = head(head.context(batch, maps, near, frame, seed=seeds), shown) - log_q
    expected = (logits.logsumexp(dim=1) - logits[:, 0]).sum() / 3
    torch.testing.assert_close(head.loss(batch, maps, seeds=seeds), expected)


@pytest.mark.parametrize("kinds", [("points",), ("bev",), ("bev", "points")])
def test_second_derivatives(kinds: tuple[str, ...]) -> None:
    boxes = (CAR + 0.05 * torch.randn(2, 7)).double()
    batch, maps = make_batch(boxes.float(), [25, 0]), make_maps(2)
    batch, maps = replace(batch, points=batch.points.double()), replace(maps, shared=maps.shared.double())
    head = make_head(make_config(kinds, "energy.activation=silu")).double()
    context = head.context(batch, maps, boxes, torch.arange(2))
    y = (boxes.unsqueeze(1) + 0.05 * torch.randn(2, 2, 7)).requires_grad_()

    def energy(boxes: Tensor) -> Tensor:
        with plain_torch():
            return head(context, boxes)

    torch.testing.assert_close(energy(y), head(context, y))
    assert torch.autograd.gradgradcheck(energy, y, eps=1e-7, atol=1e-4)


@needs_native
@pytest.mark.parametrize("method", METHODS)
def test_a_frozen_map_gets_no_gradient(method: str) -> None:
    head = head_for(method, ("bev",))
    batch, maps = scene(3)
    shared = torch.rand(3, 3, 400, 400).contiguous(memory_format=torch.channels_last)
    with Watch() as watch:
        head.loss(batch, replace(maps, shared=shared), seeds=(1, 2, 3)).backward()
    assert watch.max_alive < shared.nbytes


@needs_native
def test_chains_leave_every_gradient_alone() -> None:
    """Those of the parameters, and of a map that trains with them."""
    head = head_for("ml-mcmc", ("bev",))
    batch, maps = scene(3)
    shared = torch.rand(3, 3, 400, 400).contiguous(memory_format=torch.channels_last).requires_grad_()
    with Watch() as watch:
        loss = head.loss(batch, replace(maps, shared=shared * 1), seeds=(1, 2, 3))
    assert all(p.grad is None for p in head.parameters())
    assert watch.max_alive < 2 * shared.nbytes  # what stands for the network's own map is one of them
    loss.backward()
    assert shared.grad is not None
    assert shared.grad.any()


def test_flipped_samples() -> None:
    noise = make_noise(make_config(("points",), "energy.noise.flip_share=0.25").energy)
    draws = noise.sample(CAR.expand(50, 7), 40)
    turned = (draws[..., 6] - CAR[6]).cos() < 0
    assert 0.2 < turned.float().mean() < 0.3
    assert noise.log_prob(draws, CAR.expand(50, 7)).min() > -30


@pytest.mark.parametrize("boundary", ["exact", "clamped"])
def test_boundaries(boundary: str) -> None:
    noise = make_noise(make_config(("points",), f"energy.noise.boundary={boundary}").energy)
    edge = torch.tensor([[12.0, 2.0, -1.0, 4.0, 0.06, 1.5, 3.13]])
    draws = noise.sample(edge, 200)
    left = (draws[..., 4] < 0.05) | (draws[..., 6] >= math.pi)
    assert left.any() == (boundary == "clamped")
    shown = noise.constrain(draws)
    assert shown[..., 4].min() >= 0.05
    assert shown[..., 6].abs().max() <= math.pi


def test_a_learnt_proposal() -> None:
    """It comes with its methods alone, and settles where the labels are."""
    torch.manual_seed(0)
    plain = head_for("nce", ("points",))
    head, (batch, maps) = head_for("learned-nce", ("points",), "energy.samples=64"), scene()
    labels, frame = batch.boxes.boxes, batch.boxes.batch_index
    context = head.context(batch, maps, labels, frame)
    with pytest.raises(ValueError, match="method=nce learns no proposal"):
        plain.proposal_density(context, labels)
    assert head.state_dict().keys() - plain.state_dict().keys() == {
        f"proposal.network.network.{layer}.{name}" for layer in (0, 2, 4) for name in ("weight", "bias")
    }
    optimizer = torch.optim.Adam(head.parameters(), lr=4e-3)
    for step in range(80):
        optimizer.zero_grad()
        head.loss(batch, maps, seeds=range(6 * step, 6 * step + 6)).backward()
        optimizer.step()
    density = head.proposal_density(context, labels)
    draws = density.sample(labels, 200)
    assert density.log_prob(draws, labels).shape == (6, 200)
    assert head.space.distance(draws, labels.unsqueeze(1)).median() < 20  # 2 m, or one radian


def test_score_matching_wants_a_smooth_energy() -> None:
    with pytest.raises(InputError, match=r"energy\.activation=silu"):
        load_config(None, ["energy.objective.method=sm"])
