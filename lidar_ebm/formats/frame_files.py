"""Folders with one file a frame: their files by the frame's name, and the files to write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError

_SAMPLED_FILES = 20  # files of a folder, for recognising it


def files_of_frames(path: Path, suffix: str) -> dict[str, Path]:
    """Files by the frame's name: the file itself, or a folder's files of this suffix, by name.

    Raises:
        InputError: there is none.
    """
    if not path.is_dir():
        return {path.stem: path}
    files = {file.stem: file for file in list_files(path, suffix)}
    if not files:
        raise InputError(f"{path}: there is no {suffix} file in this folder. Give the folder that holds them.")
    return files


def list_files(folder: Path, suffix: str) -> list[Path]:
    """Files of a folder with this suffix, by name, without hidden ones.

    Raises:
        InputError: the folder cannot be read.
    """
    try:
        return sorted(
            item
            for item in folder.iterdir()
            if item.suffix.lower() == suffix and not item.name.startswith(".") and item.is_file()
        )
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}). Check the name and permissions.") from error


def all_recognised(path: Path, suffix: str, test: Callable[[Path], bool | None]) -> bool:
    """Tell if a file, or the first files of a folder, are of a kind.

    Args:
        path: file or folder.
        suffix: of the files to test, such as ".json".
        test: of one file: True, False, or None where it is empty and says nothing.
    """
    try:
        files = list_files(path, suffix)[:_SAMPLED_FILES] if path.is_dir() else [path]
    except (InputError, OSError):
        return False
    verdicts = [test(file) for file in files]
    return any(verdicts) and False not in verdicts


def files_to_write(path: Path, frames: Mapping[str, Boxes], suffix: str) -> Iterator[tuple[Path, str, Boxes]]:
    """File, name and boxes of each frame: `path` itself where it has the suffix, otherwise files in that folder.

    Raises:
        InputError: several frames for one file, or a frame's name cannot be that of a file.
    """
    if path.suffix.lower() == suffix and not path.is_dir():
        if len(frames) != 1:
            raise InputError(f"{path}: {len(frames)} frames do not go into one file of this format; give a folder.")
        name, boxes = next(iter(frames.items()))
        yield path, name, boxes
        return
    for name in frames:
        check_frame_name(path, name)
    for name, boxes in frames.items():
        yield path / f"{name}{suffix}", name, boxes


def check_frame_name(path: Path, name: str) -> None:
    """Refuse a frame's name that could lead out of a folder.

    Raises:
        InputError: it cannot be the name of a file.
    """
    if not name or name.startswith(".") or re.search(r'[/\\\x00-\x1f:*?"<>|]', name) or len(name.encode()) > 200:
        raise InputError(f"{path}: frame {name!r} cannot be the name of a file; rename the frame. Nothing was written.")


def numbers_of_frames(names: list[str]) -> dict[str, int] | None:
    """Whole numbers that frames are called by; None where some name is no number or two are the same."""
    if not all(re.fullmatch(r"[0-9]{1,15}", name) for name in names):
        return None
    numbers = {name: int(name) for name in names}
    return numbers if len(set(numbers.values())) == len(names) else None
