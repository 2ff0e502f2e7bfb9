"""Fixtures of tests of pictures."""

from __future__ import annotations

import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.visualization.open3d_import import import_open3d


@pytest.fixture(scope="session")
def open3d() -> None:
    """Skips where Open3D, or what it needs of the system, is missing."""
    try:
        import_open3d()
    except InputError as error:
        pytest.skip(str(error))
