"""nuScenes' layout, written from scenes: links are whole, counts are those of brute force, sweeps come back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.nuscenes.scene_rows import count_in_boxes
from lidar_ebm.datasets.nuscenes.writer import VERSION, scene_names, scene_path, write_scene, write_tables
from lidar_ebm.datasets.scenes import RecordedScene, SceneSweep
from lidar_ebm.errors import InputError
from lidar_ebm.formats.nuscenes.splits import official_scenes, split_scenes
from lidar_ebm.formats.nuscenes.sweeps import read_sweep
from lidar_ebm.formats.nuscenes.tables import Tables
from lidar_ebm.geometry.poses import inverse_pose, make_pose, quaternion_of, rotation_matrix

CHANNELS = ("reflectance", "ring")


def _pose(rng: np.random.Generator, spread: float) -> np.ndarray:
    """A pose with any heading, and roll and pitch of some degrees."""
    yaw = rng.uniform(-np.pi, np.pi)
    quaternion = np.array([np.cos(yaw / 2), *rng.normal(0, 0.01, 2), np.sin(yaw / 2)])
    return make_pose(rng.uniform(-spread, spread, 3), quaternion)


def _scene(name: str, seed: int = 0, *, source: str = "test") -> RecordedScene:
    """Nine sweeps, three of them key frames, points all over and boxes among them; one thing is away in the middle."""
    rng = np.random.default_rng(seed)
    sensor = make_pose(np.array([0.9, 0.0, 1.8]), np.array([1.0, 0.01, -0.005, 0.002]))
    sweeps = []
    for k in range(9):
        points = rng.uniform(-10, 10, (3000, 5)).astype(np.float32)
        points[:, 2] *= 0.2
        points[:, 3] = rng.uniform(0, 1, 3000)
        points[:, 4] = rng.integers(0, 32, 3000)
        pose = _pose(rng, 100.0)
        boxes = None
        if k % 4 == 0:
            local = np.column_stack([rng.uniform(-8, 8, (5, 2)), np.full(5, 1.8), rng.uniform(1, 6, (5, 3))])
            centers = local[:, :3] @ pose[:3, :3].T + pose[:3, 3]
            boxes = Boxes(
                np.column_stack([centers, local[:, 3:], rng.uniform(-np.pi, np.pi, 5)]),
                ["vehicle.car", "human.pedestrian.adult", "vehicle.bicycle", "movable_object.barrier", "animal"],
                track=list("abcde"),
                attribute=["vehicle.moving", "pedestrian.standing", "cycle.with_rider", "", ""],
                occluded=[0, 1, 2, 3, 0],
            )
            boxes = boxes.select([0, 2, 3, 4]) if k == 4 else boxes
        sweeps.append(SceneSweep(1_600_000_000_000_000 + 50_000 * k, points, CHANNELS, pose, boxes))
    return RecordedScene(name, source, sensor, sweeps)


@pytest.fixture(scope="module")
def scenes() -> list[RecordedScene]:
    return [_scene("scene-0001", 1), _scene("scene-0003", 2)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, scenes: list[RecordedScene]) -> Path:
    root = tmp_path_factory.mktemp("nuscenes")
    for scene in scenes:
        write_scene(root, scene)
    write_tables(root, {"train": ["scene-0001"], "val": ["scene-0003"]})
    return root


def table(root: Path, name: str) -> list[dict[str, Any]]:
    rows = json.loads((root / VERSION / f"{name}.json").read_text())
    assert isinstance(rows, list)
    return rows


def check_links(root: Path) -> None:
    """Every token leads to a row, chains run both ways and in time, files are there."""
    names = (
        *("attribute", "calibrated_sensor", "category", "ego_pose", "instance", "log", "map", "sample"),
        *("sample_annotation", "sample_data", "scene", "sensor", "visibility"),
    )
    rows = {name: {row["token"]: row for row in table(root, name)} for name in names}
    for name in names:
        assert len(rows[name]) == len(table(root, name)), f"{name}: tokens are not unique"
        for row in rows[name].values():
            for key, value in row.items():
                target = key.removesuffix("_token").removeprefix("first_").removeprefix("last_")
                target = {"annotation": "sample_annotation"}.get(target, target)
                if key.endswith("_token"):
                    assert value in rows[target], (name, key)
                if key in ("prev", "next") and value:
                    other = rows[name][value]
                    assert other["next" if key == "prev" else "prev"] == row["token"]
    stamp = {token: row["timestamp"] for token, row in rows["sample"].items()}
    for row in rows["sample_data"].values():
        assert (root / row["filename"]).is_file()
        assert row["filename"].startswith("samples/" if row["is_key_frame"] else "sweeps/")
        assert not row["next"] or rows["sample_data"][row["next"]]["timestamp"] > row["timestamp"]
        assert stamp[row["sample_token"]] >= row["timestamp"]
        assert row["is_key_frame"] == (stamp[row["sample_token"]] == row["timestamp"])
        assert rows["ego_pose"][row["ego_pose_token"]]["timestamp"] == row["timestamp"]
    for row in rows["scene"].values():
        chain, token = [], row["first_sample_token"]
        while token:
            chain.append(token)
            token = rows["sample"][token]["next"]
        assert (chain[-1], len(chain)) == (row["last_sample_token"], row["nbr_samples"])
    for row in rows["instance"].values():
        chain, token = [], row["first_annotation_token"]
        while token:
            chain.append(token)
            assert rows["sample_annotation"][token]["instance_token"] == row["token"]
            token = rows["sample_annotation"][token]["next"]
        assert (chain[-1], len(chain)) == (row["last_annotation_token"], row["nbr_annotations"])
    assert all(
        token in rows["attribute"] for row in rows["sample_annotation"].values() for token in row["attribute_tokens"]
    )
    (plan,) = rows["map"].values()
    assert sorted(plan["log_tokens"]) == sorted(rows["log"])
    assert (root / plan["filename"]).read_bytes().startswith(b"\x89PNG")


def check_counts(root: Path) -> int:
    """num_lidar_pts against every point of the sample's key file in the fully rotated box; the number of boxes."""
    data = {row["sample_token"]: row for row in table(root, "sample_data") if row["is_key_frame"]}
    poses = {row["token"]: make_pose(row["translation"], row["rotation"]) for row in table(root, "ego_pose")}
    sensors = {row["token"]: make_pose(row["translation"], row["rotation"]) for row in table(root, "calibrated_sensor")}
    annotations = table(root, "sample_annotation")
    for row in annotations:
        file = data[row["sample_token"]]
        points = np.fromfile(root / file["filename"], "<f4").reshape(-1, 5)[:, :3].astype(np.float64)
        to_world = poses[file["ego_pose_token"]] @ sensors[file["calibrated_sensor_token"]]
        world = points @ to_world[:3, :3].T + to_world[:3, 3]
        local = (world - row["translation"]) @ rotation_matrix(np.array(row["rotation"]))
        width, length, height = row["size"]
        inside = (np.abs(local) <= np.array([length, width, height]) / 2 + 1e-9).all(axis=1)
        assert inside.sum() == row["num_lidar_pts"]
    return len(annotations)


