from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from lidar_ebm.config.config import Config
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.datasets.samples import Samples
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.files import read_labels, write_split
from lidar_ebm.inference import predict as module
from lidar_ebm.inference.detection import detect_batch
from lidar_ebm.inference.predict import Predictions, predict
from lidar_ebm.runs.model import Model
from lidar_ebm.system.processes import Group
from lidar_ebm.types import Batch, FrameFeatures
from lidar_ebm.workflows.evaluate import write_results
from tests.process_group import run_together


@pytest.fixture
def detector(eager_config: Config) -> Model:
    return Model(eager_config).eval()


def assert_same_predictions(found: Predictions, expected: Predictions) -> None:
    """The same boxes to the last digit."""
    assert found.names == expected.names
    assert found.results.keys() == expected.results.keys()
    for steps, frames in expected.results.items():
        for one, other in zip(found.results[steps], frames, strict=True):
            assert one.names.tolist() == other.names.tolist()
            columns, others = one.columns(), other.columns()
            assert columns.keys() == others.keys()
            assert np.array_equal(one.boxes, other.boxes)
            assert all(np.array_equal(value, others[name]) for name, value in columns.items())


def test_one_ascent_serves_every_number_of_steps(detector: Model, simulated: Path, tmp_path: Path) -> None:
    frames = open_samples(simulated, "val", detector.config)
    predictions = predict(detector, frames, steps=(0, 1, 3), batch_size=2)
    assert predictions.names == tuple(frames.name(i) for i in range(len(frames)))
    for steps in (0, 1, 3):
        for index, results in enumerate(predictions.results[steps]):
            alone = detect_batch(detector, collate([frames[index]]), steps).after()[0]
            assert len(results) > 0
            assert results.names.tolist() == alone.names.tolist()
            np.testing.assert_allclose(results.boxes, alone.boxes, atol=1e-5)
            np.testing.assert_allclose(results.scores, alone.scores, atol=1e-6)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "999999.txt").write_text("")
    assert isinstance(frames.frames, Frames)
    write_results(frames.frames, predictions.by_name(3), tmp_path)
    assert sorted(path.stem for path in (tmp_path / "data").iterdir()) == list(predictions.names)
    for name, results in zip(predictions.names, predictions.results[3], strict=True):
        written = read_labels(tmp_path / "data" / f"{name}.txt", require_score=True)
        assert [label.type for label in written] == results.names.tolist()
        again = frames.frames.data_set.read_results(tmp_path / "data", name)
        assert again is not None
        apart = np.abs(again.boxes - results.boxes)
        apart[:, 6] = np.abs(np.remainder(apart[:, 6] + np.pi, 2 * np.pi) - np.pi)
        assert apart.max() < 0.02  # files have two decimals


@pytest.mark.parametrize("steps", [(), (0, -1)])
def test_impossible_steps_are_refused(detector: Model, simulated: Path, steps: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="steps"):
        predict(detector, open_samples(simulated, "val", detector.config), steps=steps)


def test_gradients_are_off(detector: Model, simulated: Path) -> None:
    predict(detector, open_samples(simulated, "val", detector.config), steps=(1,))
    assert all(parameter.grad is None for parameter in detector.parameters())
    assert torch.is_grad_enabled()


@pytest.fixture
def six(simulated: Path, tmp_path: Path, tiny_config: Config) -> Samples:
    """All six frames in one split."""
    shutil.copytree(simulated, tmp_path / "six")
    write_split(tmp_path / "six" / "ImageSets" / "six.txt", [f"{index:06d}" for index in range(6)])
    return open_samples(tmp_path / "six", "six", tiny_config)


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize(("batch_size", "between"), [(1, 1), (1, 2), (2, 1), (2, 8), (4, 8)])
def test_processes_share_the_work_and_find_the_same(
    detector: Model,
    six: Samples,
    size: int,
    batch_size: int,
    between: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BATCHES_BETWEEN_EXCHANGES", between)
    alone = predict(detector, six, steps=(0, 2), batch_size=batch_size)
    seen: list[tuple[str, ...]] = []
    encode = detector.detector.encode

    def work(group: Group) -> Predictions:
        return predict(detector, six, steps=(0, 2), batch_size=batch_size, group=group)

    monkeypatch.setattr(detector.detector, "encode", lambda batch: (seen.append(batch.frame_ids), encode(batch))[1])
    for found in run_together(size, work):
        assert not isinstance(found, BaseException)
        assert_same_predictions(found, alone)
    assert sorted(seen) == [alone.names[i : i + batch_size] for i in range(0, 6, batch_size)]  # each batch once


def test_a_broken_file_in_one_share_ends_all(detector: Model, six: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Samples.__getitem__

    def broken(samples: Samples, index: int) -> Sample:
        if index == 3:
            raise InputError("frame 3 is broken")
        return read(samples, index)

    monkeypatch.setattr(Samples, "__getitem__", broken)
    first, second = run_together(2, lambda group: predict(detector, six, steps=(0,), batch_size=2, group=group))
    assert isinstance(first, InputError)
    assert str(first) == "frame 3 is broken"
    assert isinstance(second, SystemExit)


def test_an_interrupted_call_goes_on_where_it_was(
    detector: Model, six: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = predict(detector, six, steps=(0, 2), batch_size=2)
    encode, seen, parts = detector.detector.encode, [], tmp_path / "partial"

    def interrupted(batch: Batch) -> FrameFeatures:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(batch.frame_ids)
        return encode(batch)

    monkeypatch.setattr(detector.detector, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(detector, six, steps=(0, 2), batch_size=2, parts=parts)
    assert len(list(parts.iterdir())) == 2

    again: list[tuple[str, ...]] = []
    monkeypatch.setattr(detector.detector, "encode", lambda batch: (again.append(batch.frame_ids), encode(batch))[1])
    assert_same_predictions(predict(detector, six, steps=(0, 2), batch_size=2, parts=parts), undisturbed)
    assert seen + again == [undisturbed.names[i : i + 2] for i in range(0, 6, 2)]
