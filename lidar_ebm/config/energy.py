"""Settings of the energy f(x, y): features, network, noise, training method, ascent, uncertainty."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    model_validator,
)

from lidar_ebm.config.base import (
    Count,
    EachNonNegative,
    EachPositive,
    NonNegative,
    OneOrEachNonNegative,
    OneOrEachPositive,
    Positive,
    RowsPositive,
    Settings,
    Share,
    Size,
    box_dimensions,
)
from lidar_ebm.config.detector import PointsConfig


class BevEnergyConfig(Settings):
    """The published energy head: the shared map at each box's grid, with branches for z and h."""

    grid: tuple[Annotated[int, Field(ge=2)], Annotated[int, Field(ge=2)]] = (4, 7)
    branch_channels: Count = 16
    hidden: Count = 1024


class PointEnergyConfig(Settings):
    """The point energy: raw points near the box, written in the box's own frame."""

    max_points: Count = 96
    # Of many points near a box these are chosen by a hash of their order: that of their numbers, which is the same
    # however they come, or, as in runs of version 0.1, that of their file.
    order: Literal["content", "file"] = "content"
    margin: Size = (1.0, 0.8, 0.6)  # added on either side of length, width and height, m
    channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (64, 64)  # shared MLP over the points
    hidden: Count = 64
    neighbourhood_jitter: tuple[NonNegative, NonNegative, NonNegative] = (0.2, 0.05, 0.05)
    # Of boxes with a velocity: its part of the jitter, m/s, and how much wider the margin is for each second of a
    # point's lag, m, for the velocity of the box that the points are chosen around may be wrong.
    velocity_jitter: NonNegative = 0.5
    drift: NonNegative = 1.0
    class_input: bool = False  # f is told each box's class
    # f over velocities is told them, along and across the heading: most things stand still, and few move sideways.
    velocity_input: bool = False


class NoiseConfig(Settings):
    """Samples that f is learnt against: from an equal-weight Gaussian mixture around each label."""

    stds: RowsPositive = (
        (0.0625, 0.0625, 0.03125, 0.03125, 0.03125, 0.03125, 0.015625),
        (0.125, 0.125, 0.0625, 0.0625, 0.0625, 0.0625, 0.03125),
        (0.25, 0.25, 0.125, 0.125, 0.125, 0.125, 0.0625),
    )  # of each component: one row of stds (x, y, z, l, w, h, yaw, and vx, vy if need be), m, rad, m/s
    # The stds grow with this power of a label's size: of x, y, l and w with its √(l w), of z and h with its height,
    # each relative to a car's. 0: the same for all. So do the ascent's steps and starts, and uncertainty's first draws.
    relative: Share = 0.0
    # At the minimum size, and where yaw wraps around. exact: the density is truncated and wrapped. clamped: f is shown
    # each draw brought into the space, with the density of the draw itself, as published.
    boundary: Literal["exact", "clamped"] = "clamped"
    flip_share: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of the samples lies around the label turned by half a turn


class ObjectiveConfig(Settings):
    """The objective that makes f a log-density. Every method but sm and dsm takes `energy.samples` samples a label."""

    # nce: telling the label from samples around it (published). nce+: the same for labels that are inexact themselves.
    # ml-is, kld-is: likelihood, or divergence from a Gaussian around the label, with Z by importance sampling.
    # ml-mcmc: likelihood with samples from f by Langevin steps. sm, dsm: score matching, plain and denoising, with
    # gradients alone. learned-nce, learned-ml-is: the samples come from a density q(y | x) that is learnt beside f.
    method: Literal["nce", "nce+", "ml-is", "kld-is", "ml-mcmc", "sm", "dsm", "learned-nce", "learned-ml-is"] = "nce"
    label_noise: Positive = 0.025  # nce+: β, the labels' own noise is the samples' with β times its stds
    # kld-is, dsm: of the Gaussian around the label (x, y, z, l, w, h, yaw), m, rad. What is learnt is wider by it.
    label_stds: EachPositive = (0.0625, 0.0625, 0.03125, 0.03125, 0.03125, 0.03125, 0.015625)
    langevin_steps: Count = 16  # ml-mcmc: L, from the label; each costs as much as the loss of another method
    # ml-mcmc: α in y + α² / 2 ∇f + α ε, one number or one each (x, y, z, l, w, h, yaw, vx, vy)
    langevin_step_length: OneOrEachPositive = (0.02, 0.02, 0.01, 0.01, 0.01, 0.01, 0.005)
    proposal_components: Count = 4  # learned-nce, learned-ml-is: Gaussians that q(y | x) is a mixture of
    proposal_hidden: Count = 64  # learned-nce, learned-ml-is: units of each of its two hidden layers


