"""Simulated scenes in nuScenes' layout: resuming, growing, workers, and what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.datasets.nuscenes.writer import VERSION
from lidar_ebm.errors import InputError
from lidar_ebm.formats.nuscenes.tables import Tables
from lidar_ebm.simulation.drive import DriveSettings
from lidar_ebm.workflows.simulate_scenes import simulate_scenes
from tests.datasets.nuscenes.test_writer import check_counts, check_links, table

SETTINGS = DriveSettings(seed=3, samples=3, sweep_rate=4, azimuth_steps=120)


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes") / "data"
    simulate_scenes(root, SETTINGS, scenes=3, workers=1)
    return root


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != "simulation.json")
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_thirteen_tables_and_their_links_are_whole(data_set: Path) -> None:
    assert len(list((data_set / VERSION).glob("*.json"))) == 14  # splits.json is no table
    check_links(data_set)
    assert check_counts(data_set) > 50
    assert [scene["name"] for scene in table(data_set, "scene")] == ["scene-0001", "scene-0002", "scene-0003"]
    tables = Tables.open(data_set, VERSION)
    assert (len(tables.samples_of_split("train")), len(tables.samples_of_split("val"))) == (6, 3)


def test_sweeps_between_key_frames_belong_to_the_next_one(data_set: Path) -> None:
    rows = table(data_set, "sample_data")
    assert len(rows) == 3 * SETTINGS.sweeps == 3 * 5
    assert sum(row["is_key_frame"] for row in rows) == 9


def test_same_bytes_for_two_workers(data_set: Path, tmp_path: Path) -> None:
    seen = []
    summary = simulate_scenes(
        tmp_path, SETTINGS, scenes=3, workers=2, progress=lambda done, total: seen.append((done, total))
    )
    assert (summary.made, summary.kept, summary.val) == (9, 0, ("scene-0003",))
    assert seen == [(done, 9) for done in (0, 3, 6, 9)]
    assert digests(tmp_path) == digests(data_set)


def test_an_interrupted_call_is_resumed_and_a_set_can_grow(data_set: Path, tmp_path: Path) -> None:
    class InterruptionError(Exception):
        pass

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        simulate_scenes(tmp_path, SETTINGS, scenes=2, workers=1, progress=interrupt)
    assert not (tmp_path / VERSION).exists()
    (tmp_path / "scenes/scene-0002.json").unlink(missing_ok=True)  # as if killed before a scene's last file
    summary = simulate_scenes(tmp_path, SETTINGS, scenes=2, workers=1)
    assert (summary.made, summary.kept) == (3, 3)
    summary = simulate_scenes(tmp_path, SETTINGS, scenes=3, workers=1)
    assert (summary.made, summary.kept) == (3, 6)
    assert digests(tmp_path) == digests(data_set)


def test_scenes_of_other_settings_are_not_mixed(data_set: Path) -> None:
    before = digests(data_set)
    for other in (DriveSettings(4, 3, 4, 120), DriveSettings(3, 4, 4, 120), DriveSettings(3, 3, 4, 120, "raw")):
        with pytest.raises(InputError, match="other settings"):
            simulate_scenes(data_set, other, scenes=3, workers=1)
    with pytest.raises(InputError, match="other settings"):
        simulate_scenes(data_set, SETTINGS, scenes=3, workers=1, val_fraction=0.5)
    assert digests(data_set) == before


def test_a_data_set_from_elsewhere_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / VERSION).mkdir()
    with pytest.raises(InputError, match="not made by this simulator"):
        simulate_scenes(tmp_path, SETTINGS, scenes=1, workers=1)


def test_rolling_shutter_changes_points_and_not_labels(data_set: Path, tmp_path: Path) -> None:
    turning = DriveSettings(3, 3, 4, 120, "compensated")
    simulate_scenes(tmp_path, turning, scenes=1, workers=1)
    assert json.loads((tmp_path / "simulation.json").read_text())["rolling_shutter"] == "compensated"
    one, other = (table(root, "sample_annotation")[0]["translation"] for root in (data_set, tmp_path))
    np.testing.assert_allclose(one, other)
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.glob("s*/LIDAR_TOP/*.bin"))
    assert len(files) == SETTINGS.sweeps
    assert all((data_set / name).read_bytes() != (tmp_path / name).read_bytes() for name in files)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"scenes": 0}, "scenes"),
        ({"scenes": 1, "workers": 0}, "workers"),
        ({"scenes": 1, "val_fraction": 1.5}, "val_fraction"),
        ({"scenes": 1, "layout": "kitti"}, "'kitti': has no scenes; choose one of nuscenes"),
        ({"scenes": 2000}, "scenes: 1334 are for train"),
    ],
)
def test_arguments_that_make_no_sense_are_named(tmp_path: Path, arguments: dict[str, object], name: str) -> None:
    with pytest.raises(InputError, match=name):
        simulate_scenes(tmp_path, SETTINGS, **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
