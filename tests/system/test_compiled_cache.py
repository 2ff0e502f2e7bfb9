from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from lidar_ebm.system.compiled_cache import VARIABLE, ensure_cache


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder, and a machine on which only it can be written to."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path).startswith(str(folder)) and access(path, mode))
    return folder


def test_numba_finds_a_place_where_nothing_else_can_be_written_to(temporary: Path, tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    ensure_cache(tmp_path / "package", tmp_path / "home" / ".cache", environment)
    folder = Path(environment[VARIABLE])
    assert folder.parent == temporary
    assert folder.stat().st_mode & 0o077 == 0
    again: dict[str, str] = {}
    ensure_cache(tmp_path / "package", tmp_path / "home" / ".cache", again)
    assert again == environment

    folder.chmod(0o777)  # others could put code there
    ensure_cache(tmp_path / "package", tmp_path / "home" / ".cache", again := {})
    assert again[VARIABLE] != str(folder)


def test_numba_is_left_to_itself_elsewhere(tmp_path: Path, temporary: Path) -> None:
    for package, home in ((temporary, tmp_path), (tmp_path, temporary / "home" / ".cache")):
        environment: dict[str, str] = {}
        ensure_cache(package, home, environment)
        assert environment == {}
    environment = {VARIABLE: "mine"}
    ensure_cache(tmp_path, tmp_path, environment)
    assert environment == {VARIABLE: "mine"}
