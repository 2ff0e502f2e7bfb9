"""Tables of nuScenes against the official program's reading of them, and damage of every kind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.nuscenes import records
from lidar_ebm.formats.nuscenes.tables import Tables, versions_of
from tests.nuscenes_material import NuscenesSet


@pytest.mark.parametrize("block", [1 << 9, 1 << 23])
@pytest.mark.parametrize("name", ["public_a", "public_b"])
def test_annotations_are_the_official_readers(
    name: str, block: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_BLOCK", block)
    database: NuscenesSet = request.getfixturevalue(name)
    tables = Tables.open(database.root, database.version)
    annotations, files, keyframes = tables.annotations, tables.files(), tables.keyframe_files()
    velocities = annotations.velocities(tables.sample_times)
    official = json.loads((database.folder / "official/reader/samples.json").read_text())
    assert official
    for token, content in official.items():
        sample = tables.sample_rows[token]
        assert files.tokens[keyframes[sample]] == content["sample_data"]
        assert files.filenames[keyframes[sample]] == content["lidar_file"]
        rows = annotations.rows_of_sample(sample)
        assert [annotations.tokens[row] for row in rows] == [box["token"] for box in content["boxes"]]
        for row, box in zip(rows, content["boxes"], strict=True):
            assert tables.category_names[annotations.category[row]] == box["category"]
            assert annotations.lidar_points[row] == box["num_lidar_pts"]
            assert annotations.radar_points[row] == box["num_radar_pts"]
            assert annotations.visibility[row] == int(box["visibility"] or 0)
            assert annotations.attribute_count[row] == len(box["attributes"])
            if box["attributes"]:
                assert tables.attribute_names[annotations.attribute[row]] == box["attributes"][0]
            velocity = [np.nan if value is None else value for value in box["velocity_global"] or [None] * 3]
            np.testing.assert_array_equal(velocities[row], velocity)


def test_velocities_of_chosen_rows_are_those_of_all(public_b: NuscenesSet) -> None:
    tables = Tables.open(public_b.root, public_b.version)
    rows = np.random.default_rng(0).permutation(len(tables.annotations))[:50]
    every = tables.annotations.velocities(tables.sample_times)
    np.testing.assert_array_equal(tables.annotations.velocities(tables.sample_times, rows), every[rows])


def test_versions_are_named(public_a: NuscenesSet) -> None:
    assert versions_of(public_a.root) == ["v1.0-mini"]
    with pytest.raises(InputError, match=r"v1\.0-test: there is no such folder.*v1\.0-mini"):
        Tables.open(public_a.root, "v1.0-test")


def test_samples_of_splits(public_a: NuscenesSet) -> None:
    tables = Tables.open(public_a.root, public_a.version)
    for split in ("mini_train", "mini_val"):
        expected = json.loads((public_a.folder / "official" / split / "ground_truth.json").read_text())
        assert {tables.samples[row].token for row in tables.samples_of_split(split)} == set(expected)
    with pytest.raises(InputError, match="belongs to a version that ends in 'trainval'"):
        tables.samples_of_split("val")
    with pytest.raises(InputError, match="no split 'vall'"):
        tables.samples_of_split("vall")


def test_own_splits(public_b: NuscenesSet) -> None:
    tables = Tables.open(public_b.root, public_b.version)
    np.testing.assert_array_equal(tables.samples_of_split("same_as_val"), tables.samples_of_split("val"))
    names = {tables.scenes[tables.scene_of_sample[row]].name for row in tables.samples_of_split("two")}
    assert names == {"scene-0001", "scene-0012"} & {scene.name for scene in tables.scenes}


def _change(table: str, change: Callable[[list[dict[str, Any]]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / f"{table}.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return apply


def _set(field: str, value: object, row: int = 3) -> Callable[[list[dict[str, Any]]], object]:
    return lambda content: content[row].__setitem__(field, value)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no table": (lambda folder: (folder / "sample.json").unlink(), r"the tables sample are missing"),
    "cut short": (
        lambda folder: (folder / "sample_annotation.json").write_bytes(
            (folder / "sample_annotation.json").read_bytes()[:-400]
        ),
        r"sample_annotation\.json:\d+: this is no JSON",
    ),
    "no list": (lambda folder: (folder / "scene.json").write_text('{"a": 1}'), r"scene\.json: .*one list"),
    "field missing": (
        _change("sample_annotation", lambda content: content[3].pop("size")),
        r"sample_annotation\.json: record 3 \(token .*missing required field `size`",
    ),
    "text for a number": (
        _change("sample_annotation", _set("translation", ["a", 1, 2])),
        r"record 3 \(token .*translation\[0\]: expected `float`, got `str`",
    ),
    "too short": (_change("sample_annotation", _set("size", [1.0, 2.0])), r"record 3 .*size: .*length 3"),
    "NaN": (_change("sample_annotation", _set("size", [1.0, 2.0, float("nan")])), r"record 3 .*size: .*finite"),
    "zero rotation": (_change("sample_annotation", _set("rotation", [0.0] * 4)), r"record 3 .*rotation: is all zeros"),
    "negative count": (_change("sample_annotation", _set("num_lidar_pts", -1)), r"record 3 .*num_lidar_pts: -1"),
    "sample nowhere": (
        _change("sample_annotation", _set("sample_token", "x")),
        r"record 3 .*sample_token: 'x' leads nowhere",
    ),
    "instance nowhere": (
        _change("sample_annotation", _set("instance_token", "x")),
        r"record 3 .*instance_token: 'x' leads nowhere",
    ),
    "attribute nowhere": (
        _change("sample_annotation", _set("attribute_tokens", ["x"])),
        r"record 3 .*attribute_tokens: 'x' leads nowhere",
    ),
    "next nowhere": (_change("sample_annotation", _set("next", "x")), r"record 3 .*next: 'x' leads nowhere"),
    "token twice": (
        _change("sample_annotation", lambda content: content[3].__setitem__("token", content[4]["token"])),
        r"records 3 and 4: both have the token",
    ),
    "category nowhere": (
        _change("instance", _set("category_token", "x")),
        r"instance\.json: record 3 .*category_token: 'x' leads nowhere",
    ),
    "unknown category": (
        _change("category", _set("name", "vehicle.hovercraft")),
        r"category\.json: record 3 .*'vehicle\.hovercraft' is no category of nuScenes",
    ),
    "scene nowhere": (
        _change("sample", _set("scene_token", "x")),
        r"sample\.json: record 3 .*scene_token: 'x' leads nowhere",
    ),
    "pose missing": (
        _change("ego_pose", lambda content: content.pop(0)),
        r"ego_pose_token: '\w+' leads nowhere: ego_pose\.json",
    ),
    "pose NaN": (_change("ego_pose", _set("rotation", [0, 0, 0, 0])), r"ego_pose\.json: record 3 .*no pose"),
    "sensor nowhere": (
        _change("calibrated_sensor", _set("sensor_token", "x", 0)),
        r"calibrated_sensor\.json: record 0 .*sensor_token: 'x' leads nowhere",
    ),
    "file of no sample": (
        _change("sample_data", lambda content: [each.__setitem__("sample_token", "x") for each in content]),
        r"sample_data\.json: record \d+ .*sample_token: 'x' leads nowhere",
    ),
    "no such channel": (
        _change("sensor", lambda content: [each.__setitem__("channel", "CAM_FRONT") for each in content]),
        r"no sensor 'LIDAR_TOP' is calibrated; there are CAM_FRONT",
    ),
    "time as text": (
        _change("sample", _set("timestamp", "now")),
        r"sample\.json: record 3 .*timestamp: expected `int`",
    ),
    "splits damaged": (
        lambda folder: (folder / "splits.json").write_text('{"own": "scene-0001"}'),
        r"splits\.json: own: expected a list",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(damage: str, public_a: NuscenesSet, tmp_path: Path) -> None:
    shutil.copytree(public_a.root / public_a.version, tmp_path / public_a.version)
    apply, message = DAMAGE[damage]
    apply(tmp_path / public_a.version)
    with pytest.raises(InputError, match=f"(?s){message}"):
        tables = Tables.open(tmp_path, public_a.version)
        tables.samples_of_split("mini_val")
        assert tables.category_names
        assert len(tables.annotations)
        assert len(tables.files())
        tables.samples_of_split("own")


def test_test_version_needs_no_annotations(public_a: NuscenesSet, tmp_path: Path) -> None:
    folder = tmp_path / "v1.0-test"
    shutil.copytree(public_a.root / public_a.version, folder)
    (folder / "sample_annotation.json").unlink()
    tables = Tables.open(tmp_path, "v1.0-test")
    assert len(tables.annotations) == 0
    assert not len(tables.annotations.rows_of_sample(0))
    (folder / "sample_annotation.json").write_text("[]")
    assert len(Tables.open(tmp_path, "v1.0-test").annotations) == 0


def test_braces_in_texts_do_not_end_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"token": f"t{index}", "name": 'a},{b\\"}, {' * (index % 5), "other": [{"x": 1}, {}]} for index in range(99)
    ]
    path = tmp_path / "category.json"
    path.write_text(json.dumps(rows))
    for block in (7, 64, 1000):
        monkeypatch.setattr(records, "_BLOCK", block)
        assert [(each.token, each.name) for each in records.read_records(path, records.Named)] == [
            (each["token"], each["name"]) for each in rows
        ]
