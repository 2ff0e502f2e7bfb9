"""Figures, curves and refusals of the official program, on its public sets."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation import evaluate
from lidar_ebm.evaluation.nuscenes.labels import read_labels
from lidar_ebm.evaluation.nuscenes.outcome import NuscenesEvaluation, curve_records, summary_record
from lidar_ebm.formats.nuscenes.classes import CLASSES
from tests.nuscenes_material import NuscenesSet

LIMIT = 1e-9


def largest_difference(theirs: Any, ours: Any) -> float:
    if isinstance(theirs, dict):
        return max(largest_difference(value, ours[key]) for key, value in theirs.items())
    if isinstance(theirs, list):
        assert len(theirs) == len(ours)
        return max(map(largest_difference, theirs, ours))
    if math.isnan(theirs) or math.isnan(ours):
        return 0.0 if math.isnan(theirs) and math.isnan(ours) else math.inf
    return abs(theirs - ours)


@pytest.mark.parametrize("name", ["public_a", "public_b"])
def test_every_figure_and_curve(name: str, request: pytest.FixtureRequest) -> None:
    database: NuscenesSet = request.getfixturevalue(name)
    official = sorted(database.folder.glob("official/*/*/metrics_summary.json"))
    assert len(official) >= 9
    for path in official:
        split, results = path.parent.parent.name, path.parent.name
        own = database.prediction(split, results)
        predictions = own if own.exists() else database.prediction("val", results)
        ours = evaluate(database.root, predictions, protocol="nuscenes", version=database.version, split=split)
        assert isinstance(ours, NuscenesEvaluation)
        theirs = json.loads(path.read_text())
        figures = {key: value for key, value in theirs.items() if key not in ("eval_time", "cfg", "meta")}
        assert largest_difference(figures, summary_record(ours)) < LIMIT
        details = json.loads((path.parent / "metrics_details.json").read_text())
        assert largest_difference(details, curve_records(ours.details)) < LIMIT


@pytest.mark.parametrize("name", ["public_a", "public_b"])
def test_labels_that_are_kept(name: str, request: pytest.FixtureRequest) -> None:
    database: NuscenesSet = request.getfixturevalue(name)
    for path in sorted(database.folder.glob("official/*/ground_truth.json")):
        labels = read_labels(database.root, database.version, path.parent.name)
        for token, boxes in json.loads(path.read_text()).items():
            kept = [box for box in boxes if box["kept"]]
            rows = np.flatnonzero(labels.objects.sample == labels.sample_index[token])
            assert [CLASSES[index] for index in labels.objects.class_index[rows]] == [
                box["detection_name"] for box in kept
            ]
            np.testing.assert_array_equal(
                labels.objects.centers[rows], np.array([box["translation"] for box in kept]).reshape(-1, 3)
            )
            velocity = [[math.nan if value is None else value for value in box["velocity"]] for box in kept]
            np.testing.assert_allclose(labels.objects.velocity[rows], np.array(velocity).reshape(-1, 2), atol=1e-12)


def test_what_is_refused_and_what_is_taken(public_a: NuscenesSet) -> None:
    cases = [json.loads(line) for line in (public_a.folder / "cases" / "OUTCOMES.jsonl").read_text().splitlines()]
    assert len(cases) > 80
    for case in cases:
        path = public_a.folder / "cases" / f"{case['case']}.json"
        options = {"protocol": "nuscenes", "version": public_a.version, "split": case["eval_set"]}
        if case["outcome"] == "accepted":
            ours = summary_record(evaluate(public_a.root, path, **options))  # type: ignore[arg-type]
            figures = {key: case[key] for key in ("mean_ap", "nd_score", "tp_errors")}
            assert largest_difference(figures, ours) < LIMIT, case["case"]
        elif case["case"] == "all_samples_empty":  # the one where there are figures all the same: nothing was detected
            nothing = evaluate(public_a.root, path, **options)
            assert isinstance(nothing, NuscenesEvaluation)
            assert (nothing.mean_ap, nothing.nd_score) == (0.0, 0.0)
            assert set(nothing.details.tp_errors.values()) == {1.0}
            assert any("no detection at all" in note for note in nothing.notes)
        else:
            with pytest.raises(InputError):
                evaluate(public_a.root, path, **options)


def test_numbers_of_val_size(request: pytest.FixtureRequest) -> None:
    from tests.nuscenes_material import unpack_set

    folder = unpack_set("large_val", request.getfixturevalue("tmp_path_factory"))
    ours = evaluate(
        folder / "data", folder / "predictions" / "val.json", protocol="nuscenes", version="v1.0-trainval", split="val"
    )
    assert isinstance(ours, NuscenesEvaluation)
    theirs = json.loads(Path(folder / "official/val/val/metrics_summary.json").read_text())
    figures = {key: value for key, value in theirs.items() if key not in ("eval_time", "cfg", "meta")}
    assert largest_difference(figures, summary_record(ours)) < LIMIT
