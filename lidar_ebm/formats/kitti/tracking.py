"""KITTI's tracking labels: one text file a sequence, each line a frame number, a track number, and an object's fields.

Here truncation is a level, 0, 1 or 2, which is read as a share of 0, 0.5 or 1 and written back as the level. Frames
without objects do not stand in such a file. A sequence's frames are called 000000, 000001, …; of several sequences
in a folder SEQUENCE_000000.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.fields import glimpse, read_text
from lidar_ebm.formats.frame_files import all_recognised, files_of_frames
from lidar_ebm.formats.kitti.boxes import warn_left_out, write_lines, written_parts
from lidar_ebm.formats.kitti.calibrations import camera_finder
from lidar_ebm.formats.kitti.camera_frame import to_camera, to_lidar
from lidar_ebm.formats.kitti.lines import Line, check_name, format_line, parse_line, parse_number
from lidar_ebm.formats.rows import BoxRows, check_boxes, value_or_none

TITLE = "KITTI tracking labels, one text file a sequence"
COLUMNS = frozenset({"scores", "track", "truncated", "occluded", "alpha", "image_rectangle"})
NEEDS_CAMERA = True


def recognise(path: Path) -> bool:
    """Tell if the file, or the folder's files, are tracking labels."""

    def test(file: Path) -> bool | None:
        lines = [line.split() for line in glimpse(file).splitlines()[:50] if line.strip()]
        if not lines:
            return None
        return all(
            len(line) in (17, 18) and bool(re.fullmatch(r"\d+", line[0])) and bool(re.fullmatch(r"-?\d+", line[1]))
            for line in lines
        )

    return all_recognised(path, ".txt", test)


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Boxes by frame of a sequence's file, or of a folder of sequences."""
    files = files_of_frames(path, ".txt")
    cameras = camera_finder(path if path.is_dir() else path.absolute().parent, context)
    left_out = 0
    frames: dict[str, BoxRows] = {}
    for sequence, file in files.items():
        numbered: dict[int, BoxRows] = {}
        for number, text in enumerate(read_text(file).splitlines(), start=1):
            fields, where = text.split(), f"{file}:{number}"
            if not fields:
                continue
            if len(fields) not in (17, 18):
                raise InputError(f"{where}: {len(fields)} fields; a tracking label has 17, a result 18.")
            frame, track = (
                _whole(value, field, where) for value, field in zip(fields, ("frame", "track"), strict=False)
            )
            if frame < 0:
                raise InputError(f"{where}: field 'frame' is {frame}; frames are numbered from 0.")
            rows = numbered.setdefault(frame, BoxRows(file))
            line = parse_line(fields[2:], where)
            if line.box is None:
                left_out += 1
                continue
            rows.add(
                line.name,
                to_lidar(line.box, cameras(sequence)[0]),
                track=None if track < 0 else str(track),
                scores=line.score,
                truncated=None if line.truncated is None else line.truncated / 2,
                occluded=line.occluded,
                alpha=line.alpha,
                image_rectangle=line.rectangle,
            )
        prefix = "" if len(files) == 1 else f"{sequence}_"
        frames |= {f"{prefix}{frame:06d}": numbered[frame] for frame in sorted(numbered)}
    warn_left_out(path, left_out)
    return {name: rows.boxes() for name, rows in frames.items()}


def write(path: Path, frames: Mapping[str, Boxes], context: Context) -> list[Path]:
    """Write a file a sequence: `path` itself (.txt) or `0000.txt` in that folder; names SEQUENCE_FRAME part them."""
    check_boxes(frames, path)
    is_file = path.suffix.lower() == ".txt"
    places = _places(list(frames), path.stem if is_file else "0000")
    sequences = dict.fromkeys(sequence for sequence, _ in places.values())
    if is_file and len(sequences) > 1:
        raise InputError(f"{path}: {len(sequences)} sequences do not go into one file; give a folder.")
    cameras = camera_finder(path.absolute().parent if is_file else path, context)
    tracks = _track_numbers(frames, path)
    empty = sum(not len(boxes) for boxes in frames.values())
    if empty:
        warnings.warn(f"{path}: {empty} frames without boxes do not stand in this format.", stacklevel=2)
    lines: dict[str, list[str]] = {sequence: [] for sequence in sequences}
    for name, boxes in frames.items():
        sequence, frame = places[name]
        for row in boxes.rows():
            camera, is_real = cameras(sequence)
            box = to_camera(row["box"], camera)
            truncated = value_or_none(row, "truncated")
            line = Line(
                name=check_name(row["name"], path),
                truncated=None,
                occluded=value_or_none(row, "occluded"),
                box=box,
                score=value_or_none(row, "scores"),
                **written_parts(row, box, camera, is_real, context),
            )
            fields = format_line(line).split(" ")
            fields[1] = "-1" if truncated is None else f"{min(2 * truncated, 2.0):.0f}"
            lines[sequence].append(" ".join((str(frame), str(tracks[row["track"]]), *fields)))
    return write_lines(
        [(path if is_file else path / f"{sequence}.txt", sequence_lines) for sequence, sequence_lines in lines.items()]
    )


def _whole(text: str, field: str, where: str) -> int:
    number = parse_number(text, field, where)
    if not number.is_integer() or abs(number) > 2**53:
        raise InputError(f"{where}: field {field!r} is {text!r}, which is not a whole number.")
    return int(number)


def _places(names: list[str], sequence: str) -> dict[str, tuple[str, int]]:
    """Sequence and number of each frame."""
    parts = {name: re.fullmatch(r"(?:(.+)_)?(\d{1,9})", name) for name in names}
    places = {name: (part[1] or sequence, int(part[2])) for name, part in parts.items() if part}
    if len(places) == len(names) == len(set(places.values())):
        return places
    warnings.warn("frames are not called by numbers; they are numbered in their order.", stacklevel=3)
    return {name: (sequence, index) for index, name in enumerate(names)}


def _track_numbers(frames: Mapping[str, Boxes], path: Path) -> dict[str, int]:
    """Numbers of tracks; those that are no numbers are numbered after the others."""
    names: dict[str, None] = {}
    for frame, boxes in frames.items():
        tracks: Any = [] if not len(boxes) else [""] if boxes.track is None else boxes.track.tolist()
        if "" in tracks:
            raise InputError(f"{path}: boxes of frame {frame!r} have no track, which this format needs.")
        names |= dict.fromkeys(tracks)
    numbers = {name: int(name) for name in names if re.fullmatch(r"0|[1-9]\d{0,14}", name)}
    others = [name for name in names if name not in numbers]
    if others:
        warnings.warn(f"{path}: {len(others)} tracks are not called by numbers; they are numbered.", stacklevel=3)
    first = max(numbers.values(), default=-1) + 1
    return numbers | {name: first + index for index, name in enumerate(others)}
