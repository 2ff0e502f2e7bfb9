"""Loading of nuScenes' frames: frames and points a second, from the tables and sweeps, and from prepared files.

Without --data a database of random sweeps is made, of the size that the simulator's small ones have; --points 34000 are
as many as real ones have.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.nuscenes.data_set import SWEEPS, NuScenesDataSet
from lidar_ebm.datasets.opening import open_data_set
from lidar_ebm.datasets.preparation.prepare import prepare
from lidar_ebm.datasets.samples import SampleContent, Samples
from lidar_ebm.formats.nuscenes.classes import CLASSES
from lidar_ebm.types import REFLECTANCE, TIME_LAG

CONTENT = SampleContent((REFLECTANCE, TIME_LAG), SWEEPS, velocity=True)
STEP = 50_000  # µs between sweeps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="root of a database; made up where not given")
    parser.add_argument("--split", default="train")
    parser.add_argument("--scenes", type=int, default=4, help="of the made-up one, of 20 samples each")
    parser.add_argument("--points", type=int, default=3000, help="of a sweep of the made-up one")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with (
        database(arguments.data, arguments.scenes, arguments.points) as root,
        tempfile.TemporaryDirectory() as prepared,
    ):
        began = time.perf_counter()
        data = open_data_set(root, prepared)
        assert isinstance(data, NuScenesDataSet)
        names = data.frame_names(arguments.split)
        data.labels(names[0])
        print(f"{os.cpu_count()} processors; {len(names)} frames; tables in {time.perf_counter() - began:.2f} s")
        print("\n| files | workers | frames/s | points/s | MB |\n| --- | --- | --- | --- | --- |")
        for workers in arguments.workers:
            measure("own", data, arguments.split, workers, 1)
        began = time.perf_counter()
        report = prepare(data, splits=[arguments.split], workers=1)
        seconds = time.perf_counter() - began
        for workers in arguments.workers:
            measure("prepared", data, arguments.split, workers, arguments.rounds)
        print(f"\nprepared in {seconds:.1f} s: {report.made / seconds:.1f} frames/s with one process")


def measure(files: str, data: NuScenesDataSet, split: str, workers: int, rounds: int) -> None:
    """One row of the table."""
    samples = Samples(Frames(data, split), [ClassConfig(name=name) for name in CLASSES], content=CONTENT)
    loader = DataLoader(samples, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
    sum(1 for _ in loader)  # workers start, files come into the system's memory
    began, frames, points = time.perf_counter(), 0, 0
    for _ in range(rounds):
        for sample in loader:
            frames += 1
            points += len(sample.points)
    seconds = time.perf_counter() - began
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| {files} | {workers} | {frames / seconds:.0f} | {points / seconds:,.0f} | {megabytes:.0f} |", flush=True)


@contextmanager
def database(root: Path | None, scenes: int, points: int) -> Iterator[Path]:
    """The folder, or one of random sweeps that is removed afterwards."""
    if root is not None:
        yield root
        return
    with tempfile.TemporaryDirectory() as folder:
        write_database(Path(folder), scenes, points)
        yield Path(folder)


def write_database(root: Path, scenes: int, points: int, samples: int = 20, objects: int = 30) -> None:
    """Write tables, and sweeps of random points, of objects that drive straight on."""
    rng = np.random.default_rng(0)
    tables: dict[str, list[dict[str, object]]] = {
        "category": [{"token": "c", "name": "vehicle.car"}],
        "attribute": [{"token": "a", "name": "vehicle.moving"}],
        "sensor": [{"token": "s", "channel": "LIDAR_TOP", "modality": "lidar"}],
        "calibrated_sensor": [
            {"token": "k", "sensor_token": "s", "translation": [0.9, 0, 1.8], "rotation": [0.7071, 0, 0, -0.7071]}
        ],
        **{name: [] for name in ("scene", "sample", "sample_data", "ego_pose", "instance", "sample_annotation")},
    }
    for scene in range(scenes):
        name, begin = f"scene-{1002 + scene:04d}", 1_500_000_000_000_000 + scene * 100_000_000
        tokens = [f"{name}-{index}" for index in range(samples)]
        about = {"log_token": "l", "nbr_samples": samples, "first_sample_token": tokens[0]}
        tables["scene"].append({"token": name, "name": name, **about, "last_sample_token": tokens[-1]})
        count = (samples - 1) * 10 + 1
        for index in range(count):
            token, stamp, key = f"{name}-file{index}", begin + index * STEP, index % 10 == 0
            pose = {"translation": [1000 + 0.5 * index, 500, 0], "rotation": [1, 0, 0, 0]}
            tables["ego_pose"].append({"token": token, "timestamp": stamp, **pose})
            path = root / ("samples" if key else "sweeps") / "LIDAR_TOP" / f"{token}.pcd.bin"
            tables["sample_data"].append(
                {
                    "token": token,
                    "sample_token": tokens[-(-index // 10)],
                    "ego_pose_token": token,
                    "calibrated_sensor_token": "k",
                    "timestamp": stamp,
                    "filename": path.relative_to(root).as_posix(),
                    "is_key_frame": key,
                    "prev": f"{name}-file{index - 1}" if index else "",
                    "next": f"{name}-file{index + 1}" if index + 1 < count else "",
                }
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            cloud = rng.normal(0, (20, 20, 1, 1, 1), (points, 5)) + np.array((0, 0, 0, 100, 16))
            cloud.astype("<f4").tofile(path)
        for index, token in enumerate(tokens):
            links = {
                "prev": tokens[index - 1] if index else "",
                "next": tokens[index + 1] if index + 1 < samples else "",
            }
            tables["sample"].append(
                {"token": token, "timestamp": begin + index * 10 * STEP, "scene_token": name, **links}
            )
        for number in range(objects):
            instance, start = f"{name}-i{number}", rng.uniform(-40, 40, 2) + np.array((1000, 500))
            velocity = rng.normal(0, 3, 2)
            tables["instance"].append({"token": instance, "category_token": "c"})
            for index, token in enumerate(tokens):
                x, y = start + velocity * index * 0.5
                tables["sample_annotation"].append(
                    {
                        "token": f"{instance}-{index}",
                        "sample_token": token,
                        "instance_token": instance,
                        "attribute_tokens": ["a"],
                        "translation": [x, y, 1.0],
                        "size": [1.9, 4.5, 1.6],
                        "rotation": [1, 0, 0, 0],
                        "num_lidar_pts": 10,
                        "num_radar_pts": 0,
                        "prev": f"{instance}-{index - 1}" if index else "",
                        "next": f"{instance}-{index + 1}" if index + 1 < samples else "",
                    }
                )
    (root / "v1.0-trainval").mkdir()
    for table, records in tables.items():
        (root / "v1.0-trainval" / f"{table}.json").write_text(json.dumps(records))


if __name__ == "__main__":
    main()
