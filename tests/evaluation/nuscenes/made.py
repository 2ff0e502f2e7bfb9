"""Random labels and detections for the reference and for the program."""

from __future__ import annotations

import numpy as np

from lidar_ebm.evaluation.nuscenes.filters import Racks
from lidar_ebm.evaluation.nuscenes.labels import SplitLabels
from lidar_ebm.evaluation.nuscenes.objects import Objects
from lidar_ebm.evaluation.nuscenes.rules import ATTRIBUTE_INDEX, CLASS_INDEX
from lidar_ebm.formats.nuscenes.classes import ATTRIBUTES, CLASSES
from tests.evaluation.nuscenes.reference import Thing


def random_things(rng: np.random.Generator, samples: int, count: int, *, scored: bool, ties: bool) -> list[Thing]:
    """Things on a lattice of 0.5 m, so that distances tie, with few scores, unknown velocities and attributes."""
    things = []
    for sample in sorted(rng.integers(samples, size=count).tolist()):
        name = CLASSES[min(int(rng.exponential(2.0)), 9)]
        x, y = rng.integers(-12, 12, 2) / 2 if ties else rng.uniform(-6, 6, 2)
        velocity = (float(rng.normal()), float(rng.normal())) if rng.random() < 0.7 else (np.nan, 0.0)
        things.append(
            Thing(
                sample,
                name,
                float(x),
                float(y),
                tuple(rng.uniform(0.5, 4.0, 3).tolist()),
                float(rng.uniform(-np.pi, np.pi)),
                velocity,
                str(rng.choice(["", *ATTRIBUTES[:3]])),
                float(rng.integers(0, 9)) / 8 if ties else float(rng.random()),
            )
        )
        if not scored:
            things[-1].score = np.nan
    return things


def as_objects(things: list[Thing]) -> Objects:
    """The same as columns."""
    sample = np.array([each.sample for each in things], np.int32)
    return Objects(
        sample=sample,
        matched_sample=sample,
        class_index=np.array([CLASS_INDEX[each.name] for each in things], np.int8),
        centers=np.array([(each.x, each.y, 0.0) for each in things], np.float64).reshape(-1, 3),
        sizes=np.array([each.size for each in things], np.float64).reshape(-1, 3),
        yaw=np.array([each.yaw for each in things], np.float64),
        velocity=np.array([each.velocity for each in things], np.float64).reshape(-1, 2),
        attribute=np.array([ATTRIBUTE_INDEX[each.attribute] for each in things], np.int8),
        points=np.full(len(things), -1, np.int64),
        scores=np.array([each.score for each in things], np.float64),
        bad_velocity=np.zeros(len(things), bool),
    )


def as_labels(things: list[Thing], samples: int) -> SplitLabels:
    """Labels of a split without racks, whose vehicle stands at the origin."""
    objects = as_objects(things)
    nothing = np.zeros((0, 3))
    return SplitLabels(
        name="made",
        tokens=tuple(f"sample {index}" for index in range(samples)),
        scenes=np.arange(samples, dtype=np.int32) // 2,
        ego=np.zeros((samples, 2)),
        racks=Racks(np.zeros(samples + 1, np.int64), nothing, nothing, np.zeros((0, 3, 3))),
        objects=objects,
        annotation_count=len(objects),
        own_split=True,
        lidar_poses=np.tile(np.eye(4), (samples, 1, 1)),
    )
