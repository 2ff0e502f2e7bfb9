"""3-D object detection in LiDAR point clouds with boxes refined by ascending an energy-based model's f(x, y)."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lidar_ebm.boxes import Boxes
from lidar_ebm.system.compiled_cache import cache_home, ensure_cache

if TYPE_CHECKING:
    from lidar_ebm.datasets.frame import Frame
    from lidar_ebm.evaluation.scoring import evaluate
    from lidar_ebm.inference.detection import load_detector
    from lidar_ebm.inference.energy import load_energy, refine

__version__ = "0.2.0"
__all__ = ["Boxes", "Frame", "__version__", "evaluate", "load_detector", "load_energy", "refine"]

# Loaded when they are asked for: torch takes seconds to import; `lidar-ebm --help` should not wait for it.
_ROOMS = {
    "Frame": "lidar_ebm.datasets.frame",
    "evaluate": "lidar_ebm.evaluation.scoring",
    "load_detector": "lidar_ebm.inference.detection",
    "load_energy": "lidar_ebm.inference.energy",
    "refine": "lidar_ebm.inference.energy",
}

ensure_cache(Path(__file__).parent, cache_home(), os.environ)


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return getattr(import_module(_ROOMS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
