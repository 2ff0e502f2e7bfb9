"""Limits of the rooms that draw: they read no file, run no model, and have no data set's or protocol's words."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import lidar_ebm

PACKAGE = Path(lidar_ebm.__file__).parent
ROOMS = ("visualization", "report")
MODULES = [path for room in ROOMS for path in sorted((PACKAGE / room).glob("*.py"))]
DRAWING = {"boxes", "ebm", "energy", "errors", "evaluation", "geometry", "system", "types", "visualization"}
ALLOWED = {"visualization": DRAWING, "report": {*DRAWING, "report"}}
WORDS = re.compile(
    r"kitti|\b(easy|moderate|hard|car|van|pedestrian|cyclist|dontcare)\b|label_2|velodyne|image_2|\bcalib\b|\bP2\b|"
    r"Tr_velo|1242|DEFAULT_IMAGE_SIZE",
    re.IGNORECASE,
)


def imported(path: Path) -> set[str]:
    """Names of modules that a module imports anywhere, the lazy ones too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_imports_point_down(path: Path) -> None:
    rooms = {name.split(".")[1] for name in imported(path) if name.startswith("lidar_ebm.")}
    assert rooms <= ALLOWED[path.parent.name]
    assert not any(name.startswith(("lidar_ebm.evaluation.kitti", "lidar_ebm.formats")) for name in imported(path))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_data_set_s_words(path: Path) -> None:
    assert WORDS.findall(path.read_text(encoding="utf-8")) == []
