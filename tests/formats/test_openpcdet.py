from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats import Context, openpcdet, read_boxes
from lidar_ebm.formats.kitti.calibration import Calibration
from tests.formats.material import assert_same, contents_with_odd_values, drawn_boxes
from tests.formats.samples import shared

_VERSIONS = ["numpy1_protocol3", *(f"numpy2_protocol{n}" for n in (2, 3, 4, 5))]
_CAMERA = Calibration(
    p2=np.array([[700.0, 0, 600, 45], [0, 700, 180, 0.2], [0, 0, 1, 0.003]]),
    r0_rect=np.array([[0.9999, 0.0098, -0.0074], [-0.0098, 0.9999, -0.0043], [0.0074, 0.0044, 1.0]]),
    tr_velo_to_cam=np.array(
        [[0.0075, -1.0, -0.0006, -0.004], [0.0148, 0.0007, -0.9999, -0.076], [0.9999, 0.0075, 0.0148, -0.27]]
    ),
)


def _frame(**changes: Any) -> dict[str, Any]:
    return {
        "name": np.array(["Car", "Van"]),
        "score": np.array([0.9, 0.5], np.float32),
        "boxes_lidar": np.array([[10, 2, -1, 4, 1.7, 1.5, 4.0], [20, 3, -1, 5, 2, 2, -9.0]], np.float32),
        "pred_labels": np.array([1, 2]),
        "frame_id": np.str_("000007"),
        **changes,
    }


def _read(tmp_path: Path, content: Any) -> dict[str, Boxes]:
    path = tmp_path / "result.pkl"
    path.write_bytes(pickle.dumps(content))
    assert isinstance(openpcdet.recognise(path), bool)
    return openpcdet.read(path, Context())


@pytest.mark.parametrize("version", _VERSIONS)
def test_results_of_every_version_are_the_expected_boxes(version: str) -> None:
    path = shared("import", "public", "predictions", f"result_{version}.pkl")
    frames = read_boxes(path)
    assert isinstance(frames, dict) and list(frames) == ["000001", "000002", "000000"]
    with np.load(path.parent / "result_expected.npz") as expected:
        for name, boxes in frames.items():
            wanted = expected[f"{name}/boxes_lidar"].astype(np.float64)
            turns = (wanted[:, 6] - boxes.boxes[:, 6]) / (2 * np.pi)
            assert np.abs(turns - np.round(turns)).max(initial=0) < 1e-12
            assert ((boxes.boxes[:, 6] >= -np.pi) & (boxes.boxes[:, 6] < np.pi)).all()
            np.testing.assert_array_equal(boxes.boxes[:, :6], wanted[:, :6])
            assert boxes.names.tolist() == ([] if name == "000000" else expected[f"{name}/name"].tolist())
            for column, key in (("scores", "score"), ("alpha", "alpha"), ("image_rectangle", "bbox")):
                np.testing.assert_array_equal(getattr(boxes, column), expected[f"{name}/{key}"])
    assert len(frames["000000"]) == 0 and frames["000000"].scores is not None


@pytest.mark.parametrize("protocol", range(6))
def test_velocity_and_headings_beyond_a_turn(tmp_path: Path, protocol: int) -> None:
    rows = np.column_stack((_frame()["boxes_lidar"], [[1, 2], [np.nan, 3]]))
    path = tmp_path / "result.pkl"
    path.write_bytes(pickle.dumps([_frame(boxes_lidar=rows, frame_id=12)], protocol))
    (boxes,) = openpcdet.read(path, Context()).values()
    np.testing.assert_array_equal(boxes.velocity, [[1, 2], [np.nan, 3]])
    np.testing.assert_allclose(boxes.boxes[:, 6], [4 - 2 * np.pi, -9 + 2 * np.pi])
    assert list(openpcdet.read(path, Context())) == ["12"] and openpcdet.recognise(path)


@pytest.mark.parametrize(
    "columns", [(), ("scores",), ("scores", "velocity", "image_rectangle", "alpha", "truncated", "occluded")]
)
def test_round_trip_is_exact(tmp_path: Path, columns: tuple[str, ...]) -> None:
    generator = np.random.default_rng(len(columns))
    frames = {f"{index:06d}": drawn_boxes(generator, count, *columns) for index, count in enumerate((7, 0, 1))}
    path = tmp_path / "sub" / "result.pkl"
    assert openpcdet.write(path, frames, Context()) == [path]
    assert openpcdet.recognise(path)
    found = openpcdet.read(path, Context())
    assert list(found) == list(frames)
    for name, boxes in frames.items():
        assert_same(found[name], boxes)


def test_round_trip_of_a_real_result_keeps_every_column(tmp_path: Path) -> None:
    path = shared("import", "public", "predictions", "result_numpy2_protocol4.pkl")
    frames = openpcdet.read(path, Context())
    openpcdet.write(tmp_path / "again.pkl", frames, Context())
    again = openpcdet.read(tmp_path / "again.pkl", Context())
    for name, boxes in frames.items():
        assert_same(again[name], boxes)


