"""The index of a prepared data set: who wrote it, and what every frame was made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lidar_ebm import __version__
from lidar_ebm.datasets.kitti.layout import Stamps, prepared_folder
from lidar_ebm.datasets.preparation.prepared_frame import FORMAT, FrameRecord
from lidar_ebm.errors import InputError
from lidar_ebm.system.files import atomic_write


@dataclass(frozen=True)
class Index:
    """What is known of every frame that was looked at, those that cannot be used among them."""

    version: str  # of lidar_ebm that wrote it
    lidar_only: bool
    frames: Mapping[str, FrameRecord]  # by name


def index_path(root: Path) -> Path:
    """Where the index is."""
    return prepared_folder(root) / "index.json"


def write_index(root: Path, lidar_only: bool, records: Sequence[FrameRecord]) -> None:
    """Write the index; one that says the same is left as it is.

    Raises:
        OutputError: the file cannot be written.
    """
    lines = ",\n".join(f"{json.dumps(record.name)}: {json.dumps(record.to_json())}" for record in records)
    about = f'"format": {FORMAT},\n"lidar_ebm": {json.dumps(__version__)},\n"lidar_only": {json.dumps(lidar_only)}'
    write_if_changed(index_path(root), f'{{\n{about},\n"frames": {{\n{lines}\n}}\n}}\n')


def read_index(root: Path) -> Index:
    """Read the index.

    Raises:
        InputError: it is missing, damaged, or of another format.
    """
    path = index_path(root)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise ValueError(f"written by version {values.get('lidar_ebm')} in another format")
        frames = {str(name): FrameRecord.from_json(name, item) for name, item in values["frames"].items()}
        return Index(str(values["lidar_ebm"]), bool(values["lidar_only"]), frames)
    except OSError as error:
        reason = error.strerror or "no such file"
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise InputError(f"{path}: cannot be used ({reason}). Run `lidar-ebm prepare {root}` to make it anew.")


def fingerprint(names: Sequence[str], inputs: Sequence[Stamps]) -> str:
    """What changes as soon as the list of frames or one of their files does."""
    content = json.dumps([FORMAT, *zip(names, inputs, strict=True)])
    return hashlib.sha256(content.encode()).hexdigest()


def write_if_changed(path: Path, text: str) -> None:
    """Write a text file unless it holds this text already.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        if path.read_text(encoding="utf-8") == text:
            return
    except (OSError, UnicodeDecodeError):
        pass
    with atomic_write(path, "w") as file:
        file.write(text)
