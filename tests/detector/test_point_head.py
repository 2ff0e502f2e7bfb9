"""The auxiliary point head: targets against a plain loop, losses, empty frames, and that it learns."""

from __future__ import annotations

import pytest
import torch

from lidar_ebm.config.config import Config
from lidar_ebm.detector.point_head import PointHead, point_targets
from lidar_ebm.geometry.boxes import points_in_boxes
from lidar_ebm.types import LabelBatch, SparseFeatures, Voxels

VOXEL, LOW, SHAPE = (0.2, 0.2, 0.2), (0.0, -8.0, -3.0), (20, 80, 80)  # SHAPE is D, H, W


def small_config() -> Config:
    return Config.model_validate(
        {
            "backbone": {"stages": ({"channels": 8, "layers": 1}, {"channels": 12, "layers": 1})},
            "point_head": {"channels": 16},
        }
    )


def make_labels() -> LabelBatch:
    boxes = torch.tensor(
        [
            [5.0, -4.0, -1.0, 4.0, 2.0, 2.0, 0.3],
            [5.5, -4.0, -1.0, 4.0, 2.0, 2.0, 0.3],  # overlaps the first
            [10.0, 2.0, -1.0, 4.0, 2.0, 2.0, -2.0],
        ]
    )
    return LabelBatch(boxes, torch.tensor([0, 0, 0]), torch.tensor([0, 0, 1]), 2)


def no_labels(batch_size: int = 2) -> LabelBatch:
    return LabelBatch(torch.zeros(0, 7), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long), batch_size)


def make_voxels(count: int = 1500, batch_size: int = 2, seen: int | None = None) -> Voxels:
    """Occupied voxels on a slab at box height; only the first `seen` frames hold any."""
    frames = seen if seen is not None else batch_size
    z, y, x = torch.randint(6, 14, (count,)), torch.randint(0, SHAPE[1], (count,)), torch.randint(0, SHAPE[2], (count,))
    batch = torch.randint(max(frames, 1), (count,))
    indices = torch.unique(torch.stack([batch, z, y, x], dim=1), dim=0)
    center = (indices[:, [3, 2, 1]] + torch.rand(len(indices), 3)) * torch.tensor(VOXEL) + torch.tensor(LOW)
    features = torch.cat([center, torch.rand(len(indices), 1)], dim=1)
    return Voxels(features, indices.int(), SHAPE, batch_size)


def make_stages(voxels: Voxels, channels: tuple[int, ...] = (8, 12)) -> list[SparseFeatures]:
    """Random features on the occupied cells of ever coarser grids."""
    stages = []
    for level, width in enumerate(channels, start=1):
        scale = 2**level
        indices = voxels.indices.clone()
        indices[:, 1:] //= scale
        indices = torch.unique(indices, dim=0)
        stages.append(
            SparseFeatures(
                torch.randn(len(indices), width, requires_grad=True),
                indices,
                (SHAPE[0] // scale, SHAPE[1] // scale, SHAPE[2] // scale),
                voxels.batch_size,
                (VOXEL[0] * scale, VOXEL[1] * scale, VOXEL[2] * scale),
                LOW,
            )
        )
    return stages


def test_targets_match_a_loop() -> None:
    voxels, boxes = make_voxels(), make_labels()
    targets = point_targets(voxels, boxes)
    inside = points_in_boxes(voxels.features, boxes.boxes)
    for row in range(len(voxels.features)):
        frame = int(voxels.indices[row, 0])
        own = [b for b in range(3) if inside[row, b] and int(boxes.batch_index[b]) == frame]
        assert bool(targets.foreground[row]) == bool(own)
        expected = boxes.boxes[own[0], :3] - voxels.features[row, :3] if own else torch.zeros(3)
        torch.testing.assert_close(targets.offsets[row], expected)
    assert 20 < int(targets.foreground.sum()) < len(voxels.features) // 2


def test_features_are_read_where_the_points_are() -> None:
    """A point on the centre of a stage's cell reads that cell."""
    config = small_config()
    voxels = make_voxels(300)
    stages = make_stages(voxels)
    coarse = stages[1]
    on_cells = Voxels(
        torch.cat([coarse.centers(), torch.zeros(len(coarse.indices), 1)], dim=1), coarse.indices, SHAPE, 2
    )
    head = PointHead(config)
    with torch.no_grad():
        head.hidden.weight.zero_()
        head.hidden.weight[0, 8:] = 1.0  # sums the second stage
        head.foreground.weight.zero_()
        head.foreground.weight[0, 0] = 1.0
        head.foreground.bias.zero_()
    logits = head(on_cells, stages).logits
    torch.testing.assert_close(logits, coarse.features.sum(dim=1), atol=1e-4, rtol=1e-4)


def test_losses_are_normalised_by_the_points_in_boxes() -> None:
    config = small_config()
    head, voxels, boxes = PointHead(config), make_voxels(), make_labels()
    predictions = head(voxels, make_stages(voxels))
    losses = head.loss(predictions, boxes, voxels)
    targets = point_targets(voxels, boxes)
    count = targets.foreground.sum()
    probability = predictions.logits.sigmoid()
    focal = torch.where(
        targets.foreground,
        -0.25 * (1 - probability) ** 2 * probability.log(),
        -0.75 * probability**2 * (1 - probability).log(),
    )
    difference = (predictions.offsets - targets.offsets)[targets.foreground].abs()
    offset = torch.where(difference < 1 / 9, difference**2 * 4.5, difference - 1 / 18)
    torch.testing.assert_close(losses["point_foreground"], focal.sum() / count)
    torch.testing.assert_close(losses["point_offset"], offset.sum() / count)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("count", [0, 1, 400])
def test_losses_are_finite_on_empty_frames(labelled: bool, count: int) -> None:
    """No points at all, fewer than three, or points in the first frame only."""
    config = small_config()
    head, voxels = PointHead(config), make_voxels(count, seen=1)
    stages = make_stages(voxels)
    losses = head.loss(head(voxels, stages), make_labels() if labelled else no_labels(), voxels)
    total = torch.stack(list(losses.values())).sum()
    assert total.isfinite()
    total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_learns_and_teaches_the_stages() -> None:
    config = small_config()
    head, voxels, boxes = PointHead(config), make_voxels(), make_labels()
    stages = make_stages(voxels)
    optimizer = torch.optim.Adam([*head.parameters(), *(stage.features for stage in stages)], lr=0.05)
    history = []
    for _ in range(25):
        losses = head.loss(head(voxels, stages), boxes, voxels)
        loss = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(float(loss.detach()))
    assert history[-1] < 0.3 * history[0]
    assert all(stage.features.grad is not None and (stage.features.grad != 0).any() for stage in stages)
