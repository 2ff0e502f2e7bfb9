from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats import Context, mmdet3d_kitti, openpcdet
from lidar_ebm.formats.box_format import recognise_format
from lidar_ebm.formats.kitti.calibration import Calibration
from lidar_ebm.formats.restricted_pickle import load_pickle
from tests.formats.material import assert_same, contents_with_odd_values, drawn_boxes

_CAMERA = Calibration(
    p2=np.array([[700.0, 0, 600, 45], [0, 700, 180, 0.2], [0, 0, 1, 0.003]]),
    r0_rect=np.eye(3),
    tr_velo_to_cam=np.array([[0.01, -1.0, 0, 0], [0.015, 0, -1.0, -0.08], [1.0, 0.01, 0.015, -0.27]]),
)
_CONTEXT = Context(camera_of=lambda name: _CAMERA)


def _written(tmp_path: Path, **changes: Any) -> tuple[Path, dict[str, Any]]:
    """OpenPCDet's fields in the camera's frame, as KittiMetric writes them, and the boxes behind."""
    counts = {"000007": 4, "000003": 1}
    frames = {name: drawn_boxes(np.random.default_rng(count), count, "scores") for name, count in counts.items()}
    context = Context(camera_of=lambda name: _CAMERA, image_size=(1242, 375))
    openpcdet.write(tmp_path / "source.pkl", frames, context)
    rows = load_pickle((tmp_path / "source.pkl").read_bytes(), "source")
    for row in rows:
        row["sample_idx"] = np.full(len(row["name"]), int(row.pop("frame_id")))
        del row["boxes_lidar"], row["pred_labels"]
    rows[0].update(changes)
    path = tmp_path / "pred_instances_3d.pkl"
    path.write_bytes(pickle.dumps(rows, 4))
    return path, frames


def test_boxes_come_back_to_the_lidar_frame(tmp_path: Path) -> None:
    path, frames = _written(tmp_path)
    assert recognise_format(path) == "mmdet3d_kitti"
    found = mmdet3d_kitti.read(path, _CONTEXT)
    assert list(found) == ["000007", "000003"]
    for name, boxes in frames.items():
        bare = found[name].with_columns(alpha=None, truncated=None, occluded=None, image_rectangle=None)
        assert_same(bare, boxes, 1e-9)


def test_frames_without_boxes_have_no_name(tmp_path: Path) -> None:
    path, _ = _written(tmp_path)
    rows = load_pickle(path.read_bytes(), path)
    rows.append({key: np.zeros((0, *value.shape[1:])) for key, value in rows[0].items()})
    path.write_bytes(pickle.dumps(rows))
    with pytest.warns(UserWarning, match="1 frames without boxes"):
        assert list(mmdet3d_kitti.read(path, _CONTEXT)) == ["000007", "000003"]


def test_a_calibration_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="calib"):
        mmdet3d_kitti.read(_written(tmp_path)[0], Context())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_idx": np.array([7, 7, 7, 8])}, "sample_idx"),
        ({"sample_idx": np.array([3, 3, 3, 3])}, "sample_idx"),
        ({"sample_idx": np.array([-1] * 4)}, "sample_idx"),
        ({"sample_idx": np.array([0.5] * 4)}, "sample_idx"),
        ({"location": np.zeros((4, 2))}, "location"),
        ({"location": np.full((4, 3), np.nan)}, "location: holds NaN"),
        ({"rotation_y": np.zeros(3)}, "rotation_y"),
        ({"name": 3}, "name"),
        ({"name": np.array(["Car"] * 3)}, "sample_idx"),
    ],
)
def test_damage_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=rf"pred_instances_3d\.pkl.*{message}"):
        mmdet3d_kitti.read(_written(tmp_path, **changes)[0], _CONTEXT)


@pytest.mark.parametrize("content", [{}, [1], [{}], [{"name": 3}]])
def test_other_content_is_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r"a\.pkl"):
        mmdet3d_kitti.read(path, _CONTEXT)


@pytest.mark.filterwarnings("ignore:.*without boxes")
def test_odd_values_anywhere_are_read_or_refused(tmp_path: Path) -> None:
    path, _ = _written(tmp_path)
    original = load_pickle(path.read_bytes(), path)
    for content in contents_with_odd_values(original, 300):
        path.write_bytes(pickle.dumps(content, 4))
        try:
            mmdet3d_kitti.read(path, _CONTEXT)
        except InputError as error:
            assert "pred_instances_3d.pkl" in str(error)
