"""A run on a nuScenes database: its evaluation has the figures of its own result file, and its page shows them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lidar_ebm.config.config import Config
from lidar_ebm.evaluation.nuscenes.outcome import NuscenesEvaluation
from lidar_ebm.evaluation.scoring import evaluate
from lidar_ebm.workflows.evaluate import evaluate_run
from lidar_ebm.workflows.plot import plot_run
from lidar_ebm.workflows.report import write_report
from tests.nuscenes_material import NuscenesSet
from tests.workflows.test_evaluate import make_run

pytest.importorskip("lidar_ebm.datasets.nuscenes")


def test_evaluation_report_and_pictures(tiny_config: Config, public_a: NuscenesSet, tmp_path: Path) -> None:
    classes = [each.model_copy(update={"name": "car", "merge": ()}) for each in tiny_config.classes[:1]]
    eager = tiny_config.model_copy(
        update={
            "classes": tuple(classes),
            "detection": tiny_config.detection.model_copy(update={"score_threshold": 0.0}),
            "part_score": tiny_config.part_score.model_copy(update={"score_threshold": 0.0}),
        }
    )
    run, data = make_run(eager, tmp_path / "run"), tmp_path / "data"
    shutil.copytree(public_a.root, data)
    scored = evaluate_run(run, data, split="mini_train", steps=1)
    assert isinstance(scored.after, NuscenesEvaluation)
    folder = run / "evaluation" / "mini_train"
    of_file = evaluate(data, folder / "results_after", protocol="nuscenes", version="v1.0-mini", split="mini_train")
    assert isinstance(of_file, NuscenesEvaluation)
    for ours, theirs in zip(scored.after.figures, of_file.figures, strict=True):
        assert ours.value == pytest.approx(theirs.value, abs=1e-6, nan_ok=True)
    assert json.loads((folder / "ap.json").read_text())["nd_score"] == scored.after.nd_score
    page = write_report(run, split="mini_train", frames=1, boxes=0, resamples=10).read_text(encoding="utf-8")
    assert "NDS (%)" in page
    assert "mAVE" in page
    names = {path.name for path in plot_run(run, split="mini_train")}
    assert {"figures_before_after.png", "figures_against_steps.png"} <= names
