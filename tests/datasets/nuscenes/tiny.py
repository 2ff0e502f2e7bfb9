"""Small nuScenes databases, written table by table: a car that drives past others, seen by a LiDAR that drives, too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lidar_ebm.formats.nuscenes.classes import ATTRIBUTES
from lidar_ebm.geometry.poses import inverse_pose, make_pose, move_points, quaternions_of_yaw, rotation_matrix

CATEGORIES = (
    "vehicle.car",
    "vehicle.bus.rigid",
    "human.pedestrian.adult",
    "movable_object.barrier",
    "static_object.bicycle_rack",
)
SENSOR_TRANSLATION = (0.94, 0.0, 1.84)
SENSOR_ROTATION = (0.7077955119163518, -0.006492242056004365, 0.010646214713995808, -0.7063073142877817)
START = 1_532_402_900_000_000  # µs
STEP = 50_000  # µs between sweeps


@dataclass
class Object:
    """An object that drives straight on."""

    category: str
    start: tuple[float, float, float]  # centre at the scene's beginning, global frame, m
    velocity: tuple[float, float] = (0.0, 0.0)  # m/s
    size: tuple[float, float, float] = (1.9, 4.5, 1.6)  # width, length, height
    yaw: float = 0.0
    attribute: str = ""
    points: int = 30  # in each sweep

    def center(self, seconds: float) -> np.ndarray:
        """Centre [3] at a time after the scene's beginning."""
        return np.array(self.start) + np.array((*self.velocity, 0.0)) * seconds


@dataclass
class TinyDatabase:
    """Tables by name, as lists of records that a test may change before they are written."""

    version: str = "v1.0-mini"
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    files: dict[str, np.ndarray] = field(default_factory=dict)  # points [N, 5] by name

    def record(self, table: str, token: str) -> dict[str, Any]:
        """A record by its token."""
        return next(record for record in self.tables[table] if record["token"] == token)

    def write(self, root: Path, *, without: Sequence[str] = ()) -> Path:
        """Write everything but some tables."""
        for name, points in self.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(points.astype("<f4").tobytes())
        (root / self.version).mkdir(parents=True, exist_ok=True)
        for name, records in self.tables.items():
            if name not in without:
                (root / self.version / f"{name}.json").write_text(json.dumps(records, indent=0))
        return root


def ego_pose(seconds: float) -> tuple[tuple[float, float, float], tuple[float, float, float, float]]:
    """Translation and rotation of the ego vehicle, which drives 6 m/s ahead and turns slowly."""
    half = (0.4 + 0.1 * seconds) / 2
    tilt = 0.01
    return (400 + 6 * seconds, 1100 + 2 * seconds, 0.0), (np.cos(half), tilt, -tilt, np.sin(half))


def lidar_pose(seconds: float) -> np.ndarray:
    """Pose [4, 4]: LIDAR_TOP's own frame → global frame."""
    translation, rotation = ego_pose(seconds)
    ego = make_pose(np.array(translation), np.array(rotation))
    return ego @ make_pose(np.array(SENSOR_TRANSLATION), np.array(SENSOR_ROTATION))


def two_objects() -> list[Object]:
    """A car that drives, and a pedestrian who stands."""
    return [
        Object("vehicle.car", (412.0, 1112.0, 0.9), (9.0, -4.0), yaw=-0.4, attribute="vehicle.moving"),
        Object(
            "human.pedestrian.adult",
            (405.0, 1090.0, 0.9),
            size=(0.7, 0.7, 1.8),
            attribute="pedestrian.standing",
            points=12,
        ),
    ]


def make_database(
    scenes: Mapping[str, Sequence[Object]] | None = None,
    *,
    samples: int = 3,
    sweeps: int = 9,
    version: str = "v1.0-mini",
    seed: int = 0,
    background: int = 80,
) -> TinyDatabase:
    """A database of scenes by name, with the objects in each.

    Args:
        samples: keyframes of a scene, half a second apart where there are 9 sweeps between them.
        sweeps: between two keyframes.
        background: points of each sweep on no object, some of them on the ego vehicle.
    """
    scenes = {"scene-0061": two_objects(), "scene-0103": two_objects()} if scenes is None else scenes
    rng = np.random.default_rng(seed)
    made = TinyDatabase(version)
    tables = made.tables
    tables["category"] = [{"token": f"c{i}", "name": name} for i, name in enumerate(CATEGORIES)]
    tables["attribute"] = [{"token": f"a{i}", "name": name} for i, name in enumerate(ATTRIBUTES)]
    tables["visibility"] = [{"token": "4", "level": "v80-100"}]
    tables["sensor"] = [{"token": "s0", "channel": "LIDAR_TOP", "modality": "lidar"}]
    tables["calibrated_sensor"] = [
        {
            "token": "k0",
            "sensor_token": "s0",
            "translation": SENSOR_TRANSLATION,
            "rotation": SENSOR_ROTATION,
            "camera_intrinsic": [],
        }
    ]
    tables["log"] = [{"token": "l0", "logfile": "n0", "vehicle": "n0", "date_captured": "2018-07-24", "location": "x"}]
    tables["map"] = [{"token": "m0", "log_tokens": ["l0"], "category": "semantic_prior", "filename": "maps/m.png"}]
    for name in ("scene", "sample", "sample_data", "ego_pose", "instance", "sample_annotation"):
        tables[name] = []
    for number, (name, objects) in enumerate(scenes.items()):
        _add_scene(made, name, number, objects, samples, sweeps, background, rng)
    return made


