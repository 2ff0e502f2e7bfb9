"""KITTI's object labels (15 fields a line) and results (16), one text file a frame, in a camera's frame.

Class names are as the file spells them; any is allowed. Lines without a box in space (DontCare regions, detections in
the image alone) are left out, and their number is said.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.fields import glimpse, read_text
from lidar_ebm.formats.frame_files import all_recognised, files_of_frames, files_to_write
from lidar_ebm.formats.kitti.calibration import Calibration
from lidar_ebm.formats.kitti.calibrations import camera_finder
from lidar_ebm.formats.kitti.camera_frame import observation_angle, rectangle_of, to_camera, to_lidar
from lidar_ebm.formats.kitti.lines import Line, check_name, format_line, parse_line
from lidar_ebm.formats.rows import BoxRows, check_boxes, value_or_none
from lidar_ebm.system.files import atomic_write

TITLE = "KITTI object labels and results, one text file a frame"
COLUMNS = frozenset({"scores", "truncated", "occluded", "alpha", "image_rectangle"})
NEEDS_CAMERA = True

# View-of-Delft writes like KITTI, with a track in the place of the truncation; these classes are its alone.
DELFT_CLASSES = frozenset(
    (
        *("rider", "bicycle", "bicycle_rack", "human_depiction", "moped_scooter", "motor"),
        *("ride_other", "ride_uncertain", "vehicle_other"),
    )
)


def recognise(path: Path) -> bool:
    """Tell if these are label or result files."""
    return lines_recognised(path, lambda names: not names & DELFT_CLASSES)


def lines_recognised(path: Path, accept: Callable[[set[str]], bool]) -> bool:
    """Tell if these are files of KITTI-like lines, the first of whose class names are accepted."""
    names: set[str] = set()

    def test(file: Path) -> bool | None:
        lines = [line.split() for line in glimpse(file).splitlines()[:50] if line.strip()]
        if not lines:
            return None
        names.update(line[0] for line in lines)
        return all(len(line) in (15, 16) and _is_number(line[0]) is False and _all_numbers(line[1:]) for line in lines)

    return all_recognised(label_folder(path), ".txt", test) and accept(names)


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Boxes by frame of a label file, a folder of them, or a folder that has `label_2` or `data` with them."""
    return read_files(path, context, to_lidar, _columns)


def write(path: Path, frames: Mapping[str, Boxes], context: Context) -> list[Path]:
    """Write a file a frame: `path` itself for a single one (.txt), otherwise files in that folder.

    Unknown rectangles are computed where the context has an image size and there is a camera; alpha where
    there is a camera.
    """
    check_boxes(frames, path)
    cameras = camera_finder(path.parent if path.suffix.lower() == ".txt" else path, context)
    contents = []
    for file, name, boxes in files_to_write(path, frames, ".txt"):
        camera, is_real = cameras(name) if len(boxes) else (None, False)
        lines = [format_line(_line(row, camera, is_real, context, path)) for row in boxes.rows()]
        contents.append((file, lines))
    return write_lines(contents)


def read_files(
    path: Path,
    context: Context,
    box_of: Callable[[Any, Calibration], list[float]],
    columns_of: Callable[[Line], dict[str, Any]],
) -> dict[str, Boxes]:
    """Boxes of label files whose lines are KITTI's, their boxes and columns as the two functions say.

    Raises:
        InputError: a file cannot be used, or there is no calibration.
    """
    folder = label_folder(path)
    cameras = camera_finder(folder if folder.is_dir() else folder.absolute().parent, context)
    left_out = 0
    frames = {}
    for name, file in files_of_frames(folder, ".txt").items():
        rows = BoxRows(file)
        for number, text in enumerate(read_text(file).splitlines(), start=1):
            if not text.strip():
                continue
            line = parse_line(text.split(), f"{file}:{number}")
            if line.box is not None:
                rows.add(line.name, box_of(line.box, cameras(name)[0]), **columns_of(line))
            elif context.keep_regions:
                rows.add(line.name, [np.nan] * 7, **columns_of(line))
            else:
                left_out += 1
        frames[name] = rows.boxes()
    warn_left_out(path, left_out)
    return frames


def warn_left_out(path: Path, count: int) -> None:
    """Say how many lines had no box in space."""
    if count:
        warnings.warn(
            f"{path}: {count} lines have no box in space (DontCare, or a rectangle alone); they are left out.",
            stacklevel=3,
        )


def label_folder(path: Path) -> Path:
    """The folder with the label files: `path` itself, or its `label_2` or `data`."""
    return next((path / part for part in ("label_2", "data") if (path / part).is_dir()), path)


def write_lines(contents: list[tuple[Path, list[str]]]) -> list[Path]:
    """Write files of lines.

    Raises:
        OutputError: one cannot be written.
    """
    for file, lines in contents:
        with atomic_write(file, "w") as handle:
            handle.writelines(f"{line}\n" for line in lines)
    return [file for file, _ in contents]


def written_parts(
    row: Mapping[str, Any], box: Any, camera: Calibration | None, is_real: bool, context: Context
) -> dict[str, Any]:
    """Rectangle and alpha of a box: its own, or computed where there is a camera."""
    rectangle, alpha = value_or_none(row, "image_rectangle"), value_or_none(row, "alpha")
    if rectangle is None and is_real and camera is not None and context.image_size is not None:
        rectangle = rectangle_of(box, camera, context.image_size)
    if alpha is None and is_real:
        alpha = observation_angle(box)
    return {"rectangle": None if rectangle is None else tuple(rectangle), "alpha": alpha}


def _line(row: Mapping[str, Any], camera: Calibration | None, is_real: bool, context: Context, path: Path) -> Line:
    assert camera is not None  # there are boxes
    box = to_camera(row["box"], camera)
    return Line(
        name=check_name(row["name"], path),
        truncated=value_or_none(row, "truncated"),
        occluded=value_or_none(row, "occluded"),
        box=box,
        score=value_or_none(row, "scores"),
        **written_parts(row, box, camera, is_real, context),
    )


def _columns(line: Line) -> dict[str, Any]:
    return {
        "scores": line.score,
        "truncated": line.truncated,
        "occluded": line.occluded,
        "alpha": line.alpha,
        "image_rectangle": line.rectangle,
    }


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _all_numbers(fields: list[str]) -> bool:
    return all(_is_number(field) for field in fields)
