"""The published way to compute f on the shared map, which the benchmarks of the energy head compare with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuda_ops.box_sampling.reference import box_grid
from lidar_ebm.config.loading import load_config
from lidar_ebm.energy.energy_head import BevEnergy, EnergyHead
from lidar_ebm.runs.model import make_energy
from lidar_ebm.types import BevGrid

GRID = BevGrid(origin=(0.2, -39.8), cell_size=(0.4, 0.4), shape=(200, 176))
CAR = (3.9, 1.6, 1.56)  # m


def published_head(device: torch.device) -> EnergyHead:
    """The energy head at its published size, 7200-1024-1024-1, with an f that is not flat."""
    head = make_energy(load_config("sassd_ebm_car", ["energy.features=[bev]"])).to(device)
    assert head.bev is not None
    last = head.bev.head[-1]
    assert isinstance(last, nn.Linear)
    nn.init.normal_(last.weight, std=0.05)
    return head


def shared_map(batch_size: int, device: torch.device) -> Tensor:
    """A map [B, 256, 200, 176], not negative as after a ReLU, channels-last as the detector makes it."""
    values = torch.randn(batch_size, 256, *GRID.shape, device=device).relu()
    return values.contiguous(memory_format=torch.channels_last)


def random_cars(count: int, device: torch.device) -> Tensor:
    """Boxes [N, 7] of cars anywhere on the map."""
    low = torch.tensor([2.0, -37.0, -1.3, 0.0, 0.0, 0.0, -torch.pi])
    spread = torch.tensor([66.0, 74.0, 0.6, 0.0, 0.0, 0.0, 2 * torch.pi])
    boxes = torch.rand(count, 7) * spread + low
    boxes[:, 3:6] = torch.tensor(CAR) * (1 + 0.1 * torch.randn(count, 3))
    return boxes.to(device)


def normalised_grid(boxes: Tensor) -> Tensor:
    """Places where grid_sample reads boxes [N, 7]: [N, 4, 7, 2], -1..1 between the outermost cell centres."""
    cells = (box_grid(boxes, (4, 7)) - boxes.new_tensor(GRID.origin)) / boxes.new_tensor(GRID.cell_size)
    height, width = GRID.shape
    return cells * (2 / cells.new_tensor([width - 1, height - 1])) - 1


def sample_on_expanded_map(bev: Tensor, boxes: Tensor) -> Tensor:
    """One frame's map [1, C, H, W] repeated for each of boxes [N, 7], as published: [N, C, 4, 7]."""
    return F.grid_sample(bev.expand(len(boxes), -1, -1, -1), normalised_grid(boxes), align_corners=True)


def sample_in_one_call(bev: Tensor, boxes: Tensor) -> Tensor:
    """All boxes' grids on one map [1, C, H, W] at once: [N, C, 4, 7]."""
    grid = normalised_grid(boxes).view(1, len(boxes) * 4, 7, 2)
    read = F.grid_sample(bev, grid, align_corners=True)  # [1, C, N * 4, 7]
    return read.view(bev.shape[1], len(boxes), 4, 7).transpose(0, 1)


class PublishedEnergy(nn.Module):
    """The same f by torch's plain layers: every feature in one row, the first layer in one piece."""

    def __init__(self, energy: BevEnergy) -> None:
        super().__init__()
        self.z, self.height = energy.z, energy.height
        hidden, last = energy.head[1], energy.head[3]
        assert isinstance(hidden, nn.Linear) and isinstance(last, nn.Linear)
        self.layers = nn.ModuleList(
            _plain(weight, bias)
            for weight, bias in (
                (torch.cat([energy.map_layer.weight, energy.shape_layer.weight], dim=1), energy.map_layer.bias),
                (hidden.weight, hidden.bias),
                (last.weight, last.bias),
            )
        )

    def forward(self, sampled: Tensor, boxes: Tensor) -> Tensor:
        """f [N] of sampled maps [N, C, 4, 7] and boxes [N, 7]."""
        x = torch.cat([sampled.flatten(1), self.z(boxes[:, 2:3]), self.height(boxes[:, 5:6])], dim=1)
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        f: Tensor = self.layers[-1](x)[:, 0]
        return f


def _plain(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer
