"""Labels and results of any format, or in memory, as `Boxes` of the same frames."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.options import PathLike, ScoringOptions
from lidar_ebm.system.words import count_of

if TYPE_CHECKING:
    from typing import TypeGuard

_SHOWN_FRAMES = 3


@dataclass(frozen=True, eq=False)
class AlignedFrames:
    """Labels and results frame by frame."""

    labels: tuple[Boxes, ...]
    results: tuple[Boxes, ...]
    names: tuple[str, ...] | None  # None in memory, where frames have no names
    notes: tuple[str, ...] = ()


def is_path(source: object) -> TypeGuard[PathLike]:
    """Tell if the objects are in files and not in memory."""
    return isinstance(source, str | os.PathLike)


def is_text_folder(path: PathLike) -> bool:
    """Tell a folder of text files, one a frame, or so little of a folder that their reader has to say so."""
    folder = Path(path)
    try:
        for place in (folder / "data", folder):
            if place.is_dir() and any(item.suffix == ".txt" for item in place.iterdir()):
                return True
        if folder.is_dir():
            return not any(item.is_file() and not item.name.startswith(".") for item in folder.iterdir())
        return not folder.exists() and folder.suffix == ""
    except OSError:
        return True


def align_frames(labels: Any, results: Any, options: ScoringOptions) -> AlignedFrames:
    """Labels and results as boxes of the same frames: by the frames' names where both have them, else in order.

    Of named frames all that are labelled are scored, or those of the split; one without results has no detections.

    Raises:
        InputError: a file cannot be read, or the frames do not fit each other.
    """
    named = [is_path(source) or isinstance(source, Mapping) for source in (labels, results)]
    if all(named):
        return _align_named(_frames_by_name(labels, options), _frames_by_name(results, options), options)
    if any(named):
        raise InputError(
            "labels and results: give two folders, or both in memory (beside a file or folder a dictionary of Boxes by "
            "the frame's name fits too)"
        )
    if options.split is not None:
        raise InputError("split: is for folders; these labels are in memory, without names of frames")
    sides = [_as_boxes(source, name) for source, name in ((labels, "labels"), (results, "results"))]
    if len(sides[0]) != len(sides[1]):
        raise InputError(f"{len(sides[0])} frames of labels but {len(sides[1])} of results: give one of each per frame")
    return AlignedFrames(sides[0], sides[1], None)


def _align_named(labels: Mapping[str, Boxes], results: Mapping[str, Boxes], options: ScoringOptions) -> AlignedFrames:
    names, notes = list(labels), []
    if options.split is not None:
        if isinstance(options.split, str | os.PathLike):
            from lidar_ebm.formats.text_lists import read_names

            names = read_names(options.split)
        else:
            names = list(options.split)
        unlabelled = [name for name in names if name not in labels]
        if not names or unlabelled:
            fault = f"frame {unlabelled[0]} has no labels" if unlabelled else "names no frame to score"
            raise InputError(f"split: {fault}. Name frames that are labelled, such as {_some(labels)}.")
    missing = [name for name in names if name not in results]
    if names and len(missing) == len(names):
        raise InputError(
            f"results: none is of a frame to score ({_some(names)}); they are of {_some(results)}. Give labels and "
            "results of the same frames, under the same names."
        )
    if missing:
        notes.append(
            f"{len(missing)} of {len(names)} labelled frames have no results ({_some(missing)}): they count as frames "
            "without detections"
        )
    others = [name for name in results if name not in labels]
    if others:
        notes.append(f"{count_of(len(others), 'frame')} of the results without labels ({_some(others)}): not scored")
    return AlignedFrames(
        tuple(labels[name] for name in names),
        tuple(results.get(name, Boxes.empty(scores=True)) for name in names),
        tuple(names),
        tuple(notes),
    )


def _frames_by_name(source: Any, options: ScoringOptions) -> Mapping[str, Boxes]:
    if isinstance(source, Mapping):
        _as_boxes(list(source.values()), "frames")
        return source
    from lidar_ebm.formats.reading import read_frames  # all formats take long to import, and KITTI's folders none

    folder = Path(source)
    if (folder / "data").is_dir() and not any(item.is_file() and item.name[0] != "." for item in folder.iterdir()):
        folder /= "data"  # as `evaluate` leaves results
    return read_frames(folder, calib=options.calib)


def _as_boxes(frames: Sequence[Any], name: str) -> tuple[Boxes, ...]:
    for index, frame in enumerate(frames):
        if not isinstance(frame, Boxes):
            raise InputError(f"{name}: frame {index} is {type(frame).__name__}; give Boxes for every frame.")
    return tuple(frames)


def _some(names: Any) -> str:
    shown = list(names)[:_SHOWN_FRAMES]
    return ", ".join(shown) + (", …" if len(names) > len(shown) else "") if shown else "no frame at all"
