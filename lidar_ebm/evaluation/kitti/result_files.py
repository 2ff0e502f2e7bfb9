"""Places of the result files of a tool, and the message where they are absent."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from lidar_ebm.errors import InputError
from lidar_ebm.system.files import file_kind

_SEARCHED_DEPTH = 3  # folders below the one that was given
_SEARCHED_FOLDERS = 1000  # a hint is not worth a walk through a whole disk
_SHOWN_FOLDERS = 5


def find_result_files(folder: Path | str) -> dict[str, Path]:
    """The result file of each frame, by the frame's name: `folder/data/*.txt` where there are any, else `folder/*.txt`.

    Hidden files, such as the `._000000.txt` of archives packed on a Mac, are not result files. A link that leads
    nowhere is one: what cannot be read must not count as a frame without results.

    Raises:
        InputError: there is no such folder, it is a file, it is empty, what is called FRAME.txt is no file, or the
            files are elsewhere in it; the message names what is wrong, or the folder that was probably meant.
    """
    folder = Path(folder)
    kind = file_kind(folder)
    if kind is None:
        raise InputError(f"{folder}: no such folder. Give the folder with the result files (FRAME.txt).")
    if not stat.S_ISDIR(kind):
        raise InputError(f"{folder}: this is a file, not a folder. Give the folder with the result files (FRAME.txt).")
    for place in (folder / "data", folder):
        names = _text_files(place) if stat.S_ISDIR(file_kind(place) or 0) else []
        if names:
            return {name.removesuffix(".txt"): place / name for name in names}
    if _is_empty(folder):
        raise InputError(f"{folder}: the folder is empty. Give the folder with the result files (FRAME.txt).")
    message = f"{folder}: no result files (FRAME.txt) here or in its folder 'data'."
    elsewhere = list(_folders_with_text_files(folder))
    if not elsewhere:
        raise InputError(f"{message} Give the folder with them.")
    if len(elsewhere) == 1:
        raise InputError(f"{message} There are some in {elsewhere[0]}: if these are meant, give that folder.")
    shown = ", ".join(map(str, elsewhere[:_SHOWN_FOLDERS])) + (", …" if len(elsewhere) > _SHOWN_FOLDERS else "")
    raise InputError(f"{message} There are some in {len(elsewhere)} folders below it ({shown}): give one of these.")


def _text_files(folder: Path) -> list[str]:
    """Names of the files FRAME.txt in a folder, in order, links that lead nowhere among them.

    Raises:
        InputError: the folder cannot be read, or something called FRAME.txt is no file.
    """
    names = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".txt") and not entry.name.startswith("."):
                    if entry.is_symlink() or not entry.is_file():
                        _check_unusual(entry.path)
                    names.append(entry.name)
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}). Ask for permission to read it.") from error
    return sorted(names)


def _check_unusual(path: str) -> None:
    """Refuse what is no file: reading would wait for ever at a pipe that nobody writes to."""
    kind = file_kind(path)
    if kind is not None and not stat.S_ISREG(kind):
        what = "folder" if stat.S_ISDIR(kind) else "device, pipe or socket"
        raise InputError(f"{path}: this is a {what}, not a result file. Move it elsewhere.")


def _is_empty(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return next(entries, None) is None


def _folders_with_text_files(folder: Path) -> Iterator[Path]:
    """Folders not far below `folder` that hold files FRAME.txt, the nearest first."""
    searched = 0
    level = [folder]
    for _ in range(_SEARCHED_DEPTH):
        level = [below for place in level for below in _subfolders(place)]
        for place in level:
            searched += 1
            if searched > _SEARCHED_FOLDERS:
                return
            try:
                names = _text_files(place)
            except InputError:
                continue  # what cannot be read cannot be the answer
            if names:
                yield place


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
