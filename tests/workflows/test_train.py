from __future__ import annotations

import csv
import errno
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lidar_ebm.config.augmentation import ObjectNoiseConfig, SamplingConfig
from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import load_config, save_config
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.formats.kitti.files import write_split
from lidar_ebm.formats.text_lists import read_names
from lidar_ebm.inference.detection import detect_batch
from lidar_ebm.runs.model import Model
from lidar_ebm.runs.run import load_run, model_tensors
from lidar_ebm.training.stages import EnergyStage
from lidar_ebm.workflows.simulate import simulate
from lidar_ebm.workflows.train import train
from lidar_ebm.workflows.validate import Validation

# What can be learnt by heart in seconds.
PLAIN = {
    "flip": False,
    "rotation": 0.0,
    "object_noise": ObjectNoiseConfig(enabled=False),
    "sampling": SamplingConfig(enabled=False),
}


def with_settings(config: Config, **settings: object) -> Config:
    """The configuration with training settings replaced."""
    return config.model_copy(update={"training": config.training.model_copy(update=settings)})


def test_a_run_folder_is_all_that_is_needed(
    simulated: Path, tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    train(tiny_config, simulated, run)
    assert load_config(run / "config.yaml") == tiny_config
    assert len(list((run / "checkpoints").glob("*"))) == tiny_config.training.checkpoints.keep
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["stage"] for row in rows} == {"detector", "energy"}
    assert all(float(row["loss"]) > 0 for row in rows)
    assert all(float(row["memory_mb"]) > 10 and float(row["skipped"]) == 0 for row in rows)
    assert all(float(row["seconds_per_step"]) > float(row["data_seconds"]) > 0 for row in rows)
    assert list((run / "tensorboard").glob("events*"))
    detector = load_run(run)
    frames = open_samples(simulated, "val", tiny_config)
    found = detect_batch(detector, collate([frames[0], frames[1]])).after()
    assert len(found) == 2
    with pytest.raises(InputError, match=r"run is there already.*--resume"):
        train(tiny_config, simulated, run)
    before = (run / "model.safetensors").read_bytes()
    capsys.readouterr()
    train(tiny_config, simulated, run, resume=True)  # finished: nothing to do
    (said,) = capsys.readouterr().out.splitlines()
    assert said.startswith(f"{run}: is finished already, and left as it is.") and "--init" in said
    assert (run / "model.safetensors").read_bytes() == before
    with pytest.raises(InputError, match="another configuration: seed is 0 there and 5 here"):
        train(tiny_config.model_copy(update={"seed": 5}), simulated, run, resume=True)


def test_the_energy_stage_changes_the_energy_alone(simulated: Path, tiny_config: Config, tmp_path: Path) -> None:
    detector_only = with_settings(tiny_config, energy=tiny_config.training.energy.model_copy(update={"epochs": 0}))
    train(detector_only, simulated, tmp_path / "detector")
    train(tiny_config, simulated, tmp_path / "energy", detector_run=tmp_path / "detector")
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("detector", "energy"))
    changed = {key.split(".")[1] for key, value in before.items() if not torch.equal(value, after[key])}
    assert changed == {"energy"}


def test_frozen_batch_norms_stay_in_evaluation_mode(tiny_config: Config) -> None:
    stage = EnergyStage(Model(tiny_config)).train()
    assert stage.model.energy.training
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


def test_what_an_earlier_version_left_is_refused(simulated: Path, tiny_config: Config, tmp_path: Path) -> None:
    save_config(tiny_config, tmp_path / "config.yaml")
    (tmp_path / "checkpoint.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: was written by an earlier version.*train anew"):
        train(tiny_config, simulated, tmp_path, resume=True)


