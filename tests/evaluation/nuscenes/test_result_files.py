"""Result files: the fast reading and the one value by value, oddities, and every reason for a refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.nuscenes import result_files
from lidar_ebm.evaluation.nuscenes.objects import Objects
from lidar_ebm.evaluation.nuscenes.result_files import read_result_file
from lidar_ebm.evaluation.nuscenes.rules import USE_FLAGS
from tests.nuscenes_material import NuscenesSet

META = dict.fromkeys(USE_FLAGS, False)


def box(**changes: Any) -> dict[str, Any]:
    return {
        "sample_token": "s",
        "translation": [1.0, 2, 3],
        "size": [1, 2, 3],
        "rotation": [1, 0, 0, 0],
        "velocity": [0, 0],
        "detection_name": "car",
        "detection_score": 0.5,
        "attribute_name": "",
    } | changes


def write(path: Path, boxes: list[Any], meta: Any = META) -> Path:
    path.write_text(json.dumps({"meta": meta, "results": {"s": boxes}}))
    return path


def assert_same(a: Objects, b: Objects) -> None:
    for field in fields(Objects):
        np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))


def test_both_ways_of_reading_give_the_same(public_b: NuscenesSet, monkeypatch: pytest.MonkeyPatch) -> None:
    for split, name in public_b.results():
        path = public_b.prediction(split, name)
        fast = read_result_file(path)
        with monkeypatch.context() as context:
            context.setattr(result_files, "_decode", lambda raw: None)
            slow = read_result_file(path)
        assert_same(fast.objects, slow.objects)
        assert (fast.tokens, set(fast.problems)) == (slow.tokens, set(slow.problems))
        with monkeypatch.context() as context:
            context.setattr(result_files, "_BATCH", 7)
            assert_same(read_result_file(path).objects, fast.objects)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_words_that_json_has_not(word: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [box(velocity=[0.5, 7777]), box(note=f"[{word}, {word} ]")])
    path.write_text(path.read_text().replace("7777", word))
    file = read_result_file(path)
    np.testing.assert_array_equal(file.objects.velocity[0], [0.5, float(word.replace("Infinity", "inf"))])
    assert len(file.objects) == 2
    assert not file.errors


REFUSED: dict[str, tuple[Any, str]] = {
    "no box": (["a"], "box 0: 'a': a box is an object"),
    "number for a token": ([box(sample_token=1)], "box 0: sample_token: 1"),
    "NaN": ([box(), box(size=[1, float("nan"), 1])], r"box 1: size: \[1, nan, 1\]"),
    "short": ([box(rotation=[1, 0, 0])], "box 0: rotation: .*give 4 numbers"),
    "text for a number": ([box(translation=["1", 2, 3])], "box 0: translation"),
    "null for a score": ([box(detection_score=None)], "box 0: detection_score: None"),
    "velocity of three": ([box(velocity=[0, 0, 0])], "box 0: velocity"),
    "class": ([box(detection_name="Car")], "box 0: detection_name: 'Car'"),
    "attribute": ([box(attribute_name=None)], "box 0: attribute_name: None"),
    "number of points": ([box(num_pts="few")], "box 0: num_pts: 'few'"),
    "501 boxes": ([box()] * 501, "sample s: 501 boxes"),
    "no list": ({}, "sample s: an object of 0: a sample has a list"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_reasons_name_sample_and_field(name: str, tmp_path: Path) -> None:
    boxes, message = REFUSED[name]
    file = read_result_file(write(tmp_path / "a.json", boxes))
    assert len(file.errors) == 1
    with pytest.raises(InputError, match=message):
        file.refuse_errors()


@pytest.mark.parametrize("field", sorted(box()))
def test_missing_fields(field: str, tmp_path: Path) -> None:
    lacking = {key: value for key, value in box().items() if key != field}
    file = read_result_file(write(tmp_path / "a.json", [box(), lacking]))
    (problem,) = (each for each in file.problems if "missing" in each.finding)
    assert f"box 1: {field}" in problem.where
    assert problem.blocks == (field != "detection_score")


def test_every_reason_is_listed(tmp_path: Path) -> None:
    boxes = [box(size=[1]), box(detection_name="tram", attribute_name="red"), box(velocity=None), box()]
    file = read_result_file(write(tmp_path / "a.json", boxes))
    assert len(file.errors) == 4
    assert len(file.objects) == 1


ODD: dict[str, tuple[dict[str, Any], str]] = {
    "size 0": ({"size": [0, 1, 1]}, "size: 0, 1, 1"),
    "score above 1": ({"detection_score": 2}, "detection_score: 2"),
    "score below 0": ({"detection_score": -1}, "detection_score: -1"),
    "score as text": ({"detection_score": "0.5"}, "detection_score: '0.5'"),
    "attribute of another class": ({"attribute_name": "pedestrian.moving"}, "attribute_name: of a car"),
    "another sample": ({"sample_token": "t"}, "sample_token: another sample"),
    "no points": ({"num_pts": 0}, "num_pts: 0"),
    "further field": ({"tracking_id": 3}, "tracking_id: not a field"),
    "NaN for a velocity": ({"velocity": [float("nan"), 0]}, "velocity: nan, 0"),
    "null for a velocity": ({"velocity": [None, 0]}, r"velocity: \[None, 0\]"),
}


@pytest.mark.parametrize("name", ODD)
def test_oddities_are_said(name: str, tmp_path: Path) -> None:
    changes, message = ODD[name]
    file = read_result_file(write(tmp_path / "a.json", [box(), box(**changes)]))
    assert not file.errors
    (problem,) = file.warnings
    assert f"box 1: {message}".replace("\\", "") in f"{problem.where}: {problem.finding}"


def test_only_the_first_oddities_of_a_kind_are_kept(tmp_path: Path) -> None:
    content = {"meta": META, "results": {f"s{i}": [box(sample_token=f"s{i}", note=1)] * 500 for i in range(3)}}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    problems = read_result_file(path).problems
    assert len(problems) == 1001
    assert problems[-1].finding == "500 more"


def test_flags_are_asked_for(tmp_path: Path) -> None:
    file = read_result_file(write(tmp_path / "a.json", [box()], meta={"use_lidar": True, "use_radar": "no"}))
    assert [problem.where for problem in file.warnings] == [
        f"meta: {flag}" for flag in USE_FLAGS if flag != "use_lidar"
    ]


DAMAGED: dict[str, tuple[Callable[[str], str], str]] = {
    "cut short": (lambda text: text[:-50], r"a\.json:1: this is no JSON"),
    "empty": (lambda text: "", r"a\.json:1: this is no JSON"),
    "a list": (lambda text: "[1]", r"a\.json: the whole file: expected an object"),
    "no results": (lambda text: '{"meta": {}}', "'results' is missing"),
    "results a list": (lambda text: '{"meta": {}, "results": []}', "'results' is no set of samples"),
    "no meta": (lambda text: '{"results": {}}', "'meta' is missing"),
    "nested": (lambda text: '{"meta": {}, "results": ' + "[" * 100000 + "}", "nested too deeply|no JSON"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files(name: str, tmp_path: Path) -> None:
    damage, message = DAMAGED[name]
    path = write(tmp_path / "a.json", [box()])
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError, match=message):
        read_result_file(path)
