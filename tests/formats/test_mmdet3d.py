from __future__ import annotations

import json
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats import Context, mmdet3d, read_boxes
from lidar_ebm.formats.box_format import recognise_format
from tests.formats.material import assert_same, contents_with_odd_values, drawn_boxes
from tests.formats.samples import shared

_CLASSES = ("Pedestrian", "Forklift é", "Car")
_CONTEXT = Context(classes=_CLASSES)


def _content(**changes: Any) -> dict[str, Any]:
    return {
        "labels_3d": [0, 2],
        "scores_3d": [0.5, 0.25],
        "bboxes_3d": [[1, 2, -1, 4, 2, 1.5, 4.0], [10, 2, -1.5, 0.5, 0.6, 1.7, -0.5]],
        "box_type_3d": "LiDAR",
        **changes,
    }


def _file(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "000008.json"
    path.write_text(json.dumps({key: value for key, value in _content(**changes).items() if value != "left out"}))
    return path


def test_the_two_toolboxes_say_the_same_of_the_same_boxes() -> None:
    folder = shared("import", "public", "predictions")
    ours = read_boxes(folder / "mmdet3d_preds", classes=("Pedestrian", "Cyclist", "Car"))
    theirs = read_boxes(folder / "result_numpy2_protocol4.pkl")
    assert isinstance(ours, dict) and isinstance(theirs, dict)
    assert sorted(ours) == sorted(theirs)
    for name, boxes in ours.items():
        assert boxes.names.tolist() == theirs[name].names.tolist()
        assert_same(
            boxes, theirs[name].with_columns(alpha=None, truncated=None, occluded=None, image_rectangle=None), 2e-6
        )


def test_z_is_raised_to_the_centre_and_yaw_wrapped(tmp_path: Path) -> None:
    frames = mmdet3d.read(_file(tmp_path), _CONTEXT)
    boxes = frames["000008"]
    np.testing.assert_allclose(boxes.boxes[:, 2], [-0.25, -0.65])
    np.testing.assert_allclose(boxes.boxes[:, 6], [4 - 2 * np.pi, -0.5])
    assert boxes.names.tolist() == ["Pedestrian", "Car"]


@pytest.mark.parametrize("columns", [("scores",), ("scores", "velocity")])
def test_round_trip_of_a_folder(tmp_path: Path, columns: tuple[str, ...]) -> None:
    generator = np.random.default_rng(1)
    frames = {f"{index:06d}": drawn_boxes(generator, count, *columns) for index, count in enumerate((5, 0, 1))}
    written = mmdet3d.write(tmp_path / "preds", frames, _CONTEXT)
    assert sorted(written) == [tmp_path / "preds" / f"{name}.json" for name in frames]
    for path in (tmp_path, tmp_path / "preds"):
        assert recognise_format(path) == "mmdet3d"
        found = mmdet3d.read(path, _CONTEXT)
        assert list(found) == list(frames)
        for name, boxes in frames.items():
            # A file without boxes does not say that others would have a velocity.
            wanted = boxes if len(boxes) else boxes.with_columns(velocity=None)
            assert_same(found[name], wanted, 1e-12)


def test_a_file_is_written_and_read_alone(tmp_path: Path) -> None:
    boxes = drawn_boxes(np.random.default_rng(0), 3)
    mmdet3d.write(tmp_path / "a.json", {"a": boxes}, _CONTEXT)
    assert recognise_format(tmp_path / "a.json") == "mmdet3d"
    assert_same(mmdet3d.read(tmp_path / "a.json", _CONTEXT)["a"], boxes.with_columns(scores=np.ones(3)), 1e-12)


def test_classes_are_asked_for(tmp_path: Path) -> None:
    path = _file(tmp_path)
    for action in (
        lambda: mmdet3d.read(path, Context()),
        lambda: mmdet3d.write(tmp_path / "b.json", {"b": drawn_boxes(np.random.default_rng(0), 1)}, Context()),
    ):
        with pytest.raises(InputError, match="classes"):
            action()
    with pytest.raises(InputError, match="holds 2, but `classes` names 1"):
        mmdet3d.read(path, Context(classes=("Car",)))
    with pytest.raises(InputError, match="is not in `classes`"):
        mmdet3d.write(tmp_path / "b.json", {"b": drawn_boxes(np.random.default_rng(0), 9)}, Context(classes=("Car",)))
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("kind", ["Camera", "Depth", "", 3, None])
def test_boxes_of_other_frames_are_refused_by_name(tmp_path: Path, kind: Any) -> None:
    with pytest.raises(InputError, match=r"000008\.json.*(LiDAR|box_type_3d)"):
        mmdet3d.read(_file(tmp_path, box_type_3d=kind), _CONTEXT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels_3d": [0]}, "labels_3d"),
        ({"labels_3d": [0, -1]}, "labels_3d holds -1"),
        ({"labels_3d": [0, 0.5]}, "labels_3d"),
        ({"labels_3d": ["Car", "Car"]}, "labels_3d"),
        ({"labels_3d": "left out"}, "labels_3d"),
        ({"scores_3d": [0.5]}, "scores_3d"),
        ({"scores_3d": [0.5, None]}, "scores_3d"),
        ({"scores_3d": [0.5, float("nan")]}, "scores_3d: holds NaN"),
        ({"bboxes_3d": [[0] * 8] * 2}, "8 columns"),
        ({"bboxes_3d": [[0] * 7, [0] * 9]}, "bboxes_3d"),
        ({"bboxes_3d": [[0] * 7, "a"]}, "bboxes_3d"),
        ({"bboxes_3d": [[float("nan")] * 7] * 2}, "bboxes_3d: holds NaN"),
        ({"bboxes_3d": 3}, "bboxes_3d"),
        ({"box_type_3d": "left out"}, "box_type_3d"),
    ],
)
def test_damage_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=rf"000008\.json.*{message}"):
        mmdet3d.read(_file(tmp_path, **changes), _CONTEXT)


class Mmdet3dObject:
    """A stand-in for an object of mmdetection3d's own."""

    def __reduce__(self) -> Any:
        return Mmdet3dObject, ()


def test_its_own_pickle_points_to_the_json(tmp_path: Path) -> None:
    path = tmp_path / "dump.pkl"
    path.write_bytes(pickle.dumps([{"pred_instances_3d": {"bboxes_3d": Mmdet3dObject()}, "sample_idx": 1}]))
    assert recognise_format(path) == "mmdet3d"
    with pytest.raises(InputError, match=r"dump\.pkl.*JSON"):
        mmdet3d.read(path, _CONTEXT)


def test_mutations_are_read_or_refused(tmp_path: Path) -> None:
    path = _file(tmp_path)
    original = path.read_bytes()
    chance = random.Random(3)
    for _ in range(300):
        data = bytearray(original)
        place = chance.randrange(len(data))
        data[place : place + chance.randrange(3)] = chance.choice([b"", b"1", b'"', b"]", b",", b"null", b"-", b"\xff"])
        path.write_bytes(data)
        mmdet3d.recognise(path)
        try:
            mmdet3d.read(path, _CONTEXT)
        except InputError as error:
            assert "000008.json" in str(error)


def test_odd_values_anywhere_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "000008.json"
    for content in contents_with_odd_values(_content(), 300, arrays=False):
        path.write_text(json.dumps(content))
        try:
            mmdet3d.read(path, _CONTEXT)
        except InputError as error:
            assert "000008.json" in str(error)
