"""Where the result files of a tool are, and what to say where they are not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lidar_ebm.errors import InputError

_SEARCHED_DEPTH = 3  # folders below the one that was given
_SEARCHED_FOLDERS = 1000  # a hint is not worth a walk through a whole disk
_SHOWN_FOLDERS = 5


def find_result_files(folder: Path | str) -> dict[str, Path]:
    """The result file of each frame, by the frame's name: `folder/data/*.txt` where there are any, else `folder/*.txt`.

    Hidden files, such as the `._000000.txt` of archives packed on a Mac, are not result files.

    Raises:
        InputError: there is no such folder, it is a file, it is empty, or the files are elsewhere in it; the message
            names the folder that was probably meant.
    """
    folder = Path(folder)
    if not folder.exists():
        raise InputError(f"{folder}: no such folder. Give the folder with the result files (FRAME.txt).")
    if not folder.is_dir():
        raise InputError(f"{folder}: this is a file, not a folder. Give the folder with the result files (FRAME.txt).")
    for place in (folder / "data", folder):
        names = _text_files(place) if place.is_dir() else []
        if names:
            return {name.removesuffix(".txt"): place / name for name in names}
    if not any(folder.iterdir()):
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
    """Names of the files FRAME.txt in a folder, in order."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if entry.name.endswith(".txt") and not entry.name.startswith(".") and entry.is_file()
            )
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}). Ask for permission to read it.") from error


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
                found = _text_files(place)
            except InputError:
                continue  # what cannot be read cannot be the answer
            if found:
                yield place


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
