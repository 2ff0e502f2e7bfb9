from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import save_config
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.errors import InputError
from lidar_ebm.inference import box_calibration
from lidar_ebm.inference.box_calibration import calibrate
from lidar_ebm.inference.box_matching import MatchedBoxes, match_boxes
from lidar_ebm.runs.model import Model
from lidar_ebm.runs.run import save_weights
from lidar_ebm.runs.temperature import read_temperature, temperature_of, write_temperature
from lidar_ebm.types import Batch, Proposals
from lidar_ebm.workflows.calibrate import calibrate_run
from tests.cli.test_command import run as run_command

STDS = torch.tensor([0.2, 0.08, 0.03, 0.3, 0.06, 0.04, 0.02])


@pytest.fixture
def small_config(eager_config: Config) -> Config:
    uncertainty = eager_config.uncertainty.model_copy(update={"samples": 16, "rounds": 2})
    return eager_config.model_copy(update={"uncertainty": uncertainty})


@pytest.fixture
def run(small_config: Config, tmp_path: Path) -> Path:
    """A run that has learnt nothing but proposes boxes all the same."""
    folder = tmp_path / "run"
    save_config(small_config, folder / "config.yaml")
    save_weights(Model(small_config), small_config, folder / "model.safetensors")
    return folder


def labels_of_temperature(temperature: float, flip_share: float = 0.0) -> Callable[..., MatchedBoxes]:
    """In place of `match_boxes`: labels come from a Gaussian, and exp(f) is one of variances as many times smaller."""
    generator = torch.Generator().manual_seed(5)

    def match(detector: Model, batch: Batch, **_: object) -> MatchedBoxes:
        count = 400
        boxes = torch.tensor([20.0, -6.0, -0.9, 3.9, 1.6, 1.5, 3.13]).repeat(count, 1)
        mean = boxes + STDS * torch.randn(count, 7, generator=generator) * 0.5
        targets = mean + STDS * math.sqrt(temperature) * torch.randn(count, 7, generator=generator)

        def energy(y: Tensor) -> Tensor:
            def log_density(turn: float) -> Tensor:
                offset = y - mean.unsqueeze(1)
                yaw = torch.remainder(offset[..., 6:] + turn + math.pi, 2 * math.pi) - math.pi
                return -0.5 * (torch.cat([offset[..., :6], yaw], dim=-1) / STDS).square().sum(-1)

            if flip_share == 0:
                return log_density(0.0)
            odds = temperature * math.log(flip_share / (1 - flip_share))
            return torch.logaddexp(log_density(0.0), log_density(math.pi) + odds)

        flipped = torch.rand(count, generator=generator) < flip_share
        return MatchedBoxes(energy, boxes, targets, flipped, torch.full((count,), 0.8))

    return match


def splits(root: Path, config: Config) -> tuple[Model, open_samples, open_samples]:
    return Model(config).eval(), open_samples(root, "train", config), open_samples(root, "val", config)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_regions_cover_what_they_claim_once_the_temperature_is_found(
    temperature: float, tiny_config: Config, simulated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box_calibration, "match_boxes", labels_of_temperature(temperature))
    found = calibrate(*splits(simulated, tiny_config))
    assert found.temperature == pytest.approx(temperature, rel=0.1)
    assert found.matches == found.fit_matches == 400
    after = found.after.boxes
    for level, coverage, joint in zip(after.levels, after.coverage, after.joint_coverage, strict=True):
        allowed = 4 * after.standard_error(level) + 0.01
        assert joint == pytest.approx(level, abs=allowed)
        assert coverage == pytest.approx((level,) * 7, abs=allowed)
    entropy = 0.5 * 7 * math.log(2 * math.pi * math.e) + float((STDS * math.sqrt(temperature)).log().sum())
    assert after.nll == pytest.approx(entropy, abs=0.4)
    place = found.before.boxes.levels.index(0.9)
    assert (found.before.boxes.joint_coverage[place] < 0.5) == (temperature > 1)
    assert found.after.flips is None


