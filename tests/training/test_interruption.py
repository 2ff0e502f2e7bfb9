"""Runs that are killed, stopped or find a damaged checkpoint, in processes of their own."""

from __future__ import annotations

import csv
import os
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lidar_ebm.config.config import Config
from lidar_ebm.workflows.train import train
from tests.training.conftest import Children

EPOCHS = 4
STEPS = 4  # an epoch: four frames, one by one


@pytest.fixture
def config(tiny_config: Config) -> Config:
    """Four steps an epoch, saved after every other; averaged weights too."""
    stage = tiny_config.training.detector.model_copy(update={"epochs": EPOCHS, "batch_size": 1})
    checkpoints = tiny_config.training.checkpoints.model_copy(update={"every_steps": 2, "every_epochs": 0})
    changes = {"detector": stage, "energy": stage, "checkpoints": checkpoints, "ema_decay": 0.9, "log_every": 1}
    return tiny_config.model_copy(update={"training": tiny_config.training.model_copy(update=changes)})


def assert_same_weights(first: Path, second: Path) -> None:
    one, other = (load_file(run / "model.safetensors") for run in (first, second))
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(other[key], value), key


def steps_done(run: Path) -> int:
    """Steps in the run's metrics file, whole lines only."""
    path = run / "metrics.csv"
    return max(path.read_text().count("\n") - 1, 0) if path.exists() else 0


def wait_for_step(process: BaseProcess, run: Path, step: int) -> None:
    while steps_done(run) < step and process.is_alive():
        time.sleep(0.001)


def test_killed_at_random_moments_a_run_ends_in_the_same_bits(
    children: Children, config: Config, simulated: Path, tmp_path: Path
) -> None:
    children.train(config, simulated, tmp_path / "whole")
    rng = np.random.default_rng(5)
    run, killed_in = tmp_path / "parts", set()
    # In each stage twice, well before its end, at a random step and a random moment within that step.
    for stage in (0, 0, 1, 1):
        step = stage * EPOCHS * STEPS + int(rng.integers(1, EPOCHS * STEPS - 5))
        process = children.start(config, simulated, run, resume=True)
        wait_for_step(process, run, max(step, steps_done(run)))
        time.sleep(rng.uniform(0, 0.03))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        killed_in.add(steps_done(run) // (EPOCHS * STEPS))
    assert killed_in == {0, 1}
    children.train(config, simulated, run, resume=True)
    assert_same_weights(tmp_path / "whole", run)
    rows = [list(csv.DictReader((tmp_path / name / "metrics.csv").open())) for name in ("whole", "parts")]
    for one, other in zip(*rows, strict=True):
        for column in ("step", "epoch", "stage", "loss", "gradient_norm", "learning_rate"):
            assert one[column] == other[column]
    assert not list((run / "checkpoints").glob(".*"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 1)])
def test_a_signal_saves_the_step_in_hand_and_ends(
    number: int, status: int, children: Children, config: Config, simulated: Path, tmp_path: Path
) -> None:
    never = config.training.checkpoints.model_copy(update={"every_steps": 0})
    config = config.model_copy(update={"training": config.training.model_copy(update={"checkpoints": never})})
    run = tmp_path / "run"
    process = children.start(config, simulated, run)
    wait_for_step(process, run, 6)  # in the midst of an epoch
    os.kill(process.pid or 0, number)
    process.join()
    assert process.exitcode == status  # of a KeyboardInterrupt that nobody handles, 1; the command makes it 130
    done = steps_done(run)
    assert [path.name for path in (run / "checkpoints").glob("*")] == [f"step_{done:010d}.safetensors"]
    train(config, simulated, run, resume=True)
    assert steps_done(run) == 2 * EPOCHS * STEPS
