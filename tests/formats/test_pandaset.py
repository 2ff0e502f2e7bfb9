from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats import Context, pandaset, write_boxes
from lidar_ebm.formats.box_format import recognise_format
from tests.formats.fake_pandas import pickled_frame
from tests.formats.samples import count_points, shared

_QUARTER = np.sqrt(0.5)


def _cuboids(**changes: np.ndarray) -> dict[str, np.ndarray]:
    columns = {
        "uuid": np.array(["a", "b", "c"], object),
        "label": np.array(["Car", "Pedestrian", "Car"], object),
        "yaw": np.array([0.0, 0.5, 3.0]),
        "position.x": np.array([10.0, 12, 10]),
        "position.y": np.array([20.0, 21, 20]),
        "position.z": np.array([1.0, 2, 1]),
        "dimensions.x": np.array([1.8, 0.5, 1.8]),
        "dimensions.y": np.array([4.5, 0.6, 4.4]),
        "dimensions.z": np.array([1.5, 1.7, 1.5]),
        "attributes.object_motion": np.array(["Parked", np.nan, "Moving"], object),
        "attributes.pedestrian_behavior": np.array([np.nan, "Walking", np.nan], object),
        "cuboids.sibling_id": np.array(["c", "-", "a"], object),
        "cuboids.sensor_id": np.array([0, -1, 1]),
    }
    return {**columns, **changes}


def _sequence(folder: Path, **changes: np.ndarray) -> Path:
    """A sequence of one frame whose sensor stands at (10, 0, 0) of the world, turned by a quarter about z."""
    (folder / "annotations" / "cuboids").mkdir(parents=True)
    (folder / "lidar").mkdir()
    data = gzip.compress(pickled_frame(_cuboids(**changes), layout="state"))
    (folder / "annotations" / "cuboids" / "00.pkl.gz").write_bytes(data)
    pose = {"position": {"x": 10, "y": 0, "z": 0}, "heading": {"w": _QUARTER, "x": 0, "y": 0, "z": _QUARTER}}
    (folder / "lidar" / "poses.json").write_text(json.dumps([pose]))
    points = {name: np.array([value]) for name, value in (("x", 10.0), ("y", 20.0), ("z", 1.0), ("i", 7.0))}
    points |= {"t": np.array([1.5e9]), "d": np.array([1])}
    (folder / "lidar" / "00.pkl.gz").write_bytes(gzip.compress(pickled_frame(points)))
    return folder


def test_boxes_and_points_stand_in_the_frame_of_the_sensor(tmp_path: Path) -> None:
    folder = _sequence(tmp_path / "001")
    (boxes,) = pandaset.read(folder, Context()).values()
    # World +y is the sensor's x to the right, world -x its y ahead: ours are x = -(X - 10), y = -Y.
    np.testing.assert_allclose(boxes.boxes[0, :6], [0, -20, 1, 4.5, 1.8, 1.5], atol=1e-12)
    # The cuboid's length lies along world y, which is across to the right: yaw -π/2.
    assert boxes.boxes[0, 6] == pytest.approx(-np.pi / 2)
    points, channels = pandaset.read_points(folder / "lidar" / "00.pkl.gz")
    assert points.dtype == np.float32 and channels == ("intensity", "time", "sensor")
    np.testing.assert_allclose(points, [[0, -20, 1, 7, 0, 1]], atol=1e-5)


def test_an_object_of_both_sensors_is_there_once(tmp_path: Path) -> None:
    (boxes,) = pandaset.read(_sequence(tmp_path / "001"), Context()).values()
    assert boxes.track is not None and boxes.attribute is not None
    assert boxes.track.tolist() == ["a", "b"] and boxes.attribute.tolist() == ["Parked", "Walking"]
    # Where its own mention of the sibling is damaged, the sibling's mention of it decides.
    siblings = np.array(["c", "-", "a few letters less"], object)
    (boxes,) = pandaset.read(_sequence(tmp_path / "002", **{"cuboids.sibling_id": siblings}), Context()).values()
    assert len(boxes) == 2
    alone = np.array(["elsewhere", "-", "elsewhere"], object)
    (boxes,) = pandaset.read(_sequence(tmp_path / "003", **{"cuboids.sibling_id": alone}), Context()).values()
    assert len(boxes) == 3