def _add_scene(
    made: TinyDatabase,
    name: str,
    number: int,
    objects: Sequence[Object],
    samples: int,
    sweeps: int,
    background: int,
    rng: np.random.Generator,
) -> None:
    tables = made.tables
    begin = START + number * 100_000_000
    tokens = [f"{name}-sample{index}" for index in range(samples)]
    tables["scene"].append(
        {
            "token": f"{name}-token",
            "name": name,
            "description": "",
            "log_token": "l0",
            "nbr_samples": samples,
            "first_sample_token": tokens[0],
            "last_sample_token": tokens[-1],
        }
    )
    count = (samples - 1) * (sweeps + 1) + 1
    files = [f"{name}-file{index}" for index in range(count)]
    for index, token in enumerate(files):
        seconds, stamp = index * STEP * 1e-6, begin + index * STEP
        key, sample = index % (sweeps + 1) == 0, -(-index // (sweeps + 1))
        filename = f"{'samples' if key else 'sweeps'}/LIDAR_TOP/{token}.pcd.bin"
        translation, rotation = ego_pose(seconds)
        tables["ego_pose"].append(
            {"token": f"{token}-pose", "timestamp": stamp, "translation": translation, "rotation": rotation}
        )
        tables["sample_data"].append(
            {
                "token": token,
                "sample_token": tokens[sample],
                "ego_pose_token": f"{token}-pose",
                "calibrated_sensor_token": "k0",
                "timestamp": stamp,
                "filename": filename,
                "fileformat": "pcd",
                "is_key_frame": key,
                "prev": files[index - 1] if index else "",
                "next": files[index + 1] if index + 1 < count else "",
            }
        )
        made.files[filename] = _points(objects, seconds, background, rng)
    for index, token in enumerate(tokens):
        tables["sample"].append(
            {
                "token": token,
                "timestamp": begin + index * (sweeps + 1) * STEP,
                "scene_token": f"{name}-token",
                "prev": tokens[index - 1] if index else "",
                "next": tokens[index + 1] if index + 1 < samples else "",
            }
        )
    for row, item in enumerate(objects):
        instance = f"{name}-instance{row}"
        tables["instance"].append({"token": instance, "category_token": f"c{CATEGORIES.index(item.category)}"})
        for index, token in enumerate(tokens):
            center = item.center(index * (sweeps + 1) * STEP * 1e-6)
            tables["sample_annotation"].append(
                {
                    "token": f"{instance}-{index}",
                    "sample_token": token,
                    "instance_token": instance,
                    "attribute_tokens": [f"a{ATTRIBUTES.index(item.attribute)}"] if item.attribute else [],
                    "visibility_token": "4",
                    "translation": center.tolist(),
                    "size": item.size,
                    "rotation": quaternions_of_yaw(np.array([item.yaw]))[0].tolist(),
                    "num_lidar_pts": item.points,
                    "num_radar_pts": 0,
                    "prev": f"{instance}-{index - 1}" if index else "",
                    "next": f"{instance}-{index + 1}" if index + 1 < samples else "",
                }
            )


def _points(objects: Sequence[Object], seconds: float, background: int, rng: np.random.Generator) -> np.ndarray:
    """Points [N, 5] of a sweep, in the sensor's frame, with the object's number for a ring (31: none)."""
    to_sensor = inverse_pose(lidar_pose(seconds))
    parts = []
    for number, item in enumerate(objects):
        width, length, height = item.size
        inside = rng.uniform(-0.35, 0.35, (item.points, 3)) * (length, width, height)
        turn = rotation_matrix(quaternions_of_yaw(np.array([item.yaw])))[0]
        parts.append((move_points(inside @ turn.T + item.center(seconds), to_sensor), number))
    away = rng.uniform(-1, 1, (background, 3)) * (50, 50, 0.3) + (0, 0, 12)
    parts += [(away, 31), (rng.uniform(-0.99, 0.99, (background // 4, 3)), 31)]
    return np.concatenate(
        [
            np.column_stack((points, rng.integers(0, 256, len(points)), np.full(len(points), number)))
            for points, number in parts
        ]
    )