def test_links_are_whole(root: Path) -> None:
    check_links(root)


def test_counts_are_those_of_brute_force(root: Path) -> None:
    assert check_counts(root) == 2 * 14
    assert max(row["num_lidar_pts"] for row in table(root, "sample_annotation")) > 20


def test_our_reader_takes_the_tables(root: Path) -> None:
    tables = Tables.open(root, VERSION)
    assert len(tables.samples_of_split("train")) == len(tables.samples_of_split("val")) == 3


def test_sweeps_come_back_in_the_sensor_s_own_axes(root: Path, scenes: list[RecordedScene]) -> None:
    files = sorted(root.glob("s*/LIDAR_TOP/simulated-scene-0001*.bin"), key=lambda path: path.name)
    sweeps = list(scenes[0].sweeps)
    assert len(files) == len(sweeps) == 9
    for path, sweep in zip(files, sweeps, strict=True):
        points = read_sweep(path)
        np.testing.assert_array_equal(points[:, 0], -sweep.points[:, 1])  # x to the right
        np.testing.assert_array_equal(points[:, 1], sweep.points[:, 0])  # y ahead
        np.testing.assert_array_equal(points[:, [2, 4]], sweep.points[:, [2, 4]])
        np.testing.assert_array_equal(points[:, 3], np.round(255 * sweep.points[:, 3]))


def test_poses_bring_points_to_the_same_place_in_the_world(root: Path, scenes: list[RecordedScene]) -> None:
    (sensor, _) = [make_pose(row["translation"], row["rotation"]) for row in table(root, "calibrated_sensor")]
    poses = table(root, "ego_pose")
    for sweep, row in zip(scenes[0].sweeps, poses, strict=False):
        points = np.array([[1.0, 2.0, 3.0, 1.0], [-4.0, 0.5, 0.0, 1.0]])
        turned = np.column_stack([-points[:, 1], points[:, 0], points[:, 2], points[:, 3]])
        to_world = make_pose(row["translation"], row["rotation"]) @ sensor
        there = points @ (sweep.vehicle_pose @ scenes[0].sensor_pose).T
        np.testing.assert_allclose(turned @ to_world.T, there, atol=1e-9)


