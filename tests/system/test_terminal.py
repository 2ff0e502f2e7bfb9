"""Text on the terminal."""

from __future__ import annotations

import warnings

import pytest

from lidar_ebm.system.terminal import show_warnings_plainly


def test_warnings_are_a_line_without_the_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # to have it back afterwards
    show_warnings_plainly()
    message = "runs/a: " + "many words " * 30 + "[bold]"
    warnings.showwarning(UserWarning(message), UserWarning, "a.py", 3)
    assert capsys.readouterr().err == f"Warning: {message}\n"
