"""Folders of one's own for the tests, written in the axes, unit and height of any sensor."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import yaml

WORDS = ("forward", "backward", "left", "right", "up", "down")
DIRECTIONS = dict(zip(WORDS, np.vstack([sign * row for row in np.eye(3) for sign in (1, -1)]), strict=True))
AXES = [
    words
    for words in itertools.permutations(WORDS, 3)
    if abs(np.linalg.det(np.array([DIRECTIONS[word] for word in words]))) > 0.5
]
RIGHT_HANDED = [words for words in AXES if np.linalg.det(np.array([DIRECTIONS[word] for word in words])) > 0]
UPRIGHT = [words for words in RIGHT_HANDED if words[2] in ("up", "down")]


def axes_text(words: tuple[str, ...]) -> str:
    """A setting `axes` of three directions."""
    return ", ".join(f"{axis} {word}" for axis, word in zip("xyz", words, strict=True))


def draw_scene(seed: int, count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Points [N, 4] and boxes [M, 7] full of points, x forward, y left, z up, sensor at the origin."""
    rng = np.random.default_rng(seed)
    boxes = np.column_stack(
        (
            rng.uniform(-40, 40, (count, 2)),
            rng.uniform(-1.2, 0.5, count),
            rng.uniform((1, 0.5, 0.5), (5, 2, 2), (count, 3)),
            rng.uniform(-np.pi, np.pi, count),
        )
    )
    clouds = [rng.uniform((-50, -50, -2), (50, 50, 2), (2000, 3))]
    for box in boxes:
        inside = rng.uniform(-0.7, 0.7, (int(rng.integers(20, 80)), 3)) * box[3:6]
        cosine, sine = np.cos(box[6]), np.sin(box[6])
        clouds.append(inside @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]]) + box[:3])
    points = np.concatenate(clouds)
    return np.column_stack((points, rng.random(len(points)))).astype(np.float32), boxes


def write_frame(
    root: Path,
    name: str,
    points: np.ndarray,
    boxes: np.ndarray,
    names: list[str],
    *,
    words: tuple[str, ...] = ("forward", "left", "up"),
    unit: float = 1.0,
) -> None:
    """Write points and boxes, as `draw_scene` has them, in other axes and another unit."""
    basis = np.array([DIRECTIONS[word] for word in words])  # rows: the files' axes in ours
    (root / "points").mkdir(parents=True, exist_ok=True)
    (root / "labels").mkdir(exist_ok=True)
    places = points[:, :3].astype(np.float64) @ basis.T / unit
    np.column_stack((places, points[:, 3])).astype("<f4").tofile(root / "points" / f"{name}.bin")
    entries = []
    for box, kind in zip(boxes, names, strict=True):
        heading = basis @ (np.cos(box[6]), np.sin(box[6]), 0)
        entries.append(
            {
                "class": kind,
                "center": (basis @ box[:3] / unit).tolist(),
                "size": (box[3:6] / unit).tolist(),
                "yaw": float(np.arctan2(heading[1], heading[0])),
            }
        )
    (root / "labels" / f"{name}.json").write_text(json.dumps({"boxes": entries}))


def write_settings(root: Path, **settings: object) -> Path:
    """Write a `dataset.yaml`."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.yaml").write_text(yaml.safe_dump(settings))
    return root
