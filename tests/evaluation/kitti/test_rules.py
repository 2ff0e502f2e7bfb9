"""Overlaps, difficulties and distance bands as they are asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti.objects import pack_objects
from lidar_ebm.evaluation.kitti.rules import (
    DIFFICULTIES,
    LIDAR_DIFFICULTIES,
    LOOSE_OVERLAPS,
    OFFICIAL_OVERLAPS,
    departs_from_official,
    is_beyond,
    label_states,
)
from lidar_ebm.evaluation.limits import Difficulty, with_bands
from lidar_ebm.evaluation.scoring import evaluate
from lidar_ebm.formats.kitti.label import Label
from tests.evaluation.kitti.random_frames import random_frames

CAR = Label("Car", 0.0, 0, 0.3, (100, 100, 200, 180), (1.5, 1.6, 4.0), (0.0, 1.6, 20.0), 0.5)


def test_notes_say_what_departs_from_the_official_rules() -> None:
    wanted = [(name, metric) for name in OFFICIAL_OVERLAPS for metric in ("2d", "3d")]
    assert not departs_from_official(None, wanted)
    assert not departs_from_official({name.upper(): value for name, value in OFFICIAL_OVERLAPS.items()}, wanted)
    assert not departs_from_official(0.5, [("Cyclist", "3d")])
    assert departs_from_official(0.5, wanted)
    assert departs_from_official((0.5, 0.7), [("Cyclist", "3d")])
    assert departs_from_official(LOOSE_OVERLAPS, wanted)
    assert not departs_from_official(LOOSE_OVERLAPS, [("Car", "2d")])
    frames = random_frames(4, 60)
    assert not any(note.startswith(("iou", "difficulties")) for note in evaluate(*frames).notes)
    assert any(note.startswith("iou") for note in evaluate(*frames, iou=LOOSE_OVERLAPS).notes)
    limits = (Difficulty("near", max_distance=30.0, max_occluded=1),)
    notes = evaluate(*frames, difficulties=limits).notes
    assert "difficulties: near: occluded ≤ 1, distance < 30 m" in notes
    assert str(Difficulty("all")) == "all: no limits"


def test_any_object_without_a_rectangle_is_told() -> None:
    flat = replace(CAR, bbox=(0.0, 0.0, 0.0, 0.0), location=(5.0, 1.6, 30.0))
    found = replace(CAR, score=0.9)
    notes = evaluate([[CAR, flat]], [[found]], classes=("Car",)).notes
    assert [note for note in notes if "no 2-D box" in note] == [
        "1 of 2 Car labels have no 2-D box, which KITTI asks to be 25 pixels high, so they are ignored: see project "
        "and lidar_only"
    ]
    notes = evaluate([[CAR]], [[found, replace(flat, score=0.5)]], classes=("Car",)).notes
    assert any(note.startswith("1 of 2 Car results have no 2-D box") for note in notes)
    assert not any("no 2-D box" in note for note in evaluate([[CAR]], [[found]], classes=("Car",)).notes)
    hidden = replace(CAR, occluded=3)  # the other reason is told too
    notes = evaluate([[hidden, flat]], [[found]], classes=("Car",)).notes
    assert sum(note.startswith(("1 of 2 Car labels", "no Car label (of 2)")) for note in notes) == 2


def test_bands_share_out_labels_and_false_positives() -> None:
    labels, results = random_frames(60, 61)
    whole = evaluate(labels, results, distances=(0, 25, 50, 2000))
    assert len(whole.bands) == 3 * len(whole.curves)
    plain = evaluate(labels, results)
    for curve, same in zip(whole.curves, plain.curves, strict=True):
        assert curve.distance is None
        np.testing.assert_array_equal(curve.precision, same.precision)
        key = (curve.class_name, curve.metric, curve.iou, curve.difficulty)
        bands = [each for each in whole.bands if (each.class_name, each.metric, each.iou, each.difficulty) == key]
        assert [each.distance for each in bands] == [(0.0, 25.0), (25.0, 50.0), (50.0, 2000.0)]
        assert sum(each.label_count for each in bands) == curve.label_count


def test_a_false_positive_belongs_to_its_band_and_a_match_to_its_labels() -> None:
    near, far = replace(CAR, location=(0.0, 1.6, 19.99)), replace(CAR, location=(3.0, 1.6, 40.0))
    found = replace(near, location=(0.0, 1.6, 20.01), score=0.9)  # the band's border lies between it and its label
    later = replace(far, score=0.5)
    alarms = [replace(CAR, location=(9.0, 1.6, depth), score=0.95) for depth in (10.0, 30.0, 31.0)]
    bands = evaluate(
        [[near, far]], [[found, later, *alarms]], classes=("Car",), metrics=("3d",), distances=(0, 20, 45)
    ).bands
    easy = [curve for curve in bands if curve.difficulty == "easy"]
    counts = [(curve.true_positives, curve.false_positives, curve.false_negatives) for curve in easy]
    assert counts == [([1], [1], [0]), ([1], [2], [0])]


@pytest.mark.parametrize("distances", [(20,), (20, 0), (0, 20, 20), (-1, 5), (0, float("nan"))])
def test_distances_must_rise(distances: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="rising"):
        with_bands(DIFFICULTIES, distances)


def test_points_and_distance_limit_labels() -> None:
    places = [(0.0, 1.6, 10.0), (0.0, 1.6, 29.0), (0.0, 1.6, 31.0), (-1000.0, -1000.0, -1000.0), (24.0, 1.6, 18.0)]
    labels = pack_objects([[replace(CAR, location=place) for place in places]], need_scores=False)
    easy = LIDAR_DIFFICULTIES[0]
    assert is_beyond(labels, easy).tolist() == [False, False, True, True, True]  # horizontally 30 m is not within
    with pytest.raises(InputError, match="points"):
        label_states(labels, "Car", easy)
    counted = replace(labels, points=np.array([50, 49, 500, 0, 50]))
    assert label_states(counted, "Car", easy).tolist() == [1, 0, 0, 0, 0]
    assert is_beyond(labels, Difficulty("all")).tolist() == [False] * 5
