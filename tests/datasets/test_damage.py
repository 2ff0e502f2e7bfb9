"""Whatever is lost, cut short, mixed up or corrupted is said: never a traceback, never a silent skip."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.config.config import Config
from lidar_ebm.datasets.opening import open_data_set, open_samples
from lidar_ebm.datasets.preparation.label_database import load_label_database
from lidar_ebm.datasets.preparation.prepare import prepare
from lidar_ebm.datasets.preparation.report import PrepareReport
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.errors import InputError
from lidar_ebm.workflows.train import train
from tests.datasets.damage import DAMAGES, HARMLESS, write_png

CONFIG = Config()


@pytest.fixture(scope="module")
def sound(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with images, prepared, in which nothing is wrong."""
    root = tmp_path_factory.mktemp("sound") / "data"
    shutil.copytree(simulated, root)
    for path in (root / "training" / "velodyne").iterdir():
        write_png(root / "training" / "image_2" / f"{path.stem}.png", 1242, 375)
    report = prepare(open_data_set(root), workers=1)
    assert not report.findings
    return root


def read_all(root: Path, split: str) -> list[Sample] | InputError:
    """The frames of a split, or what was said instead; anything else than an InputError is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            frames = open_samples(root, split, CONFIG)
            return [frames[index] for index in range(len(frames))]
        except InputError as error:
            return error


def check(root: Path) -> PrepareReport | InputError:
    try:
        return prepare(open_data_set(root), workers=1)
    except InputError as error:
        return error


def names_file(text: str, places: list[str]) -> bool:
    return any(place in text for place in places)


@pytest.mark.parametrize("name", DAMAGES)
def test_every_damage_is_reported(sound: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path / "data"
    shutil.copytree(sound, root)
    rng = np.random.default_rng(list(name.encode()))
    places = DAMAGES[name](root, rng)
    before = {split: read_all(root, split) for split in ("train", "val")}  # the preparation is out of date
    for found in before.values():
        assert not isinstance(found, InputError) or names_file(str(found), places), found

    report = check(root)
    if isinstance(report, InputError):
        assert names_file(str(report), places), report
        assert any(isinstance(found, InputError) for found in before.values())
        return
    named = [finding for finding in report.findings if names_file(finding.place, places)]
    assert named, [str(finding) for finding in report.findings]
    assert names_file((root / "prepared" / "report.txt").read_text(), places)
    after = {split: read_all(root, split) for split in ("train", "val")}
    failed = any(finding.is_error for finding in named)
    assert failed == any(isinstance(found, InputError) for found in after.values()) or "missing" in named[0].kind
    for split, found in after.items():
        if isinstance(found, InputError):
            assert names_file(str(found), places), found
        elif not isinstance(before[split], InputError):
            assert_same_frames(before[split], found)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_no_damage_is_used(sound: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path / "data"
    shutil.copytree(sound, root)
    HARMLESS[name](root, np.random.default_rng(list(name.encode())))
    before = {split: read_all(root, split) for split in ("train", "val")}
    report = check(root)
    assert isinstance(report, PrepareReport)
    assert not report.errors
    for split, frames in before.items():
        assert_same_frames(frames, read_all(root, split))
    load_label_database(open_data_set(root))


@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize("name", ["velodyne cut within a point", "calib noise", "label NaN", "image emptied"])
def test_training_refuses_what_cannot_be_used(
    sound: Path, tmp_path: Path, tiny_config: Config, name: str, prepared: bool
) -> None:
    root = tmp_path / "data"
    shutil.copytree(sound, root)
    shutil.copy(root / "ImageSets" / "trainval.txt", root / "ImageSets" / "train.txt")
    places = DAMAGES[name](root, np.random.default_rng(0))
    if prepared:
        prepare(open_data_set(root), workers=1)
    else:
        shutil.rmtree(root / "prepared")
    with pytest.raises(InputError) as refusal:
        train(tiny_config, root, tmp_path / "run")
    assert names_file(str(refusal.value), places)


def assert_same_frames(first: list[Sample] | InputError, second: list[Sample] | InputError) -> None:
    assert isinstance(first, list)
    assert isinstance(second, list)
    for one, other in zip(first, second, strict=True):
        assert one.frame_id == other.frame_id
        np.testing.assert_array_equal(one.points, other.points)
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.class_index, other.class_index)
