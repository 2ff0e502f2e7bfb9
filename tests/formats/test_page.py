"""The page about formats says what there is, and its examples are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lidar_ebm.formats import read_frames
from lidar_ebm.formats.box_format import box_formats

PAGE = Path(__file__).resolve().parents[2] / "docs" / "formats.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_every_format_has_a_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| .* \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(box_formats()) <= set(rows)


def test_examples_are_read(tmp_path: Path) -> None:
    one, many = blocks("json")
    (table,) = blocks("text")
    for name, text in (("one.json", one), ("many.json", many), ("table.csv", table)):
        (tmp_path / name).write_text(text)
    assert [len(boxes) for boxes in read_frames(tmp_path / "one.json").values()] == [2]
    for name in ("many.json", "table.csv"):
        frames = read_frames(tmp_path / name)
        assert list(frames) == ["000001", "000002"]
        assert frames["000001"].boxes[0].tolist() == [12.0, 3.0, -0.9, 3.9, 1.6, 1.5, 0.4]
        assert len(frames["000002"]) == 0


def test_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in blocks("python"):
        exec(compile(text, str(PAGE), "exec"), {})