def test_a_thing_that_was_away_is_linked_over_the_gap_and_keeps_its_place(
    root: Path, scenes: list[RecordedScene]
) -> None:
    categories = {row["token"]: row["name"] for row in table(root, "category")}
    instances = {row["token"]: categories[row["category_token"]] for row in table(root, "instance")}
    people = [row for row in table(root, "sample_annotation") if instances[row["instance_token"]].startswith("human")]
    assert len(people) == 4
    assert [bool(row["prev"]) for row in people] == [False, True, False, True]
    first = next(iter(scenes[0].sweeps)).boxes
    assert first is not None
    np.testing.assert_allclose(people[0]["translation"], first.boxes[1, :3])
    np.testing.assert_allclose(people[0]["size"], first.boxes[1, [4, 3, 5]])
    assert people[0]["visibility_token"] == "3"


def test_tokens_tell_sources_apart(tmp_path: Path) -> None:
    tokens = []
    for source in ("one", "two"):
        write_scene(tmp_path / source, _scene("scene-0001", source=source))
        rows = json.loads(scene_path(tmp_path / source, "scene-0001").read_text())
        tokens.append({row["token"] for row in rows["sample"]})
    assert not tokens[0] & tokens[1]


def test_scene_names_are_official_and_grow() -> None:
    train, val = scene_names(40, 20)
    assert set(train) <= official_scenes("train") and set(val) <= official_scenes("val")
    assert (len(set(train)), len(set(val))) == (40, 20)
    assert [names[:3] for names in scene_names(50, 30)] == [train[:3], val[:3]]
    with pytest.raises(InputError, match="151 are for val"):
        scene_names(1, 151)


def test_splits_file_names_the_same_scenes(root: Path) -> None:
    own = json.loads((root / VERSION / "splits.json").read_text())
    assert own == {"train": ["scene-0001"], "val": ["scene-0003"]}
    assert set(own["train"]) <= split_scenes(root / VERSION, VERSION, "train")


def test_boxes_in_a_tilted_frame_are_counted_by_their_full_rotation() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-20, 20, (20000, 3))
    for _ in range(20):
        pose = _pose(rng, 5.0)
        box = np.array([*rng.uniform(-8, 8, 3), *rng.uniform(1, 10, 3), rng.uniform(-3, 3)])
        world = points @ pose[:3, :3].T + pose[:3, 3] - box[:3]
        cos, sin = np.cos(box[6]), np.sin(box[6])
        local = world @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        expected = (np.abs(local) <= box[3:6] / 2).all(axis=1).sum()
        assert count_in_boxes(points, Boxes(box[None], ["x"]), pose)[0] == expected


def test_quaternions_come_back_as_the_rotations_they_are() -> None:
    rng = np.random.default_rng(0)
    for quaternion in [*rng.normal(0, 1, (200, 4)), *np.eye(4), *-np.eye(4)]:
        matrix = rotation_matrix(quaternion)
        np.testing.assert_allclose(rotation_matrix(quaternion_of(matrix)), matrix, atol=1e-12)
    assert np.allclose(inverse_pose(np.eye(4)), np.eye(4))


@pytest.mark.parametrize("damage", ["tracks", "category", "channel", "last", "columns"])
def test_what_cannot_be_written_is_named(tmp_path: Path, damage: str) -> None:
    scene = _scene("scene-0001")
    sweeps = list(scene.sweeps)
    first = sweeps[0]
    boxes = first.boxes
    assert boxes is not None
    with pytest.raises(InputError, match=r"scene-0001|sweep 16"):
        if damage == "tracks":
            boxes = boxes.with_columns(track=None)
        elif damage == "category":
            boxes = boxes.with_columns(names=["Car"] * len(boxes))
        channels = ("reflectance", "colour") if damage == "channel" else CHANNELS[: 1 if damage == "columns" else 2]
        sweeps[0] = SceneSweep(first.timestamp, first.points, channels, first.vehicle_pose, boxes)
        kept = sweeps[:-1] if damage == "last" else sweeps
        write_scene(tmp_path, RecordedScene(scene.name, scene.source, scene.sensor_pose, kept))
    assert not scene_path(tmp_path, "scene-0001").exists()


def test_a_damaged_scene_file_is_named(tmp_path: Path) -> None:
    write_scene(tmp_path, _scene("scene-0001"))
    for text in ("{", "[]", '{"sample": []}'):
        scene_path(tmp_path, "scene-0001").write_text(text)
        with pytest.raises(InputError, match=r"scene-0001\.json"):
            write_tables(tmp_path, {"train": ["scene-0001"]})
    assert not (tmp_path / VERSION / "sample.json").exists()
