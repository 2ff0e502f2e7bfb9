"""The networks of the studies on images: a small CNN that regresses directly, and an energy on its features."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lidar_ebm.ebm import Energy, TargetSpace

LocalPoints = Callable[[Tensor], Tensor]
"""Targets [N, S, D] -> points [N, S, P, 3]: x and y from -1 to 1 across the image, y downwards, and a weight."""


class TargetCoding(nn.Module):
    """Targets as numbers near one: angles as cosine and sine, other dimensions by their mean and spread."""

    turn: Tensor
    center: Tensor
    spread: Tensor

    def __init__(self, space: TargetSpace, y: Tensor) -> None:
        """Args: y: [N, D] training targets, for mean and spread."""
        super().__init__()
        self.space = space
        self.angles = list(space.wrapped)
        self.others = [d for d in range(space.dims) if d not in self.angles]
        self.size = 2 * len(self.angles) + len(self.others)
        self.register_buffer("turn", torch.tensor([2 * math.pi / float(space.periods[d] or 1) for d in self.angles]))
        self.register_buffer("center", y[:, self.others].mean(0))
        self.register_buffer("spread", y.std(0, correction=0)[self.others])

    def forward(self, y: Tensor) -> Tensor:
        """[..., D] -> [..., E]."""
        angle = y[..., self.angles] * self.turn
        return torch.cat([angle.cos(), angle.sin(), (y[..., self.others] - self.center) / self.spread], dim=-1)

    def decode(self, code: Tensor) -> Tensor:
        """The target [..., D] that a code [..., E] stands for, whatever the lengths of its (cosine, sine)."""
        count = len(self.angles)
        y = code.new_zeros(*code.shape[:-1], self.space.dims)
        y[..., self.angles] = torch.atan2(code[..., count : 2 * count], code[..., :count]) / self.turn
        y[..., self.others] = code[..., 2 * count :] * self.spread + self.center
        return self.space.constrain(y)


@dataclass(frozen=True)
class Features:
    """Features of N images in the frozen network."""

    flat: Tensor  # [N, F] the last map, flattened
    map: Tensor  # [N, C, H, W] an earlier, finer one
    estimate: Tensor  # [N, D] the direct regression's target

    def __getitem__(self, rows: Tensor | slice) -> Features:
        return Features(self.flat[rows], self.map[rows], self.estimate[rows])

    def __len__(self) -> int:
        return len(self.flat)


class DirectNetwork(nn.Module):
    """Convolutions that each halve the image, and two layers from the last map to the target's code."""

    def __init__(self, size: int, channels: Sequence[int], hidden: int, coding: TargetCoding, fine: int) -> None:
        """Args: size: pixels of the image's side; fine: after how many stages the map is kept for local reading."""
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in zip((1, *channels), channels, strict=False)
        )
        for _ in channels:
            size = (size + 1) // 2
        self.fine = fine
        self.coding = coding
        self.flat_size = channels[-1] * size**2
        self.fine_channels = channels[fine - 1]
        self.head = direct_head(self.flat_size, hidden, coding)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 1, H, W] -> codes [N, E]."""
        return self.head(self._maps(images)[-1].flatten(1))

    def features(self, images: Tensor, estimate: Tensor | None = None) -> Features:
        """Of images [N, 1, H, W]; with another network's estimate [N, D] in place of this one's, if it is given."""
        maps = self._maps(images)
        flat = maps[-1].flatten(1)
        return Features(
            flat, maps[self.fine - 1], self.coding.decode(self.head(flat)) if estimate is None else estimate
        )

    def _maps(self, images: Tensor) -> list[Tensor]:
        maps = [images - 0.5]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[1:]


def direct_head(features: int, hidden: int, coding: TargetCoding) -> nn.Module:
    """From features [N, F] to a target's code [N, E]."""
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, coding.size))


class EnergyHead(nn.Module):
    """f(x, y) from the image's features, the target's code, and its offset from the direct estimate.

    The offset comes in units that make a step of one matter, so that f can be sharp without large weights. Where a
    problem says how, f also sees the fine map, read bilinearly at points that follow from the target, as detectors
    read features inside a box.
    """

    unit: Tensor

    def __init__(
        self,
        network: DirectNetwork,
        unit: Sequence[float],
        hidden: int,
        local: LocalPoints | None = None,
        points: int = 0,
    ) -> None:
        """Args: network: whose features are shown; unit: [D] of the offsets; points: P that `local` gives."""
        super().__init__()
        self.coding = network.coding
        self.space = network.coding.space
        self.local = local
        self.register_buffer("unit", torch.tensor(unit))
        inputs = self.coding.size + self.space.dims + len(self.space.wrapped)
        self.image = nn.Sequential(nn.Linear(network.flat_size, hidden), nn.ReLU(), nn.Linear(hidden, hidden))
        self.target = nn.Linear(inputs, hidden)
        self.read = None if local is None else nn.Linear(points * network.fine_channels, hidden)
        self.rest = nn.Sequential(nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 1))

    def energy(self, features: Features) -> Energy:
        """The energy of these images, [N, S, D] -> [N, S]. What concerns the images alone is computed once."""
        image = self.image(features.flat).unsqueeze(1)  # [N, 1, hidden]

        def f(y: Tensor) -> Tensor:
            hidden = image + self.target(self._inputs(y, features.estimate.unsqueeze(1)))
            if self.local is not None and self.read is not None:
                points = self.local(y)  # [N, S, P, 3]
                place, weight = points[..., :2], points[..., 2]
                values = F.grid_sample(features.map, place, align_corners=False, padding_mode="border")  # [N, C, S, P]
                hidden = hidden + self.read((values * weight.unsqueeze(1)).permute(0, 2, 3, 1).flatten(2))
            return self.rest(hidden).squeeze(-1)

        return f

    def _inputs(self, y: Tensor, estimate: Tensor) -> Tensor:
        """The target's own inputs [N, S, I]; periodic in its angles."""
        columns = list((y - estimate).unbind(-1))
        opposite = []
        for d in self.space.wrapped:
            turn = 2 * math.pi / float(self.space.periods[d] or 1)
            opposite.append((columns[d] * turn).cos())
            columns[d] = (columns[d] * turn).sin() / turn
        offset = torch.stack(columns, dim=-1) / self.unit
        return torch.cat([self.coding(y), offset, *(value.unsqueeze(-1) for value in opposite)], dim=-1)
