"""The anchor head: shapes, losses, and that perfect predictions decode to the labels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lidar_ebm.config.config import Config
from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.detector.heads.anchor import AnchorHead, AnchorPredictions
from lidar_ebm.detector.heads.anchors import assign_targets
from lidar_ebm.types import BevFeatures, LabelBatch

CHANNELS = 12


def small_config() -> Config:
    return Config.model_validate(
        {
            "classes": (
                ClassConfig(),
                ClassConfig(name="Pedestrian", anchor_size=(0.8, 0.6, 1.7), positive_iou=0.5, negative_iou=0.35),
            ),
            "voxels": {"range": (0.0, -8.0, -3.0, 20.0, 8.0, 1.0), "size": (0.1, 0.1, 0.2)},
            "bev": {"channels": CHANNELS, "layers": 1},
        }
    )


def make_bev(config: Config, occupied: bool = True, batch_size: int = 2) -> BevFeatures:
    shape = config.bev_grid.shape
    maps = torch.randn(batch_size, CHANNELS, *shape)
    return BevFeatures(maps, maps, torch.full((batch_size, *shape), occupied), config.bev_grid)


def make_labels() -> LabelBatch:
    """Cars and a pedestrian with headings in all quadrants, the second frame's car on the line between the bins."""
    boxes = torch.tensor(
        [
            [5.0, -4.0, -0.9, 4.1, 1.7, 1.5, 0.1],
            [12.0, 3.0, -1.1, 3.7, 1.6, 1.4, -2.9],
            [8.0, 1.0, -0.5, 0.8, 0.7, 1.8, -1.5],
            [10.0, 0.0, -1.0, 4.5, 1.8, 1.6, math.pi / 4],
            [16.0, 5.0, -0.8, 3.5, 1.5, 1.5, 2.0],
        ]
    )
    return LabelBatch(boxes, torch.tensor([0, 0, 1, 0, 0]), torch.tensor([0, 0, 0, 1, 1]), 2)


def no_labels() -> LabelBatch:
    return LabelBatch(torch.zeros(0, 7), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long), 2)


def perfect(head: AnchorHead, bev: BevFeatures, boxes: LabelBatch) -> AnchorPredictions:
    """Predictions of a head that knew the labels."""
    blank = head(bev)
    targets = assign_targets(head.anchors, boxes, blank.covered, head.config)
    rows = targets.batch_index, targets.anchor_index
    logits = torch.full_like(blank.logits, -50.0)
    residuals, directions = torch.zeros_like(blank.residuals), torch.zeros_like(blank.directions)
    logits[rows] = 50.0
    residuals[rows] = targets.residuals
    directions[(*rows, targets.directions)] = 50.0
    return AnchorPredictions(logits, residuals, directions, blank.covered)


def test_outputs_belong_to_their_anchors() -> None:
    config = small_config()
    head, bev = AnchorHead(config), make_bev(config)
    predictions = head(bev)
    count = len(head.anchor_boxes)
    assert predictions.logits.shape == predictions.covered.shape == (2, count)
    assert predictions.residuals.shape == (2, count, 7)
    assert predictions.directions.shape == (2, count, 2)
    row, column, kind = 7, 11, 2
    cell = bev.anchor[1, :, row, column]
    anchor = (row * config.bev_grid.shape[1] + column) * 4 + kind
    weight, bias = head.box.weight[:, :, 0, 0], head.box.bias
    expected = (weight @ cell + bias)[kind * 7 : kind * 7 + 7]
    torch.testing.assert_close(predictions.residuals[1, anchor], expected)
    assert head.anchor_boxes[anchor, 0] == pytest.approx((column + 0.5) * 0.8)
    assert head.anchor_boxes[anchor, 1] == pytest.approx((row + 0.5) * 0.8 - 8)
    assert head.anchor_class_index[anchor] == 1


def test_anchors_are_no_weights() -> None:
    assert {name.split(".")[0] for name in AnchorHead(small_config()).state_dict()} == {
        "classification",
        "box",
        "direction",
    }


def test_scores_begin_near_the_prior() -> None:
    config = small_config()
    scores = AnchorHead(config)(make_bev(config)).logits.detach().sigmoid()
    assert 0.005 < float(scores.median()) < 0.02


def test_perfect_predictions_cost_nothing_and_decode_to_the_labels() -> None:
    config = small_config()
    head, bev, boxes = AnchorHead(config), make_bev(config), make_labels()
    predictions = perfect(head, bev, boxes)
    for loss in head.loss(predictions, boxes).values():
        assert float(loss) == pytest.approx(0.0, abs=1e-6)
    proposals = head.decode(predictions, 0.5, 100)
    targets = assign_targets(head.anchors, boxes, predictions.covered, config)
    assert len(proposals.boxes) == len(targets.anchor_index)
    distance = torch.cdist(proposals.boxes, boxes.boxes)
    nearest = distance.argmin(dim=1)
    torch.testing.assert_close(proposals.boxes, boxes.boxes[nearest], atol=1e-5, rtol=1e-5)
    assert set(nearest.tolist()) == set(range(5))
    assert torch.equal(proposals.class_index, boxes.class_index[nearest])
    assert torch.equal(proposals.batch_index, boxes.batch_index[nearest])


