"""The center head: targets against brute force, boxes there and back, losses, peaks and averages."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lidar_ebm.config.config import Config
from lidar_ebm.detector.heads.center import CenterHead, CenterPredictions
from lidar_ebm.detector.heads.center_boxes import center_cells, class_references, decode_centers, encode_centers
from lidar_ebm.detector.heads.center_targets import center_targets, draw_gaussians, gaussian_radius
from lidar_ebm.detector.losses import heatmap_focal_loss
from lidar_ebm.types import BevFeatures, LabelBatch

CHANNELS = 8
CLASSES = (
    {"name": "car"},
    {"name": "bus", "anchor_size": (11.0, 2.9, 3.5), "anchor_center_z": -0.1},
    {"name": "person", "anchor_size": (0.7, 0.7, 1.8)},
)


def make_config(*, velocity: bool = True, **center_head: Any) -> Config:
    groups = (("person",), ("bus", "car"))  # in another order than the classes
    return Config.model_validate(
        {
            "classes": CLASSES,
            "head": "center",
            "velocity": velocity,
            "points": {"channels": ("reflectance", "time_lag")},
            "voxels": {"range": (-8.0, -8.0, -3.0, 16.0, 8.0, 1.0), "size": (0.1, 0.1, 0.2)},
            "bev": {"channels": CHANNELS, "layers": 1},
            "center_head": {"channels": CHANNELS, "groups": groups, **center_head},
        }
    )


def make_labels(config: Config) -> LabelBatch:
    """Objects of all classes and headings, one at the border, one outside, one of unknown velocity."""
    boxes = torch.tensor(
        [
            [5.1, -4.3, -0.9, 4.1, 1.7, 1.5, 0.1, 2.0, -1.0],
            [10.3, 3.1, 0.0, 10.5, 2.8, 3.4, -2.9, math.nan, math.nan],
            [15.95, 7.9, -0.5, 0.8, 0.7, 1.8, -1.5, 0.0, 0.0],
            [-7.9, -7.9, -1.0, 4.5, 1.8, 1.6, math.pi / 4, 0.5, 0.5],
            [16.5, 0.0, -1.0, 4.5, 1.8, 1.6, 0.0, 0.5, 0.5],
        ]
    )[:, : config.box_dimensions]
    return LabelBatch(boxes, torch.tensor([0, 1, 2, 0, 0]), torch.tensor([0, 0, 0, 1, 1]), 2)


def make_bev(config: Config) -> BevFeatures:
    maps = torch.randn(2, CHANNELS, *config.bev_grid.shape)
    return BevFeatures(maps, maps, torch.ones(2, *config.bev_grid.shape, dtype=torch.bool), config.bev_grid)


def perfect(head: CenterHead, labels: LabelBatch) -> CenterPredictions:
    """Predictions of a head that knew the labels."""
    targets = center_targets(labels, head.config, head.references)
    group = head.group_of_class[targets.class_index]
    numbers = torch.zeros(labels.batch_size, 2, head.numbers, *head.config.bev_grid.shape)
    numbers[targets.batch_index, group, :, targets.row, targets.column] = targets.numbers
    return CenterPredictions(torch.where(targets.heat == 1, 20.0, targets.heat * 10 - 12), numbers, None)


@pytest.mark.parametrize("overlap", [0.1, 0.5, 0.7])
def test_the_radius_leaves_the_overlap(overlap: float) -> None:
    size = torch.rand(50, 2, dtype=torch.float64) * 20 + 0.5
    radius = gaussian_radius(size, overlap)
    shared = (size - radius[:, None]).clamp(min=0).prod(1)
    torch.testing.assert_close(shared / (2 * size.prod(1) - shared), torch.full_like(radius, overlap))


def test_heatmaps_are_the_maxima_of_gaussians() -> None:
    count, shape = 30, (2, 3, 20, 25)
    random = torch.Generator().manual_seed(1)
    frame, kind, row, column = (torch.randint(0, n, (count,), generator=random) for n in shape)
    radius = torch.randint(1, 6, (count,), generator=random)
    expected = torch.zeros(shape)
    for b, k, y, x, r in zip(frame, kind, row, column, radius, strict=True):
        for dy in range(-int(r), int(r) + 1):
            for dx in range(-int(r), int(r) + 1):
                if 0 <= y + dy < shape[2] and 0 <= x + dx < shape[3]:
                    value = math.exp(-(dx * dx + dy * dy) / (2 * ((2 * int(r) + 1) / 6) ** 2))
                    expected[b, k, y + dy, x + dx] = max(value, float(expected[b, k, y + dy, x + dx]))
    torch.testing.assert_close(draw_gaussians(frame, kind, row, column, radius, shape), expected)
    nothing = frame[:0]
    assert not draw_gaussians(nothing, nothing, nothing, nothing, nothing, shape).any()


@pytest.mark.parametrize("dimensions", [7, 9])
def test_boxes_come_back(dimensions: int) -> None:
    config = make_config()
    references = class_references(config.classes)[torch.randint(0, 3, (40,))].double()
    boxes = torch.rand(40, dimensions, dtype=torch.float64) * 4 + 0.5
    boxes[:, 6] = torch.rand(40, dtype=torch.float64) * 2 * math.pi - math.pi
    row, column, inside = center_cells(boxes, config.bev_grid)
    assert inside.all()
    numbers = encode_centers(boxes, row, column, config.bev_grid, references)
    assert (numbers[:, :2].abs() <= 0.5 + 1e-9).all()
    torch.testing.assert_close(decode_centers(numbers, row, column, config.bev_grid, references), boxes)


@pytest.mark.parametrize("velocity", [True, False])
def test_perfect_predictions_decode_to_the_labels(velocity: bool) -> None:
    config = make_config(velocity=velocity)
    head, labels = CenterHead(config.detector_settings), make_labels(config)
    predictions = perfect(head, labels)
    assert head.count(predictions, labels) == 4  # one lies outside
    found = head.decode(predictions, 0.5, 10)
    assert found.batch_index.tolist() == [0, 0, 0, 1]
    for row in range(4):
        place = (found.boxes[:, :2] - labels.boxes[row, :2]).norm(dim=1).argmin()
        torch.testing.assert_close(found.boxes[place], labels.boxes[row], equal_nan=True, atol=1e-4, rtol=1e-4)
        assert found.class_index[place] == labels.class_index[row]
    losses = head.loss(predictions, labels)
    assert set(losses) == {
        *("center_heat", "center_offset", "center_height", "center_size", "center_yaw"),
        *(("center_velocity",) if velocity else ()),
    }
    assert all(loss.isfinite() for loss in losses.values())
    assert all(float(loss) < 1e-5 for name, loss in losses.items() if name != "center_heat")
    assert float(losses["center_heat"]) < 0.1


def test_moved_by_whole_cells_all_moves_alike() -> None:
    config = make_config()
    head = CenterHead(config.detector_settings)
    shape = config.bev_grid.shape
    predictions = CenterPredictions(torch.randn(1, 3, *shape) - 2, torch.randn(1, 2, head.numbers, *shape), None)
    heat = torch.full_like(predictions.heat, -9.0)
    heat[:, :, 5:-5, 5:-5] = predictions.heat[:, :, 5:-5, 5:-5]
    moved = CenterPredictions(heat.roll((2, 3), (2, 3)), predictions.numbers.roll((2, 3), (3, 4)), None)
    here, there = (head.decode(each, 0.3, 50) for each in (CenterPredictions(heat, predictions.numbers, None), moved))
    assert len(here.boxes) > 20
    way = torch.tensor([3 * config.bev_grid.cell_size[0], 2 * config.bev_grid.cell_size[1]])
    torch.testing.assert_close(there.boxes[:, :2], here.boxes[:, :2] + way)
    torch.testing.assert_close(there.boxes[:, 2:], here.boxes[:, 2:])
    assert torch.equal(there.scores, here.scores)


def test_decode_keeps_what_is_asked_for() -> None:
    config = make_config()
    head = CenterHead(config.detector_settings)
    shape = config.bev_grid.shape
    predictions = CenterPredictions(torch.randn(2, 3, *shape), torch.randn(2, 2, head.numbers, *shape), None)
    found = head.decode(predictions, 0.2, 7)
    assert (found.scores > 0.2).all()
    for frame in range(2):
        own = found.batch_index == frame
        assert torch.bincount(found.class_index[own], minlength=3).tolist() == [7, 7, 7]
        assert (found.scores[own].diff() <= 0).all()
    assert len(head.decode(predictions, 0.2, 7, together=4).boxes) == 8
    heat = predictions.heat
    for frame, kind, y, x in ((0, 0, 3, 4), (1, 2, 0, 0)):
        window = heat[frame, kind, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        every = head.decode(predictions, 0.0, 10_000)
        score = heat[frame, kind, y, x].sigmoid()
        own = (every.batch_index == frame) & (every.class_index == kind)
        assert bool((every.scores[own] == score).any()) == bool(heat[frame, kind, y, x] == window.max())


def test_an_unknown_velocity_teaches_nothing() -> None:
    config = make_config()
    head, labels, bev = CenterHead(config.detector_settings), make_labels(config), make_bev(config)
    predictions = head(bev)
    numbers = predictions.numbers.detach().requires_grad_()
    loss = head.loss(CenterPredictions(predictions.heat, numbers, None), labels)["center_velocity"]
    (slope,) = torch.autograd.grad(loss, numbers)
    assert slope.isfinite().all()
    targets = center_targets(labels, config.detector_settings, head.references)
    group = head.group_of_class[targets.class_index]
    moved = slope[targets.batch_index, group, :, targets.row, targets.column].abs().sum(1) > 0
    assert moved.tolist() == [True, False, True, True]


def test_each_class_has_its_own_heatmap_and_group() -> None:
    config = make_config()
    head, bev = CenterHead(config.detector_settings), make_bev(config)
    with torch.no_grad():
        for branch, offset in zip(head.heat, ((7.0,), (5.0, 3.0)), strict=True):  # person; bus, car
            last: Any = branch
            last[-1].weight.zero_()
            last[-1].bias.copy_(torch.tensor(offset))
        predictions = head(bev)
    assert predictions.heat[0, :, 0, 0].tolist() == [3.0, 5.0, 7.0]
    assert head.group_of_class.tolist() == [1, 1, 0]
    assert predictions.numbers.shape[1:3] == (2, 10)


def test_the_iou_score_rectifies() -> None:
    config = make_config(iou_score=True, rectification=(0.5, 0.0, 1.0))
    head, labels, bev = CenterHead(config.detector_settings), make_labels(config), make_bev(config)
    predictions = head(bev)
    losses = head.loss(predictions, labels)
    assert losses["center_iou"].isfinite()
    losses["center_iou"].backward()
    known = perfect(head, labels)
    iou = torch.full((2, 2, *config.bev_grid.shape), 0.4).logit()
    found = head.decode(CenterPredictions(known.heat, known.numbers, iou), 0.1, 1)
    for kind, score in ((0, 0.4**0.5), (1, 1.0), (2, 0.4)):
        torch.testing.assert_close(found.scores[found.class_index == kind][:1], torch.tensor([score]))
    # Where boxes are right their IoU is 1, and so the best logit is a high one.
    sure = head.loss(CenterPredictions(known.heat, known.numbers, torch.full_like(iou, 15.0)), labels)["center_iou"]
    assert float(sure) < 1e-3


def test_the_average_of_equal_views_is_the_view() -> None:
    config = make_config(iou_score=True)
    head, bev = CenterHead(config.detector_settings), make_bev(config)
    one = head(bev)
    for axes in ("x", "y", "xy"):
        planes = [{"x": -1, "y": -2}[axis] for axis in axes]
        signs = torch.ones(10)
        signs[[0, 7, 8] if axes == "x" else [1, 6, 9] if axes == "y" else [0, 1, 6, 7, 8, 9]] = -1
        other = CenterPredictions(
            one.heat.flip(planes), one.numbers.flip(planes) * signs[:, None, None], one.iou.flip(planes)
        )
        mean = head.average([(one, ""), (other, axes)])
        torch.testing.assert_close(mean.heat, one.heat)
        torch.testing.assert_close(mean.numbers, one.numbers)
        torch.testing.assert_close(mean.iou, one.iou)


def test_the_heatmaps_loss_has_the_right_slope() -> None:
    logits = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    targets = torch.rand(5, 6, dtype=torch.float64)
    targets[0, :2] = 1.0
    assert torch.autograd.gradcheck(lambda values: heatmap_focal_loss(values, targets), logits)
    p = logits.detach().sigmoid()
    expected = torch.where(targets == 1, -((1 - p) ** 2) * p.log(), -((1 - targets) ** 4) * p**2 * (1 - p).log())
    torch.testing.assert_close(heatmap_focal_loss(logits, targets).detach(), expected)


def test_counts_of_parts_add_up_to_the_whole() -> None:
    config = make_config()
    head, labels, bev = CenterHead(config.detector_settings), make_labels(config), make_bev(config)
    whole = head.loss(head(bev), labels)
    parts: dict[str, Tensor] = {}
    for frame in range(2):
        own = labels.batch_index == frame
        part = LabelBatch(labels.boxes[own], labels.class_index[own], labels.batch_index[own] - frame, 1)
        maps = BevFeatures(bev.shared[frame, None], bev.anchor[frame, None], bev.occupied[frame, None], bev.grid)
        head.eval()
        for name, loss in head.loss(head(maps), part, count=4).items():
            parts[name] = parts.get(name, torch.zeros(())) + loss
    whole = head.loss(head(bev), labels)
    for name, loss in whole.items():
        torch.testing.assert_close(parts[name], loss)
