"""The rooms of the package: which may import which, and where KITTI's notions stand."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import lidar_ebm

ROOT = Path(lidar_ebm.__file__).parent
# What every room may import: modules without notions of their own.
COMMON = {"errors", "types", "__version__", "system"}
ARROWS = {
    "errors": set(),
    "types": set(),
    "__version__": set(),
    "system": {"errors", "__version__"},
    "geometry": set(),
    "boxes": {"geometry"},
    "formats": {"boxes", "geometry"},
    "datasets": {"formats", "boxes", "geometry"},
    "simulation": {"formats", "boxes", "geometry"},
    "config": set(),
    "ebm": set(),
    "energy": {"config", "ebm", "geometry"},
    "detector": {"config", "geometry"},
    "runs": {"detector", "energy", "config"},
    "evaluation": {"boxes", "formats", "geometry"},
    "inference": {"runs", "energy", "ebm", "config", "datasets", "formats", "boxes", "geometry"},
    "training": {"runs", "detector", "energy", "config", "datasets", "formats", "boxes", "geometry"},
    "visualization": {"energy", "ebm", "evaluation", "boxes", "geometry"},
    "report": {"visualization", "evaluation", "energy", "ebm", "boxes", "geometry"},
    "workflows": {
        *("report", "visualization", "inference", "training", "evaluation", "simulation", "runs", "energy", "ebm"),
        *("config", "datasets", "formats", "boxes", "geometry", "detector"),
    },
    "cli": {"workflows", "evaluation", "visualization", "simulation", "datasets", "config", "formats", "boxes"},
}
# The package's own front imports what it hands on.
FRONT = {"boxes", "datasets", "evaluation", "inference", "system"}

KITTI_ROOMS = ("formats/kitti", "datasets/kitti", "evaluation/kitti")
KITTI_WORDS = re.compile(
    r"\b(?:P2|R0_rect|Tr_velo_to_cam|Tr_velo_cam|velo_to_cam|Tr_imu_to_velo|DontCare|Person_sitting|moderate)\b"
    r"|\b(?:label_2|image_2|ImageSets|KITTI_TYPES|KITTI_VIEW)\b|(?<![-\d.])\b(?:124[12]|122[46]|1238|375)\b"
    r"|['\"](?:easy|hard)['\"]|(?<!--)[Vv]elodyne"  # the command line's option --velodyne keeps its name
)
# Rooms that hand on what is KITTI's: other formats of its fields, its protocol, the verbs.
KITTI_IMPORTERS = {"formats", "datasets", "evaluation", "workflows", "cli"}


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else path.stem


def imported_rooms(path: Path) -> Iterator[tuple[int, str]]:
    """Rooms that a module imports, lazily too, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "lidar_ebm":
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lidar_ebm."):
            yield node.lineno, str(node.module).split(".")[1]
        elif isinstance(node, ast.Import):
            names = (alias.name.split(".") for alias in node.names)
            yield from ((node.lineno, parts[1]) for parts in names if parts[0] == "lidar_ebm" and len(parts) > 1)


MODULES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("room", sorted(ARROWS))
def test_imports_run_one_way(room: str) -> None:
    wrong = []
    for path in MODULES:
        if room_of(path) == room:
            allowed = ARROWS[room] | COMMON | {room}
            wrong += [
                f"{path.relative_to(ROOT)}:{line} imports {other}"
                for line, other in imported_rooms(path)
                if other not in allowed
            ]
    assert wrong == []


def test_every_room_is_known_and_the_front_imports_little() -> None:
    assert {room_of(path) for path in MODULES} - {"__init__"} == set(ARROWS) - {"__version__"}
    assert {other for _, other in imported_rooms(ROOT / "__init__.py")} <= FRONT


def test_the_arrows_have_no_cycle() -> None:
    seen: dict[str, bool] = {}

    def visit(room: str) -> None:
        assert seen.get(room, True), f"a cycle through {room}"
        if room not in seen:
            seen[room] = False
            for other in ARROWS[room] | (COMMON - {room} if room not in COMMON else set()):
                visit(other)
            seen[room] = True

    for room in ARROWS:
        visit(room)


def test_kernels_import_nothing_of_the_package() -> None:
    kernels = ROOT.parent / "cuda_ops"
    assert [path for path in kernels.rglob("*.py") if list(imported_rooms(path))] == []


def test_kitti_s_notions_stand_in_its_own_rooms() -> None:
    wrong = []
    for path in MODULES:
        place = path.relative_to(ROOT).as_posix()
        if place.startswith(KITTI_ROOMS):
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        wrong += [f"{place}:{n}: {line.strip()}" for n, line in enumerate(lines, 1) if KITTI_WORDS.search(line)]
    assert wrong == []


def test_most_rooms_import_nothing_of_kitti_s() -> None:
    wrong = []
    for path in MODULES:
        if room_of(path) not in KITTI_IMPORTERS:
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            names = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
            wrong += [f"{path.relative_to(ROOT)} imports {name}" for name in names if "kitti" in name.split(".")]
    assert wrong == []
