"""Detections of a split from a result file or from memory, put into the order in which ties are decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.nuscenes.labels import SplitLabels
from lidar_ebm.evaluation.nuscenes.objects import Objects, objects_of_boxes
from lidar_ebm.evaluation.nuscenes.result_files import ResultFile, read_result_file
from lidar_ebm.evaluation.nuscenes.rules import MAXIMUM_BOXES
from lidar_ebm.evaluation.problems import Problem, list_problems
from lidar_ebm.geometry.poses import boxes_to_parent, velocity_to_parent

_FOLDER_FILE = "results_nusc.json"


def read_detections(path: Path, labels: SplitLabels) -> tuple[Objects, tuple[str, ...]]:
    """Detections of a result file, and notes on what is odd about it.

    Raises:
        InputError: the benchmark's program refuses the file, or its samples are not those of the split.
    """
    file = read_result_file(find_result_file(path))
    file.refuse_errors()
    for problem in list_sample_problems(file, labels.tokens, labels.name, own_split=labels.own_split):
        if problem.blocks:
            raise InputError(f"{file.path}: {problem}.")
    notes = [f"results: {line}" for line in list_problems(file.warnings, shown=1)]
    return in_split_order(file, labels), tuple(notes)


def in_split_order(file: ResultFile, labels: SplitLabels) -> Objects:
    """The boxes of a file that has all samples of the split, in the order that decides ties."""
    index = labels.sample_index
    to_split = np.array([index.get(token, -1) for token in file.tokens], np.int32).reshape(-1)
    objects = file.objects
    objects = replace(
        objects,
        sample=to_split[objects.sample],
        matched_sample=np.where(objects.matched_sample < 0, -1, to_split[objects.matched_sample]).astype(np.int32)
        if len(objects)
        else objects.matched_sample,
    )
    if labels.own_split:
        # The samples' order is the table's here, and others are passed over.
        order = np.argsort(objects.sample, kind="stable")
        objects = objects.select(order[objects.sample[order] >= 0])
    return objects


def list_sample_problems(file: ResultFile, tokens: Sequence[str], split: str, *, own_split: bool) -> list[Problem]:
    """Samples of a split that a result file lacks, or others that it has.

    Args:
        file: of results.
        tokens: of the split's samples.
        split: its name.
        own_split: the database's own, for which other samples are passed over.
    """
    problems, present, wanted = [], set(file.tokens), set(tokens)
    missing = [token for token in tokens if token not in present]
    if missing:
        finding = f"{len(missing)} of {len(tokens)} samples are missing (the first is {missing[0]})"
        kind = "every sample of the split needs a list, an empty one where nothing was detected"
        problems.append(Problem(f"split {split}", finding, kind, blocks=True))
    others = [token for token in file.tokens if token not in wanted]
    if others:
        finding = f"{len(others)} samples are none of it (the first is {others[0]})"
        kind = "others are passed over" if own_split else "leave them out, or name the split that has them"
        problems.append(Problem(f"split {split}", finding, kind, blocks=not own_split))
    return problems


def pack_detections(
    boxes_of_sample: Mapping[str, Boxes], labels: SplitLabels, *, global_frame: bool = False
) -> tuple[Objects, tuple[str, ...]]:
    """Detections in memory by sample token, and notes; samples without an entry have none. They are scored as they
    would be from a result file.

    Args:
        boxes_of_sample: with scores, in the LiDAR's frame (x forward, y left).
        labels: of the split.
        global_frame: the boxes stand in the global frame.

    Raises:
        InputError: boxes without finite scores or places, a sample that the split does not have, or over 500 boxes.
    """
    placed = {}
    for token, boxes in boxes_of_sample.items():
        where = f"results: sample {token}"
        if token not in labels.sample_index:
            raise InputError(
                f"{where}: is none of the split {labels.name!r}; leave it out or name the split that has it."
            )
        if len(boxes) > MAXIMUM_BOXES:
            raise InputError(f"{where}: {len(boxes)} boxes; give the {MAXIMUM_BOXES} of the highest scores at most.")
        if len(boxes) and (boxes.scores is None or not np.isfinite(boxes.scores).all()):
            raise InputError(f"{where}: a detection has no finite score; give each one.")
        if not np.isfinite(boxes.boxes).all():
            raise InputError(f"{where}: a box is NaN or infinite; leave it out.")
        # A result file has a velocity for every box: an unknown one is written as 0.
        velocity = np.zeros((len(boxes), 2)) if boxes.velocity is None else np.nan_to_num(boxes.velocity)
        known = boxes.with_columns(velocity=velocity)
        placed[token] = known if global_frame else boxes_in_global_frame(known, labels.pose_of(token))
    ordered = {token: placed[token] for token in labels.tokens if token in placed}
    return objects_of_boxes(ordered, labels.sample_index), ()


def boxes_in_global_frame(boxes: Boxes, pose: np.ndarray) -> Boxes:
    """Boxes of a LiDAR's frame in the global one.

    Args:
        boxes: with velocities or not.
        pose: [4, 4] LiDAR frame → global frame.
    """
    velocity = None if boxes.velocity is None else velocity_to_parent(boxes.velocity, pose)
    return boxes.with_columns(boxes=boxes_to_parent(boxes.boxes, pose), velocity=velocity)


def find_result_file(path: Path) -> Path:
    """The result file that a path names: itself, or the only JSON file of a folder or of its data/.

    Raises:
        InputError: there is none, or there are several.
    """
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{path}: there is no such file. Name a result file of nuScenes (JSON).")
        return path
    for folder in (path, path / "data"):
        files = sorted(folder.glob("*.json")) if folder.is_dir() else []
        if len(files) == 1:
            return files[0]
        named = [file for file in files if file.name == _FOLDER_FILE]
        if named:
            return named[0]
        if files:
            raise InputError(f"{folder}: holds {len(files)} JSON files; name the one to read.")
    raise InputError(f"{path}: holds no result file (JSON). Name one.")
