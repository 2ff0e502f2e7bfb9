"""Comparisons of two result sets as a table, JSON and CSV."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.paired_result import PairedComparison, PairedDifference
from lidar_ebm.evaluation.paired_table import paired_table, write_paired_csv, write_paired_json
from tests.evaluation.made_evaluations import made_comparison

SAMPLE = PairedDifference("Car", "3d", 0.7, "moderate", "R40", 84.0, 84.5, 0.1, 0.9)


def text_of(table: Table) -> str:
    console = Console(width=80, no_color=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def lines_of(comparison: PairedComparison, recall: str = "R40", difficulty: str | None = None) -> list[list[str]]:
    text = text_of(paired_table(comparison, recall, difficulty))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    return [line.split() for line in text.splitlines() if " 0.70 " in line or " 0.50 " in line]


@pytest.mark.parametrize(
    ("low", "high", "significant"),
    [
        (0.1, 0.9, True),
        (-0.9, -0.1, True),
        (-0.1, 0.9, False),
        (0.0, 0.9, False),
        (-0.9, 0.0, False),
        (0.0, 0.0, False),
        (math.nan, math.nan, False),
    ],
)
def test_a_difference_is_significant_where_its_interval_excludes_zero(
    low: float, high: float, significant: bool
) -> None:
    assert replace(SAMPLE, low=low, high=high).significant is significant


def test_table_shows_both_sets_with_difference_and_interval() -> None:
    comparison = made_comparison()
    lines = lines_of(comparison, "R11")
    items = [item for item in comparison.differences if item.recall == "R11"]
    assert len(lines) == len(items) == 36
    assert len({item.significant for item in items}) == 2
    for line, item in zip(lines, items, strict=True):
        mark = ["*"] if item.significant else []
        figures = [f"{item.a:.2f}", f"{item.b:.2f}", f"{item.b - item.a:+.2f}"]
        assert line[-7 - len(mark) :] == [
            item.difficulty,
            *figures,
            f"{item.low:+.2f}",
            "…",
            f"{item.high:+.2f}",
            *mark,
        ]
    assert len(lines_of(comparison, "R11", "hard")) == 12
    text = " ".join(text_of(paired_table(comparison)).split())
    for word in ("A: runs/before", "B: runs/after", "1,000 draws", "95 % interval", "excludes 0", "3769 frames"):
        assert word in text


def test_table_fits_with_wide_figures_long_names_and_gaps() -> None:
    wide = replace(SAMPLE, class_name="Person_sitting", a=0.0, b=100.0, low=99.999, high=100.0)
    unknown = replace(SAMPLE, difficulty="hard", b=math.nan, low=math.nan, high=math.nan)
    comparison = PairedComparison((wide, unknown), 12, 10, 0.9, ("a/" * 60, "[b] and [c]"), ("[note] as it stands",))
    first, second = lines_of(comparison)
    assert first[4:] == ["0.00", "100.00", "+100.00", "+100.00", "…", "+100.00", "*"]
    assert second[4:] == ["84.00", "–", "–", "–"]
    text = text_of(paired_table(comparison))
    assert "90 % interval" in text
    assert "[b] and [c]" in text
    assert "[note] as it stands" in text


def test_names_and_overlaps_are_shown_as_they_are() -> None:
    odd = replace(SAMPLE, class_name="[/x]", difficulty="[b]far", iou=0.705)
    text = text_of(paired_table(PairedComparison((odd,), 12, 10, 0.9, ("A", "B"))))
    for word in ("[/x]", "[b]far", "0.705", "in percent"):
        assert word in text


def test_what_was_not_compared_is_refused() -> None:
    comparison = PairedComparison((SAMPLE,), 1, 10, 0.95, ("A", "B"))
    for recall, difficulty in (("R11", None), ("R40", "extreme")):
        with pytest.raises(InputError, match="choose among moderate R40"):
            paired_table(comparison, recall, difficulty)
    assert paired_table(replace(comparison, differences=())).row_count == 0


def test_json_and_csv_hold_every_difference(tmp_path: Path) -> None:
    comparison = made_comparison()
    unknown = replace(comparison.differences[0], a=math.nan, low=math.nan, high=math.nan)
    comparison = replace(comparison, differences=(unknown, *comparison.differences[1:]), notes=("a note",))
    write_paired_json(tmp_path / "paired.json", comparison)
    write_paired_csv(tmp_path / "paired.csv", comparison)
    content = json.loads((tmp_path / "paired.json").read_text())
    records = content.pop("differences")
    assert content == {
        "names": ["runs/before", "runs/after"],
        "frames": 3769,
        "resamples": 1000,
        "confidence": 0.95,
        "notes": ["a note"],
    }
    with (tmp_path / "paired.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(records) == len(rows) == len(comparison.differences) == 108
    for item, record, row in zip(comparison.differences, records, rows, strict=True):
        key = (item.class_name, item.metric, item.iou, item.difficulty, item.recall)
        assert tuple(record[name] for name in ("class", "metric", "iou", "difficulty", "recall")) == key
        assert record["significant"] is item.significant
        assert row["significant"] == str(int(item.significant))
        for name in ("a", "b", "difference", "low", "high"):
            value = getattr(item, name)
            assert record[name] == (None if math.isnan(value) else value)
            np.testing.assert_equal(float(row[name] or "nan"), value)
