"""Sources that can be scored by KITTI's rules: folders of files, or frames in memory, brought into one form."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.box_files import AlignedFrames, align_frames, is_path, is_text_folder
from lidar_ebm.evaluation.class_notes import check_classes, list_class_notes
from lidar_ebm.evaluation.kitti.boxes import add_rectangles, pack_camera_boxes, read_transforms
from lidar_ebm.evaluation.kitti.frame_boxes import FrameBoxes, pack_frame_boxes
from lidar_ebm.evaluation.kitti.object_files import read_object_files
from lidar_ebm.evaluation.kitti.objects import Objects, check_objects, pack_objects
from lidar_ebm.evaluation.kitti.point_counts import count_label_points
from lidar_ebm.evaluation.kitti.projection import project_missing_boxes
from lidar_ebm.evaluation.kitti.result_files import find_result_files
from lidar_ebm.evaluation.kitti.rules import DIFFICULTIES, LIDAR_DIFFICULTIES, METRICS
from lidar_ebm.evaluation.limits import Difficulty
from lidar_ebm.evaluation.loaded import Loaded
from lidar_ebm.evaluation.options import PathLike, ScoringOptions
from lidar_ebm.formats.kitti.label import KITTI_TYPES, Label
from lidar_ebm.formats.text_lists import hint_at_ending, read_names
from lidar_ebm.system.words import count_of

CLASSES = ("Car", "Pedestrian", "Cyclist")
LIDAR_METRICS = ("bev", "3d")
_KITTI_NAMES = {name.lower() for name in KITTI_TYPES}
_SHOWN_FRAMES = 3


def load(labels: Any, results: Any, options: ScoringOptions) -> Loaded:
    """Read or pack labels and results; the arguments are those of `evaluate`.

    Raises:
        InputError: as there.
    """
    classes = tuple(CLASSES if options.classes is None else options.classes)
    frames: tuple[str, ...] | None = None
    if is_path(labels) and is_path(results) and is_text_folder(labels) and is_text_folder(results):
        label_objects, detections, notes, frames = _load_folders(Path(labels), Path(results), classes, options)
    elif _are_boxes(labels) or _are_boxes(results):
        label_objects, detections, notes, frames = _load_boxes(labels, results, options)
    else:
        if (
            options.split is not None
            or options.project
            or options.calib is not None
            or options.point_folder is not None
        ):
            raise InputError("split, project, calib and point_folder are for folders; these labels are in memory")
        label_objects, detections, notes = _pack(labels, need_scores=False), _pack(results, need_scores=True), ()
        if label_objects.frame_count != detections.frame_count:
            raise InputError(
                f"{label_objects.frame_count} frames of labels but {detections.frame_count} of results: give one of "
                "each per frame"
            )
    check_classes(classes, label_objects, detections, accepted=_KITTI_NAMES)
    metrics: tuple[str, ...] = METRICS
    difficulties = DIFFICULTIES
    if options.lidar_only:
        metrics = LIDAR_METRICS
        difficulties, how = _lidar_difficulties(label_objects)
        notes += (f"lidar_only: difficulty by {how}",)
    return Loaded(
        label_objects,
        detections,
        options,
        classes,
        metrics if options.metrics is None else tuple(options.metrics),
        difficulties if options.difficulties is None else tuple(options.difficulties),
        notes + list_class_notes(classes, label_objects, detections, silent=_KITTI_NAMES),
        frames,
    )


def _lidar_difficulties(labels: Objects) -> tuple[tuple[Difficulty, ...], str]:
    if labels.points is not None:
        return LIDAR_DIFFICULTIES, "distance and points in the box"
    by_distance = tuple(replace(each, min_points=0) for each in LIDAR_DIFFICULTIES)
    return by_distance, "distance alone, without point clouds"


def _load_folders(
    labels: Path, results: Path, classes: Sequence[str], options: ScoringOptions
) -> tuple[Objects, Objects, tuple[str, ...], tuple[str, ...]]:
    if options.calib is not None and not (options.project or options.lidar_only):
        raise InputError(
            f"{options.calib}: calib is read with project or lidar_only. Give one of them too, or leave it out."
        )
    if options.point_folder is not None and not options.lidar_only:
        raise InputError(
            f"{options.point_folder}: point_folder is read with lidar_only. Give that too, or leave it out."
        )
    frames, result_paths, notes = _choose_frames(labels, results, options.split)
    # Whatever other names stand there, they are passed over, as KITTI's program does.
    types = (*KITTI_TYPES, *(name for name in classes if name.lower() not in _KITTI_NAMES))
    label_files, result_files = (
        [labels / f"{frame}.txt" for frame in frames],
        [result_paths.get(frame) for frame in frames],
    )
    label_objects = read_object_files(label_files, need_scores=False, types=types, others=True)
    detections = read_object_files(result_files, need_scores=True, types=types, others=True)
    calib_folder = _beside(labels, "calib", options.calib)
    if options.project:
        if calib_folder is None:
            raise InputError(f"{labels.parent / 'calib'}: no such folder; boxes cannot be projected. Give it as calib.")
        images = _beside(labels, "image_2", None)
        detections, projected = project_missing_boxes(detections, frames, calib_folder, images)
        label_objects, of_labels = project_missing_boxes(label_objects, frames, calib_folder, images)
        notes += (f"project: {count_of(projected.count, 'result')} without a 2-D box: that of the 3-D box is taken",)
        if of_labels.count:
            notes += (f"project: {count_of(of_labels.count, 'label')} without a 2-D box: that of the 3-D box is taken",)
        notes += tuple(dict.fromkeys(each.size_note for each in (projected, of_labels) if each.size_note))
    clouds = _beside(labels, "velodyne", options.point_folder)
    if options.lidar_only and clouds is not None:
        label_objects = replace(label_objects, points=count_label_points(label_objects, frames, clouds, calib_folder))
        if calib_folder is None:
            notes += ("calib: none, so the point clouds are taken to have KITTI's nominal one",)
    return label_objects, detections, notes, tuple(frames)


def _load_boxes(
    labels: Any, results: Any, options: ScoringOptions
) -> tuple[Objects, Objects, tuple[str, ...], tuple[str, ...] | None]:
    """Boxes of any format or in memory, with the cameras that were given or those of the calibration files."""
    if options.point_folder is not None:
        raise InputError("point_folder: is for folders of KITTI's text files; boxes say their points in a column.")
    frames: AlignedFrames = align_frames(labels, results, options)
    sides = [frames.labels, frames.results]
    if options.project:
        if options.cameras is None or len(options.cameras) != len(frames.labels):
            raise InputError("project: boxes are projected by cameras; give a Camera for each frame.")
        sides = [tuple(map(add_rectangles, side, options.cameras)) for side in sides]
    if options.cameras is not None:
        transforms = [camera.lidar_to_camera for camera in options.cameras]
    elif options.calib is not None and frames.names is not None:
        transforms = read_transforms(Path(options.calib), frames.names)
    else:
        raise InputError(
            "cameras: KITTI's rules are about what a camera sees. Give a Camera for each frame (or calib, a folder of "
            "calibration files), or score by distance (protocol 'distance')."
        )
    packed = [
        pack_camera_boxes(side, transforms, need_scores=need_scores, names=frames.names)
        for side, need_scores in ((sides[0], False), (sides[1], True))
    ]
    return packed[0], packed[1], frames.notes, frames.names


def _are_boxes(source: Any) -> bool:
    if is_path(source) or isinstance(source, Mapping):
        return True
    return isinstance(source, Sequence) and any(isinstance(frame, Boxes) for frame in source)


def _choose_frames(
    labels: Path, results: Path, split: PathLike | Sequence[str] | None
) -> tuple[list[str], dict[str, Path], tuple[str, ...]]:
    """The frames to score, the result files, and what is to be said of the choice."""
    result_paths = find_result_files(results)
    try:
        labelled = {entry.name[:-4] for entry in os.scandir(labels) if entry.name.endswith(".txt")}
    except OSError as error:
        raise InputError(f"{labels}: cannot be read ({error.strerror}). Give the folder of label files.") from error
    if split is None:
        frames = sorted(result_paths)
    else:
        frames = read_names(split) if isinstance(split, str | os.PathLike) else list(split)
        if not frames:
            raise InputError(f"{split}: names no frame to score. Write one frame name a line.")
    for frame in frames:
        if frame not in labelled:
            raise InputError(
                f"{labels / frame}.txt: no such label file, though frame {frame} is to be scored. Give the folder with "
                "the labels of these frames (KITTI's training/label_2)." + hint_at_ending(frame, labelled.__contains__)
            )
    missing = len(labelled - set(result_paths)) if split is None else sum(frame not in result_paths for frame in frames)
    if split is not None and missing == len(frames):
        others = ", ".join(sorted(result_paths)[:_SHOWN_FRAMES])
        raise InputError(
            f"{results}: none of the {missing} frames to score has a result file here; there are those of {others}, …. "
            "Give the results of these frames."
        )
    if split is not None:
        return (
            frames,
            result_paths,
            (f"split: {count_of(missing, 'frame')} without a result file: taken as without detections",),
        )
    if missing:
        files = count_of(missing, "label file")
        note = f"{files} without a result file: not scored (KITTI's way; split counts them as empty)"
        return frames, result_paths, (note,)
    return frames, result_paths, ()


def _beside(labels: Path, name: str, given: PathLike | None) -> Path | None:
    """The folder that was given, or that of this name beside the labels where it is there."""
    if given is not None:
        return Path(given)
    folder = labels.resolve().parent / name
    return folder if folder.is_dir() else None


def _pack(frames: Objects | Sequence[Sequence[Label] | FrameBoxes], *, need_scores: bool) -> Objects:
    if isinstance(frames, Objects):
        check_objects(frames, need_scores=need_scores)
        return frames
    boxes = [frame for frame in frames if isinstance(frame, FrameBoxes)]
    if boxes:
        if len(boxes) < len(frames):
            raise InputError("frames in memory: give FrameBoxes for every frame, or Labels for every frame")
        return pack_frame_boxes(boxes, need_scores=need_scores)
    return pack_objects([frame for frame in frames if not isinstance(frame, FrameBoxes)], need_scores=need_scores)
