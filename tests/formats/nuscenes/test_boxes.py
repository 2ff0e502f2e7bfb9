from __future__ import annotations

import json
import random
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats import Context
from lidar_ebm.formats.box_format import recognise_format
from lidar_ebm.formats.nuscenes import boxes as nuscenes
from lidar_ebm.geometry.poses import FROM_RIGHT_AHEAD, inverse_pose, make_pose
from tests.formats.material import assert_same, contents_with_odd_values, drawn_boxes
from tests.formats.samples import shared

_POSES = {
    "a" * 32: make_pose(np.array([411.3, 1180.9, 1.8]), np.array([0.57, -0.01, 0.02, -0.82])),
    "b" * 32: make_pose(np.array([-20.0, 3, 0]), np.array([1.0, 0.03, -0.02, 2.0])),
}


def _box(**changes: Any) -> dict[str, Any]:
    return {
        "sample_token": "t",
        "translation": [1.0, 2.0, 3.0],
        "size": [2.0, 4.0, 1.5],
        "rotation": [1.0, 0.0, 0.0, 0.0],
        "velocity": [0.5, -0.5],
        "detection_name": "car",
        "detection_score": 0.5,
        "attribute_name": "vehicle.moving",
        **changes,
    }


def _file(tmp_path: Path, *rows: Any, **content: Any) -> Path:
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"meta": {}, "results": {"t": list(rows)}, **content}))
    return path


@pytest.mark.parametrize("columns", [(), ("scores",), ("scores", "velocity", "attribute")])
@pytest.mark.parametrize("posed", [False, True])
def test_round_trip(tmp_path: Path, columns: tuple[str, ...], posed: bool) -> None:
    generator = np.random.default_rng(1)
    frames = {token: drawn_boxes(generator, 5, *columns) for token in _POSES}
    context = Context(sensor_pose_of=_POSES.__getitem__) if posed else Context()
    path = tmp_path / "results.json"
    assert nuscenes.write(path, frames, context) == [path] and recognise_format(path) == "nuscenes"
    found = nuscenes.read(path, context)
    assert list(found) == list(frames)
    for token, boxes in frames.items():
        # The file always has a velocity and an attribute.
        filled = {} if boxes.velocity is not None else {"velocity": np.zeros((len(boxes), 2))}
        filled |= {} if boxes.attribute is not None else {"attribute": [""] * len(boxes)}
        assert_same(found[token], boxes.with_columns(**filled), 1e-9)


def test_boxes_are_those_of_the_turned_corner_points(tmp_path: Path) -> None:
    """Global corners, from the rotation's matrix, lie in the LiDAR frame where the box has them, but for the tilt."""
    token, pose = next(iter(_POSES.items()))
    yaw = 0.7
    row = _box(rotation=[np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)], translation=[430.0, 1190.0, 2.0])
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"meta": {}, "results": {token: [row | {"sample_token": token}]}}))
    (boxes,) = nuscenes.read(path, Context(sensor_pose_of=_POSES.__getitem__)).values()
    x, y, z, length, width, height, heading = boxes.boxes[0]
    assert (length, width, height) == (4.0, 2.0, 1.5)
    front = np.array([430 + 2 * np.cos(yaw), 1190 + 2 * np.sin(yaw), 2.0, 1.0])
    np.testing.assert_allclose((np.linalg.inv(pose) @ [430, 1190, 2, 1])[:3], (x, y, z), atol=1e-9)
    found = (x + 2 * np.cos(heading), y + 2 * np.sin(heading), z)
    np.testing.assert_allclose((np.linalg.inv(pose) @ front)[:3], found, atol=0.1)


def test_what_is_written_has_the_fields_of_the_benchmark(tmp_path: Path) -> None:
    boxes = drawn_boxes(np.random.default_rng(0), 2, "scores", "velocity").with_columns(velocity=[[1, 2], [np.nan] * 2])
    nuscenes.write(tmp_path / "a.json", {"t": boxes}, Context())
    content = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)
    assert {key for key in content["meta"] if key.startswith("use_")} == {
        *("use_camera", "use_lidar", "use_radar", "use_map", "use_external")
    }
    first, second = content["results"]["t"]
    assert first["sample_token"] == "t" and first["size"] == boxes.boxes[0, [4, 3, 5]].tolist()
    assert np.linalg.norm(first["rotation"]) == pytest.approx(1)
    assert first["velocity"] == [1, 2] and second["velocity"] == [0, 0] and first["attribute_name"] == ""