def test_a_file_a_folder_of_cuboids_and_the_sequence_are_the_same(tmp_path: Path) -> None:
    folder = _sequence(tmp_path / "001")
    for path in (folder, folder / "annotations" / "cuboids", folder / "annotations" / "cuboids" / "00.pkl.gz"):
        assert recognise_format(path) == "pandaset"
        assert list(pandaset.read(path, Context())) == ["00"]


def test_given_poses_are_used(tmp_path: Path) -> None:
    folder = _sequence(tmp_path / "001")
    (folder / "lidar" / "poses.json").unlink()
    (boxes,) = pandaset.read(folder, Context(sensor_pose_of=lambda name: np.eye(4))).values()
    np.testing.assert_allclose(boxes.boxes[0], [10, 20, 1, 4.5, 1.8, 1.5, np.pi / 2])


def test_points_of_a_published_sweep_fill_its_cuboids() -> None:
    folder = shared("formats", "pandaset")
    (boxes,) = pandaset.read(folder, Context()).values()
    points, _ = pandaset.read_points(folder / "lidar" / "00.pkl.gz")
    vehicles = np.isin(boxes.names, ["Car", "Pickup Truck", "Medium-sized Truck"])
    near = vehicles & (np.hypot(boxes.boxes[:, 0], boxes.boxes[:, 1]) < 60)
    rows = boxes.boxes[near]

    def filled(boxes: np.ndarray) -> np.ndarray:
        return np.array(count_points(points.astype(np.float64), boxes))

    counts = filled(rows)
    assert len(rows) > 40 and (counts > 0).all()
    # Any other reading of the same numbers leaves points out.
    swapped, turned, raised, mirrored = (rows.copy() for _ in range(4))
    swapped[:, 3:5] = rows[:, [4, 3]]
    turned[:, 6] = -rows[:, 6]
    raised[:, 2] += rows[:, 5] / 2
    mirrored[:, [1, 6]] *= -1
    for other in (swapped, raised, mirrored):
        assert filled(other).sum() < 0.7 * counts.sum()
    assert filled(turned).sum() < 0.98 * counts.sum()
    # Ahead is +x: the forward sensor's points lie there.
    forward = points[points[:, 5] == 1]
    assert np.abs(np.degrees(np.arctan2(forward[:, 1], forward[:, 0]))).max() < 35
    assert boxes.track is not None and len(set(boxes.track.tolist())) == len(boxes)
    distances = np.linalg.norm(boxes.boxes[:, None, :3] - boxes.boxes[None, :, :3], axis=-1)
    assert distances[~np.eye(len(boxes), dtype=bool)].min() > 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"yaw": np.array([0, np.nan, 0])}, "yaw: holds NaN"),
        ({"label": np.array(["Car", 3, "Car"], object)}, "label"),
        ({"position.x": np.array(["a", "b", "c"], object)}, "position.x"),
    ],
)
def test_damaged_cuboids_are_named(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=rf"00\.pkl\.gz: .*{message}"):
        pandaset.read(_sequence(tmp_path / "001", **changes), Context())


@pytest.mark.parametrize(
    "poses",
    [
        "[]",
        "{}",
        "[1]",
        '[{"position": {"x": 0}}]',
        "[",
        '[{"position": {"x": 0, "y": 0, "z": 0}, "heading": {"w": 0, "x": 0, "y": 0, "z": 0}}]',
    ],
)
def test_damaged_poses_are_named(tmp_path: Path, poses: str) -> None:
    folder = _sequence(tmp_path / "001")
    (folder / "lidar" / "poses.json").write_text(poses)
    with pytest.raises(InputError, match=r"poses\.json"):
        pandaset.read(folder, Context())


def test_cuboids_are_no_points_and_an_empty_folder_no_sequence(tmp_path: Path) -> None:
    folder = _sequence(tmp_path / "001")
    with pytest.raises(InputError, match="has no column 'x'"):
        pandaset.read_points(folder / "annotations" / "cuboids" / "00.pkl.gz")
    with pytest.raises(InputError, match="there are no cuboids"):
        pandaset.read(tmp_path, Context())


def test_what_can_only_be_read_says_so(tmp_path: Path) -> None:
    for name in ("pandaset", "nuscenes_info", "mmdet3d_kitti"):
        with pytest.raises(InputError, match="can be read, not written"):
            write_boxes(tmp_path / "a", Boxes.empty(), name)
    assert list(tmp_path.iterdir()) == []
