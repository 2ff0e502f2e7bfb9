"""The part-sensitive score: which boxes train it, what they should say, and that it learns."""

from __future__ import annotations

import math

import pytest
import torch

from lidar_ebm.config.config import Config
from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.detector.part_score import PartScore
from lidar_ebm.types import BevFeatures, LabelBatch, Proposals

CHANNELS = 8


def small_config(**part_score: object) -> Config:
    return Config.model_validate(
        {
            "classes": (ClassConfig(), ClassConfig(name="Cyclist", anchor_size=(1.8, 0.6, 1.7))),
            "voxels": {"range": (0.0, -8.0, -3.0, 20.0, 8.0, 1.0), "size": (0.1, 0.1, 0.2)},
            "bev": {"channels": CHANNELS, "layers": 1},
            "part_score": part_score,
        }
    )


def make_bev(config: Config, batch_size: int = 2) -> BevFeatures:
    maps = torch.randn(batch_size, CHANNELS, *config.bev_grid.shape)
    occupied = torch.ones(batch_size, *config.bev_grid.shape, dtype=torch.bool)
    return BevFeatures(maps, maps, occupied, config.bev_grid)


def make_labels(batch_size: int = 2) -> LabelBatch:
    boxes = torch.tensor(
        [
            [5.0, -4.0, -0.9, 4.1, 1.7, 1.5, 0.1],
            [12.0, 3.0, -1.1, 3.7, 1.6, 1.4, -2.9],
            [10.0, 0.0, -1.0, 4.5, 1.8, 1.6, 2.0],
        ]
    )
    return LabelBatch(boxes, torch.tensor([0, 0, 0]), torch.tensor([0, 0, 1]), batch_size)


def no_labels() -> LabelBatch:
    return LabelBatch(torch.zeros(0, 7), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long), 2)


def make_proposals(boxes: torch.Tensor, batch_index: list[int], class_index: list[int] | None = None) -> Proposals:
    """Proposals with falling scores from 0.9 on."""
    count = len(boxes)
    scores = torch.linspace(0.9, 0.2, count)
    classes = torch.tensor(class_index if class_index is not None else [0] * count, dtype=torch.long)
    return Proposals(boxes, scores, classes, torch.tensor(batch_index, dtype=torch.long), 2)


def test_one_map_for_each_class_and_grid_point() -> None:
    config = small_config(grid=(2, 3))
    module, bev = PartScore(config), make_bev(config)
    assert module.maps(bev.shared).shape[1] == 2 * 2 * 3


def test_the_score_is_that_of_the_own_class() -> None:
    config = small_config()
    module, bev, labels = PartScore(config).eval(), make_bev(config), make_labels()
    final = module.maps[3]
    with torch.no_grad():
        final.weight.zero_()
        final.bias.copy_(torch.arange(2.0).repeat_interleave(28))  # class k scores k wherever it is read on the map
    logits = module(bev, make_proposals(labels.boxes, [0, 0, 1], [1, 0, 1]))
    torch.testing.assert_close(logits, torch.tensor([1.0, 0.0, 1.0]))


def test_a_box_reads_its_own_frame() -> None:
    config = small_config()
    module, bev, labels = PartScore(config).eval(), make_bev(config), make_labels()
    together = module(bev, make_proposals(labels.boxes.repeat(2, 1), [0] * 3 + [1] * 3))
    for frame in range(2):
        alone = BevFeatures(bev.shared[[frame]], bev.anchor[[frame]], bev.occupied[[frame]], bev.grid)
        expected = module(alone, make_proposals(labels.boxes, [0] * 3))
        torch.testing.assert_close(together[3 * frame : 3 * frame + 3], expected)


def test_training_boxes_are_the_best_above_the_threshold_and_the_labels() -> None:
    config = small_config(score_threshold=0.25, max_training_boxes=3)
    labels = make_labels()
    boxes = torch.randn(9, 7)
    proposals = make_proposals(boxes, [0] * 5 + [1] * 4)
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.9, 0.3, 0.2, 0.1])
    proposals = Proposals(boxes, scores, proposals.class_index, proposals.batch_index, 2)
    chosen = PartScore(config).training_boxes(proposals, labels)
    assert torch.equal(chosen.boxes, torch.cat([boxes[[0, 1, 2, 5, 6]], labels.boxes]))
    assert chosen.batch_index.tolist() == [0, 0, 0, 1, 1, 0, 0, 1]
    assert len(chosen.scores) == len(chosen.class_index) == 8


def test_loss_knows_matches_by_class_frame_and_overlap() -> None:
    """With confident scores of the right sign the loss vanishes, and only then."""
    config = small_config()
    labels = make_labels()
    shifted = labels.boxes.clone()
    shifted[:, 0] += torch.tensor([0.1, 1.5, 0.1])  # IoU above, below, above 0.7
    proposals = make_proposals(shifted, [0, 0, 0], [0, 0, 0])  # the third stands in the wrong frame
    turned = make_proposals(labels.boxes[:1], [0], [1])  # the right place, the wrong class
    proposals = Proposals(
        torch.cat([proposals.boxes, turned.boxes]),
        torch.cat([proposals.scores, turned.scores]),
        torch.cat([proposals.class_index, turned.class_index]),
        torch.cat([proposals.batch_index, turned.batch_index]),
        2,
    )
    sign = torch.tensor([1.0, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0])  # the labels come last

    class Fixed(PartScore):
        answers = 30 * sign

        def forward(self, bev: BevFeatures, proposals: Proposals) -> torch.Tensor:
            return self.answers

    module, bev = Fixed(config), make_bev(config)
    assert float(module.loss(bev, proposals, labels)["part_score"]) == pytest.approx(0.0, abs=1e-6)
    for row in range(7):
        module.answers = 30 * sign
        module.answers[row] *= -1
        weight = 0.25 if sign[row] > 0 else 0.75
        expected = weight * 30 / 4  # four positives
        assert float(module.loss(bev, proposals, labels)["part_score"]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("proposed", [True, False])
def test_loss_is_finite_without_labels_or_proposals(labelled: bool, proposed: bool) -> None:
    config = small_config()
    module, bev = PartScore(config), make_bev(config)
    boxes = make_labels().boxes + 0.3 if proposed else torch.zeros(0, 7)
    labels = make_labels() if labelled else no_labels()
    loss = module.loss(bev, make_proposals(boxes, [0, 0, 1] if proposed else []), labels)["part_score"]
    assert loss.isfinite()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


def test_gradient_reaches_the_map_and_not_the_boxes() -> None:
    config = small_config()
    module, labels = PartScore(config), make_labels()
    shared = torch.randn(2, CHANNELS, *config.bev_grid.shape, requires_grad=True)
    bev = BevFeatures(shared, shared, make_bev(config).occupied, config.bev_grid)
    boxes = (labels.boxes + 0.2).requires_grad_()
    module.loss(bev, make_proposals(boxes, [0, 0, 1]), labels)["part_score"].backward()
    assert shared.grad is not None
    assert (shared.grad != 0).any()
    assert boxes.grad is None


def test_learns_to_tell_good_boxes_from_bad() -> None:
    config = small_config()
    module, labels = PartScore(config), make_labels()
    bad = labels.boxes.clone()
    bad[:, 6] += math.pi / 2
    proposals = make_proposals(torch.cat([bad[:2], bad[2:]]), [0, 0, 1])
    bev = make_bev(config)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        loss = module.loss(bev, proposals, labels)["part_score"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]
    module.eval()
    good = make_proposals(labels.boxes, [0, 0, 1])
    assert module(bev, good).min() > module(bev, proposals).max()
