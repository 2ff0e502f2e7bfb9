"""Uncertainty of refined boxes: samples of p(y | x) = exp(f(x, y) / temperature) / Z around each of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cuda_ops.box_overlap.op import box_iou_3d
from lidar_ebm.config.base import one_each
from lidar_ebm.config.energy import EnergyConfig, EnergySettings
from lidar_ebm.ebm.adaptive_sampling import adaptive_importance_samples
from lidar_ebm.ebm.chunks import CHUNK, value_in_chunks
from lidar_ebm.ebm.energy import Energy
from lidar_ebm.ebm.noise import GaussianMixtureNoise, Noise
from lidar_ebm.ebm.random_numbers import Random
from lidar_ebm.ebm.sampling import WeightedSamples
from lidar_ebm.energy.box_space import YAW, box_space, relative_scales
from lidar_ebm.energy.noise import RelativeNoise

KEPT_SAMPLES = 32  # of each box, for pictures and for whoever wants to see them
# Candidates at a time: on a CPU the layers' values then stay in its caches, which is four times faster.
_CPU_CHUNK = 512
_FLIP_METHODS = ("nce", "nce+", "ml-is", "kld-is")  # which take their samples from the configured noise


@dataclass(frozen=True, eq=False)
class BoxUncertainty:
    """Spread and overlap of samples y of p(y | x) around N boxes."""

    covariance: Tensor  # [N, d, d] mean of (y - box)(y - box)ᵀ, m, rad and m/s
    flip_probability: Tensor | None  # [N] that the yaw is the box's + π; None where the energy cannot know
    expected_iou: Tensor  # [N] mean 3-D IoU of the box with y
    samples: Tensor  # [N, K, d] a few y, each as likely as the others
    effective_samples: Tensor  # [N] how many independent y would tell as much

    def columns(self) -> dict[str, Tensor]:
        """Values that exist, by the names that they have as columns of `Boxes`."""
        return {name: value for name, value in vars(self).items() if value is not None}


def estimate_uncertainty(
    energy: Energy, boxes: Tensor, config: EnergySettings, *, temperature: float, random: Random = None
) -> BoxUncertainty:
    """Uncertainty of the energy about boxes [N, D], all at once, in the d numbers of a box that f is over.

    The density is that of y near the box. A second mode, at the yaw + π, is counted by `flip_probability` alone, which
    means something only for an energy that saw flipped boxes in training (`energy.noise.flip_share` above 0).

    Args:
        energy: f at candidates [N, S, d].
        boxes: [N, D] refined boxes.
        config: `uncertainty` and `energy` are used.
        temperature: that f is divided by.
        random: where random numbers come from.
    """
    samples = sample_boxes(energy, boxes, config, temperature=temperature, random=random)
    boxes = boxes[:, : config.energy_dimensions]
    offset = samples.space.difference(samples.y, boxes.unsqueeze(1))  # [N, M, d]
    covariance = torch.einsum("nm,nmi,nmj->nij", samples.weights, offset, offset)
    flipped = flip_probability(energy, samples) if knows_flips(config.energy) else None
    overlap = expected_iou(samples, boxes)
    drawn = samples.resample(KEPT_SAMPLES, random)
    return BoxUncertainty(covariance, flipped, overlap, drawn, samples.effective_sample_size)


def sample_boxes(
    energy: Energy, boxes: Tensor, config: EnergySettings, *, temperature: float, random: Random = None
) -> WeightedSamples:
    """Weighted samples of p(y | x) around boxes [N, D]; arguments as for `estimate_uncertainty`."""
    settings = config.uncertainty
    boxes = boxes[:, : config.energy_dimensions]
    space = box_space(config.energy.min_size, config.energy_dimensions)
    stds = [one_each(row, config.energy_dimensions) for row in settings.stds]
    first: Noise = GaussianMixtureNoise(stds, space).to(boxes.device)
    if config.energy.noise.relative:
        first = RelativeNoise(first, relative_scales(boxes, config.energy.noise.relative))
    return adaptive_importance_samples(
        energy,
        first,
        boxes,
        settings.samples,
        rounds=settings.rounds,
        temperature=temperature,
        random=random,
        space=space,
        chunk=_chunk(boxes),
    )


def knows_flips(config: EnergyConfig) -> bool:
    """Tell if f was shown boxes turned by π in training; elsewhere its values there are accidents."""
    return config.noise.flip_share > 0 and config.objective.method in _FLIP_METHODS


def flip_probability(energy: Energy, samples: WeightedSamples) -> Tensor:
    """Share [N] of the mass around the samples and around the same samples turned by π that lies around the turned."""
    turn = samples.y.new_zeros(samples.space.dims)
    turn[YAW] = math.pi
    f = value_in_chunks(energy, samples.space.wrap(samples.y + turn), _chunk(samples.y))  # [N, M]
    turned = WeightedSamples(samples.y, f, samples.log_q, samples.space, samples.temperature)
    return (turned.log_z - samples.log_z).sigmoid()


def expected_iou(samples: WeightedSamples, boxes: Tensor) -> Tensor:
    """Mean 3-D IoU [N] of boxes [N, D] with y from p(y | x)."""

    def overlap(y: Tensor) -> Tensor:  # [N, M, d] -> [N, M]
        y = y[..., : YAW + 1]
        rows = boxes[:, None, : YAW + 1].expand_as(y).flatten(0, 1)
        return box_iou_3d(rows, y.flatten(0, 1), aligned=True).unflatten(0, y.shape[:2])

    return samples.expectation(overlap)


def _chunk(boxes: Tensor) -> int:
    return CHUNK if boxes.is_cuda else _CPU_CHUNK
