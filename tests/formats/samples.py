"""Random boxes, counting by brute force, and the folder of public samples."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.formats.kitti.calibration import Calibration

ODD_NAMES = ("Car", "forklift", "moped_scooter", "Straßenbahn", "行人", 'a "quoted", name', "two words", "<b>&amp;")
PLAIN_NAMES = ("Car", "forklift", "Person_sitting", "Straßenbahn", "行人", "<b>&amp;")
# A camera that looks ahead, turned and tilted a little.
CAMERA = Calibration(
    p2=np.array([[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.22], [0, 0, 1, 0.0027]]),
    r0_rect=np.array(
        [[0.9999239, 0.0098378, -0.0074450], [-0.0098698, 0.9999421, -0.0042785], [0.0074025, 0.0043516, 0.9999631]]
    ),
    tr_velo_to_cam=np.array(
        [
            [0.0075337, -0.9999714, -0.0006166, -0.0040698],
            [0.0148025, 0.0007281, -0.9998902, -0.0763162],
            [0.9998621, 0.0075238, 0.0148076, -0.2717806],
        ]
    ),
)


def shared(*parts: str) -> Path:
    """A folder or file of the public samples: $LIDAR_EBM_SHARED, or `shared` in or beside the checkout."""
    root = Path(__file__).resolve().parents[2]
    places = [root / "shared", root.parent / "shared", root.parent.parent / "shared"]
    if "LIDAR_EBM_SHARED" in os.environ:
        places.insert(0, Path(os.environ["LIDAR_EBM_SHARED"]))
    found = next((place.joinpath(*parts) for place in places if place.joinpath(*parts).exists()), None)
    if found is None:
        pytest.skip(f"the samples {'/'.join(parts)} are not here (set LIDAR_EBM_SHARED)")
    return found


def random_boxes(
    seed: int, columns: Collection[str] = (), *, count: int = 12, names: Collection[str] = ODD_NAMES, gaps: bool = True
) -> Boxes:
    """Boxes all around with these columns, a third of whose values are missing where `gaps` is set."""
    rng = np.random.default_rng(seed)
    boxes = np.column_stack(
        (
            rng.uniform(-60, 60, (count, 2)),
            rng.uniform(-3, 2, count),
            rng.uniform(0.2, 12, (count, 3)),
            rng.uniform(-np.pi, np.pi, count),
        )
    )
    gone = rng.random(count) < (0.3 if gaps else 0.0)
    made: dict[str, Any] = {
        "scores": rng.normal(size=count),
        "velocity": rng.normal(size=(count, 2)) * 10,
        "f": rng.normal(size=count),
        "covariance": rng.normal(size=(count, 7, 7)),
        "expected_iou": rng.random(count),
        "flip_probability": rng.random(count),
        "effective_samples": rng.uniform(1, 90, count),
        "samples": rng.normal(size=(count, 5, 7)),
        "image_rectangle": np.sort(rng.uniform(1, 370, (count, 2, 2)), axis=1).reshape(count, 4),
        "alpha": rng.uniform(-np.pi, np.pi, count),
        "truncated": rng.choice([0.0, 0.5, 1.0], count),
        "occluded": rng.integers(0, 3, count).astype(float),
        "points": rng.integers(0, 5000, count),
        "track": (100 * seed + rng.permutation(100)[:count]).astype(str),
        "attribute": rng.choice(["parked", "moving, fast", "sitting"], count),
        "difficulty": rng.choice(["easy", "hard"], count),
    }
    chosen = {}
    for name in columns:
        values = made[name]
        if values.dtype.kind == "f":
            values[gone] = np.nan
        elif name == "points":
            values[gone] = -1
        elif gaps and name != "track":
            values = np.where(gone, "", values)
        chosen[name] = values
    return Boxes(boxes, rng.choice(list(names), count), **chosen)


def assert_same(
    actual: Boxes,
    expected: Boxes,
    columns: Collection[str],
    *,
    tolerance: float = 1e-9,
    computed: Collection[str] = (),
) -> None:
    """The boxes agree, names, order and all of these columns; what is missing may be computed in some of them."""
    assert actual.names.tolist() == expected.names.tolist()
    np.testing.assert_allclose(actual.boxes[:, :6], expected.boxes[:, :6], atol=tolerance)
    turn = actual.boxes[:, 6] - expected.boxes[:, 6]
    np.testing.assert_allclose(np.angle(np.exp(1j * turn)), 0, atol=tolerance)
    assert ((actual.boxes[:, 6] >= -np.pi) & (actual.boxes[:, 6] < np.pi)).all()
    for name in columns:
        mine, theirs = getattr(actual, name), getattr(expected, name)
        if theirs is None or not len(expected):
            continue
        assert mine is not None, name
        if name in computed:
            mine = np.where(np.isnan(theirs), np.nan, mine)
        if theirs.dtype.kind == "f":
            np.testing.assert_allclose(mine, theirs, atol=tolerance, err_msg=name)
        else:
            assert mine.tolist() == theirs.tolist(), name


def count_points(points: np.ndarray, boxes: np.ndarray) -> list[int]:
    """Points [N, >= 3] in each box [M, 7], one box at a time."""
    counts = []
    for x, y, z, length, width, height, yaw in boxes:
        along = (points[:, 0] - x) * np.cos(yaw) + (points[:, 1] - y) * np.sin(yaw)
        across = (points[:, 1] - y) * np.cos(yaw) - (points[:, 0] - x) * np.sin(yaw)
        inside = (
            (np.abs(along) <= length / 2) & (np.abs(across) <= width / 2) & (np.abs(points[:, 2] - z) <= height / 2)
        )
        counts.append(int(inside.sum()))
    return counts
