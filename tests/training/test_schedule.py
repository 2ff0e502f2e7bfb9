"""Parts of a model learn at their own rates."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lidar_ebm.config.training import StageTrainingConfig
from lidar_ebm.errors import InputError
from lidar_ebm.training.schedule import check_rates, group_parameters, make_optimizer, make_schedule


def model() -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "backbone": nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)),
            "energy": nn.Linear(1, 1),
            "anchor_head": nn.Linear(1, 2),
        }
    )


def test_each_parameter_is_in_the_group_of_its_longest_name() -> None:
    whole = model()
    groups = group_parameters(whole.named_parameters(), {"backbone": 0.1, "backbone.1": 1.0, "energy": 0.0})
    assert [group.factor for group in groups] == [1.0, 0.0, 0.1]
    expected = [
        {*whole["backbone"][1].parameters(), *whole["anchor_head"].parameters()},
        {*whole["energy"].parameters()},
        {*whole["backbone"][0].parameters()},
    ]
    assert [set(group.parameters) for group in groups] == expected


def test_the_schedule_goes_by_the_factors() -> None:
    settings = StageTrainingConfig(learning_rate=0.01)
    whole = model()
    factors = {"backbone": 0.1, "energy": 0.0}
    optimizer = make_optimizer(group_parameters(whole.named_parameters(), factors), settings)
    plain = make_optimizer(model().parameters(), settings)
    schedule, other = make_schedule(optimizer, settings, 20), make_schedule(plain, settings, 20)
    before = {name: value.detach().clone() for name, value in whole.named_parameters()}
    for _ in range(12):
        rates = [group["lr"] for group in optimizer.param_groups]
        torch.testing.assert_close(rates, [plain.param_groups[0]["lr"] * factor for factor in (1.0, 0.0, 0.1)])
        for parameter in whole.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step(), plain.step()
        schedule.step(), other.step()
    for name, value in whole.named_parameters():
        assert torch.equal(value, before[name]) == name.startswith("energy")


def test_names_that_are_no_parts_are_refused_naming_the_closest() -> None:
    check_rates({"backbone.1": 0.1, "anchor_head": 2.0}, model())
    with pytest.raises(
        InputError, match=r"training\.rates: 'backbon' is no part of this model\. Did you mean 'backbone'"
    ):
        check_rates({"backbon": 0.1}, model())
    with pytest.raises(InputError, match="There are: backbone, energy, anchor_head"):
        check_rates({"zzz": 0.1}, model())
