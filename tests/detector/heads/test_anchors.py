"""Anchors, what they cover, direction bins, and target assignment against a loop over all pairs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lidar_ebm.config.config import Config
from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.detector.heads.anchors import (
    IGNORED,
    NEGATIVE,
    POSITIVE,
    anchors_per_cell,
    assign_targets,
    covered_anchors,
    direction_bin,
    make_anchors,
    resolve_direction,
)
from lidar_ebm.geometry.boxes import decode_boxes, nearest_axis_aligned_iou
from lidar_ebm.types import LabelBatch

CAR = ClassConfig()
PEDESTRIAN = ClassConfig(
    name="Pedestrian",
    merge=(),
    anchor_size=(0.8, 0.6, 1.73),
    anchor_center_z=-0.7,
    anchor_yaws=(0.0,),
    positive_iou=0.5,
    negative_iou=0.35,
)


def small_config(*classes: ClassConfig) -> Config:
    """20 × 25 cells of 0.8 m."""
    voxels = {"range": (0.0, -8.0, -3.0, 20.0, 8.0, 1.0), "size": (0.1, 0.1, 0.2)}
    return Config.model_validate({"classes": classes or (CAR,), "voxels": voxels})


def random_labels(config: Config, count: int, batch_size: int = 2) -> LabelBatch:
    """Labels of every class in and around the grid, close enough to compete for anchors."""
    labels = torch.randint(len(config.classes), (count,))
    sizes = torch.tensor([item.anchor_size for item in config.classes])[labels]
    boxes = torch.empty(count, 7)
    boxes[:, 0] = torch.rand(count) * 22 - 1
    boxes[:, 1] = torch.rand(count) * 18 - 9
    boxes[:, 2] = torch.randn(count) * 0.3 - 1
    boxes[:, 3:6] = sizes * (1 + 0.1 * torch.randn(count, 3))
    boxes[:, 6] = (torch.rand(count) - 0.5) * 2 * math.pi
    return LabelBatch(boxes, labels, torch.randint(batch_size, (count,)), batch_size)


def everywhere(config: Config, batch_size: int = 2) -> Tensor:
    return torch.ones(batch_size, *config.bev_grid.shape, dtype=torch.bool)


def test_published_anchors() -> None:
    anchors = make_anchors(Config())
    assert anchors.boxes.shape == (200 * 176 * 2, 7)
    boxes = anchors.boxes.view(200, 176, 2, 7)
    torch.testing.assert_close(boxes[0, 0, 0], torch.tensor([0.2, -39.8, -1.0, 3.9, 1.6, 1.56, 0.0]))
    torch.testing.assert_close(boxes[199, 175, 1, :2], torch.tensor([70.2, 39.8]))
    torch.testing.assert_close(boxes[5, 7, :, 6], torch.tensor([0.0, math.pi / 2]))
    assert (anchors.class_index == 0).all()


def test_order_is_row_column_class_yaw() -> None:
    config = small_config(CAR, PEDESTRIAN)
    anchors = make_anchors(config)
    height, width = config.bev_grid.shape
    assert anchors_per_cell(config) == 3
    boxes, class_index = anchors.boxes.view(height, width, 3, 7), anchors.class_index.view(height, width, 3)
    assert class_index[3, 4].tolist() == [0, 0, 1]
    assert boxes[3, 4, 2, 3:6].tolist() == pytest.approx(PEDESTRIAN.anchor_size)
    assert (boxes[:, 0, 0, 1].diff() > 0).all()
    assert (boxes[0, :, 0, 0].diff() > 0).all()


def test_covered_anchors_hold_the_centre_of_an_occupied_cell() -> None:
    config = small_config(CAR, PEDESTRIAN)
    occupied = torch.rand(2, *config.bev_grid.shape) < 0.03
    anchors = make_anchors(config)
    centers = anchors.boxes.view(*occupied.shape[1:], 3, 7)[:, :, 0, :2]
    covered = covered_anchors(occupied, config)
    for frame in range(2):
        filled = centers[occupied[frame]]  # [n, 2]
        sideways = anchors.boxes[:, 6] > 1
        half = torch.where(sideways[:, None], anchors.boxes[:, [4, 3]], anchors.boxes[:, 3:5]) / 2 + 1e-4
        expected = ((filled - anchors.boxes[:, None, :2]).abs() <= half[:, None]).all(dim=-1).any(dim=1)
        assert torch.equal(covered[frame], expected)


def test_direction_bins_split_the_circle_on_its_diagonals() -> None:
    degrees = torch.tensor([0.0, 90.0, 179.0, -180.0, -90.0, 44.0, 46.0, -136.0, -134.0])
    assert direction_bin(torch.deg2rad(degrees)).tolist() == [1, 0, 0, 0, 1, 1, 0, 0, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_direction_round_trip_for_all_headings(dtype: torch.dtype) -> None:
    yaw = torch.cat(
        [torch.linspace(-math.pi, math.pi - 1e-6, 10_001), torch.tensor([math.pi / 4, -3 * math.pi / 4, 0.0])]
    ).to(dtype)
    for turns in (0, 1, -1):
        restored = resolve_direction(yaw + math.pi * turns, direction_bin(yaw))
        difference = torch.remainder(restored - yaw + math.pi, 2 * math.pi) - math.pi
        assert restored.min() >= -math.pi
        assert restored.max() < math.pi
        # On the line between the bins either side may come back once a half turn has been added; elsewhere none does.
        on_the_line = (torch.remainder(yaw - math.pi / 4 + 1e-4, math.pi) < 2e-4) & (turns != 0)
        assert (difference.abs()[~on_the_line] < 2e-6).all()


@pytest.mark.parametrize("classes", [(CAR,), (CAR, PEDESTRIAN)])
@pytest.mark.parametrize("filled", [1.0, 0.05])
def test_assignment_matches_a_loop_over_all_pairs(classes: tuple[ClassConfig, ...], filled: float) -> None:
    config = small_config(*classes)
    anchors, boxes = make_anchors(config), random_labels(config, 24)
    covered = covered_anchors(torch.rand(2, *config.bev_grid.shape) < filled, config)
    targets = assign_targets(anchors, boxes, covered, config)

    found = {}
    for row, key in enumerate(zip(targets.batch_index.tolist(), targets.anchor_index.tolist(), strict=True)):
        assert key not in found  # every positive is listed once
        found[key] = int(targets.label_index[row])
    assert torch.equal(torch.nonzero(targets.state == POSITIVE), torch.tensor(sorted(found)))

    for frame in range(2):
        for index, item in enumerate(config.classes):
            own = torch.nonzero((anchors.class_index == index) & covered[frame])[:, 0]
            rows = torch.nonzero((boxes.class_index == index) & (boxes.batch_index == frame))[:, 0]
            iou = nearest_axis_aligned_iou(anchors.boxes[own], boxes.boxes[rows])
            best = iou.max(dim=0).values  # of each label
            for place, anchor in enumerate(own.tolist()):
                highest = float(iou[place].max()) if len(rows) else 0.0
                state = int(targets.state[frame, anchor])
                if state == POSITIVE:
                    column = int(torch.nonzero(rows == found[frame, anchor])[0])
                    value = float(iou[place, column])
                    assert value > 0
                    assert (value == highest and value >= item.positive_iou) or value == float(best[column])
                elif state == IGNORED:
                    assert item.negative_iou <= highest < item.positive_iou
                else:
                    assert state == NEGATIVE
                    assert highest < item.negative_iou
            # Every label that touches an anchor that counts has one, unless that anchor overlaps another label more.
            for column, row in enumerate(rows.tolist()):
                if best[column] > 0 and row not in found.values():
                    anchor = int(own[iou[:, column].argmax()])
                    rival = int(torch.nonzero(rows == found[frame, anchor])[0])
                    assert iou[:, rival].max() >= best[column]
    assert (targets.state[~covered] == IGNORED).all()


def test_targets_decode_to_their_labels() -> None:
    config = small_config(CAR, PEDESTRIAN)
    anchors, boxes = make_anchors(config), random_labels(config, 30)
    targets = assign_targets(anchors, boxes, covered_anchors(everywhere(config), config), config)
    assert len(targets.anchor_index) > 10
    decoded = decode_boxes(targets.residuals, anchors.boxes[targets.anchor_index])
    decoded[:, 6] = resolve_direction(decoded[:, 6], targets.directions)
    torch.testing.assert_close(decoded, boxes.boxes[targets.label_index], atol=1e-5, rtol=1e-5)
    assert torch.equal(targets.batch_index, boxes.batch_index[targets.label_index])
    assert torch.equal(anchors.class_index[targets.anchor_index], boxes.class_index[targets.label_index])


def test_a_label_equal_to_an_anchor_is_positive_for_it() -> None:
    config = small_config()
    anchors = make_anchors(config)
    chosen = 2 * (10 * 25 + 12) + 1
    boxes = LabelBatch(anchors.boxes[[chosen]], torch.tensor([0]), torch.tensor([1]), 2)
    targets = assign_targets(anchors, boxes, covered_anchors(everywhere(config), config), config)
    assert (targets.state[0] == NEGATIVE).all()
    assert targets.state[1, chosen] == POSITIVE
    row = torch.nonzero(targets.anchor_index == chosen)[0]
    assert (targets.residuals[row] == 0).all()


@pytest.mark.parametrize("occupied", [True, False])
def test_no_labels_or_nothing_there(occupied: bool) -> None:
    config = small_config()
    anchors = make_anchors(config)
    filled = everywhere(config) & occupied
    count = 0 if occupied else 6
    targets = assign_targets(anchors, random_labels(config, count), covered_anchors(filled, config), config)
    assert len(targets.anchor_index) == len(targets.residuals) == len(targets.directions) == 0
    assert targets.residuals.shape == (0, 7)
    assert (targets.state == (NEGATIVE if occupied else IGNORED)).all()


def test_labels_beyond_the_grid_have_no_anchor() -> None:
    config = small_config()
    boxes = random_labels(config, 3)
    boxes.boxes[:, 0] += 200
    targets = assign_targets(make_anchors(config), boxes, covered_anchors(everywhere(config), config), config)
    assert (targets.state == NEGATIVE).all()
