"""The protocol: from paths and from memory, its files, comparisons, refinement and options."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console, RenderableType

import lidar_ebm
from lidar_ebm import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation import compare_results
from lidar_ebm.evaluation.figures import FigureComparison, read_comparison
from lidar_ebm.evaluation.nuscenes.bootstrap import MINIMUM_SCENES
from lidar_ebm.evaluation.nuscenes.detections import pack_detections
from lidar_ebm.evaluation.nuscenes.labels import read_labels
from lidar_ebm.evaluation.nuscenes.outcome import NuscenesEvaluation
from lidar_ebm.evaluation.nuscenes.protocol import PROTOCOL
from lidar_ebm.evaluation.protocol import RefinementRequest
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.nuscenes import boxes as result_format
from tests.nuscenes_material import NuscenesSet


def text_of(*tables: RenderableType) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(*tables)
    return capture.get()


MINI: dict[str, Any] = {"protocol": "nuscenes", "version": "v1.0-mini", "split": "mini_val"}


def score(database: NuscenesSet, name: str, **options: object) -> NuscenesEvaluation:
    chosen = {**MINI, **options}
    evaluation = lidar_ebm.evaluate(database.root, database.prediction("mini_val", name), **chosen)
    assert isinstance(evaluation, NuscenesEvaluation)
    return evaluation


def test_detections_in_memory_have_the_figures_of_their_file(public_a: NuscenesSet) -> None:
    labels = read_labels(public_a.root, "v1.0-mini", "mini_val")
    path = public_a.prediction("mini_val", "good")
    in_global = result_format.read(path, Context())
    in_lidar = result_format.read(path, Context(sensor_pose_of=labels.pose_of))
    of_file = score(public_a, "good")
    of_memory = PROTOCOL.evaluate(labels, in_lidar, lidar_ebm.evaluation.ScoringOptions())
    for a, b in zip(of_file.figures, of_memory.figures, strict=True):
        assert b.value == pytest.approx(a.value, abs=1e-6, nan_ok=True)
    packed, _ = pack_detections(in_global, labels, global_frame=True)
    assert len(packed) == sum(map(len, in_global.values()))


def test_an_unknown_velocity_is_written_and_scored_as_0(public_a: NuscenesSet, tmp_path: Path) -> None:
    labels = read_labels(public_a.root, "v1.0-mini", "mini_val")
    read = result_format.read(public_a.prediction("mini_val", "good"), Context(sensor_pose_of=labels.pose_of))
    unknown = {token: boxes.with_columns(velocity=None) for token, boxes in read.items()}
    path = tmp_path / "results.json"
    result_format.write(path, unknown, Context(sensor_pose_of=labels.pose_of))
    of_file = lidar_ebm.evaluate(public_a.root, path, **MINI)
    of_memory = lidar_ebm.evaluate(labels, unknown, protocol="nuscenes")
    assert isinstance(of_file, NuscenesEvaluation)
    assert isinstance(of_memory, NuscenesEvaluation)
    assert of_memory.figure("mAVE") == pytest.approx(of_file.figure("mAVE"), abs=1e-6)
    assert of_memory.figure("mAVE") > score(public_a, "good").figure("mAVE")


def test_boxes_without_a_database_are_scored_from_their_own_frame() -> None:
    boxes = [
        [10.0, 0, 0, 4, 2, 1.5, 0.1],
        [45.0, 0, 0, 4, 2, 1.5, 0],
        [60.0, 0, 0, 4, 2, 1.5, 0],
        [9.0, 5, 0, 1, 1, 2, 0],
    ]
    labels = Boxes(boxes, ["car", "car", "car", "bicycle"], points=[5, 0, 9, 3])
    rack = Boxes([[9.0, 5, 0, 4, 4, 4, 0.3]], ["static_object.bicycle_rack"], points=[7])
    found = Boxes(boxes[:1], ["car"], [0.9])
    evaluation = lidar_ebm.evaluate(
        {"a": Boxes.concatenate([labels, rack]), "b": labels}, {"a": found, "b": found}, protocol="nuscenes"
    )
    assert isinstance(evaluation, NuscenesEvaluation)
    # One car without points, one too far; the bicycle of one frame stands in a rack.
    assert evaluation.details.curves["car", 2.0].label_count == 2
    assert evaluation.details.curves["bicycle", 2.0].label_count == 1
    assert evaluation.figure("AP", "car") == pytest.approx(100.0)
    assert evaluation.figure("ATE", "car") == 0.0
    assert "from its origin" in evaluation.notes[0]


def test_own_splits_go_by_the_tables_order(public_b: NuscenesSet) -> None:
    path = public_b.prediction("val", "ties")
    official, own = (
        lidar_ebm.evaluate(public_b.root, path, protocol="nuscenes", version=public_b.version, split=split)
        for split in ("val", "same_as_val")
    )
    assert isinstance(official, NuscenesEvaluation)
    assert isinstance(own, NuscenesEvaluation)
    assert official.nd_score != own.nd_score  # equal scores, samples in another order


def test_files_hold_the_benchmarks_names(public_a: NuscenesSet, tmp_path: Path) -> None:
    evaluation = score(public_a, "good")
    evaluation.write_json(tmp_path / "o.json")
    evaluation.write_csv(tmp_path / "o.csv")
    content = json.loads((tmp_path / "o.json").read_text())
    official = json.loads((public_a.official("mini_val", "good") / "metrics_summary.json").read_text())
    assert set(official) - set(content) == {"eval_time", "cfg", "meta"}
    assert content["label_aps"]["car"]["0.5"] == pytest.approx(official["label_aps"]["car"]["0.5"], abs=1e-12)
    assert math.isnan(content["label_tp_errors"]["traffic_cone"]["orient_err"])
    assert len(content["curves"]["car:0.5"]["precision"]) == 101
    rows = list(csv.DictReader((tmp_path / "o.csv").open()))
    assert (rows[0]["figure"], float(rows[0]["value"])) == ("NDS", pytest.approx(100 * official["nd_score"]))
    text = text_of(*evaluation.tables())
    assert "NDS 68.29 %, mAP 59.36 %" in text
    assert max(map(len, text.splitlines())) <= 80


def test_comparison_of_a_file_with_itself_and_with_a_worse_one(public_a: NuscenesSet, tmp_path: Path) -> None:
    paths = [public_a.prediction("mini_val", name) for name in ("perfect", "poor")]
    same = compare_results(public_a.root, paths[0], paths[0], resamples=20, **MINI)
    assert isinstance(same, FigureComparison)
    for item in same.changes:
        assert math.isnan(item.difference) or (item.difference, item.low, item.high) == (0.0, 0.0, 0.0)
    worse = compare_results(public_a.root, *paths, resamples=40, **MINI)
    assert isinstance(worse, FigureComparison)
    by_name = {item.figure.name: item for item in worse.changes if item.figure.class_name == "all"}
    for name in ("NDS", "mAP"):
        assert by_name[name].significant
        assert not by_name[name].is_gain
    assert by_name["mATE"].difference > 0
    assert not by_name["mATE"].is_gain
    assert worse.drawn == "samples"
    worse.write_json(tmp_path / "c.json")
    again = read_comparison(json.loads((tmp_path / "c.json").read_text()))
    assert [item.figure.name for item in again.changes] == [item.figure.name for item in worse.changes]
    np.testing.assert_array_equal([item.low for item in again.changes], [item.low for item in worse.changes])
    assert "mAVE" in text_of(worse.table())
    assert MINIMUM_SCENES > 2


def test_refinement_shows_every_number_of_steps(public_a: NuscenesSet, tmp_path: Path) -> None:
    by_steps = {0: "poor", 3: "good", 10: "perfect"}
    request = RefinementRequest(counts=(0, 3, 10), chosen=10, classes=("car",), ious=(0.7,))
    refinement = PROTOCOL.refinement(lambda count: score(public_a, by_steps[count]), request)
    assert refinement.after.nd_score == pytest.approx(1.0)
    text = text_of(*refinement.tables())
    assert all(f"T = {count}" in text for count in by_steps)
    refinement.write(tmp_path)
    rows = list(csv.DictReader((tmp_path / "ap_against_steps.csv").open()))
    assert [float(row["value"]) for row in rows if row["figure"] == "NDS"][-1] == pytest.approx(100.0)
    changes = list(csv.DictReader((tmp_path / "refinement.csv").open()))
    assert float(changes[0]["b"]) == pytest.approx(100.0)
    assert changes[0]["significant"] == "1"


def test_summary_is_nds(public_a: NuscenesSet) -> None:
    assert PROTOCOL.summary(lambda: score(public_a, "good"), ("car",)) == pytest.approx(68.29, abs=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": None}, "split: name the split of v1.0-mini"),
        ({"split": "val"}, "belongs to a version that ends in 'trainval'"),
        ({"version": "v1.0-trainval"}, "v1.0-trainval: there is no such folder"),
        ({"iou": 0.5}, "iou: the nuScenes benchmark has its own rules"),
        ({"classes": ("car",)}, "classes: the nuScenes benchmark has its own rules"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, object], message: str, public_a: NuscenesSet) -> None:
    with pytest.raises(InputError, match=message):
        score(public_a, "good", **options)


def test_sources_that_do_not_fit(public_a: NuscenesSet, tmp_path: Path) -> None:
    results = public_a.prediction("mini_val", "good")
    with pytest.raises(InputError, match="no tables of nuScenes"):
        lidar_ebm.evaluate(tmp_path, results, protocol="nuscenes", split="mini_val")
    with pytest.raises(InputError, match="there is no such file"):
        lidar_ebm.evaluate(public_a.root, tmp_path / "none.json", **MINI)
    with pytest.raises(InputError, match="holds no result file"):
        lidar_ebm.evaluate(public_a.root, tmp_path, **MINI)
    with pytest.raises(InputError, match="labels: give the root"):
        lidar_ebm.evaluate([], results, protocol="nuscenes")
    with pytest.raises(InputError, match="sample x: is none of the split"):
        lidar_ebm.evaluate(public_a.root, {"x": Boxes.empty(scores=True)}, **MINI)
    labels = read_labels(public_a.root, "v1.0-mini", "mini_val")
    many = Boxes(np.ones((501, 7)), ["car"] * 501, np.ones(501))
    with pytest.raises(InputError, match="501 boxes"):
        pack_detections({labels.tokens[0]: many}, labels)
    with pytest.raises(InputError, match="no finite score"):
        pack_detections({labels.tokens[0]: Boxes(np.ones((1, 7)), ["car"])}, labels)


def test_damaged_labels_are_named(public_a: NuscenesSet, tmp_path: Path) -> None:
    folder = tmp_path / "v1.0-mini"
    shutil.copytree(public_a.root / "v1.0-mini", folder)
    path = folder / "sample_annotation.json"
    rows = json.loads(path.read_text())
    attributes = [row["token"] for row in json.loads((folder / "attribute.json").read_text())]
    categories = {row["token"]: row["name"] for row in json.loads((folder / "category.json").read_text())}
    cars = {
        row["token"]
        for row in json.loads((folder / "instance.json").read_text())
        if categories[row["category_token"]] == "vehicle.car"
    }
    of_val = read_labels(public_a.root, "v1.0-mini", "mini_val").sample_index
    index = next(i for i, row in enumerate(rows) if row["instance_token"] in cars and row["sample_token"] in of_val)
    rows[index]["attribute_tokens"] = attributes[:2]
    path.write_text(json.dumps(rows))
    with pytest.raises(InputError, match=rf"record {index} .*attribute_tokens: an object of a scored class has one"):
        read_labels(tmp_path, "v1.0-mini", "mini_val")
    (folder / "sample_data.json").write_text("[]")
    rows[index]["attribute_tokens"] = []
    path.write_text(json.dumps(rows))
    with pytest.raises(InputError, match="has no keyframe of LIDAR_TOP"):
        read_labels(tmp_path, "v1.0-mini", "mini_val")
