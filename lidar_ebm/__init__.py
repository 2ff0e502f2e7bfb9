"""3-D object detection in LiDAR point clouds with boxes refined by climbing an energy-based model's f(x, y)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lidar_ebm.system.compiled_cache import cache_home, ensure_cache

if TYPE_CHECKING:
    from lidar_ebm.inference.detection import load_detector

__version__ = "0.1.0"
__all__ = ["__version__", "load_detector"]

ensure_cache(Path(__file__).parent, cache_home(), os.environ)


def __getattr__(name: str) -> Any:
    # torch takes seconds to import; `lidar-ebm --help` should not wait for it.
    if name == "load_detector":
        from lidar_ebm.inference.detection import load_detector

        return load_detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