def test_losses_count_as_published() -> None:
    """Each term by its own formula over the assigned anchors."""
    config = small_config()
    head, bev, boxes = AnchorHead(config), make_bev(config), make_labels()
    predictions = head(bev)
    losses = head.loss(predictions, boxes)
    targets = assign_targets(head.anchors, boxes, predictions.covered, config)
    positives = len(targets.anchor_index)
    rows = targets.batch_index, targets.anchor_index
    probability = predictions.logits.sigmoid()
    focal = torch.where(
        targets.state == 1,
        -0.25 * (1 - probability) ** 2 * probability.log(),
        -0.75 * probability**2 * (1 - probability).log(),
    )
    focal_sum = focal[targets.state >= 0].sum()
    direction = torch.nn.functional.cross_entropy(predictions.directions[rows], targets.directions, reduction="sum")
    torch.testing.assert_close(losses["anchor_class"], focal_sum / positives)
    torch.testing.assert_close(losses["anchor_direction"], 0.2 * direction / positives)


@pytest.mark.parametrize("occupied", [True, False])
@pytest.mark.parametrize("labelled", [True, False])
def test_losses_are_finite_without_labels_or_points(occupied: bool, labelled: bool) -> None:
    config = small_config()
    head = AnchorHead(config)
    boxes = make_labels() if labelled else no_labels()
    losses = head.loss(head(make_bev(config, occupied)), boxes)
    total = torch.stack(list(losses.values())).sum()
    assert total.isfinite()
    assert bool(total > 0) == occupied
    total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in head.parameters())


def test_empty_air_neither_trains_nor_proposes() -> None:
    config = small_config()
    head, bev = AnchorHead(config), make_bev(config, occupied=False)
    predictions = head(bev)
    assert not predictions.covered.any()
    proposals = head.decode(predictions, 0.0, 50)
    assert proposals.boxes.shape == (0, 7)
    assert proposals.batch_size == 2


def test_decode_keeps_the_best_of_each_frame_and_class_in_order() -> None:
    """However many the other class has."""
    config = small_config()
    head, bev = AnchorHead(config), make_bev(config)
    with torch.no_grad():
        head.classification.bias[2:] += 3.0  # pedestrians' scores are above all cars'
    predictions = head(bev)
    scores = predictions.logits.sigmoid()
    proposals = head.decode(predictions, 0.0, 17)
    assert proposals.batch_index.tolist() == [0] * 34 + [1] * 34
    for frame in range(2):
        own = proposals.select(proposals.batch_index == frame)
        assert torch.equal(own.scores, own.scores.sort(descending=True).values)
        for label in range(2):
            expected = scores[frame, head.anchor_class_index == label].sort(descending=True).values[:17]
            torch.testing.assert_close(own.scores[own.class_index == label], expected)
    threshold = float(scores.detach().flatten().sort(descending=True).values[4])
    assert len(head.decode(predictions, threshold, 17).boxes) == 4
    assert len(head.decode(predictions, 1.0, 17).boxes) == 0


def test_decode_bounds_the_sizes_of_wild_residuals() -> None:
    config = small_config()
    head = AnchorHead(config)
    predictions = head(make_bev(config))
    wild = AnchorPredictions(
        predictions.logits, predictions.residuals * 1e4, predictions.directions, predictions.covered
    )
    boxes = head.decode(wild, 0.0, 50).boxes
    assert boxes.isfinite().all()
    assert (boxes[:, 3:6] > 0).all()
    assert boxes[:, 6].abs().max() <= math.pi


def test_learns_the_labels_of_a_random_map() -> None:
    config = small_config()
    head, boxes = AnchorHead(config), make_labels()
    boxes.boxes[3, 6] = 0.6  # on the line itself the residual's last digit decides the heading
    maps = torch.randn(2, CHANNELS, *config.bev_grid.shape, requires_grad=True)
    bev = BevFeatures(maps, maps, torch.ones(2, *config.bev_grid.shape, dtype=torch.bool), config.bev_grid)
    optimizer = torch.optim.Adam([maps, *head.parameters()], lr=0.05)
    history: list[Tensor] = []
    for _ in range(80):
        loss = torch.stack(list(head.loss(head(bev), boxes).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.detach())
    assert history[-1] < 0.05 * history[0]
    proposals = head.decode(head(bev), 0.3, 50)
    nearest = torch.cdist(boxes.boxes, proposals.boxes)
    nearest[boxes.batch_index[:, None] != proposals.batch_index] = math.inf
    assert (nearest.min(dim=1).values < 0.5).all()