def test_fields_that_may_be_missing(tmp_path: Path) -> None:
    row = _box()
    for key in ("velocity", "attribute_name", "detection_score", "sample_token"):
        del row[key]
    boxes = nuscenes.read(_file(tmp_path, row), Context())["t"]
    assert boxes.columns() == {} and len(boxes) == 1
    boxes = nuscenes.read(_file(tmp_path, row | {"detection_score": 1}, _box()), Context())["t"]
    assert boxes.velocity is not None and np.isnan(boxes.velocity[0]).all() and boxes.attribute is not None
    assert boxes.attribute.tolist() == ["", "vehicle.moving"]
    assert len(nuscenes.read(_file(tmp_path), Context())["t"]) == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([3], "box 0"),
        ([_box(), _box(translation=[1, 2])], "sample t, box 1: translation"),
        ([_box(translation=["1", "2", "3"])], "box 0: translation"),
        ([_box(), _box(size=None)], "box 1: size"),
        ([_box(rotation=[0, 0, 0, 0])], "box 0: rotation is all zeros"),
        ([_box(rotation=[float("nan"), 0, 0, 0])], "box 0: rotation: holds NaN"),
        ([_box(translation=[1e400, 0, 0])], "box 0: translation: holds NaN or inf"),
        ([_box(translation=[10**400, 0, 0])], "box 0: translation"),
        ([_box(detection_score="0.5")], "detection_score"),
        ([_box(detection_score=None)], "detection_score"),
        ([_box(detection_name=3)], "detection_name"),
        ([_box(detection_name="x" * 1000)], "detection_name"),
        ([_box(velocity="a")], "velocity"),
        ([_box(attribute_name=3)], "attribute_name"),
        ([_box(), _box(sample_token="u")], "sample t, box 1: sample_token"),
        ([_box(sample_token=["t"])], "sample t, box 0: sample_token"),
    ],
)
def test_damage_is_named(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        nuscenes.read(_file(tmp_path, *rows), Context())
    assert "results.json" in str(refused.value)


@pytest.mark.parametrize("results", [None, [], 3, {"t": 1}, {"t": {"a": 1}}])
def test_results_of_another_form_are_named(tmp_path: Path, results: Any) -> None:
    with pytest.raises(InputError, match=r"results\.json"):
        nuscenes.read(_file(tmp_path, results=results), Context())


def test_scores_of_nan_are_not_written(tmp_path: Path) -> None:
    boxes = drawn_boxes(np.random.default_rng(0), 2).with_columns(scores=[1, np.nan])
    with pytest.raises(InputError, match="box 1 of frame 't'"):
        nuscenes.write(tmp_path / "a.json", {"t": boxes}, Context())
    assert list(tmp_path.iterdir()) == []


def test_mutations_are_read_or_refused(tmp_path: Path) -> None:
    path = _file(tmp_path, _box(), _box(velocity=[float("nan"), 1]))
    original = path.read_bytes()
    chance = random.Random(3)
    for _ in range(400):
        data = bytearray(original)
        if chance.random() < 0.1:
            del data[chance.randrange(len(data)) :]
        else:
            place = chance.randrange(len(data))
            data[place : place + chance.randrange(3)] = chance.choice(
                [b"", b"1", b'"', b"]", b",", b"null", b"-", b"\xff"]
            )
        path.write_bytes(data)
        nuscenes.recognise(path)
        try:
            nuscenes.read(path, Context())
        except InputError as error:
            assert "results.json" in str(error)


def test_odd_values_anywhere_are_read_or_refused(tmp_path: Path) -> None:
    content = {"meta": {}, "results": {"t": [_box(), _box()], "u": [_box(sample_token="u")]}}
    path = tmp_path / "results.json"
    for changed in contents_with_odd_values(content, 400, arrays=False):
        path.write_text(json.dumps(changed))
        try:
            nuscenes.read(path, Context())
        except InputError as error:
            assert "results.json" in str(error)


def _members(archive: Path, *ends: str) -> dict[str, Any]:
    """JSON files of an archive by the part of their name that is asked for."""
    found = {}
    with tarfile.open(archive) as opened:
        for member in opened:
            end = next((end for end in ends if member.name.endswith(end)), None)
            file = opened.extractfile(member) if end else None
            if end and file is not None:
                found[end] = json.loads(file.read())
    return found


def test_boxes_in_the_lidar_frame_are_those_of_the_official_reader(tmp_path: Path) -> None:
    tables = ("sample_data", "ego_pose", "calibrated_sensor", "sensor")
    results, official = "predictions/mini_val/perfect.json", "official/reader/samples.json"
    parts = _members(
        shared("nuscenes", "public", "public_a.tar.xz"), results, official, *(f"mini/{name}.json" for name in tables)
    )
    data, egos, sensors, kinds = ({row["token"]: row for row in parts[f"mini/{name}.json"]} for name in tables)
    poses = {}
    for row in data.values():
        mounted = sensors[row["calibrated_sensor_token"]]
        if row["is_key_frame"] and kinds[mounted["sensor_token"]]["channel"] == "LIDAR_TOP":
            ego = egos[row["ego_pose_token"]]
            pose = make_pose(ego["translation"], ego["rotation"])
            pose = pose @ make_pose(mounted["translation"], mounted["rotation"])
            poses[row["sample_token"]] = pose @ inverse_pose(FROM_RIGHT_AHEAD)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(parts[results]))
    compared = 0
    for token, boxes in nuscenes.read(path, Context(sensor_pose_of=poses.__getitem__)).items():
        for box in boxes.boxes if token in parts[official] else []:
            # The official frame has x to the right and y ahead.
            wanted = [(y, -x, z) for x, y, z in (row["center"] for row in parts[official][token]["boxes"])]
            distances = np.linalg.norm(np.array(wanted) - box[:3], axis=1)
            nearest = parts[official][token]["boxes"][int(distances.argmin())]
            assert distances.min() < 1e-9
            assert abs(np.angle(np.exp(1j * (nearest["yaw_in_lidar"] - np.pi / 2 - box[6])))) < 1e-9
            width, length, height = nearest["wlh"]
            np.testing.assert_allclose(box[3:6], (length, width, height))
            compared += 1
    assert compared > 100