class EnergyConfig(Settings):
    """The energy-based model f(x, y) over boxes."""

    features: Annotated[tuple[Literal["bev", "points"], ...], Field(min_length=1)] = ("bev",)
    # Where boxes have one: f is over velocities too. Otherwise f takes the detector's as it is, and leaves it.
    velocity: bool = True
    bev: BevEnergyConfig = BevEnergyConfig()
    points: PointEnergyConfig = PointEnergyConfig()
    # silu is smooth. sm needs that, and dsm is better with it: slopes of relu layers do not see their biases.
    activation: Literal["relu", "silu"] = "relu"
    noise: NoiseConfig = NoiseConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    samples: Count = 128  # M
    min_size: Positive = 0.05  # m

    @model_validator(mode="after")
    def _relative_to_labels(self) -> EnergyConfig:
        if self.noise.relative and self.objective.method not in ("nce", "nce+", "ml-is", "kld-is"):
            raise ValueError(
                f"energy.noise.relative={self.noise.relative}: energy.objective.method={self.objective.method} takes "
                "no samples from that noise. Leave it at 0, or choose nce, nce+, ml-is or kld-is"
            )
        return self

    @model_validator(mode="after")
    def _smooth_for_score_matching(self) -> EnergyConfig:
        if self.objective.method == "sm" and self.activation == "relu":
            raise ValueError(
                "score matching (energy.objective.method=sm) looks at the curvature of f, and straight pieces (relu) "
                "have none: f would become flat. Set energy.activation=silu"
            )
        return self


class RefinementConfig(Settings):
    """Gradient ascent on f."""

    steps: Annotated[int, Field(ge=0)] = 10  # T
    # halving: a step that lowers f is taken back, and halves that box's step length (published). momentum, adam: steps
    # by these rules, and the best box that was passed.
    rule: Literal["halving", "momentum", "adam"] = "halving"
    # λ, one number for every coordinate or one each (x, y, z, l, w, h, yaw, and vx, vy if need be). halving, momentum:
    # times the gradient; adam: about how far a step goes, m, rad, m/s.
    step_length: OneOrEachNonNegative = 2e-4
    # A box with fewer points near it stays as it is: of so few f hardly knows more than the detector.
    minimum_points: Annotated[int, Field(ge=0)] = 0
    starts: Count = 1  # that a box ascends from, itself and draws around it; the one that f likes best is kept
    start_stds: EachNonNegative = (0.125, 0.125, 0.0625, 0.0625, 0.0625, 0.0625, 0.03125)  # of those draws, m, rad


class UncertaintyConfig(Settings):
    """Uncertainty of the energy's boxes: weighted samples of p(y | x), proportional to exp(f(x, y) / temperature)."""

    enabled: bool = False  # in every detection; `detect --uncertainty` turns it on for a call
    samples: Count = 128  # a box, in each round
    # After the first round; each draws from what was fitted to the rounds before. With 0, and these stds, one or two of
    # a thousand draws carry all of the weight, for a car's length may be known ten times worse than its height.
    rounds: Annotated[int, Field(ge=0)] = 10
    # Of the first round's draws around the box, of each component of a mixture: one row of stds (x, y, z, l, w, h, yaw,
    # and vx, vy if need be) each, m, rad, m/s.
    stds: RowsPositive = (
        (0.125, 0.125, 0.0625, 0.0625, 0.0625, 0.0625, 0.03125),
        (0.25, 0.25, 0.0625, 0.375, 0.125, 0.125, 0.0625),
    )
    # run: what `calibrate` found and left in the run folder; 1 where it did not. Above 1: wider than exp f says.
    temperature: Literal["run"] | Positive = "run"


class EnergySettings(Settings):
    """All that the energy has to know of a configuration."""

    points: PointsConfig
    velocity: bool
    energy: EnergyConfig
    refinement: RefinementConfig
    uncertainty: UncertaintyConfig

    @property
    def box_dimensions(self) -> int:
        """Numbers of a box: 7, or 9 with a velocity."""
        return box_dimensions(self.velocity)

    @property
    def energy_dimensions(self) -> int:
        """Numbers of a box that f is over: 7, or 9 with a velocity, which the map alone does not show."""
        return box_dimensions(self.velocity and self.energy.velocity and "points" in self.energy.features)
