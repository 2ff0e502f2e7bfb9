"""Studies keep each row, go on where they were, and write a page."""

from __future__ import annotations

import math
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.visualization.palette import new_figure

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "studies"))

from study import Row, Study


def square(number: int) -> Row:
    return {"square": number**2}


def fail() -> Row:
    raise AssertionError("computed, though it was kept")


def test_keeps_rows_at_once_and_goes_on_after_a_stop(tmp_path: Path) -> None:
    def stop() -> Row:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Study("Squares", tmp_path).rows({"2": partial(square, 2), "3": stop, "4": partial(square, 4)})
    again = Study("Squares", tmp_path).rows({"2": fail, "3": partial(square, 3), "4": partial(square, 4)})
    assert again == {"2": {"square": 4}, "3": {"square": 9}, "4": {"square": 16}}
    assert Study("Squares", tmp_path).row("4", fail) == {"square": 16}


def test_several_processes_give_the_same_rows_in_the_same_order(tmp_path: Path) -> None:
    tasks = {str(number): partial(square, number) for number in (3, 1, 2)}
    rows = Study("Squares", tmp_path, processes=2).rows(tasks)
    assert list(rows.items()) == [("3", {"square": 9}), ("1", {"square": 1}), ("2", {"square": 4})]


def test_a_row_is_the_same_fresh_and_kept(tmp_path: Path) -> None:
    def compute() -> Row:
        return {"array": np.arange(2.0), "number": np.float32(0.5), "pair": (1, 2), "lost": math.nan}

    fresh = Study("Kinds", tmp_path).row("a", compute)
    kept = Study("Kinds", tmp_path).row("a", fail)
    assert math.isnan(fresh.pop("lost")) and math.isnan(kept.pop("lost"))
    assert fresh == kept == {"array": [0.0, 1.0], "number": 0.5, "pair": [1, 2]}


def test_names_that_differ_in_signs_alone_are_rows_apart(tmp_path: Path) -> None:
    rows = Study("Signs", tmp_path).rows({"NCE": partial(square, 1), "NCE+": partial(square, 2)})
    assert rows["NCE"] != rows["NCE+"]


def test_refuses_rows_of_other_settings(tmp_path: Path) -> None:
    Study("Squares", tmp_path, {"epochs": 2, "seed": 1}).row("2", partial(square, 2))
    with pytest.raises(InputError, match=r"other settings \(epochs\)"):
        Study("Squares", tmp_path, {"epochs": 75, "seed": 1}).row("2", partial(square, 2))
    (path,) = (tmp_path / "rows").iterdir()
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match=r"no row of a study"):
        Study("Squares", tmp_path).row("2", partial(square, 2))


def test_page_has_machine_date_tables_and_pictures(tmp_path: Path) -> None:
    study = Study("Squares", tmp_path / "rows", {"seed": 1})
    row = study.row("2", partial(square, 2))
    study.text("What was squared.")
    study.table("Results", ["number", "square", "root"], [["2", row["square"], 1.41421], ["none", None, 12345.6]])
    study.picture(new_figure((100, 50)), tmp_path / "squares.png", "A picture")
    study.write(tmp_path / "squares.md")
    page = (tmp_path / "squares.md").read_text(encoding="utf-8")
    for part in (
        "# Squares\n",
        "Machine: ",
        "1 rows",
        "seed 1",
        "What was squared.\n\n## Results\n\n| number | square | root |\n| --- | ---: | ---: |\n| 2 | 4 | 1.41 |\n",
        "| none |  | 12,346 |",
        "![A picture](squares.png)",
    ):
        assert part in page
    assert (tmp_path / "squares.png").exists()
    with pytest.raises(ValueError, match="2 cells under 1 columns"):
        study.table("Wrong", ["one"], [["a", "b"]])
