"""Boxes of one tool's files into another's."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import check_source, columns_left_out, find_format, format_name, recognise_format
from lidar_ebm.formats.reading import make_context
from lidar_ebm.system.words import count_of

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Conversion:
    """Record of what was read and written."""

    source: Path
    source_format: str
    target: Path
    target_format: str
    frames: int
    names: Mapping[str, int]  # boxes by class
    written: tuple[Path, ...]
    left_out: Mapping[str, int]  # columns that the target's format cannot hold, with the boxes that have them

    def lines(self) -> list[str]:
        """Lines for people, one a kind."""
        boxes = ", ".join(f"{count} {name}" for name, count in self.names.items()) or "no boxes"
        said = [f"read {count_of(self.frames, 'frame')} from {self.source} as {self.source_format}: {boxes}"]
        place = self.written[0] if len(self.written) == 1 else self.target
        said.append(f"wrote {count_of(len(self.written), 'file')} to {place} as {self.target_format}")
        if self.left_out:
            columns = ", ".join(f"{name} ({count_of(count, 'box')})" for name, count in self.left_out.items())
            said.append(f"not held by {self.target_format}: {columns}")
        return said


def convert(
    source: PathLike,
    target: PathLike,
    *,
    target_format: str,
    source_format: str | None = None,
    classes: Sequence[str] | None = None,
    calib: PathLike | None = None,
    image_size: tuple[int, int] | None = None,
) -> Conversion:
    """Read boxes of one format and write them in another; what is odd in the files is warned of.

    Args:
        source: file or folder.
        target: file or folder to write, as the format has it; the source is never written to.
        target_format: name of the format to write.
        source_format: name of the format to read; recognised from the content where not given.
        classes: class names by index, for formats that hold indices alone.
        calib: calibration file or folder of one a frame, for formats in a camera's frame.
        image_size: width and height in pixels, for formats that hold rectangles in an image.

    Raises:
        InputError: the source cannot be read, the target cannot hold its boxes, or is where the source is.
        OutputError: a file cannot be written.
    """
    start, end = Path(source), Path(target)
    writer = find_format(target_format)
    if not hasattr(writer, "write"):
        raise InputError(f"{target_format} can be read, not written. Choose another format to write.")
    check_source(start)
    name = recognise_format(start) if source_format is None else format_name(source_format)
    reader = find_format(name)
    _check_apart(start, end)
    context = make_context(classes=classes, calib=calib, image_size=image_size)
    frames = reader.read(start, context)
    if not frames:
        raise InputError(f"{start}: there is no frame to convert.")
    written = writer.write(end, frames, context)
    names = Counter(each for boxes in frames.values() for each in boxes.names.tolist())
    return Conversion(
        source=start,
        source_format=name,
        target=end,
        target_format=format_name(target_format),
        frames=len(frames),
        names=dict(names.most_common()),
        written=tuple(written),
        left_out=columns_left_out(writer, frames.values()),
    )


def _check_apart(source: Path, target: Path) -> None:
    """Refuse a target that could overwrite the source.

    Raises:
        InputError: the target is the source, lies in it, or is the folder of it.
    """
    try:
        start, end = source.resolve(), target.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{str(target)[:200]!r}: cannot be a place to write to ({error}).") from error
    if end == start or start in end.parents or (start.is_file() and end == start.parent):
        raise InputError(f"{target}: the source {source} is there and could be overwritten. Choose another place.")
