from __future__ import annotations

import torch

from lidar_ebm.training.ema import MovingAverage


def test_averages_follow_the_plain_formula() -> None:
    values = {"weight": torch.randn(3, 4), "count": torch.tensor(0)}
    average = MovingAverage(values, 0.6)
    expected = values["weight"].double()
    for step in range(12):
        values["weight"].copy_(torch.randn(3, 4))
        values["count"] += 1
        average.update()
        decay = min(0.6, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * values["weight"].double()
    torch.testing.assert_close(average.averages["weight"].double(), expected, rtol=1e-5, atol=1e-6)
    assert average.averages["count"] == 12


def test_taken_over_the_averages_stand_in_for_the_values() -> None:
    values = {"weight": torch.ones(2)}
    average = MovingAverage(values, 0.5)
    values["weight"].fill_(3.0)
    with average.taken_over():
        assert values["weight"].tolist() == [1.0, 1.0]
    assert values["weight"].tolist() == [3.0, 3.0]
    average.take_over()
    assert values["weight"].tolist() == [1.0, 1.0]


def test_restored_it_goes_on_alike() -> None:
    values = {"weight": torch.zeros(2)}
    first, second = MovingAverage(values, 0.99), MovingAverage(values, 0.99)
    values["weight"].fill_(1.0)
    first.update()
    second.restore(first.averages, first.updates)
    values["weight"].fill_(2.0)
    first.update()
    second.update()
    assert torch.equal(first.averages["weight"], second.averages["weight"])
