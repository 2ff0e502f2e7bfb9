"""View-of-Delft's labels: lines like KITTI's, a track in the second column, turned about the LiDAR's vertical.

The location is the centre of the bottom face in the camera's frame, as in KITTI; but the box stands along the LiDAR's
vertical, from which the camera is tilted by 7 degrees, and rotation is -yaw - π/2 in the LiDAR frame (see the data
set's development kit, github.com/tudelft-iv/view-of-delft-dataset). The second column is a track where no number of
it stands twice in a frame; editions without tracks have other things there. Labels end in a score of 1, which is not
read as one.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.frame_files import files_to_write
from lidar_ebm.formats.kitti.boxes import DELFT_CLASSES, lines_recognised, read_files, write_lines
from lidar_ebm.formats.kitti.calibration import Calibration
from lidar_ebm.formats.kitti.calibrations import camera_finder
from lidar_ebm.formats.kitti.lines import Camera3D, Line, check_name, format_line
from lidar_ebm.formats.rows import check_boxes, value_or_none
from lidar_ebm.geometry.upright import wrap_angle

TITLE = "View-of-Delft labels, one text file a frame"
COLUMNS = frozenset({"scores", "track", "occluded", "alpha", "image_rectangle"})
NEEDS_CAMERA = True


def recognise(path: Path) -> bool:
    """Tell if these are KITTI-like label files with classes of this data set."""
    return lines_recognised(path, lambda names: bool(names & DELFT_CLASSES))


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Boxes by frame of a label file, or of a folder of them."""
    frames = read_files(path, context, _to_lidar, _columns)
    without = 0
    for name, boxes in frames.items():
        if boxes.scores is not None and (boxes.scores == 1).all():
            frames[name] = boxes = boxes.with_columns(scores=None)
        if boxes.track is not None and len(set(boxes.track.tolist())) != len(boxes):
            frames[name] = boxes.with_columns(track=None)
            without += 1
    if without:
        warnings.warn(
            f"{path}: in {without} of {len(frames)} frames the second column holds a number twice, so that it is no "
            "track; it is not read there.",
            stacklevel=2,
        )
    return frames


def write(path: Path, frames: Mapping[str, Boxes], context: Context) -> list[Path]:
    """Write a file a frame: `path` itself for a single one (.txt), otherwise files in that folder."""
    check_boxes(frames, path)
    cameras = camera_finder(path.parent if path.suffix.lower() == ".txt" else path, context)
    contents = []
    for file, name, boxes in files_to_write(path, frames, ".txt"):
        contents.append((file, [_written(row, cameras(name)[0], path, boxes.scores is None) for row in boxes.rows()]))
    return write_lines(contents)


def _to_lidar(box: Camera3D, camera: Calibration) -> list[float]:
    x, y, z = (camera.rect_to_lidar @ (box.x, box.y, box.z, 1.0))[:3].tolist()
    return [x, y, z + box.height / 2, box.length, box.width, box.height, -box.rotation_y - math.pi / 2]


def _columns(line: Line) -> dict[str, Any]:
    track = line.truncated
    return {
        "scores": line.score,
        "track": f"{track:.0f}" if track is not None and track.is_integer() else None,
        "occluded": line.occluded,
        "alpha": line.alpha,
        "image_rectangle": line.rectangle,
    }


def _written(row: Mapping[str, Any], camera: Calibration, path: Path, is_label: bool) -> str:
    x, y, z, length, width, height, yaw = row["box"].tolist()
    right, down, ahead = (camera.lidar_to_rect @ (x, y, z - height / 2, 1.0))[:3].tolist()
    rotation = float(wrap_angle(np.array(-yaw - math.pi / 2)))
    track, rectangle, score = (
        value_or_none(row, "track"),
        value_or_none(row, "image_rectangle"),
        value_or_none(row, "scores"),
    )
    if track is not None and not (track.isascii() and track.isdigit() and len(track) < 16):
        raise InputError(f"{path}: the track {track!r} is no whole number, which this format needs.")
    line = Line(
        name=check_name(row["name"], path),
        truncated=None,
        occluded=value_or_none(row, "occluded"),
        alpha=value_or_none(row, "alpha"),
        rectangle=None if rectangle is None else tuple(rectangle),
        box=Camera3D(height, width, length, right, down, ahead, rotation),
        score=1.0 if is_label else score,
    )
    fields = format_line(line).split(" ")
    fields[1] = "-1" if track is None else str(int(track))
    return " ".join(fields)
