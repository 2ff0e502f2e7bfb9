"""Runs that begin with another run's weights, and parts that learn at their own rates."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lidar_ebm.config.config import Config
from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.errors import InputError
from lidar_ebm.workflows.train import train


def with_settings(config: Config, **settings: object) -> Config:
    return config.model_copy(update={"training": config.training.model_copy(update=settings)})


def short(config: Config, epochs: int = 1) -> Config:
    stage = config.training.detector.model_copy(update={"epochs": epochs, "batch_size": 2})
    return with_settings(config, detector=stage, energy=stage)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return {key: value for key, value in load_file(path).items() if key.startswith("model.")}


@pytest.fixture
def trained(simulated: Path, tiny_config: Config, tmp_path: Path) -> Path:
    train(short(tiny_config), simulated, tmp_path / "trained", accelerator="cpu")
    return tmp_path / "trained"


@pytest.mark.parametrize("mode", ["two_stage", "joint"])
def test_a_run_begins_where_another_ended(
    mode: str, trained: Path, simulated: Path, tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = with_settings(short(tiny_config, 0), mode=mode)
    train(config, simulated, tmp_path / "run", init=trained, accelerator="cpu")
    there, here = (weights(run / "model.safetensors") for run in (trained, tmp_path / "run"))
    for name, value in there.items():
        assert torch.equal(value, here[name]), name
    assert "parameters taken, 0 begin anew." in capsys.readouterr().out


def test_another_class_s_run_takes_what_fits(
    trained: Path, simulated: Path, tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = (*tiny_config.classes, ClassConfig(name="Pedestrian", anchor_size=(0.8, 0.6, 1.7)))
    config = with_settings(short(tiny_config).model_copy(update={"classes": classes}), ema_decay=0.5)
    train(config, simulated, tmp_path / "run", init=trained, accelerator="cpu")
    out = capsys.readouterr().out
    assert "anchor_head.classification: " in out
    assert "other classes or anchors" in out


def test_rates_slow_parts_down_or_hold_them(
    trained: Path, simulated: Path, tiny_config: Config, tmp_path: Path
) -> None:
    config = with_settings(short(tiny_config), rates={"backbone": 0.0, "bev": 0.01})
    train(config, simulated, tmp_path / "run", init=trained, accelerator="cpu")
    there, here = (weights(run / "model.safetensors") for run in (trained, tmp_path / "run"))
    change: dict[str, float] = {}
    for name, value in there.items():
        if name.endswith(("weight", "bias")):
            part = name.split(".")[1]
            change[part] = max(change.get(part, 0.0), float((here[name] - value).abs().max()))
    assert change["backbone"] == 0
    assert 0 < change["bev"] < 0.1 * change["anchor_head"]
    with pytest.raises(InputError, match=r"training\.rates: 'bakbone' is no part .* 'backbone'"):
        train(with_settings(config, rates={"bakbone": 1.0}), simulated, tmp_path / "other", accelerator="cpu")


def test_resumed_it_ends_in_the_same_bits_and_its_beginning_is_its_own(
    trained: Path, simulated: Path, tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the first step on, whose weights are the run's own by then, or from a later one."""
    checkpoints = tiny_config.training.checkpoints.model_copy(update={"every_steps": 1, "every_epochs": 0, "keep": 99})
    rates = {"backbone": 0.1, "energy": 0.5, "energy.points": 2.0}
    config = with_settings(short(tiny_config, 2), checkpoints=checkpoints, rates=rates)
    train(config, simulated, tmp_path / "whole", init=trained, accelerator="cpu")
    for step in (0, 3, 6):
        run = tmp_path / f"from_{step}"
        shutil.copytree(tmp_path / "whole", run)
        (run / "model.safetensors").unlink()
        for path in (run / "checkpoints").glob("step_*"):
            if path.name > f"step_{step:010d}.safetensors":
                path.unlink()
        capsys.readouterr()
        train(config, simulated, run, resume=True, init=trained if step == 3 else None, accelerator="cpu")
        assert ("not read, for" in capsys.readouterr().out) == (step == 3)
        one, other = weights(tmp_path / "whole" / "model.safetensors"), weights(run / "model.safetensors")
        for name, value in one.items():
            assert torch.equal(value, other[name]), (step, name)
