"""Labels and results in files of any tool score as they do in memory, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation import evaluate
from lidar_ebm.evaluation.box_files import is_text_folder
from lidar_ebm.formats.reading import write_boxes
from tests.cli.test_command import run
from tests.evaluation.distance.test_protocol import random_frame


@pytest.fixture
def frames() -> tuple[dict[str, Boxes], dict[str, Boxes]]:
    generator = np.random.default_rng(7)
    pairs = [random_frame(generator, 8) for _ in range(12)]
    labels, results = ({f"{index:06d}": pair[side] for index, pair in enumerate(pairs)} for side in (0, 1))
    return labels, results


@pytest.mark.parametrize("results_name", ["results.json", "results.csv", "results.pkl"])
def test_files_of_any_tool_score_as_in_memory(
    frames: tuple[dict[str, Boxes], dict[str, Boxes]], tmp_path: Path, results_name: str
) -> None:
    kinds = {".json": "boxes_json", ".csv": "boxes_csv", ".pkl": "openpcdet"}
    labels, results = tmp_path / "labels.json", tmp_path / results_name
    write_boxes(labels, frames[0], "boxes_json")
    write_boxes(results, frames[1], kinds[results.suffix])
    expected, found = evaluate(*frames), evaluate(labels, results)
    assert found.protocol.name == "distance"
    assert len(found.curves) == len(expected.curves) > 20
    assert [c.ap() for c in found.curves] == pytest.approx([c.ap() for c in expected.curves], abs=1e-6)
    mixed = evaluate(labels, frames[1], classes=["rider"])
    assert mixed.ap("rider", "3d", "far") == pytest.approx(expected.ap("rider", "3d", "far"))


def test_results_are_read_from_the_folder_that_evaluate_leaves(
    frames: tuple[dict[str, Boxes], dict[str, Boxes]], tmp_path: Path
) -> None:
    write_boxes(tmp_path / "labels", frames[0], "boxes_json")
    write_boxes(tmp_path / "results" / "data", frames[1], "boxes_json")
    outer, inner = (evaluate(tmp_path / "labels", tmp_path / name) for name in ("results", "results/data"))
    assert [curve.ap() for curve in outer.curves] == [curve.ap() for curve in inner.curves] != []


def test_the_command_scores_and_compares_files_without_torch(
    frames: tuple[dict[str, Boxes], dict[str, Boxes]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, results = tmp_path / "labels.json", tmp_path / "results.json"
    write_boxes(labels, frames[0], "boxes_json")
    write_boxes(results, frames[1], "boxes_json")
    assert run("score", labels, results, "--protocol", "distance", "--center-distances", "1,3") == 0
    shown = capsys.readouterr().out
    for words in ("rider", "forklift", "3 m", "Middle", "12 frames"):
        assert words in shown
    assert run("compare", labels, results, results, "--classes", "rider", "--resamples", 3) == 0
    assert run("score", labels, results, "--protocol", "distanse") == 2
    code = (
        "import sys\nfrom lidar_ebm.workflows.score import score\nscore(*sys.argv[1:])\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(labels), str(results)], check=True)


def test_folders_of_text_files_are_told_from_others(tmp_path: Path) -> None:
    for name, file in (("text", "a.txt"), ("other", "a.json"), ("deep", "data/a.txt"), ("deeper", "some/where/a.txt")):
        (tmp_path / name / file).parent.mkdir(parents=True)
        (tmp_path / name / file).write_text("")
    kinds = {name: is_text_folder(tmp_path / name) for name in ("text", "other", "deep", "deeper", "none", "none.json")}
    assert kinds == {"text": True, "other": False, "deep": True, "deeper": True, "none": True, "none.json": False}
    with pytest.raises(InputError, match="no such file"):
        evaluate(tmp_path / "none.json", tmp_path / "none.json")
