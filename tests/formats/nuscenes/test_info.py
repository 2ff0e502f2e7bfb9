from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats import Context
from lidar_ebm.formats.box_format import recognise_format
from lidar_ebm.formats.nuscenes import info
from tests.formats.material import contents_with_odd_values
from tests.formats.samples import count_points, shared


def _content(**changes: Any) -> dict[str, Any]:
    instance = {
        "bbox_label_3d": 0,
        "bbox_3d": [1.0, 10.0, -1.0, 4.0, 2.0, 1.5, np.pi / 2],
        "velocity": [0.0, 3.0],
        "num_lidar_pts": 5,
        **changes,
    }
    heading = {"dataset": "nuscenes", "categories": {"car": 0, "truck": 1}}
    return {"metainfo": heading, "data_list": [{"token": "t", "instances": [instance, {"bbox_label_3d": -1}]}]}


def _read(tmp_path: Path, content: Any) -> Any:
    path = tmp_path / "infos.pkl"
    path.write_bytes(pickle.dumps(content, 4))
    return info.read(path, Context())


def test_right_and_ahead_become_forward_and_left(tmp_path: Path) -> None:
    boxes = _read(tmp_path, _content())["t"]
    np.testing.assert_allclose(boxes.boxes, [[10, -1, -1, 4, 2, 1.5, 0]], atol=1e-12)
    np.testing.assert_allclose(boxes.velocity, [[3, 0]], atol=1e-12)
    assert boxes.names.tolist() == ["car"] and boxes.points.tolist() == [5]


def test_a_published_key_frame_holds_the_points_that_it_counts() -> None:
    folder = shared("formats", "nuscenes_keyframe")
    (path,) = folder.glob("*.pkl")
    assert recognise_format(path) == "nuscenes_info"
    (boxes,) = info.read(path, Context()).values()
    (sweep,) = folder.glob("*.bin")
    x, y, *rest = np.fromfile(sweep, np.float32).reshape(-1, 5).T
    counts = count_points(np.stack((y, -x, *rest), axis=1).astype(np.float64), boxes.boxes)
    # nuScenes counts in boxes that are upright in the world, which leans a degree against the sensor.
    assert len(boxes) == 68 and (counts == boxes.points).sum() >= 60
    assert boxes.velocity is not None and boxes.points is not None
    moving = np.linalg.norm(boxes.velocity, axis=1) > 1
    headings = np.arctan2(boxes.velocity[:, 1], boxes.velocity[:, 0]) - boxes.boxes[:, 6]
    assert np.abs(np.angle(np.exp(1j * headings[moving]))).max() < np.radians(10)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "metainfo|named fields"),
        ({"metainfo": {"dataset": "kitti", "categories": {}}}, "another data set"),
        ({"metainfo": {"dataset": "nuscenes", "categories": []}, "data_list": []}, "categories"),
        ({"metainfo": {"dataset": "nuscenes", "categories": {}}, "data_list": {}}, "data_list"),
        (
            {"metainfo": {"dataset": "nuscenes", "categories": {}}, "data_list": [{"token": "a", "instances": 1}]},
            "instances",
        ),
        ({**_content(), "data_list": _content()["data_list"] * 2}, "twice"),
        (_content(bbox_3d=[1.0] * 6), "object 0: bbox_3d"),
        (_content(bbox_3d=[np.nan] * 7), "object 0: bbox_3d: holds NaN"),
        (_content(bbox_label_3d=7), "bbox_label_3d 7"),
        (_content(bbox_label_3d="x" * 9999), "bbox_label_3d x"),
        (_content(num_lidar_pts="a"), "num_lidar_pts"),
        (_content(velocity=None), "velocity"),
    ],
)
def test_damage_is_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        _read(tmp_path, content)
    assert "infos.pkl" in str(refused.value) and len(str(refused.value)) < 500


def test_odd_values_anywhere_are_read_or_refused(tmp_path: Path) -> None:
    for content in contents_with_odd_values(_content(), 400):
        try:
            _read(tmp_path, content)
        except InputError as error:
            assert "infos.pkl" in str(error)
