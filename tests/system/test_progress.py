from __future__ import annotations

import pytest

from lidar_ebm.system import progress
from lidar_ebm.system.progress import progress_bar


def test_a_file_gets_plain_lines_with_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with progress_bar("Working", 4, done=1) as bar:
        bar.advance(note="loss 1")
        bar.reach(4)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["Working: 2/4", "Working: 4/4"]
    assert all("ETA" in line for line in lines)
    assert lines[0].endswith("loss 1")


def test_work_that_was_done_before_counts_neither_for_nor_against_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress_bar("Working", 100) as bar:
        bar.reach(80)  # there already
        for done in (90, 100):
            bar.reach(done)
    with progress_bar("Working", 5) as bar:
        bar.reach(5)
    etas = [line.split("ETA ")[1] for line in capsys.readouterr().err.splitlines()]
    assert etas == ["10 s", "0 s", "0 s"]


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with progress_bar("Working", 2) as bar:
        bar.advance(2)
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "ETA" in shown
