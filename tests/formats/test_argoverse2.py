from __future__ import annotations

import importlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats import Context, argoverse2
from lidar_ebm.formats.box_format import recognise_format
from tests.formats.material import assert_same, drawn_boxes
from tests.formats.samples import count_points, shared

_LOG = ("formats", "argoverse2", "val", "7fab2350-7eaf-3b7e-a39d-6937a4c1bede")


@pytest.fixture(scope="module", autouse=True)
def arrow() -> Any:
    return pytest.importorskip("pyarrow")


def test_counted_points_are_those_that_lie_in_the_boxes() -> None:
    folder = shared(*_LOG)
    (sweep,) = (folder / "sensors" / "lidar").iterdir()
    assert recognise_format(folder) == "argoverse2"
    frames = argoverse2.read(folder, Context())
    assert list(frames) == sorted(frames, key=int) and len(frames) == 156
    boxes = frames[sweep.stem]
    points, channels = argoverse2.read_points(sweep)
    assert points.dtype == np.float32 and channels == ("intensity", "laser", "time")
    assert boxes.points is not None and len(boxes) == 81
    np.testing.assert_array_equal(count_points(points.astype(np.float64), boxes.boxes), boxes.points)


@pytest.mark.parametrize("columns", [(), ("points",), ("scores", "points", "track")])
@pytest.mark.parametrize("target", ["log", "boxes.feather"])
def test_round_trip(tmp_path: Path, columns: tuple[str, ...], target: str) -> None:
    generator = np.random.default_rng(5)
    frames = {f"31596626525983600{index}": drawn_boxes(generator, 4 - index, "track", *columns) for index in range(3)}
    (path,) = argoverse2.write(tmp_path / target, frames, Context())
    assert recognise_format(tmp_path / target) == "argoverse2"
    found = argoverse2.read(tmp_path / target, Context())
    assert path.is_file() and list(found) == list(frames)
    for name, boxes in frames.items():
        assert_same(found[name], boxes, 1e-12)


def test_frames_are_named_by_their_time(tmp_path: Path) -> None:
    for name in ("000001a", "-1", "9" * 19, "1" * 30, "٣"):
        with pytest.raises(InputError, match="nanoseconds"):
            argoverse2.write(tmp_path / "a.feather", {name: drawn_boxes(np.random.default_rng(0), 2)}, Context())
    assert list(tmp_path.iterdir()) == []


def test_no_frames_and_empty_frames_are_written(tmp_path: Path) -> None:
    for frames in ({}, {"1": Boxes.empty(scores=True)}):
        (path,) = argoverse2.write(tmp_path / "a.feather", frames, Context())
        assert argoverse2.read(path, Context()) == {}


def _table(tmp_path: Path, arrow: Any, **changes: Any) -> Path:
    columns: dict[str, Any] = {
        "timestamp_ns": [1, 1],
        "track_uuid": ["a", "b"],
        "category": ["REGULAR_VEHICLE", "BUS"],
        **{name: [1.0, 2.0] for name in ("length_m", "width_m", "height_m", "tx_m", "ty_m", "tz_m", "qw")},
        **{name: [0.0, 0.0] for name in ("qx", "qy", "qz")},
        "num_interior_pts": [3, 4],
        **changes,
    }
    path = tmp_path / "annotations.feather"
    kept = {name: values for name, values in columns.items() if values is not None}
    importlib.import_module("pyarrow.feather").write_feather(arrow.table(kept), str(path))
    return path


def test_a_quaternion_of_any_length_is_a_heading(tmp_path: Path, arrow: Any) -> None:
    path = _table(tmp_path, arrow, qw=[3.0, 1e-200], qz=[3.0, -1e-200])
    (boxes,) = argoverse2.read(path, Context()).values()
    np.testing.assert_allclose(boxes.boxes[:, 6], [np.pi / 2, -np.pi / 2])


def test_tilted_boxes_are_said(tmp_path: Path, arrow: Any) -> None:
    path = _table(tmp_path, arrow, qx=[0.0, 0.5])
    with pytest.warns(UserWarning, match=r"annotations\.feather: 1 of 2 boxes are tilted"):
        argoverse2.read(path, Context())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tx_m": [np.nan, 1.0]}, "tx_m: holds NaN"),
        ({"tx_m": [None, 1.0]}, "tx_m: holds NaN"),
        ({"tx_m": ["a", "b"]}, "tx_m"),
        ({"tx_m": None}, "has no column 'tx_m'"),
        ({"qw": [0.0, 1.0]}, "quaternion of row 0"),
        ({"category": [None, "BUS"]}, "category"),
        ({"category": [1, 2]}, "category"),
        ({"timestamp_ns": ["a", "b"]}, "timestamp_ns"),
        ({"timestamp_ns": [1, None]}, "timestamp_ns"),
    ],
)
def test_damage_is_named(tmp_path: Path, arrow: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=rf"annotations\.feather: .*{message}"):
        argoverse2.read(_table(tmp_path, arrow, **changes), Context())


def test_a_missing_pyarrow_names_the_extra(tmp_path: Path, arrow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _table(tmp_path, arrow)

    def refuse(name: str, package: str | None = None) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(InputError, match=r"lidar-ebm\[argoverse2\]"):
        argoverse2.read(path, Context())
    assert argoverse2.recognise(path)


def test_mutations_are_read_or_refused(tmp_path: Path, arrow: Any) -> None:
    path = _table(tmp_path, arrow)
    original = path.read_bytes()
    chance = random.Random(2)
    outcomes = set()
    for _ in range(300):
        data = bytearray(original)
        if chance.random() < 0.2:
            del data[chance.randrange(len(data)) :]
        else:
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        argoverse2.recognise(path)
        try:
            argoverse2.read(path, Context())
            outcomes.add("read")
        except InputError as error:
            assert "annotations.feather" in str(error)
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_other_files_are_not_recognised(tmp_path: Path) -> None:
    for name, content in (("a.feather", b"text"), ("b.feather", b""), ("c.feather", b"ARROW1 of something else")):
        (tmp_path / name).write_bytes(content)
        assert not argoverse2.recognise(tmp_path / name)
    assert not argoverse2.recognise(tmp_path) and not argoverse2.recognise(tmp_path / "none")
    assert len(list(tmp_path.iterdir())) == 3
