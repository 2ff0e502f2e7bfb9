"""Objects of other frames, from the label database, put into a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from lidar_ebm.config.augmentation import SamplingConfig
from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.datasets.samples import with_velocity
from lidar_ebm.errors import InputError
from lidar_ebm.geometry.moving import first_owner
from lidar_ebm.geometry.rectangles import choose_apart, footprints
from lidar_ebm.training.augmentation.ground import ground_heights
from lidar_ebm.types import REFLECTANCE


class ObjectDatabase(Protocol):
    """Labelled objects and the points inside them, as a `LabelDatabase` holds them."""

    @property
    def types(self) -> np.ndarray:
        """[K] str, class names."""

    @property
    def boxes(self) -> np.ndarray:
        """[K, 7] float32, LiDAR frame."""

    @property
    def difficulty(self) -> np.ndarray:
        """[K] str, words of the data set."""

    @property
    def difficulties(self) -> tuple[str, ...]:
        """These words, the easiest first; the last is beyond all limits."""

    @property
    def point_counts(self) -> np.ndarray:
        """[K] int."""

    @property
    def velocity(self) -> np.ndarray | None:
        """[K, 2] float32 vx, vy (m/s), NaN where unknown; None where no object has any."""

    def points(self, index: int, channels: Sequence[str]) -> np.ndarray:
        """[n, 3 + C] float32 of one object, where it was: x, y, z (m), and the channels."""


def add_objects(
    frame: Sample,
    rng: np.random.Generator,
    settings: SamplingConfig,
    database: ObjectDatabase,
    classes: Sequence[ClassConfig],
    channels: Sequence[str] = (REFLECTANCE,),
) -> Sample:
    """The frame with objects of other frames put in where they were, class by class; the given one stays as it is.

    As many objects of a class are drawn, each at most once, as the frame lacks to the class's count. One whose box
    overlaps, seen from above, a labelled box of the frame, of whatever class, or one put in before is left out, so a
    crowded frame stays below the count. The others are set on the frame's ground (by their own height over the sensor
    where none is seen around them), and what the frame had measured inside their boxes is removed: where boxes have
    velocities, of earlier sweeps what lay where they were then.

    Args:
        frame: LiDAR frame.
        rng: the only source of chance.
        settings: `config.augmentation.sampling`.
        database: objects to draw from; those of a class's merged types are not drawn.
        classes: `config.classes`, which `frame.class_index` counts.
        channels: of the frame's points.

    Raises:
        InputError: the settings have a difficulty that is no word of the database's data set.
    """
    rows, class_index = _draw(frame, rng, settings, database, classes)
    taken = footprints(np.concatenate([frame.boxes[:, :7], frame.others]))
    free = choose_apart(taken, footprints(database.boxes[rows]))
    rows, class_index = rows[free], class_index[free]
    if not len(rows):
        return frame
    boxes = np.array(database.boxes[rows], dtype=np.float32)
    bottoms = boxes[:, 2] - boxes[:, 5] / 2
    lifts = np.nan_to_num(ground_heights(frame.points, boxes) - bottoms).astype(np.float32)
    boxes[:, 2] += lifts
    if frame.boxes.shape[1] > 7:
        velocity = None if database.velocity is None else database.velocity[rows]
        boxes = with_velocity(boxes, velocity)
    objects = [np.array(database.points(int(row), channels), dtype=np.float32) for row in rows]
    for points, lift in zip(objects, lifts, strict=True):
        points[:, 2] += lift
    covered = first_owner(frame.points, boxes) >= 0  # [N]
    return Sample(
        frame_id=frame.frame_id,
        points=np.concatenate([*objects, frame.points[~covered]]),
        boxes=np.concatenate([frame.boxes, boxes]),
        class_index=np.concatenate([frame.class_index, class_index]),
        others=frame.others,
    )


def describe_sampling(
    settings: SamplingConfig, database: ObjectDatabase, classes: Sequence[ClassConfig]
) -> tuple[str, ...]:
    """A line for each class: how many objects of how many `add_objects` puts in.

    Raises:
        InputError: as `add_objects`.
    """
    lines = []
    for item, candidates in zip(classes, _candidates(settings, database, classes), strict=True):
        objects, count = len(candidates), settings.count_of(item.name)
        if not count:
            lines.append(f"{item.name}: no objects are put into frames (augmentation.sampling.counts)")
        elif not objects:
            lines.append(f"{item.name}: no objects are put into frames, as the label database has none that count")
        else:
            lines.append(f"{item.name}: frames are filled up to {count} with {objects} objects of the label database")
    return tuple(lines)


def _candidates(settings: SamplingConfig, database: ObjectDatabase, classes: Sequence[ClassConfig]) -> list[np.ndarray]:
    """Rows of the database that the settings allow for each class, whose name counts whatever the case."""
    unknown = [word for word in settings.difficulties if word not in database.difficulties]
    if unknown:
        raise InputError(
            f"augmentation.sampling.difficulties: {unknown[0]!r} is no difficulty of this data set; there are "
            f"{', '.join(database.difficulties)}."
        )
    wanted = settings.difficulties or database.difficulties[:-1]
    allowed: np.ndarray = np.isin(database.difficulty, wanted) & (database.point_counts >= settings.min_points)
    # Of few spellings, as this is done for every frame: lowering each object's name would take most of the time.
    spellings = set(database.types.tolist())
    rows = []
    for item in classes:
        of_class = np.zeros(len(allowed), bool)
        for name in spellings:
            if name.lower() == item.name.lower():
                of_class |= database.types == name
        rows.append(np.flatnonzero(allowed & of_class))
    return rows


def _draw(
    frame: Sample,
    rng: np.random.Generator,
    settings: SamplingConfig,
    database: ObjectDatabase,
    classes: Sequence[ClassConfig],
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the database to try, in order, and the classes' indices: [K] int64 each."""
    rows, class_index = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for index, (item, candidates) in enumerate(zip(classes, _candidates(settings, database, classes), strict=True)):
        lacking = settings.count_of(item.name) - int(np.count_nonzero(frame.class_index == index))
        count = min(max(lacking, 0), len(candidates))
        rows.append(rng.choice(candidates, size=count, replace=False))
        class_index.append(np.full(count, index, dtype=np.int64))
    return np.concatenate(rows), np.concatenate(class_index)
