"""Versions and machine that a figure was computed with, so that it can be computed again."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import torch

from lidar_ebm import __version__

PACKAGES = ("numpy", "numba", "spconv")


def describe_environment() -> dict[str, str]:
    """Versions of this program, of Python and of the packages that compute; system, processor, threads and GPU."""
    # torch's own version names its build (2.11.0+cu130), which its package's does not always.
    facts = {"lidar_ebm": __version__, "Python": platform.python_version(), "torch": str(torch.__version__)}
    for name in PACKAGES:
        try:
            facts[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    facts["system"] = platform.platform()
    facts["processor"] = f"{_processor()}, {os.cpu_count()} logical cores"
    facts["threads"] = str(torch.get_num_threads())
    if torch.cuda.is_available():
        facts["GPU"] = torch.cuda.get_device_name()
    return facts


def _processor() -> str:
    """The processor's name as the system tells it: Linux's own table has the model, which `platform` leaves out."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text(encoding="utf-8", errors="replace").splitlines() if table.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
