from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from lidar_ebm.config.config import Config
from lidar_ebm.detector.detector import Detector
from lidar_ebm.errors import InputError
from lidar_ebm.training.step import Stepper
from lidar_ebm.workflows.train import train


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The box loss of every third step is no number."""
    losses, calls = Detector.losses, 0

    def spoil(*arguments: object) -> dict[str, torch.Tensor]:
        nonlocal calls
        calls += 1
        found = losses(*arguments)  # type: ignore[arg-type]
        return found | ({"anchor_box": found["anchor_box"] * float("nan")} if calls % 3 == 0 else {})

    monkeypatch.setattr(Detector, "losses", spoil)


def with_stage(config: Config, **settings: object) -> Config:
    stage = config.training.detector.model_copy(update=settings)
    return config.model_copy(update={"training": config.training.model_copy(update={"detector": stage})})


@pytest.mark.usefixtures("spoilt")
def test_a_loss_that_is_no_number_stops_the_run_and_leaves_its_batch(
    simulated: Path, tiny_config: Config, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(
        InputError, match=r"^anchor_box is not finite in epoch 1 on frames 0000.*--skip-nonfinite"
    ) as met:
        train(tiny_config, simulated, run)
    path = run / "nonfinite" / "step_0000000002.safetensors"
    assert str(path) in str(met.value)
    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata()
        names = json.loads(metadata["frame_ids"])
        assert (metadata["not_finite"], metadata["stage"], metadata["epoch"]) == ("anchor_box", "detector", "1")
        assert all(name in str(met.value) for name in names)
        assert file.get_tensor("points").shape[1] == 4
        assert file.get_tensor("boxes").shape[1] == 7
        assert len(file.get_tensor("seeds")) == len(names)


@pytest.mark.usefixtures("spoilt")
def test_skipping_goes_on_and_counts(simulated: Path, tiny_config: Config, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.warns(UserWarning, match="anchor_box is not finite.*the step is left out"):
        train(with_stage(tiny_config, epochs=4), simulated, run, skip_nonfinite=True)
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["skipped"] for row in rows if row["stage"] == "detector"] == ["0", "1", "2", "2"]
    assert rows[-1]["skipped"] == "2"
    assert all(float(row["loss"]) > 0 for row in rows)
    assert len(list((run / "nonfinite").glob("*"))) == 2


@pytest.mark.parametrize(
    ("frames", "advice"),
    [(2, r"training.detector: .* 2 frames at a time .*accumulation=2"), (1, r" 1 frame at a time .*max_voxels")],
)
def test_a_gpu_without_memory_names_the_setting(
    frames: int, advice: str, simulated: Path, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    monkeypatch.setattr(Stepper, "take", full)
    with pytest.raises(InputError, match=advice):
        train(with_stage(tiny_config, batch_size=frames), simulated, tmp_path / "run")
