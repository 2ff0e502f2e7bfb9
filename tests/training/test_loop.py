from __future__ import annotations

import csv
import errno
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lidar_ebm.config import Config, load_config
from lidar_ebm.data.batch import collate
from lidar_ebm.data.dataset import KittiDataset
from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.model.detector import Detector
from lidar_ebm.training import loop
from lidar_ebm.training.checkpoint import load_run
from lidar_ebm.training.loop import EnergyStage, train


def with_settings(config: Config, **settings: object) -> Config:
    """The configuration with training settings replaced."""
    return config.model_copy(update={"training": config.training.model_copy(update=settings)})


def test_a_run_folder_is_all_that_is_needed(simulated: Path, tiny_config: Config, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(tiny_config, simulated, run)
    assert load_config(run / "config.yaml") == tiny_config
    assert not (run / "checkpoint.safetensors").exists()
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["stage"] for row in rows} == {"detector", "energy"}
    assert all(float(row["loss"]) > 0 for row in rows)
    assert list((run / "tensorboard").glob("events*"))
    detector = load_run(run)
    frames = KittiDataset(simulated, "val", tiny_config)
    found = detector.detect(collate([frames[0], frames[1]]))
    assert len(found) == 2
    with pytest.raises(InputError, match=r"run is there already.*--resume"):
        train(tiny_config, simulated, run)
    train(tiny_config, simulated, run, resume=True)  # finished: nothing to do
    with pytest.raises(InputError, match="another configuration: seed is 0 there and 5 here"):
        train(tiny_config.model_copy(update={"seed": 5}), simulated, run, resume=True)


def test_an_interrupted_run_ends_in_the_same_weights(
    simulated: Path, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny_config, simulated, tmp_path / "whole")
    save, saved = loop.save_checkpoint, 0

    def stop_after(count: int) -> None:
        nonlocal saved
        saved = 0

        def save_then_stop(*arguments: object) -> None:
            nonlocal saved
            save(*arguments)  # type: ignore[arg-type]
            saved += 1
            if saved == count:
                raise KeyboardInterrupt

        monkeypatch.setattr(loop, "save_checkpoint", save_then_stop)

    for count in (1, 2):  # in the middle of the detector's epochs, then of the energy's
        stop_after(count)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_config, simulated, tmp_path / "parts", resume=count > 1)
    monkeypatch.setattr(loop, "save_checkpoint", save)
    train(tiny_config, simulated, tmp_path / "parts", resume=True)
    whole, parts = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=0, atol=0, msg=key)
    rows = [(tmp_path / name / "metrics.csv").read_text().count("\n") for name in ("whole", "parts")]
    assert rows[0] == rows[1]


def test_the_energy_stage_changes_the_energy_alone(simulated: Path, tiny_config: Config, tmp_path: Path) -> None:
    detector_only = with_settings(tiny_config, energy=tiny_config.training.energy.model_copy(update={"epochs": 0}))
    train(detector_only, simulated, tmp_path / "detector")
    train(tiny_config, simulated, tmp_path / "energy", detector_run=tmp_path / "detector")
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("detector", "energy"))
    changed = {key.split(".")[1] for key, value in before.items() if not torch.equal(value, after[key])}
    assert changed == {"energy"}


def test_frozen_batch_norms_stay_in_evaluation_mode(tiny_config: Config) -> None:
    stage = EnergyStage(Detector(tiny_config)).train()
    assert stage.detector.energy.training
    norms = [m for m in stage.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert not any(norm.training for norm in norms)


def test_joint_training_trains_everything_in_one_stage(simulated: Path, tiny_config: Config, tmp_path: Path) -> None:
    train(with_settings(tiny_config, mode="joint"), simulated, tmp_path / "run")
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["stage"] for row in rows} == {"detector"}
    assert all(float(row["energy"]) > 0 and float(row["anchor_box"]) >= 0 for row in rows)


def test_training_lowers_the_losses(simulated: Path, tiny_config: Config, tmp_path: Path) -> None:
    stage = tiny_config.training.detector.model_copy(update={"epochs": 30})
    energy = stage.model_copy(update={"epochs": 250, "learning_rate": 0.01, "batch_size": 4})
    config = with_settings(tiny_config, detector=stage, energy=energy)
    config = config.model_copy(
        update={
            "augmentation": config.augmentation.model_copy(update={"flip": False, "rotation": 0.0}),
            "energy": config.energy.model_copy(update={"features": ("points",)}),
        }
    )
    train(config, simulated, tmp_path / "run")
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("detector", "energy"):
        losses = [float(row["loss"]) for row in rows if row["stage"] == name]
        assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


def test_frames_without_labels_or_points_train_like_any_other(
    simulated: Path, tiny_config: Config, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(simulated, data)
    names = (data / "ImageSets" / "train.txt").read_text().split()
    (data / "training" / "label_2" / f"{names[0]}.txt").write_text("")
    (data / "training" / "velodyne" / f"{names[1]}.bin").write_bytes(b"")
    (data / "training" / "label_2" / f"{names[-1]}.txt").write_text("")
    (data / "training" / "velodyne" / f"{names[-1]}.bin").write_bytes(b"")
    for batch_size in (1, 4):
        stage = tiny_config.training.detector.model_copy(update={"epochs": 1, "batch_size": batch_size})
        train(with_settings(tiny_config, detector=stage, energy=stage), data, tmp_path / f"run{batch_size}")
        assert (tmp_path / f"run{batch_size}" / "model.safetensors").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_file_met_while_training_is_one_message(
    workers: int, simulated: Path, tiny_config: Config, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(simulated, data)
    name = (data / "ImageSets" / "train.txt").read_text().split()[-1]
    (data / "training" / "velodyne" / f"{name}.bin").write_bytes(b"half a point")
    with pytest.raises(InputError) as caught:
        train(with_settings(tiny_config, workers=workers), data, tmp_path / "run")
    assert f"{name}.bin" in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_workers_change_nothing(simulated: Path, tiny_config: Config, tmp_path: Path) -> None:
    for workers in (0, 1):
        train(with_settings(tiny_config, workers=workers), simulated, tmp_path / str(workers))
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("0", "1"))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_what_cannot_be_trained_is_refused(simulated: Path, tiny_config: Config, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two_stage"):
        train(with_settings(tiny_config, mode="joint"), simulated, tmp_path / "a", detector_run=tmp_path)
    with pytest.raises(InputError, match="accelerator 'abacus'"):
        train(tiny_config, simulated, tmp_path / "b", accelerator="abacus")


def test_metrics_on_a_full_disk_are_an_error_with_a_remedy(
    simulated: Path, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", full)
    with pytest.raises(OutputError, match=r"metrics cannot be written \(No space left on device\).*--resume"):
        train(tiny_config, simulated, tmp_path / "run")


def test_a_loss_that_is_no_number_names_term_and_frames(
    simulated: Path, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = Detector.detector_losses
    monkeypatch.setattr(
        Detector, "detector_losses", lambda *a: {k: v * float("nan") for k, v in losses(*a).items() if "box" in k}
    )
    with pytest.raises(InputError, match=r"anchor_box is not finite in epoch 0 on frames 0000"):
        train(tiny_config, simulated, tmp_path / "run")
