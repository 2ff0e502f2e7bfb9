"""Files of labelling tools in their own words: axes, orders, angles, and the public samples."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats import find_format, read_boxes, read_frames, write_boxes
from lidar_ebm.formats.rotations import Tilts, heading_of_euler, heading_of_quaternion
from tests.formats.samples import CAMERA, assert_same, count_points, random_boxes, shared
from tests.formats.text_formats import CONTEXT


def one(path: Path, data: Any, format: str | None = None) -> Boxes:
    """Boxes of a JSON file that holds one frame."""
    path.write_text(json.dumps(data))
    found = read_boxes(path, format)
    assert isinstance(found, Boxes)
    return found


def xyz(*values: float, keys: tuple[str, ...] = ("x", "y", "z")) -> dict[str, float]:
    return dict(zip(keys, values, strict=True))


@pytest.mark.filterwarnings("ignore:.*10 of 21 boxes are tilted, by up to 4.4")
def test_sustechpoints_sample_holds_points() -> None:
    boxes = read_boxes(shared("formats", "sustechpoints", "label"))
    assert isinstance(boxes, Boxes)
    content = shared("formats", "sustechpoints", "lidar", "000965.pcd").read_bytes()
    fields = {"names": ["x", "y", "z"], "formats": ["<f4"] * 3, "offsets": [0, 4, 8], "itemsize": 48}
    data = content.partition(b"DATA binary\n")[2]  # padded to whole pages
    points = np.frombuffer(data, dtype=np.dtype(fields), count=66781)
    counts = np.array(count_points(np.column_stack([points[axis] for axis in "xyz"]), boxes.boxes))
    turned = boxes.boxes.copy()
    turned[:, 6] += np.pi / 2
    wrong = np.array(count_points(np.column_stack([points[axis] for axis in "xyz"]), turned))
    assert np.median(counts) > 50
    assert (counts > wrong).mean() > 0.7
    assert boxes.track is not None
    assert len(set(boxes.track.tolist())) == len(boxes)


@pytest.mark.filterwarnings("ignore:.*second column holds a number twice")
def test_view_of_delft_sample_holds_points(tmp_path: Path) -> None:
    folder = shared("formats", "view_of_delft", "training")
    boxes = read_boxes(folder / "label_2")
    assert isinstance(boxes, Boxes)
    assert boxes.scores is None
    assert boxes.track is None
    points = np.fromfile(folder / "velodyne" / "00549.bin", dtype="<f4").reshape(-1, 4)
    counts = np.array(count_points(points, boxes.boxes))
    assert counts.min() >= 10
    # Along the camera's vertical, from which this data set's boxes are tilted, there are fewer.
    as_kitti = read_boxes(folder / "label_2", "kitti")
    assert isinstance(as_kitti, Boxes)
    assert counts.sum() > sum(count_points(points, as_kitti.boxes))
    write_boxes(tmp_path / "00549.txt", boxes, "view_of_delft", calib=folder / "calib")
    wanted = [line.split() for line in (folder / "label_2" / "00549.txt").read_text().splitlines()]
    written = [line.split() for line in (tmp_path / "00549.txt").read_text().splitlines()]
    assert [line[0] for line in written] == [line[0] for line in wanted]
    columns = [2, 3, *range(8, 14), 15]
    difference = np.array(written)[:, columns].astype(float) - np.array(wanted)[:, columns].astype(float)
    assert np.abs(difference).max() < 2e-6


def test_delft_tracks_are_those_that_stand_once(tmp_path: Path) -> None:
    frames = {"0": random_boxes(1, ["track", "scores"], gaps=False, names=["rider", "Car"])}
    find_format("view_of_delft").write(tmp_path / "a", frames, CONTEXT)
    assert_same(find_format("view_of_delft").read(tmp_path / "a", CONTEXT)["0"], frames["0"], ["track"], tolerance=2e-6)
    with pytest.raises(InputError, match="the track 'a' is no whole number"):
        bad = frames["0"].with_columns(track=["a"] * len(frames["0"]))
        find_format("view_of_delft").write(tmp_path / "b", {"0": bad}, CONTEXT)


def test_sustechpoints_object_of_newer_files(tmp_path: Path) -> None:
    psr = {"position": xyz(1, 2, 3), "scale": xyz(4, 2, 1), "rotation": xyz(0, 0, 7)}
    data = {"frame": "a", "objs": [{"psr": psr, "obj_type": "Car", "obj_id": 5, "obj_attr": "parked"}]}
    boxes = one(tmp_path / "a.json", data)
    np.testing.assert_allclose(boxes.boxes, [[1, 2, 3, 4, 2, 1, 7 - 2 * np.pi]])
    assert (boxes.track, boxes.attribute) == (["5"], ["parked"])


def label(angle: float) -> dict[str, Any]:
    sizes = xyz(4, 2, 1, keys=("length", "width", "height"))
    entry = {"name": "cart", "centroid": xyz(1, 2, 3), "dimensions": sizes, "rotations": xyz(0, 0, angle)}
    return {"folder": "pointclouds", "filename": "a.ply", "path": "pointclouds/a.ply", "objects": [entry]}


def test_labelcloud_tells_degrees_from_radians(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for angle, yaw in ((270.0, -np.pi / 2), (0.0, 0.0), (-1.25, -1.25)):
        np.testing.assert_allclose(one(path, label(angle)).boxes, [[1, 2, 3, 4, 2, 1, yaw]], atol=1e-12)
    with pytest.raises(InputError, match=r"objects\[0\]\.rotations: .*labelcloud_relative"):
        one(path, label(-1.25), "labelcloud")
    with pytest.raises(InputError, match=r"objects\[0\]\.rotations: .*format is labelcloud"):
        one(path, label(270.0), "labelcloud_relative")
    # Of a folder one file tells for all.
    (tmp_path / "b.json").write_text(json.dumps(label(-1.25)))
    path.write_text(json.dumps(label(1.5)))
    frames = read_frames(tmp_path)
    assert [boxes.boxes[0, 6] for boxes in frames.values()] == [1.5, -1.25]


def test_labelcloud_corners(tmp_path: Path) -> None:
    bottom = [[0, 0, 0], [0, 2, 0], [4, 2, 0], [4, 0, 0]]  # rear right, rear left, front left, front right
    vertices = [*bottom, *[[x, y, 1] for x, y, _ in bottom]]
    data = {**label(0), "objects": [{"name": "cart", "vertices": vertices}]}
    np.testing.assert_allclose(one(tmp_path / "a.json", data).boxes, [[2, 1, 0.5, 4, 2, 1, 0]])
    for wrong in (vertices[:7], vertices[::-1][:4] + vertices[:4][::2] * 2, [[0, 0, 0]] * 7 + [[9, 9, 9]]):
        data["objects"][0]["vertices"] = wrong
        with pytest.raises(InputError, match=r"vertices: "):
            one(tmp_path / "a.json", data)


def cuboid(*val: float, **more: Any) -> dict[str, Any]:
    return {"object_data": {"cuboid": [{"name": "shape", "val": list(val), **more}]}}


def test_openlabel_quaternions_and_angles(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    half = 2.5 / 2
    by_quaternion = cuboid(1, 2, 3, 0, 0, -2 * math.sin(half), -2 * math.cos(half), 4, 2, 1)  # any length, either sign
    content: dict[str, Any] = {
        "metadata": {"schema_version": "1.0.0"},
        "objects": {"7": {"name": "a", "type": "Car"}, "x": {"name": "b", "type": "Van"}},
        "frames": {
            "538": {"objects": {"7": by_quaternion, "x": cuboid(1, 2, 3, 0, 0, 2.5, 4, 2, 1)}},
            "539": {"objects": {"x": {"object_data": {"bbox": [{"name": "2d", "val": [1, 2, 3, 4]}]}}}},
            "540": {},
        },
    }
    path.write_text(json.dumps({"openlabel": content}))
    frames = read_frames(path)
    assert {name: len(boxes) for name, boxes in frames.items()} == {"538": 2, "539": 0, "540": 0}
    np.testing.assert_allclose(frames["538"].boxes, [[1, 2, 3, 4, 2, 1, 2.5]] * 2)
    assert frames["538"].names.tolist() == ["Car", "Van"]
    assert frames["538"].track is not None
    assert frames["538"].track.tolist() == ["7", "x"]
    content["objects"]["7"] |= by_quaternion
    path.write_text(json.dumps({"openlabel": content}))
    with pytest.warns(UserWarning, match="1 objects have cuboids for all frames at once"):
        read_frames(path)
    static = {"openlabel": {"objects": {"7": {"type": "Car", **by_quaternion}}}}
    np.testing.assert_allclose(one(path, static).boxes, [[1, 2, 3, 4, 2, 1, 2.5]])
    for val, said in (((1.0,) * 8, "10 numbers"), ((1, 2, 3, 0, 0, 0, 0, 4, 2, 1), "must not be zero")):
        static["openlabel"]["objects"]["7"] |= cuboid(*val)
        with pytest.raises(InputError, match=rf"openlabel\.objects\.7\.object_data\.cuboid\[0\]\.val: .*{said}"):
            one(path, static)


def test_openlabel_coordinate_systems_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.json"

    def document(*systems: str) -> dict[str, Any]:
        val = (1, 2, 3, 0, 0, 0, 4, 2, 1)
        objects = {name: {"type": "Car", **cuboid(*val, coordinate_system=name)} for name in systems}
        return {"openlabel": {"objects": objects}}

    with pytest.warns(UserWarning, match="'vehicle-iso8855', which is taken for the LiDAR frame"):
        one(path, document("vehicle-iso8855"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one(path, document("LIDAR_TOP"))
    with pytest.raises(InputError, match="several coordinate systems"):
        one(path, document("LIDAR_TOP", "odom"))


def test_cvat_names_labels_and_tracks(tmp_path: Path) -> None:
    entry = {
        **{"id": 0, "type": "cuboid_3d", "attributes": {"occluded": False, "track_id": 3}, "group": 0, "label_id": 1},
        **{"position": [1, 2, 3], "rotation": [0, 0, 2.5], "scale": [4, 2, 1]},
    }
    labels = [{"name": "car", "parent": "", "attributes": []}, {"name": "bus"}]
    item = {"id": "frame_000000", "annotations": [entry, {"type": "label", "label_id": 0}], "point_cloud": {"path": ""}}
    data = {"info": {}, "categories": {"label": {"labels": labels}}, "items": [item, {"id": "b", "annotations": []}]}
    path = tmp_path / "annotations" / "default.json"
    path.parent.mkdir()
    path.write_text(json.dumps(data))
    for place in (path, tmp_path):
        frames = read_frames(place)
        assert list(frames) == ["frame_000000", "b"]
        np.testing.assert_allclose(frames["frame_000000"].boxes, [[1, 2, 3, 4, 2, 1, 2.5]])
        assert (frames["frame_000000"].names, frames["frame_000000"].track) == (["bus"], ["3"])
    entry["attributes"] = {"outside": True}
    path.write_text(json.dumps(data))
    with pytest.warns(UserWarning, match="1 cuboids that are marked as outside"):
        assert len(read_frames(path)["frame_000000"]) == 0
    entry |= {"label_id": 2, "attributes": {}}
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"items\[0\]\.annotations\[0\]\.label_id: there is no label 2"):
        read_boxes(path)


def test_supervisely_looks_along_minus_y(tmp_path: Path) -> None:
    """A car that looks along +x: width along the cuboid's x, length along its y, an angle of π/2."""
    geometry = {"position": xyz(1, 2, 3), "rotation": xyz(0, 0, np.pi / 2), "dimensions": xyz(1.6, 4.3, 1.5)}
    figure = {"key": "f", "objectKey": "o", "geometryType": "cuboid_3d", "geometry": geometry}
    data = {"objects": [{"key": "o", "classTitle": "Car", "tags": []}], "figures": [figure]}
    boxes = one(tmp_path / "scene_1.pcd.json", data)
    np.testing.assert_allclose(boxes.boxes, [[1, 2, 3, 4.3, 1.6, 1.5, 0]], atol=1e-12)
    assert list(read_frames(tmp_path / "scene_1.pcd.json")) == ["scene_1"]
    figure["objectKey"] = "other"
    with pytest.raises(InputError, match=r"figures\[0\]\.objectKey: there is no object 'other'"):
        one(tmp_path / "scene_1.pcd.json", data)