def test_what_is_written_is_what_openpcdet_evaluates(tmp_path: Path) -> None:
    boxes = drawn_boxes(np.random.default_rng(0), 9, "scores")
    empty = Boxes.empty(scores=True)
    path = tmp_path / "result.pkl"
    context = Context(
        camera_of=lambda name: _CAMERA, classes=("Pedestrian", "Forklift é", "Car"), image_size=(1242, 375)
    )
    openpcdet.write(path, {"000003": boxes, "000004": empty}, context)
    first, second = pickle.loads(path.read_bytes())
    assert first["frame_id"] == "000003" and first["name"].tolist() == boxes.names.tolist()
    assert [context.classes[label - 1] for label in first["pred_labels"]] == boxes.names.tolist()  # type: ignore[index]
    np.testing.assert_array_equal(first["boxes_lidar"], boxes.boxes)
    # The same place, put together anew: the camera's points of the bottom centre and along the heading.
    transform = _CAMERA.lidar_to_rect
    for index, (x, y, z, length, width, height, yaw) in enumerate(boxes.boxes):
        center = (transform @ (x, y, z, 1))[:3] + np.array([0, height / 2, 0])
        np.testing.assert_allclose(first["location"][index], center, atol=1e-9)
        np.testing.assert_allclose(first["dimensions"][index], (length, height, width))
        turn = first["rotation_y"][index] + yaw + np.pi / 2
        assert abs(np.angle(np.exp(1j * turn))) < 0.05
    assert first["bbox"].shape == (9, 4) and first["alpha"].shape == first["truncated"].shape == (9,)
    assert (
        second["boxes_lidar"].shape == (0, 7) and second["location"].shape == (0, 3) and second["bbox"].shape == (0, 4)
    )


def test_numbers_that_float32_holds_are_written_so(tmp_path: Path) -> None:
    boxes = Boxes(np.full((1, 7), 0.5), np.array(["Car"]), np.array([1 / 3]))
    openpcdet.write(tmp_path / "a.pkl", {"0": boxes}, Context())
    (frame,) = pickle.loads((tmp_path / "a.pkl").read_bytes())
    assert frame["boxes_lidar"].dtype == np.float32 and frame["score"].dtype == np.float64


def test_a_class_without_a_number_is_refused(tmp_path: Path) -> None:
    boxes = drawn_boxes(np.random.default_rng(0), 3)
    with pytest.raises(InputError, match="classes"):
        openpcdet.write(tmp_path / "a.pkl", {"0": boxes}, Context(classes=("Bus",)))
    assert list(tmp_path.iterdir()) == []


def test_scores_of_nan_are_not_written(tmp_path: Path) -> None:
    boxes = drawn_boxes(np.random.default_rng(0), 3).with_columns(scores=[1, np.nan, 0])
    with pytest.raises(InputError, match="box 1 of frame '0' has no score"):
        openpcdet.write(tmp_path / "a.pkl", {"0": boxes}, Context())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "instead of a list"),
        ([1], "frame 0"),
        ([_frame(frame_id=None)], "frame_id"),
        ([{"name": np.array(["Car"])}], "has no 'frame_id'"),
        ([_frame(), _frame()], "twice"),
        ([{"frame_id": "1", "name": np.zeros(0)}], "boxes_lidar"),
        ([_frame(boxes_lidar=np.zeros((2, 8)))], "8 columns"),
        ([_frame(boxes_lidar=np.zeros((3, 7)))], "score"),
        ([_frame(boxes_lidar=np.full((2, 7), np.nan))], "000007: boxes_lidar: holds NaN"),
        ([_frame(boxes_lidar=np.full((2, 7), np.inf))], "000007: boxes_lidar: holds NaN or inf"),
        ([_frame(boxes_lidar=np.array([["a"] * 7] * 2))], "no number"),
        ([_frame(boxes_lidar="text")], "boxes_lidar"),
        ([_frame(name=np.array([1.0, 2.0]))], "name"),
        ([_frame(name=np.array(["Car"]))], "name: 1 for 2 boxes"),
        ([_frame(name=np.array(["Car", "x" * 1000]))], "256"),
        ([_frame(score=np.array([np.nan, 1]))], "score: holds NaN"),
        ([_frame(score=np.array([1.0]))], r"score: has shape \[1\] instead of \[2\]"),
        ([_frame(bbox=np.zeros((2, 3)))], "bbox"),
    ],
)
def test_damage_is_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        _read(tmp_path, content)
    assert "result.pkl" in str(refused.value)


def test_odd_values_anywhere_are_read_or_refused(tmp_path: Path) -> None:
    for content in contents_with_odd_values([_frame(), _frame(frame_id="8")], 300):
        try:
            _read(tmp_path, content)
        except InputError as error:
            assert "result.pkl" in str(error)


def test_mutations_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.pkl"
    openpcdet.write(path, {"1": drawn_boxes(np.random.default_rng(0), 3, "scores", "velocity")}, Context())
    original = path.read_bytes()
    chance = random.Random(1)
    for _ in range(300):
        data = bytearray(original)
        for _ in range(chance.choice([1, 3])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        openpcdet.recognise(path)
        try:
            openpcdet.read(path, Context())
        except InputError as error:
            assert "result.pkl" in str(error)
