"""Results of nuScenes: one submission for all samples, and the boxes of a sample in what any tool submitted."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.nuscenes.attributes import with_attributes
from lidar_ebm.datasets.stamps import Stamp, stamp
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.nuscenes import boxes as result_format
from lidar_ebm.formats.nuscenes.classes import CLASSES

FILE = "results_nusc.json"
MAXIMUM_BOXES = 500  # of a sample, in a submission


def write_submission(
    folder: Path, results: Mapping[str, Boxes], sensor_pose_of: Callable[[str], np.ndarray]
) -> list[Path]:
    """Write FOLDER/data/results_nusc.json: boxes in the global frame, the best 500 of each sample, each with an
    attribute; a sample without any has an empty list.

    Args:
        results: detections by sample token, LiDAR frame.
        sensor_pose_of: pose [4, 4] LiDAR frame → global frame of a sample.

    Raises:
        InputError: a box holds NaN, or there is no such sample.
        OutputError: the file cannot be written.
    """
    names = Counter(name for boxes in results.values() for name in boxes.names.tolist() if name not in CLASSES)
    if names:
        shown = ", ".join(f"{count} {name}" for name, count in names.most_common(5))
        warnings.warn(
            f"{folder}: {shown}: nuScenes scores ten classes, and its server refuses results of others.", stacklevel=3
        )
    chosen = {token: as_submitted(boxes) for token, boxes in results.items()}
    return result_format.write(folder / "data" / FILE, chosen, Context(sensor_pose_of=sensor_pose_of))


def as_submitted(boxes: Boxes) -> Boxes:
    """Detections of a sample as a submission has them: the best 500, each with an attribute."""
    return with_attributes(best_boxes(boxes))


def best_boxes(boxes: Boxes, count: int = MAXIMUM_BOXES) -> Boxes:
    """The boxes of the highest scores, at most `count`, in the order in which they stand."""
    if len(boxes) <= count or boxes.scores is None:
        return boxes.select(slice(count))
    best = np.argsort(-boxes.scores, kind="stable")[:count]
    return boxes.select(np.sort(best))


def read_submission(path: Path, token: str, sensor_pose_of: Callable[[str], np.ndarray]) -> Boxes | None:
    """Detections of a sample, in the LiDAR frame; None where there is no file, or it has nothing of this sample.

    Args:
        path: a result file, or a folder that holds one, itself or in its folder `data`.
        token: of the sample.
        sensor_pose_of: pose [4, 4] LiDAR frame → global frame of a sample.

    Raises:
        InputError: the file is damaged, or a folder holds several.
    """
    file = _result_file(path)
    if file is None:
        return None
    boxes = _read_global(file, stamp(file)).get(token)
    if boxes is None:
        return None
    return result_format.to_sensor(boxes, sensor_pose_of(token)) if len(boxes) else Boxes.empty(scores=True)


def _result_file(path: Path) -> Path | None:
    if path.is_file():
        return path
    for folder in (path, path / "data"):
        if (folder / FILE).is_file():
            return folder / FILE
        files = [file for file in sorted(folder.glob("*.json")) if result_format.recognise(file)]
        if len(files) > 1:
            raise InputError(
                f"{folder}: holds several result files: {', '.join(file.name for file in files[:5])}. Name one of them."
            )
        if files:
            return files[0]
    return None


@lru_cache(2)
def _read_global(path: Path, made_of: Stamp) -> dict[str, Boxes]:
    """All boxes of a file, in the global frame; read once while the file stays as it is."""
    return result_format.read(path, Context())
