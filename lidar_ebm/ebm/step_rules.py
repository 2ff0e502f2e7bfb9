"""Rules for length and direction of an ascent's steps, each target on its own and without waiting for the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

State = tuple[Tensor, ...]  # what a rule remembers, each [N, P, D]


@dataclass(frozen=True)
class Halving:
    """Plain gradient steps, y <- y + λ ∇f; one that lowers f is taken back and halves that target's λ."""

    monotone: ClassVar[bool] = True  # f never falls

    def start(self, y: Tensor) -> State:
        """State at the first place, y [N, P, D]."""
        return ()

    def direction(self, gradient: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        """Direction that λ is multiplied by in the step number `step` (from 0), and the state after it."""
        return gradient, state


@dataclass(frozen=True)
class Momentum:
    """v <- β v + ∇f, y <- y + λ v: through ravines and over low humps.

    f may fall on the way. The ascent returns the best place that it saw.

    Attributes:
        beta: β, from 0 (none) to below 1.
        decay: λ is multiplied by it after each step.
    """

    beta: float = 0.9
    decay: float = 1.0
    monotone: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check(self.decay, beta=self.beta)

    def start(self, y: Tensor) -> State:
        """No velocity."""
        return (torch.zeros_like(y),)

    def direction(self, gradient: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        """The velocity."""
        velocity = self.beta * state[0] + gradient
        return velocity * self.decay**step, (velocity,)


@dataclass(frozen=True)
class Adam:
    """Steps of about λ in every dimension however steep f is: λ is in the target's units, and best one each.

    f may fall on the way. The ascent returns the best place that it saw.

    Attributes:
        beta1: memory of the average gradient, from 0 to below 1.
        beta2: memory of its average square, from 0 to below 1.
        epsilon: added to the root of that square; gradients well below it count as flat ground.
        decay: λ is multiplied by it after each step. Steps that stay as long as λ end no nearer than λ to a maximum.
    """

    beta1: float = 0.9
    beta2: float = 0.99
    epsilon: float = 1e-8
    decay: float = 1.0
    monotone: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check(self.decay, beta1=self.beta1, beta2=self.beta2)
        if not self.epsilon > 0:
            raise ValueError(f"epsilon: {self.epsilon} is not above 0")

    def start(self, y: Tensor) -> State:
        """No averages."""
        return torch.zeros_like(y), torch.zeros_like(y)

    def direction(self, gradient: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        """The average gradient over the root of its average square."""
        first = self.beta1 * state[0] + (1 - self.beta1) * gradient
        second = self.beta2 * state[1] + (1 - self.beta2) * gradient.square()
        root = (second / (1 - self.beta2 ** (step + 1))).sqrt()
        return first * (self.decay**step / (1 - self.beta1 ** (step + 1))) / (root + self.epsilon), (first, second)


StepRule = Halving | Momentum | Adam


def _check(decay: float, **betas: float) -> None:
    for name, beta in betas.items():
        if not 0 <= beta < 1:
            raise ValueError(f"{name}: {beta} is not from 0 to below 1")
    if not 0 < decay <= 1:
        raise ValueError(f"decay: {decay} is not above 0 and at most 1")
