"""Words where Open3D or what it needs is missing."""

from __future__ import annotations

import sys

import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.visualization import open3d_import


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(InputError, match=r"lidar-ebm\[viz\].*apt-get install libusb-1\.0-0"):
        open3d_import.import_open3d()
    monkeypatch.setattr(open3d_import.ctypes.util, "find_library", lambda name: None)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(InputError, match=r"Vulkan.*apt-get install.*--screenshot"):
        open3d_import.check_vulkan()
