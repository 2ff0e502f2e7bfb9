"""Folder for compiled numba kernels where neither the package nor the home folder can be written to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"


def ensure_cache(package: Path, home: Path | None, environment: MutableMapping[str, str]) -> None:
    """Name a folder of this user's in the system's temporary one where numba would find no place, and then refuse.

    Such are containers that run as another user than the one that installed. numba looks beside the package, then in
    the home folder; it has to be told before it is imported.

    Args:
        package: folder of this program.
        home: where the user's caches are, see `cache_home`; None: nowhere.
        environment: the variable is set in it.
    """
    if VARIABLE in environment or _is_writable(package) or (home and _is_writable(home)):
        return
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"lidar_ebm-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        # What is kept there is run: it must be nobody else's.
        if hasattr(os, "getuid") and (folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o022):
            folder = Path(tempfile.mkdtemp(prefix="lidar_ebm-"))
    except OSError:
        return  # nowhere at all; numba says so
    environment[VARIABLE] = str(folder)


def cache_home() -> Path | None:
    """The folder of the user's caches; None for a user without a home, as in some containers."""
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        return None


def _is_writable(folder: Path) -> bool:
    """Tell if something can be made in the folder, or the folder itself."""
    existing = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    return os.access(existing, os.W_OK)
