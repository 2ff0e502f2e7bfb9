"""Settings of earlier versions: what has become of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

# The values that version 0.1 wrote into every configuration that did not say otherwise.
OLD_MAX_PROPOSALS = 100


def migrated(values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A configuration's values under the names of today, and a line for each setting of earlier times in it.

    Args:
        values: as a file holds them, checked or not; they stay as they are.
    """
    values = copy.deepcopy(values)
    notes: list[str] = []
    for (*sections, name), change in _CHANGES.items():
        section: Any = values
        for part in sections:
            section = section.get(part) if isinstance(section, dict) else None
        if isinstance(section, dict) and name in section:
            notes += change(section, section.pop(name))
    return values, notes


def is_retired(key: str) -> bool:
    """Whether a dotted key is that of a setting of earlier versions."""
    return tuple(key.split(".")) in _CHANGES


def _max_proposals(section: dict[str, Any], value: Any) -> Iterator[str]:
    if value == OLD_MAX_PROPOSALS:
        yield (
            "detection.max_proposals=100 was shared by all classes and cut off objects in crowded frames. Each class "
            "now has detection.max_candidates before NMS and detection.max_detections after it."
        )
        return
    section.setdefault("max_candidates", value)
    yield (
        f"detection.max_proposals={value} is now detection.max_candidates={section['max_candidates']}, and counts "
        "for each class by itself."
    )


def _max_points_per_voxel(section: dict[str, Any], value: Any) -> Iterator[str]:
    yield (
        f"voxels.max_points_per_voxel={value} is passed over: a voxel is the mean of all of its points, so that their "
        "order in a file changes nothing."
    )


_CHANGES: dict[tuple[str, ...], Callable[[dict[str, Any], Any], Iterator[str]]] = {
    ("detection", "max_proposals"): _max_proposals,
    ("voxels", "max_points_per_voxel"): _max_points_per_voxel,
}
