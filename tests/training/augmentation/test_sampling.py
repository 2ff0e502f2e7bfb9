"""Objects of other frames are put in whole, apart from everything, on the ground, and no more than asked for."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.config.augmentation import SamplingConfig
from lidar_ebm.datasets.opening import open_data_set
from lidar_ebm.datasets.preparation.label_database import load_label_database
from lidar_ebm.datasets.preparation.prepare import prepare
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.errors import InputError
from lidar_ebm.geometry.boxes import points_in_boxes
from lidar_ebm.training.augmentation.sampling import add_objects
from tests.training.augmentation.scenes import (
    CLASSES,
    GROUND,
    Objects,
    box_coordinates,
    make_frame,
    make_moving_frame,
    make_objects,
    overlapping_pairs,
    slope,
)

SETTINGS = SamplingConfig(counts={"Car": 15, "Pedestrian": 10, "Cyclist": 8})
STREET = ("Car", "Car", "Van", "Pedestrian", "Cyclist")


def added(frame: Sample, seed: int, settings: SamplingConfig = SETTINGS, objects: Objects | None = None) -> Sample:
    return add_objects(frame, np.random.default_rng(seed), settings, objects or make_objects(seed), CLASSES)


def sources(objects: Objects, boxes: np.ndarray) -> np.ndarray:
    """Rows of the database that boxes come from: height apart they are where they were."""
    same = (objects.boxes[None, :, [0, 1, 3, 4, 5, 6]] == boxes[:, None, [0, 1, 3, 4, 5, 6]]).all(axis=2)
    assert (same.sum(axis=1) == 1).all()
    return same.argmax(axis=1)


@pytest.mark.parametrize("seed", range(6))
def test_objects_come_whole_and_what_stood_there_goes(seed: int) -> None:
    frame, objects = make_frame(seed, types=STREET), make_objects(seed)
    changed = added(frame, seed, objects=objects)
    new = changed.boxes[len(STREET) :]
    rows = sources(objects, new)
    assert len(rows) > 5
    np.testing.assert_array_equal(changed.boxes[: len(STREET)], frame.boxes)
    np.testing.assert_array_equal(changed.class_index[: len(STREET)], frame.class_index)
    names = [CLASSES[label].name for label in changed.class_index[len(STREET) :]]
    assert names == objects.types[rows].tolist()

    count = int(objects.point_counts[rows].sum())
    pasted, scene = changed.points[:count], changed.points[count:]
    start = 0
    for box, row in zip(new, rows, strict=True):
        points = pasted[start : start + objects.point_counts[row]]
        start += len(points)
        before = box_coordinates(objects.points(row), objects.boxes[row])
        np.testing.assert_allclose(box_coordinates(points, box), before, atol=2e-6)
        np.testing.assert_array_equal(points[:, 3], objects.points(row)[:, 3])
        assert points_in_boxes(points, box[None]).all()
    covered = points_in_boxes(frame.points, new).any(axis=1)
    assert covered.any()
    np.testing.assert_array_equal(scene, frame.points[~covered])
    assert len(changed.points) == len(frame.points) - covered.sum() + count


@pytest.mark.parametrize("seed", range(6))
def test_nothing_overlaps_that_did_not_before(seed: int) -> None:
    changed = added(make_frame(seed, types=STREET), seed)
    assert overlapping_pairs(changed.boxes) == set()


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_put_onto_a_labelled_object_of_another_class(seed: int) -> None:
    """Of such objects nothing is learnt, but they stand there: trams and people sitting, or cars for a pedestrian's
    detector."""
    street = make_frame(seed, types=STREET * 3)
    trained = np.random.default_rng([seed, 4]).random(len(street.boxes)) < 0.3
    frame = Sample("0", street.points, street.boxes[trained], street.class_index[trained], street.boxes[~trained])
    changed = added(frame, seed)
    assert len(changed.boxes) > len(frame.boxes)
    np.testing.assert_array_equal(changed.others, frame.others)
    assert overlapping_pairs(np.concatenate([changed.boxes, changed.others])) == set()


def test_a_frame_is_filled_up_and_not_over() -> None:
    frame = make_frame(types=STREET)
    objects = make_objects(count=2000)
    for counts in ({"Car": 3}, {"Car": 5, "Cyclist": 1}, {"Pedestrian": 4}, {"Car": 2}):
        for seed in range(5):
            class_index = added(frame, seed, SamplingConfig(counts=counts), objects).class_index
            for label, item in enumerate(CLASSES):
                there = int((frame.class_index == label).sum())
                assert there <= (class_index == label).sum() <= max(there, counts.get(item.name, 0))
    # With room enough nothing is left out.
    sparse = make_frame(types=())
    full = [
        (added(sparse, seed, SamplingConfig(counts={"Pedestrian": 4}), objects).class_index == 1).sum()
        for seed in range(9)
    ]
    assert max(full) == 4


def test_only_allowed_objects_are_taken_each_at_most_once() -> None:
    objects = make_objects(count=300)
    settings = SamplingConfig(counts={"Car": 3, "Cyclist": 3}, min_points=12, difficulties=("moderate", "beyond"))
    taken = []
    for seed in range(80):
        rows = sources(objects, added(make_frame(types=()), seed, settings, objects).boxes)
        assert len(set(rows)) == len(rows)
        taken += rows.tolist()
    allowed = np.isin(objects.types, ["Car", "Cyclist"]) & (objects.point_counts >= 12)
    allowed &= np.isin(objects.difficulty, ["moderate", "beyond"])
    assert set(taken) == set(np.flatnonzero(allowed))  # all of them have their turn


@pytest.mark.parametrize("sloped", [False, True])
def test_objects_stand_on_the_ground(sloped: bool) -> None:
    for seed in range(6):
        frame = make_frame(seed, types=STREET, points=12_000, sloped=sloped)
        new = added(frame, seed).boxes[len(STREET) :]
        wanted = slope(new[:, 0], new[:, 1]) if sloped else np.full(len(new), GROUND)
        np.testing.assert_allclose(new[:, 2] - new[:, 5] / 2, wanted, atol=0.08)


def test_where_no_ground_is_seen_objects_keep_their_height() -> None:
    objects = make_objects()
    empty = Sample("000000", np.zeros((0, 4), np.float32), np.zeros((0, 7), np.float32), np.zeros(0, np.int64))
    changed = added(empty, 0, objects=objects)
    rows = sources(objects, changed.boxes)
    np.testing.assert_array_equal(changed.boxes, objects.boxes[rows])
    np.testing.assert_array_equal(changed.points, np.concatenate([objects.points(row) for row in rows]))
    np.testing.assert_array_equal(
        changed.class_index, [[c.name for c in CLASSES].index(t) for t in objects.types[rows]]
    )


@pytest.mark.parametrize(
    "settings",
    [SamplingConfig(counts={}), SamplingConfig(counts={"Car": 2}), SamplingConfig(min_points=1000)],
    ids=["no classes", "full already", "no object large enough"],
)
def test_with_nothing_to_put_in_the_frame_stays_as_it_is(settings: SamplingConfig) -> None:
    frame = make_frame()
    changed = added(frame, 0, settings)
    np.testing.assert_array_equal(changed.points, frame.points)
    np.testing.assert_array_equal(changed.boxes, frame.boxes)


def test_a_word_that_the_data_set_does_not_have_is_named_and_not_passed_over() -> None:
    settings = SamplingConfig(counts={"Car": 9}, difficulties=("easy", "easiest"))
    with pytest.raises(InputError, match="'easiest' is no difficulty of this data set; there are easy, moderate"):
        added(make_frame(types=()), 0, settings)


def test_the_case_of_a_class_name_does_not_matter() -> None:
    objects = make_objects(count=300)
    shouting = replace(objects, types=np.char.upper(objects.types))
    frame = make_frame(types=())
    expected = added(frame, 0, objects=objects)
    assert len(expected.boxes)
    np.testing.assert_array_equal(added(frame, 0, objects=shouting).boxes, expected.boxes)


def test_without_words_all_is_taken_but_what_is_beyond_the_data_sets_last_limit() -> None:
    objects = make_objects(count=300)
    settings = SamplingConfig(counts={"Car": 5}, min_points=1)
    taken = [
        row
        for seed in range(80)
        for row in sources(objects, added(make_frame(types=()), seed, settings, objects).boxes)
    ]
    allowed = (objects.types == "Car") & (objects.difficulty != objects.difficulties[-1])
    assert set(taken) == set(np.flatnonzero(allowed))


def test_difficulties_are_the_data_sets_own_words() -> None:
    objects = make_objects(count=300)
    words = ("near", "middle", "far", "out of sight")
    renamed = dict(zip(objects.difficulties, words, strict=True))
    own = replace(objects, difficulty=np.array([renamed[word] for word in objects.difficulty]), difficulties=words)
    frame = make_frame(types=())
    for chosen, same in ((("middle",), ("moderate",)), ((), ())):
        settings = SamplingConfig(counts={"Car": 9}, min_points=1)
        found = added(frame, 0, settings.model_copy(update={"difficulties": chosen}), own)
        expected = added(frame, 0, settings.model_copy(update={"difficulties": same}), objects)
        assert len(found.boxes)
        np.testing.assert_array_equal(found.boxes, expected.boxes)


def test_a_label_database_serves(simulated: Path, tmp_path: Path) -> None:
    shutil.copytree(simulated, tmp_path / "data")
    data_set = open_data_set(tmp_path / "data")
    prepare(data_set, workers=1)
    database = load_label_database(data_set)
    frame = make_frame(types=("Car",))
    settings = SamplingConfig(counts={"Car": 1 + len(database)}, min_points=1)
    changed = add_objects(frame, np.random.default_rng(0), settings, database, CLASSES)
    assert len(changed.boxes) > 1
    assert len(changed.points) > 0.9 * len(frame.points)


def test_an_empty_database_gives_nothing() -> None:
    nothing = Objects(np.zeros(0, "<U10"), np.zeros((0, 7), np.float32), np.zeros(0, "<U10"), np.zeros(0, np.int64), ())
    frame = make_frame()
    assert len(added(frame, 0, objects=nothing).boxes) == len(frame.boxes)


def test_what_is_read_only_stays_as_it_was() -> None:
    frame, objects = make_frame(types=STREET), make_objects()
    for array in (frame.points, frame.boxes, frame.class_index, objects.boxes, *objects.clouds):
        array.flags.writeable = False
    first, second = (added(frame, 7, objects=objects) for _ in range(2))
    for name in ("points", "boxes", "class_index"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert (first.points.dtype, first.boxes.dtype, first.class_index.dtype) == (np.float32, np.float32, np.int64)


def test_moving_objects_come_with_their_sweeps_and_push_out_what_lay_in_their_way() -> None:
    source = make_moving_frame(1, cars=1)
    cloud = source.points[source.points[:, 3] == 0]
    objects = Objects(
        types=np.array(["Car"]),
        boxes=source.boxes[:, :7],
        difficulty=np.array(["easy"]),
        point_counts=np.array([len(cloud)]),
        clouds=(cloud,),
        velocity=source.boxes[:, 7:],
    )
    # A point of each earlier sweep lies where the object was, too few to be taken for ground.
    middle = [np.abs(cloud[cloud[:, 4] == lag][:, 2] - source.boxes[0, 2]).argmin() for lag in np.unique(cloud[:, 4])]
    in_the_way = np.array([cloud[cloud[:, 4] == lag][i] for lag, i in zip(np.unique(cloud[:, 4]), middle, strict=True)])
    in_the_way = in_the_way[1:]
    in_the_way[:, 3] = 9
    beside = in_the_way + np.float32([20, 0, 0, 1, 0])
    points = np.concatenate([in_the_way, beside])
    frame = Sample("empty", points, np.zeros((0, 9), np.float32), np.zeros(0, np.int64))
    settings, rng = SamplingConfig(counts={"Car": 1}), np.random.default_rng(0)
    changed = add_objects(frame, rng, settings, objects, CLASSES, ("reflectance", "time_lag"))
    assert changed.boxes.shape == (1, 9)
    np.testing.assert_array_equal(changed.boxes[:, 7:], source.boxes[:, 7:])
    np.testing.assert_array_equal(changed.points, np.concatenate([cloud, beside]))
