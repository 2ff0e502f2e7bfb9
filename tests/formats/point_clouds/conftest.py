"""Fixtures for the tests of point-cloud files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def samples() -> Path:
    """A folder with single real frames of other data sets: $LIDAR_EBM_SHARED/formats, or shared/formats."""
    root = Path(__file__).resolve().parents[3]
    candidates = [root / "shared", root.parent / "shared"]
    if "LIDAR_EBM_SHARED" in os.environ:
        candidates.insert(0, Path(os.environ["LIDAR_EBM_SHARED"]))
    folder = next((path / "formats" for path in candidates if (path / "formats").is_dir()), None)
    if folder is None:
        pytest.skip("no frames of other data sets here (set LIDAR_EBM_SHARED)")
    return folder
