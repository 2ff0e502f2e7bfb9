"""All of the augmentation together, and what moves whole frames: what lies in a box stays in it, and labels true."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lidar_ebm.config.augmentation import AugmentationConfig, ObjectNoiseConfig, SamplingConfig
from lidar_ebm.config.loading import load_config
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.datasets.samples import crop_to_range
from lidar_ebm.errors import InputError
from lidar_ebm.geometry.boxes import points_in_boxes
from lidar_ebm.training.augmentation.augment import augment, move_frame
from tests.training.augmentation.scenes import (
    CLASSES,
    Objects,
    box_coordinates,
    make_frame,
    make_moving_frame,
    make_objects,
    overlapping_pairs,
    places_in_boxes,
)

WHOLE = AugmentationConfig(sampling=SamplingConfig(enabled=False), object_noise=ObjectNoiseConfig(enabled=False))
STILL = WHOLE.model_copy(update={"flip": False, "rotation": 0.0, "scaling": (1.0, 1.0)})
PUBLISHED = AugmentationConfig()
STREET = ("Car", "Van", "Car", "Pedestrian", "Cyclist")


def random_frame(seed: int = 0, points: int = 2000, boxes: int = 10) -> Sample:
    """Points and boxes anywhere, overlapping or not."""
    rng = np.random.default_rng(seed)
    return Sample(
        frame_id="000000",
        points=rng.uniform((0, -10, -2, 0), (20, 10, 1, 1), (points, 4)).astype(np.float32),
        boxes=np.column_stack(
            (
                rng.uniform((0, -10, -2), (20, 10, 1), (boxes, 3)),
                rng.uniform(1, 6, (boxes, 3)),
                rng.uniform(-math.pi, math.pi, boxes),
            )
        ).astype(np.float32),
        class_index=rng.integers(0, 3, boxes),
    )


def clear_of_faces(frame: Sample) -> np.ndarray:
    """Pairs of point and box that are farther from changing sides than rounding can move them."""
    grown, shrunk = frame.boxes.copy(), frame.boxes.copy()
    grown[:, 3:6] += 1e-4
    shrunk[:, 3:6] -= 1e-4
    return points_in_boxes(frame.points, grown) == points_in_boxes(frame.points, shrunk)


@pytest.mark.parametrize("seed", range(8))
def test_points_stay_in_their_boxes_when_the_frame_moves(seed: int) -> None:
    frame = random_frame(seed)
    changed = augment(frame, np.random.default_rng(seed), WHOLE)
    before, after = points_in_boxes(frame.points, frame.boxes), points_in_boxes(changed.points, changed.boxes)
    clear = clear_of_faces(frame)
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(before[clear], after[clear])
    np.testing.assert_array_equal(changed.class_index, frame.class_index)
    np.testing.assert_array_equal(changed.points[:, 3], frame.points[:, 3])
    assert (changed.boxes[:, 6] >= -math.pi).all()
    assert (changed.boxes[:, 6] < math.pi).all()
    assert changed.points.dtype == changed.boxes.dtype == np.float32


@pytest.mark.parametrize("seed", range(4))
def test_objects_of_other_classes_move_with_the_frame(seed: int) -> None:
    frame = random_frame(seed)
    split = Sample(frame.frame_id, frame.points, frame.boxes[:4], frame.class_index[:4], frame.boxes[4:])
    whole, changed = (augment(each, np.random.default_rng(seed), WHOLE) for each in (frame, split))
    np.testing.assert_array_equal(np.concatenate([changed.boxes, changed.others]), whole.boxes)


@pytest.mark.parametrize("seed", range(6))
def test_points_stay_where_they_were_in_their_box_through_all_of_it(seed: int) -> None:
    frame, objects = make_frame(seed, types=STREET), make_objects(seed)
    changed = augment(frame, np.random.default_rng(seed), PUBLISHED, objects, CLASSES)
    assert len(changed.boxes) > len(STREET)
    assert overlapping_pairs(changed.boxes) == set()
    # Points keep their order, so that reflectances, all different, tell which is which.
    for before, after in zip(frame.boxes, changed.boxes, strict=False):
        own = frame.points[points_in_boxes(frame.points, before[None])[:, 0]]
        then = np.concatenate([changed.points[changed.points[:, 3] == value] for value in own[:, 3]])
        assert len(then) == len(own)
        scale = after[3] / before[3]
        old, new = box_coordinates(own, before), box_coordinates(then, after) / scale
        mirrored = np.abs(new[:, 1] + old[:, 1]).max() < np.abs(new[:, 1] - old[:, 1]).max()
        np.testing.assert_allclose(new, old * [1, -1 if mirrored else 1, 1], atol=5e-5)


def test_whole_frames_move_alike_whatever_else_is_switched_on() -> None:
    frame, objects = make_frame(types=()), make_objects()
    for seed in range(5):
        plain = augment(frame, np.random.default_rng(seed), WHOLE)
        full = augment(frame, np.random.default_rng(seed), PUBLISHED, objects, CLASSES)
        stayed = np.isin(full.points[:, 3], frame.points[:, 3])
        kept = np.isin(plain.points[:, 3], full.points[:, 3])
        np.testing.assert_array_equal(full.points[stayed], plain.points[kept])
        assert len(full.points) > stayed.sum() > 0.9 * len(frame.points)


def test_each_part_can_be_switched_off() -> None:
    frame, objects = make_frame(types=STREET), make_objects()

    def shape(settings: AugmentationConfig, database: Objects | None = objects, classes: tuple = CLASSES) -> tuple:
        changed = augment(frame, np.random.default_rng(1), settings, database, classes)
        same = len(changed.boxes) == len(frame.boxes) and bool((changed.boxes == frame.boxes).all())
        return len(changed.boxes) - len(frame.boxes) > 0, same

    sampling, noise = SamplingConfig(), ObjectNoiseConfig()
    assert shape(STILL) == (False, True)
    assert shape(STILL.model_copy(update={"sampling": sampling})) == (True, False)
    assert shape(STILL.model_copy(update={"sampling": sampling}), database=None) == (False, True)
    assert shape(STILL.model_copy(update={"sampling": sampling}), classes=()) == (False, True)
    assert shape(STILL.model_copy(update={"object_noise": noise})) == (False, False)


def test_nothing_configured_changes_nothing() -> None:
    frame = random_frame()
    changed = augment(frame, np.random.default_rng(0), STILL, make_objects(), CLASSES)
    np.testing.assert_array_equal(changed.points, frame.points)
    np.testing.assert_array_equal(changed.boxes, frame.boxes)


def test_the_given_frame_is_left_as_it_is() -> None:
    frame, copy = random_frame(), random_frame()
    augment(frame, np.random.default_rng(0), PUBLISHED, make_objects(), CLASSES)
    np.testing.assert_array_equal(frame.points, copy.points)
    np.testing.assert_array_equal(frame.boxes, copy.boxes)


def test_mirroring_happens_in_half_of_the_cases_and_is_exact() -> None:
    frame, rng = random_frame(points=5, boxes=2), np.random.default_rng(0)
    settings = STILL.model_copy(update={"flip": True})
    mirrored = 0
    for _ in range(400):
        changed = augment(frame, rng, settings)
        sign = -1.0 if changed.points[0, 1] * frame.points[0, 1] < 0 else 1.0
        mirrored += sign < 0
        np.testing.assert_array_equal(changed.points, frame.points * np.array([1, sign, 1, 1], np.float32))
        np.testing.assert_array_equal(changed.boxes, frame.boxes * np.array([1, sign, 1, 1, 1, 1, sign], np.float32))
    assert 160 < mirrored < 240


def test_rotation_turns_about_the_sensor_within_its_bounds() -> None:
    frame = random_frame()
    for seed in range(50):
        changed = augment(frame, np.random.default_rng(seed), STILL.model_copy(update={"rotation": 0.3}))
        turned = changed.boxes[:, 6].astype(np.float64) - frame.boxes[:, 6]
        angle = math.atan2(math.sin(turned[0]), math.cos(turned[0]))
        assert abs(angle) <= 0.3 + 1e-6
        expected = (frame.points[:, 0] + 1j * frame.points[:, 1]) * np.exp(1j * angle)
        np.testing.assert_allclose(changed.points[:, 0] + 1j * changed.points[:, 1], expected, atol=1e-4)
        np.testing.assert_array_equal(changed.points[:, 2], frame.points[:, 2])


def test_scaling_keeps_to_its_bounds_and_scales_boxes_too() -> None:
    frame = random_frame()
    scales = []
    for seed in range(50):
        changed = augment(frame, np.random.default_rng(seed), STILL.model_copy(update={"scaling": (0.9, 1.2)}))
        scales.append(float(changed.boxes[0, 3] / frame.boxes[0, 3]))
        np.testing.assert_allclose(changed.points[:, :3], frame.points[:, :3] * scales[-1], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(changed.boxes[:, :6], frame.boxes[:, :6] * scales[-1], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(changed.boxes[:, 6], frame.boxes[:, 6])
    assert 0.9 - 1e-6 <= min(scales) < 0.95
    assert 1.15 < max(scales) <= 1.2 + 1e-6


def test_a_frame_is_mirrored_then_turned_then_scaled() -> None:
    frame = random_frame()
    one_by_one = move_frame(move_frame(move_frame(frame, mirrored=True), angle=0.4), scale=1.1)
    at_once = move_frame(frame, mirrored=True, angle=0.4, scale=1.1)
    np.testing.assert_allclose(at_once.points, one_by_one.points, atol=1e-5)
    np.testing.assert_allclose(at_once.boxes, one_by_one.boxes, atol=1e-5)


def test_the_generator_alone_decides() -> None:
    frame, objects = make_frame(types=STREET), make_objects()
    first, second, other = (
        augment(frame, np.random.default_rng(seed), PUBLISHED, objects, CLASSES) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.points, second.points)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    assert not np.array_equal(first.boxes, other.boxes)


@pytest.mark.parametrize(("points", "boxes"), [(0, 0), (0, 3), (50, 0)])
def test_empty_frames_are_augmented_like_any_other(points: int, boxes: int) -> None:
    frame = random_frame(points=points, boxes=boxes)
    for database in (None, make_objects(), make_objects(count=0)):
        changed = augment(frame, np.random.default_rng(0), PUBLISHED, database, CLASSES)
        added = len(changed.boxes) - boxes
        assert (added > 0) == (database is not None and len(database.types) > 0)
        assert changed.points.shape[1] == 4
        assert added > 0 or len(changed.points) == points
        assert changed.points.dtype == changed.boxes.dtype == np.float32


def test_what_leaves_the_range_is_cropped_with_its_label() -> None:
    bounds = (0.0, -20.0, -3.0, 40.0, 20.0, 1.0)  # the street is larger
    objects = make_objects()
    left = 0
    for seed in range(10):
        changed = augment(make_frame(seed, types=STREET), np.random.default_rng(seed), PUBLISHED, objects, CLASSES)
        cropped = crop_to_range(changed, bounds)
        left += len(changed.boxes) - len(cropped.boxes)
        assert len(cropped.boxes) == len(cropped.class_index)
        inside = (cropped.points[:, :3] >= bounds[:3]) & (cropped.points[:, :3] < bounds[3:])
        assert inside.all()
    assert left > 0


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("augmentation.sampling.counts={Caar: 3}", "augmentation.sampling.counts"),
        ("augmentation.sampling.counts={Car: -1}", "augmentation.sampling.counts.Car"),
        ("augmentation.object_noise.attempts=0", "augmentation.object_noise.attempts"),
        ("augmentation.object_noise.center_std=[1,-1,0]", "augmentation.object_noise.center_std.1"),
        ("augmentation.scaling=[1.1,0.9]", "augmentation"),
    ],
)
def test_settings_that_make_no_sense_are_named(override: str, key: str) -> None:
    with pytest.raises(InputError, match=key):
        load_config(None, [override])


def test_the_demo_moves_whole_frames_alone() -> None:
    settings = load_config("demo").augmentation
    assert not settings.sampling.enabled
    assert not settings.object_noise.enabled


@pytest.mark.parametrize("mirrored_x", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
def test_objects_that_move_are_where_they_were_in_every_sweep(mirrored: bool, mirrored_x: bool) -> None:
    frame = make_moving_frame(3)
    changed = move_frame(frame, mirrored=mirrored, mirrored_x=mirrored_x, angle=0.7, scale=1.1)
    before, after = places_in_boxes(frame) * 1.1, places_in_boxes(changed)
    before[:, 1] *= -1 if mirrored != mirrored_x else 1
    np.testing.assert_allclose(after, before, atol=1e-4)
    np.testing.assert_array_equal(changed.points[:, 3:], frame.points[:, 3:])


def test_mirroring_along_x_happens_where_asked_for_and_changes_nothing_else() -> None:
    frame = random_frame()
    settings = AugmentationConfig(rotation=0.0, scaling=(1.0, 1.0), flip=False, object_noise={"enabled": False})
    both = settings.model_copy(update={"flip_x": True})
    signs = []
    for seed in range(40):
        plain = augment(frame, np.random.default_rng(seed), settings)
        changed = augment(frame, np.random.default_rng(seed), both)
        np.testing.assert_array_equal(changed.points[:, 1:], plain.points[:, 1:])
        np.testing.assert_array_equal(np.abs(changed.points[:, 0]), np.abs(plain.points[:, 0]))
        signs.append(np.sign(changed.points[0, 0]) * np.sign(plain.points[0, 0]))
    assert {-1.0, 1.0} == set(signs)
