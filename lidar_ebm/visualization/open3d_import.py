"""Open3D, which is an extra, or what to do to have it."""

from __future__ import annotations

import ctypes.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lidar_ebm.errors import InputError

PACKAGES = "libusb-1.0-0 libgl1 libegl1 libx11-6"
WINDOW_PACKAGES = "libvulkan1 mesa-vulkan-drivers"


def import_open3d() -> Any:
    """The module.

    Raises:
        InputError: it, or a library of the system that it needs, is missing.
    """
    try:
        import open3d
    except ImportError as error:
        raise InputError(f"Open3D cannot be loaded ({error}). `pip install 'lidar-ebm[viz]'`; {_apt()}") from error
    except OSError as error:
        raise InputError(f"Open3D lacks a library of the system ({error}); {_apt()}") from error
    return open3d


def check_vulkan() -> None:
    """Refuse where Open3D could open no window.

    Raises:
        InputError: Vulkan's library is missing.
    """
    if sys.platform == "linux" and ctypes.util.find_library("vulkan") is None:
        raise InputError(
            f"Open3D's window is drawn by Vulkan, which is missing; {_apt(WINDOW_PACKAGES)} "
            "Or give --screenshot FOLDER for pictures, which do without."
        )


def _apt(packages: str = PACKAGES) -> str:
    return f"on Debian and Ubuntu: `apt-get install {packages}`."


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what Open3D's renderer writes to the standard output, below Python, out of it."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