def test_probabilities_of_flips_are_compared_with_flips(
    tiny_config: Config, simulated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = tiny_config.energy.noise.model_copy(update={"flip_share": 0.5})
    config = tiny_config.model_copy(update={"energy": tiny_config.energy.model_copy(update={"noise": noise})})
    monkeypatch.setattr(box_calibration, "match_boxes", labels_of_temperature(1.0, flip_share=0.2))
    found = calibrate(*splits(simulated, config))
    assert found.after.flips is not None
    assert found.after.flips.mean_probability == pytest.approx(0.2, abs=0.03)
    assert found.flipped_share == pytest.approx(0.2, abs=0.08)
    share = found.flipped_share
    assert found.after.flips.brier == pytest.approx(share * 0.64 + (1 - share) * 0.04, abs=0.03)


def test_matches_are_of_one_class_one_to_one_and_turned_to_the_nearer_heading(
    small_config: Config, simulated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = open_samples(simulated, "train", small_config)
    batch = collate([frames[i] for i in range(len(frames))])
    labels, count = batch.boxes, len(batch.boxes.boxes)
    assert count > 2
    turned = labels.boxes + torch.tensor([0.05] * 6 + [math.pi])
    other_class = labels.class_index.clone()
    other_class[0] += 1
    proposals = Proposals(
        torch.cat([labels.boxes, turned]),
        torch.cat([torch.full((count,), 0.2), torch.full((count,), 0.9)]),
        torch.cat([other_class, labels.class_index]),
        labels.batch_index.repeat(2),
        batch.batch_size,
    )
    detector = Model(small_config).eval()
    monkeypatch.setattr(detector.detector, "propose", lambda *_: proposals)
    found = match_boxes(detector, batch, steps=0)
    # Each label goes to the box of the higher score, and is turned to its heading.
    torch.testing.assert_close(found.boxes, turned)
    assert bool(found.flipped.all())
    torch.testing.assert_close(found.targets[:, :6], labels.boxes[:, :6])
    torch.testing.assert_close((found.targets[:, 6] - found.boxes[:, 6]).cos(), torch.ones(count))
    assert bool((found.overlap > 0.7).all())
    assert found.energy(found.targets.unsqueeze(1)).shape == (count, 1)


def test_the_verb_writes_figures_table_picture_and_temperature(
    run: Path, simulated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = simulated / "training" / "velodyne" / "000000.bin"
    assert run_command("detect", run, points, "--out", run / "found", "--uncertainty", "--steps", 0) == 0
    assert "lidar-ebm calibrate" in capsys.readouterr().err
    assert run_command("calibrate", run, "--data", simulated, "--iou", 0.02, "--steps", 1) == 0
    shown = capsys.readouterr().out
    assert "all together" in shown
    folder = run / "calibration" / "val"
    figures = json.loads((folder / "calibration.json").read_text())
    assert figures["split"] == "val"
    assert figures["after"]["count"] == figures["matches"] > 0
    assert set(figures["after"]["dimensions"]) == {"x", "y", "z", "l", "w", "h", "yaw"}
    assert figures["after"]["flips"] is None
    assert (folder / "calibration.png").read_bytes().startswith(b"\x89PNG")
    assert "| all together |" in (folder / "calibration.md").read_text()
    kept = json.loads((run / "temperature.json").read_text())
    assert kept["temperature"] == figures["temperature"]
    assert kept["weights"] == "model.safetensors"

    assert run_command("detect", run, points, "--out", run / "found", "--uncertainty", "--steps", 0) == 0
    assert "Warning" not in capsys.readouterr().err
    written = json.loads((run / "found" / "000000.json").read_text())
    assert written["temperature"] == kept["temperature"]
    assert len(written["detections"]) == len((run / "found" / "000000.txt").read_text().splitlines()) > 0
    first = written["detections"][0]
    assert len(first["box"]) == len(first["covariance"]) == len(first["covariance"][0]) == 7
    assert 0 <= first["expected_iou"] <= 1
    assert first["flip_probability"] is None


def test_another_checkpoint_leaves_the_temperature_of_the_finished_weights(
    run: Path, simulated: Path, small_config: Config
) -> None:
    save_weights(Model(small_config), small_config, run / "checkpoints" / "other.safetensors")
    found = calibrate_run(run, simulated, iou=0.02, steps=0, frames=3, weights="checkpoints/other.safetensors")
    assert found.frames <= 3
    assert (run / "calibration" / "val" / "calibration.json").is_file()
    assert not (run / "temperature.json").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--frames", 0), ["frames", "1 or more"]),
        (("--steps", -1), ["steps", "0 or more"]),
        (("--iou", 1.5), ["iou", "at most 1"]),
        (("--fit", "val"), ["val", "two splits"]),
        (("--iou", 1.0, "--steps", 0), ["train.txt", "nothing to calibrate"]),
        (("--split", "test"), ["test.txt"]),
        (("--weights", "none.safetensors"), ["none.safetensors"]),
    ],
)
def test_bad_input_ends_in_one_message_and_writes_nothing(
    options: tuple[object, ...], words: list[str], run: Path, simulated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("calibrate", run, "--data", simulated, *options) == 2
    message = capsys.readouterr().err
    assert "Error:" in message
    assert "Traceback" not in message
    for word in words:
        assert word in message
    assert not (run / "calibration").exists()
    assert not (run / "temperature.json").exists()


def test_a_temperature_is_of_its_weights(run: Path, small_config: Config) -> None:
    model, other = Model(small_config), Model(small_config)
    assert read_temperature(run, model) is None
    write_temperature(run, model, 2.5, {"weights": "model.safetensors"})
    assert read_temperature(run, model) == 2.5
    with pytest.warns(UserWarning, match=r"temperature\.json.*other weights"):
        assert read_temperature(run, other) is None
    configured = small_config.uncertainty.model_copy(update={"temperature": 4.0})
    assert temperature_of(run, other, configured) == 4.0
    for damaged in ("{", "[]", '{"temperature": 2.0}', '{"temperature": -1, "weights_sha256": ""}'):
        (run / "temperature.json").write_text(damaged)
        with pytest.raises(InputError, match=r"temperature\.json"):
            read_temperature(run, model)