def test_supervisely_projects_of_several_data_sets(tmp_path: Path) -> None:
    frames = {"a": random_boxes(1, ["track"], gaps=False), "b": random_boxes(2, ["track"], gaps=False)}
    for part in ("one", "two"):
        for name, boxes in frames.items():
            write_boxes(tmp_path / part / "ann" / f"{name}.pcd.json", {name: boxes}, "supervisely")
    (tmp_path / "meta.json").write_text("{}")
    assert list(read_frames(tmp_path / "two")) == ["a", "b"]
    found = read_frames(tmp_path)
    assert list(found) == ["one_a", "one_b", "two_a", "two_b"]
    assert_same(found["two_b"], frames["b"], ["track"])


def rotation(angle: float, axis: int) -> np.ndarray:
    matrix = np.eye(3)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix[first, first] = matrix[second, second] = math.cos(angle)
    matrix[second, first], matrix[first, second] = math.sin(angle), -math.sin(angle)
    return matrix


def test_headings_are_those_of_the_rotated_x_axis() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        angles = rng.uniform(-np.pi, np.pi, 3)
        by_axis = [rotation(angle, axis) for axis, angle in enumerate(angles)]
        for order, matrix in (
            ("zyx", by_axis[2] @ by_axis[1] @ by_axis[0]),
            ("xyz", by_axis[0] @ by_axis[1] @ by_axis[2]),
        ):
            tilts = Tilts()
            yaw = heading_of_euler(angles.tolist(), tilts, order=order)
            ahead = matrix[:2, 0] / np.linalg.norm(matrix[:2, 0])
            np.testing.assert_allclose((math.cos(yaw), math.sin(yaw)), ahead, atol=1e-9)
            assert tilts.largest == pytest.approx(math.acos(np.clip(matrix[2, 2], -1, 1)), abs=1e-6)
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        angle = rng.uniform(-np.pi, np.pi)
        cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
        matrix = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
        quaternion = 3 * np.append(axis * math.sin(angle / 2), math.cos(angle / 2))
        yaw = heading_of_quaternion(quaternion.tolist(), Tilts()) or 0.0
        ahead = matrix[:2, 0] / np.linalg.norm(matrix[:2, 0])
        np.testing.assert_allclose((math.cos(yaw), math.sin(yaw)), ahead, atol=1e-9)


def test_kitti_boxes_go_through_every_tool_and_back(tmp_path: Path) -> None:
    """A chain of conversions loses nothing of the boxes, and makes no tracks over frames."""
    frames = {"000000": random_boxes(3, names=["Car", "forklift"]), "000001": random_boxes(4, names=["Car"])}
    current: dict[str, Boxes] = frames
    for name in ("sustechpoints", "labelcloud_vertices", "openlabel", "cvat", "supervisely", "boxes_csv", "kitti_raw"):
        write_boxes(tmp_path / name, current, name, camera=CAMERA)
        current = read_frames(tmp_path / name)
        assert list(current) == list(frames)
        tracks = [track for boxes in current.values() if boxes.track is not None for track in boxes.track.tolist()]
        assert len(set(tracks)) == len(tracks)
    for name, boxes in frames.items():
        assert_same(current[name], boxes, (), tolerance=1e-6)
