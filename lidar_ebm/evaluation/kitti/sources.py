"""What can be scored, wherever it is: folders of files, or frames in memory, brought into one form."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti.frame_boxes import FrameBoxes, pack_frame_boxes
from lidar_ebm.evaluation.kitti.object_files import read_objects
from lidar_ebm.evaluation.kitti.objects import Objects, check_objects, pack_objects
from lidar_ebm.evaluation.kitti.point_counts import count_label_points
from lidar_ebm.evaluation.kitti.result_files import find_result_files
from lidar_ebm.evaluation.kitti.rules import DIFFICULTIES, LIDAR_DIFFICULTIES, METRICS, Difficulty
from lidar_ebm.formats.kitti.label import KITTI_TYPES, Label
from lidar_ebm.formats.text_lists import read_names

if TYPE_CHECKING:
    from typing import TypeGuard

CLASSES = ("Car", "Pedestrian", "Cyclist")
LIDAR_METRICS = ("bev", "3d")
_KNOWN = {name.lower() for name in KITTI_TYPES}

PathLike: TypeAlias = str | os.PathLike[str]
Source: TypeAlias = PathLike | Objects | Sequence[Sequence[Label]] | Sequence[FrameBoxes]


@dataclass(frozen=True, eq=False)
class Loaded:
    """Labels and detections of the same frames, and by what they are to be scored where the user does not say."""

    labels: Objects
    detections: Objects
    metrics: tuple[str, ...]
    difficulties: tuple[Difficulty, ...]
    notes: tuple[str, ...]  # what departs from KITTI's rules


def load(
    labels: Source,
    results: Source,
    *,
    classes: Sequence[str] = CLASSES,
    split: PathLike | Sequence[str] | None = None,
    project: bool = False,
    lidar_only: bool = False,
    calib: PathLike | None = None,
    velodyne: PathLike | None = None,
) -> Loaded:
    """Read or pack labels and results; the arguments are those of `evaluate`.

    Raises:
        InputError: as there.
    """
    if isinstance(labels, str | os.PathLike) or isinstance(results, str | os.PathLike):
        if not (is_folder(labels) and is_folder(results)):
            raise InputError("labels and results: give two folders, or both in memory")
        label_objects, detections, notes = _load_folders(
            Path(labels), Path(results), classes, split, project, lidar_only, calib, velodyne
        )
    else:
        if split is not None or project or calib is not None or velodyne is not None:
            raise InputError("split, project, calib and velodyne are for folders; these labels are in memory")
        label_objects, detections, notes = _pack(labels, need_scores=False), _pack(results, need_scores=True), ()
        if label_objects.frame_count != detections.frame_count:
            raise InputError(
                f"{label_objects.frame_count} frames of labels but {detections.frame_count} of results: give one of "
                "each per frame"
            )
    _check_classes(classes, label_objects, detections)
    if not lidar_only:
        return Loaded(label_objects, detections, METRICS, DIFFICULTIES, notes)
    if label_objects.points is not None:
        notes += ("--lidar-only: difficulty by distance and points in the box",)
        return Loaded(label_objects, detections, LIDAR_METRICS, LIDAR_DIFFICULTIES, notes)
    notes += ("--lidar-only: difficulty by distance alone, without point clouds",)
    by_distance = tuple(replace(each, min_points=0) for each in LIDAR_DIFFICULTIES)
    return Loaded(label_objects, detections, LIDAR_METRICS, by_distance, notes)


def is_folder(source: Source) -> TypeGuard[PathLike]:
    """Whether the objects are in files and not in memory."""
    return isinstance(source, str | os.PathLike)


def _load_folders(
    labels: Path,
    results: Path,
    classes: Sequence[str],
    split: PathLike | Sequence[str] | None,
    project: bool,
    lidar_only: bool,
    calib: PathLike | None,
    velodyne: PathLike | None,
) -> tuple[Objects, Objects, tuple[str, ...]]:
    if calib is not None and not (project or lidar_only):
        raise InputError(
            f"{calib}: --calib is read with --project or --lidar-only. Give one of them too, or leave it out."
        )
    if velodyne is not None and not lidar_only:
        raise InputError(f"{velodyne}: --velodyne is read with --lidar-only. Give that too, or leave it out.")
    frames, found, notes = _choose_frames(labels, results, split)
    types = (*KITTI_TYPES, *(name for name in classes if name.lower() not in _KNOWN))
    label_objects = read_objects([labels / f"{frame}.txt" for frame in frames], need_scores=False, types=types)
    detections = read_objects([found.get(frame) for frame in frames], need_scores=True, types=types)
    calib_folder = _beside(labels, "calib", calib)
    if project:
        # It needs torch, which takes longer to import than all of KITTI's files to score.
        from lidar_ebm.evaluation.kitti.projection import project_missing_boxes

        if calib_folder is None:
            raise InputError(
                f"{labels.parent / 'calib'}: no such folder; boxes cannot be projected. Give it with --calib."
            )
        images = _beside(labels, "image_2", None)
        detections, count = project_missing_boxes(detections, frames, calib_folder, images)
        notes += (f"--project: {count} results without a 2-D box have that of their 3-D box",)
    clouds = _beside(labels, "velodyne", velodyne)
    if lidar_only and clouds is not None:
        label_objects = replace(label_objects, points=count_label_points(label_objects, frames, clouds, calib_folder))
        if calib_folder is None:
            notes += ("--calib: none, so the point clouds are taken to have KITTI's nominal one",)
    return label_objects, detections, notes


def _choose_frames(
    labels: Path, results: Path, split: PathLike | Sequence[str] | None
) -> tuple[list[str], dict[str, Path], tuple[str, ...]]:
    """The frames to score, the result files, and what is to be said of the choice."""
    found = find_result_files(results)
    try:
        labelled = {entry.name[:-4] for entry in os.scandir(labels) if entry.name.endswith(".txt")}
    except OSError as error:
        raise InputError(f"{labels}: cannot be read ({error.strerror}). Give the folder of label files.") from error
    if split is None:
        frames = sorted(found)
    else:
        frames = read_names(split) if isinstance(split, str | os.PathLike) else list(split)
        if not frames:
            raise InputError(f"{split}: names no frame to score. Write one frame name a line.")
    for frame in frames:
        if frame not in labelled:
            raise InputError(
                f"{labels / frame}.txt: no such label file, though frame {frame} is to be scored. Give the folder with "
                "the labels of these frames (KITTI's training/label_2)."
            )
    missing = len(labelled - set(found)) if split is None else sum(frame not in found for frame in frames)
    if split is not None:
        return frames, found, (f"--split: {missing} frames without a result file count as frames without detections",)
    if missing:
        note = f"{missing} label files without a result file are not scored (KITTI's way; --split counts them as empty)"
        return frames, found, (note,)
    return frames, found, ()


def _beside(labels: Path, name: str, given: PathLike | None) -> Path | None:
    """The folder that was given, or that of this name beside the labels where it is there."""
    if given is not None:
        return Path(given)
    folder = labels.resolve().parent / name
    return folder if folder.is_dir() else None


def _pack(frames: Objects | Sequence[Sequence[Label]] | Sequence[FrameBoxes], *, need_scores: bool) -> Objects:
    if isinstance(frames, Objects):
        check_objects(frames, need_scores=need_scores)
        return frames
    boxes = [frame for frame in frames if isinstance(frame, FrameBoxes)]
    if boxes:
        if len(boxes) < len(frames):
            raise InputError("frames in memory: give FrameBoxes for every frame, or Labels for every frame")
        return pack_frame_boxes(boxes, need_scores=need_scores)
    return pack_objects([frame for frame in frames if not isinstance(frame, FrameBoxes)], need_scores=need_scores)


def _check_classes(classes: Sequence[str], labels: Objects, detections: Objects) -> None:
    there = {*labels.type_names, *detections.type_names}
    for name in classes:
        if name.lower() not in _KNOWN | there:
            raise InputError(
                f"class {name!r}: unknown to KITTI, and neither in the labels nor in the results. Known are "
                f"{', '.join(KITTI_TYPES)}."
            )
