"""Ascent of f over boxes: rules, step lengths, and several starts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lidar_ebm.config.config import Config
from lidar_ebm.energy.box_features import BoxContext
from lidar_ebm.energy.energy_head import EnergyHead
from tests.energy.energy_scenes import make_batch, make_config, make_head, make_maps

CAR = torch.tensor([12.0, 2.0, -1.0, 4.0, 1.7, 1.5, 0.4])
RULES = ["halving", "momentum", "adam"]


def refinement_config(*settings: str) -> Config:
    return make_config(("bev", "points"), "refinement.step_length=1e-3", "refinement.steps=5", *settings)


def make_refinement(*settings: str) -> tuple[EnergyHead, BoxContext, Tensor]:
    torch.manual_seed(0)
    boxes = CAR + 0.2 * torch.randn(4, 7)
    head = make_head(refinement_config(*settings))
    context = head.context(make_batch(boxes, [300, 0, 9, 40]), make_maps(4), boxes, torch.arange(4))
    return head, context, boxes


@pytest.mark.parametrize("starts", [1, 6])
@pytest.mark.parametrize("rule", RULES)
def test_each_number_of_steps_is_found_in_the_record(rule: str, starts: int) -> None:
    head, context, boxes = make_refinement(f"refinement.rule={rule}", f"refinement.starts={starts}")
    recorded = head.refine(context, boxes, record=True)
    assert recorded.trajectory is not None
    for steps in range(6):
        result = head.refine(context, boxes, steps=steps)
        torch.testing.assert_close(recorded.trajectory[steps], result.y)
        torch.testing.assert_close(result.f, head(context, result.y.unsqueeze(1)).squeeze(1))
        torch.testing.assert_close(result.f0, head(context, boxes.unsqueeze(1)).squeeze(1))
        assert (result.f >= result.f0).all()
    assert torch.equal(recorded.trajectory[0], boxes)


@pytest.mark.parametrize("rule", RULES)
def test_more_starts_end_no_lower_than_the_box_itself(rule: str) -> None:
    """The box itself is among the starts, besides other draws than those of fewer starts."""
    found = []
    for starts in (1, 2, 12):
        head, context, boxes = make_refinement(f"refinement.rule={rule}", f"refinement.starts={starts}")
        found.append(head.refine(context, boxes).f)
    assert (found[1] >= found[0] - 1e-5).all()
    assert (found[2] >= found[0] - 1e-5).all()
    assert (found[2] > found[0]).any()


def test_starts_are_drawn_alike_whatever_is_random_elsewhere() -> None:
    """A box ends where it would alone, and the same in every process and run."""
    head, context, boxes = make_refinement("refinement.starts=5")
    together = head.refine(context, boxes).y
    torch.manual_seed(9)
    other = make_head(refinement_config("refinement.starts=5"))
    other.load_state_dict(head.state_dict())  # which the draws are no part of
    assert torch.equal(other.refine(context, boxes).y, together)
    alone = head.context(make_batch(boxes[1:2], [0]), make_maps(1), boxes[1:2], torch.zeros(1, dtype=torch.int64))
    assert context.bev is not None
    alone = replace(alone, bev=replace(context.bev, batch_index=context.bev.batch_index[1:2]))
    torch.testing.assert_close(head.refine(alone, boxes[1:2]).y, together[1:2])


@pytest.mark.parametrize("rule", RULES)
def test_a_dimension_without_a_step_length_stays(rule: str) -> None:
    lengths = "refinement.step_length=[1e-3,0,1e-3,0,1e-3,0,1e-3]"
    head, context, boxes = make_refinement(f"refinement.rule={rule}", lengths)
    moved = head.refine(context, boxes).y
    assert torch.equal(moved[:, 1:6:2], boxes[:, 1:6:2])
    assert (moved[:, ::2] != boxes[:, ::2]).all()


def test_starts_stay_boxes() -> None:
    head, context, boxes = make_refinement("refinement.starts=40", "refinement.start_stds=[1,1,1,5,5,5,5]")
    result = head.refine(context, boxes)
    assert head.space.contains(result.y).all()
    assert result.y.isfinite().all()


@pytest.mark.parametrize("starts", [1, 3])
def test_boxes_with_few_points_stay_and_others_are_refined_as_ever(starts: int) -> None:
    settings = (f"refinement.starts={starts}", "refinement.minimum_points=20")
    head, context, boxes = make_refinement(*settings)
    assert context.points is not None
    few = context.points.counts < 20
    assert few.tolist() == [False, True, True, False]
    result = head.refine(context, boxes, record=True)
    free = make_refinement(settings[0])[0]
    free.load_state_dict(head.state_dict())
    expected = free.refine(context, boxes, record=True)
    assert torch.equal(result.y[few], boxes[few])
    assert torch.equal(result.f[few], result.f0[few])
    assert result.trajectory is not None
    assert expected.trajectory is not None
    assert (result.trajectory[:, few] == boxes[few]).all()
    torch.testing.assert_close(result.y[~few], expected.y[~few])
    torch.testing.assert_close(result.trajectory[:, ~few], expected.trajectory[:, ~few])
