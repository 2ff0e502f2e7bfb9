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
    notes = list(_name_the_objective(values))
    if _is_old_run(values):
        return values, [*_keep_as_it_was(values), *notes]
    for (*sections, name), change in _CHANGES.items():
        section: Any = values
        for part in sections:
            section = section.get(part) if isinstance(section, dict) else None
        if isinstance(section, dict) and name in section:
            notes += change(section, section.pop(name))
    return values, notes


def is_retired(key: str) -> bool:
    """Tell if a dotted key is that of a setting of earlier versions."""
    return tuple(key.split(".")) in _CHANGES


def _is_old_run(values: dict[str, Any]) -> bool:
    """Tell the whole configuration that version 0.1 left in a run folder, or one with its limit on a voxel's points."""
    voxels = values.get("voxels")
    return isinstance(voxels, dict) and voxels.get("max_points_per_voxel") is not None


def _name_the_objective(values: dict[str, Any]) -> Iterator[str]:
    """Bring `energy.training`, which `training.energy` was taken for, under its name of today."""
    energy = values.get("energy")
    if not isinstance(energy, dict) or "training" not in energy:
        return
    old = energy.pop("training")
    there = energy.setdefault("objective", {})
    energy["objective"] = {**there, **old} if isinstance(there, dict) and isinstance(old, dict) else old
    yield "energy.training is now called energy.objective; the values are taken over."


def _keep_as_it_was(values: dict[str, Any]) -> Iterator[str]:
    """Let a run of version 0.1 give the boxes that it gave: which points it reads follows from their order."""
    energy = values.setdefault("energy", {})
    points = energy.setdefault("points", {}) if isinstance(energy, dict) else {}
    if not isinstance(points, dict) or "order" in points:
        return
    points["order"] = "file"
    yield (
        f"voxels.max_points_per_voxel={values['voxels']['max_points_per_voxel']}: of version 0.1, whose limits are "
        "kept, so that a run gives the boxes that it gave: a voxel's first points in the file count, and so does their "
        "order near a box; all classes share detection.max_proposals. At inference voxels.max_voxels binds no more. "
        "Without the setting a run has none of these limits."
    )


def _max_proposals(section: dict[str, Any], value: Any) -> Iterator[str]:
    if value is None:
        section["max_proposals"] = None
        return
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


_CHANGES: dict[tuple[str, ...], Callable[[dict[str, Any], Any], Iterator[str]]] = {
    ("detection", "max_proposals"): _max_proposals,
}