def test_a_resumed_run_needs_the_same_frames(simulated: Path, tiny_config: Config, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(simulated, data)
    train(tiny_config, data, tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()
    names = (data / "ImageSets" / "train.txt").read_text().split()
    (data / "ImageSets" / "train.txt").write_text("\n".join(names[:-1]))
    with pytest.raises(InputError, match=r"train\.txt: names 3 frames, and the run began with 4"):
        train(tiny_config, data, tmp_path / "run", resume=True)


def test_a_resume_on_another_data_set_is_refused(simulated: Path, tiny_config: Config, tmp_path: Path) -> None:
    """Of as many frames with the same names."""
    other, moved = tmp_path / "other", tmp_path / "moved"
    simulate(other, frames=6, seed=2, workers=1)
    assert read_names(other / "ImageSets" / "train.txt") == read_names(simulated / "ImageSets" / "train.txt")
    run = tmp_path / "run"
    train(tiny_config, simulated, run)
    whole = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"train\.txt: the run in .*run began with other frames"):
        train(tiny_config, other, run, resume=True)
    assert not (run / "model.safetensors").exists()
    names = read_names(other / "ImageSets" / "train.txt")
    write_split(other / "ImageSets" / "train.txt", [read_names(other / "ImageSets" / "val.txt")[0], *names[1:]])
    with pytest.raises(InputError, match="began with other frames"):
        train(tiny_config, other, run, resume=True)
    shutil.copytree(simulated, moved)  # in another place it is the same
    train(tiny_config, moved, run, resume=True)
    assert (run / "model.safetensors").read_bytes() == whole


def test_what_is_not_learnt_from_may_change_on_a_resume(simulated: Path, tiny_config: Config, tmp_path: Path) -> None:
    train(tiny_config, simulated, tmp_path / "run")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    (tmp_path / "run" / "model.safetensors").unlink()
    sampling = tiny_config.augmentation.sampling.model_copy(update={"counts": {"Car": 15}})  # as null means for cars
    said = tiny_config.model_copy(
        update={"augmentation": tiny_config.augmentation.model_copy(update={"sampling": sampling})}
    )
    train(with_settings(said, workers=1, log_every=3), simulated, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_what_cannot_be_trained_is_refused(simulated: Path, tiny_config: Config, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two_stage"):
        train(with_settings(tiny_config, mode="joint"), simulated, tmp_path / "a", detector_run=tmp_path)
    with pytest.raises(InputError, match="accelerator 'abacus'"):
        train(tiny_config, simulated, tmp_path / "b", accelerator="abacus")
    stage = tiny_config.training.detector.model_copy(update={"batch_size": 3, "accumulation": 2})
    with pytest.raises(InputError, match=r"detector\.batch_size=3: is not a multiple of 1 processes × 2 passes"):
        train(with_settings(tiny_config, detector=stage), simulated, tmp_path / "c")
    stage = tiny_config.training.detector.model_copy(update={"batch_size": 6, "accumulation": 2})
    with pytest.raises(InputError, match=r"detector\.batch_size is 6, and the split has 4 frames"):
        train(with_settings(tiny_config, detector=stage), simulated, tmp_path / "d")


def test_validation_is_logged_and_chooses_the_best(
    simulated: Path, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([(5.0, 6.0), (3.0, 4.0), (0.0, 1.0), (7.0, 8.0)])
    monkeypatch.setattr(Validation, "__call__", lambda *_: next(found))
    run = tmp_path / "run"
    train(with_settings(tiny_config, validate_every=1), simulated, run)
    with (run / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["ap_after"]]
    assert [(row["step"], row["epoch"], row["stage"], row["ap_before"], row["ap_after"]) for row in rows] == [
        ("2", "0", "detector", "5", "6"),
        ("4", "1", "detector", "3", "4"),
        ("6", "0", "energy", "0", "1"),
        ("8", "1", "energy", "7", "8"),
    ]
    best, last = load_file(run / "checkpoints" / "best.safetensors"), load_file(run / "model.safetensors")
    assert all(torch.equal(best[key], value) for key, value in model_tensors(load_run(run)).items())
    assert last.keys() <= best.keys()
    detector = load_run(run, weights="checkpoints/best.safetensors")
    assert torch.equal(detector.detector.head.box.weight, last["model.anchor_head.box.weight"])


def test_validation_measures_both_and_changes_nothing(simulated: Path, tiny_config: Config, tmp_path: Path) -> None:
    averaged = with_settings(tiny_config, ema_decay=0.9)
    train(averaged, simulated, tmp_path / "without")
    train(with_settings(averaged, validate_every=2), simulated, tmp_path / "with")
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("without", "with"))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_an_interrupted_validation_is_done_again(
    simulated: Path, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, calls = with_settings(tiny_config, validate_every=1), 0

    def interrupted_once(*_: object) -> tuple[float, float]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return 1.0, 2.0

    monkeypatch.setattr(Validation, "__call__", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        train(config, simulated, tmp_path / "run")
    train(config, simulated, tmp_path / "run", resume=True)
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        steps = [row["step"] for row in csv.DictReader(file) if row["ap_after"]]
    assert steps == ["2", "4", "6", "8"]
    assert calls == 5


def test_metrics_on_a_full_disk_are_an_error_with_a_remedy(
    simulated: Path, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", full)
    with pytest.raises(OutputError, match=r"metrics cannot be written \(No space left on device\).*--resume"):
        train(tiny_config, simulated, tmp_path / "run")
