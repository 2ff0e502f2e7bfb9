"""Notes on class names: what was passed over, what is missing, and which names are likely meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lidar_ebm.errors import InputError

if TYPE_CHECKING:
    from lidar_ebm.evaluation.kitti.objects import Objects


def count_names(objects: Objects) -> dict[str, int]:
    """Objects of each class name, in lower case, in order of appearance."""
    counts = np.bincount(objects.type_index, minlength=len(objects.type_names))
    return dict(zip(objects.type_names, counts.tolist(), strict=True))


def check_classes(
    classes: Sequence[str], labels: Objects, detections: Objects, *, accepted: Collection[str] = ()
) -> None:
    """Refuse a class that neither labels nor results have; `accepted` names (lower case) may be missing.

    Raises:
        InputError: there is one; the message names the closest class that is there.
    """
    there = {**count_names(labels), **count_names(detections)}
    for name in classes:
        if name.lower() not in there and name.lower() not in accepted:
            close = difflib.get_close_matches(name.lower(), there, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise InputError(
                f"class {name!r}: neither in the labels nor in the results.{hint} There are "
                f"{', '.join(there) or 'no objects at all'}."
            )


def list_class_notes(
    classes: Sequence[str], labels: Objects, detections: Objects, *, silent: Collection[str] = ()
) -> tuple[str, ...]:
    """Notes on names that were not asked for, and on classes that one side alone has.

    Args:
        silent: names in lower case that need no mention where they are passed over.
    """
    wanted = {name.lower() for name in classes}
    sides = [(count_names(labels), "labels"), (count_names(detections), "results")]
    passed = []
    for counts, side in sides:
        others = [f"{count} {name}" for name, count in counts.items() if name not in wanted and name not in silent]
        if others:
            passed.append(f"{', '.join(others)} {side}")
    notes = [f"passed over: {'; '.join(passed)}"] if passed else []
    for name in classes:
        (of_labels, _), (of_results, _) = sides
        if name.lower() in of_labels and name.lower() not in of_results:
            notes += _likely(name, "results", of_results, wanted)
        elif name.lower() in of_results and name.lower() not in of_labels:
            notes.append(f"no label is a {name}, so every result of it is a false alarm")
            notes += _likely(name, "labels", of_labels, wanted)
    return tuple(notes)


def _likely(name: str, side: str, counts: dict[str, int], wanted: set[str]) -> list[str]:
    close = difflib.get_close_matches(name.lower(), [other for other in counts if other not in wanted], n=1, cutoff=0.7)
    return [f"the {side} have no {name}, but {counts[close[0]]} {close[0]!r}: are these meant?"] if close else []
