from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lidar_ebm.config.config import Config
from lidar_ebm.errors import InputError
from lidar_ebm.runs.model import Model
from lidar_ebm.runs.run import load_weights, save_weights
from lidar_ebm.training.checkpoints import Checkpoints
from lidar_ebm.training.random_states import random_states, restore_random_states
from lidar_ebm.training.state import Position, TrainingState, restore_optimizer


def saved(checkpoints: Checkpoints, config: Config, steps: int, **options: bool) -> Model:
    model = Model(config)
    checkpoints.save(model, TrainingState(Position("detector", steps, steps, frames=4)), **options)
    return model


def draws() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]  # noqa: NPY002


def test_everything_round_trips(tiny_config: Config, tmp_path: Path) -> None:
    model = Model(tiny_config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, betas=(0.8, 0.9))
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    position = Position("energy", 5, 9, frames=7, validated=1, best_ap=12.5, skipped=2, averaged=5)
    averages = {key: value + 1 for key, value in model.state_dict().items() if key.startswith("energy.")}
    states, others = random_states(), random_states()
    expected = draws()
    state = TrainingState(position, optimizer.state_dict(), averages, {"scale": 2.0}, (states, others))
    checkpoints = Checkpoints(tmp_path, tiny_config)
    checkpoints.save(model, state)
    other = Model(tiny_config)
    found = checkpoints.load_newest(other)
    assert found is not None
    assert found.position == position
    assert found.scaler == {"scale": 2.0}
    for key, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key
    assert found.ema.keys() == averages.keys()
    assert all(torch.equal(found.ema[key], value) for key, value in averages.items())
    fresh = torch.optim.AdamW(model.parameters(), lr=1.0)
    restore_optimizer(fresh, found.optimizer)
    assert (fresh.param_groups[0]["betas"], fresh.param_groups[0]["lr"]) == ((0.8, 0.9), 0.1)
    for a, b in zip(optimizer.state_dict()["state"].values(), fresh.state_dict()["state"].values(), strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)
    assert len(found.random) == 2
    restore_random_states(found.random[1])
    assert draws() == expected


def test_the_newest_few_and_the_best_stay(tiny_config: Config, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, tiny_config)
    for steps in (1, 2, 3, 10):
        model = saved(checkpoints, tiny_config, steps, best=steps == 2)
        if steps == 2:
            best = model
    assert sorted(path.name for path in tmp_path.glob("*")) == [
        "best.safetensors",
        "step_0000000003.safetensors",
        "step_0000000010.safetensors",
    ]
    other = Model(tiny_config)
    load_weights(other, tiny_config, tmp_path / "best.safetensors")
    assert torch.equal(other.detector.head.box.weight, best.detector.head.box.weight)


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "empty":
        content = bytearray()
    else:
        content[len(content) // 2 if how == "wrong byte" else 20] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["truncated", "empty", "wrong byte", "wrong header"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(how: str, tiny_config: Config, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, tiny_config)
    model = saved(checkpoints, tiny_config, 1)
    saved(checkpoints, tiny_config, 2)
    damage(tmp_path / "step_0000000002.safetensors", how)
    other = Model(tiny_config)
    with pytest.warns(UserWarning, match=r"step_0000000002\.safetensors: is damaged.*Going on from the checkpoint"):
        state = checkpoints.load_newest(other)
    assert state is not None
    assert state.position.total_step == 1
    assert torch.equal(other.detector.head.box.weight, model.detector.head.box.weight)
    checkpoints.tidy(1)
    assert [path.name for path in tmp_path.glob("*")] == ["step_0000000001.safetensors"]
    damage(tmp_path / "step_0000000001.safetensors", how)
    with pytest.raises(InputError, match=r"none of the checkpoints there can be read \(step_0000000001"):
        checkpoints.load_newest(other)


def test_files_of_other_kinds_are_refused(tiny_config: Config, tmp_path: Path) -> None:
    checkpoints, model = Checkpoints(tmp_path, tiny_config), Model(tiny_config)
    assert checkpoints.load_newest(model) is None
    save_weights(model, tiny_config, tmp_path / "step_0000000001.safetensors")
    with pytest.raises(InputError, match="no state of training"):
        checkpoints.load_newest(model)


def test_averaged_weights_are_what_is_read_of_a_checkpoint(tiny_config: Config, tmp_path: Path) -> None:
    checkpoints, model = Checkpoints(tmp_path, tiny_config), Model(tiny_config)
    weight = model.detector.head.box.weight.detach()
    state = TrainingState(Position(), ema={"anchor_head.box.weight": weight + 1})
    checkpoints.save(model, replace(state, position=Position(total_step=3)))
    other = Model(tiny_config)
    load_weights(other, tiny_config, tmp_path / "step_0000000003.safetensors")
    assert torch.equal(other.detector.head.box.weight, weight + 1)
    assert torch.equal(other.detector.head.box.bias, model.detector.head.box.bias)
