"""nuScenes' folders: which version's tables a path stands for, and which files belong to a version.

ROOT/VERSION/*.json          tables
ROOT/samples/LIDAR_TOP/…     sweeps of keyframes
ROOT/sweeps/LIDAR_TOP/…      sweeps between them
"""

from __future__ import annotations

from pathlib import Path

from lidar_ebm.formats.nuscenes.tables import versions_of

PREFERRED = ("v1.0-trainval", "v1.0-mini", "v1.0-test")  # of several versions in one folder, the first that is there
LABELS = "sample_annotation"
# Tables that a frame is made of; the labels' own comes first.
FRAME_TABLES = (
    LABELS,
    *("instance", "category", "attribute", "sample", "sample_data", "ego_pose", "calibrated_sensor"),
)
# In a version of one's own, too: parts of it are asked for by the names that every training uses.
_MINI = {"train": "mini_train", "val": "mini_val"}


def find_version(folder: Path) -> tuple[Path, str] | None:
    """The root and the version of a folder that is a root, or one version's tables; None where it is neither."""
    if _holds_tables(folder):
        absolute = folder.absolute()
        return (folder.parent if folder.name == absolute.name else absolute.parent), absolute.name
    there = [version for version in versions_of(folder) if _holds_tables(folder / version)]
    if not there:
        return None
    return folder, next((version for version in PREFERRED if version in there), there[0])


def official_name(version: str, split: str) -> str:
    """The official name of a split: of a -mini version, train and val are mini_train and mini_val."""
    return _MINI.get(split, split) if version.endswith("mini") else split


def _holds_tables(folder: Path) -> bool:
    return all((folder / f"{table}.json").is_file() for table in ("sample", "sample_data", "scene"))
