"""The index of a prepared data set: who wrote it, and what every frame was made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lidar_ebm import __version__
from lidar_ebm.datasets.preparation.prepared_frame import FrameRecord
from lidar_ebm.datasets.preparation.tensor_files import FORMAT
from lidar_ebm.datasets.stamps import Stamps
from lidar_ebm.errors import InputError
from lidar_ebm.system.files import atomic_write


@dataclass(frozen=True)
class Index:
    """Records of all frames that were checked, those that cannot be used among them."""

    version: str  # of lidar_ebm that wrote it
    kind: str  # of the data set
    frames: Mapping[str, FrameRecord]  # by name


def index_path(folder: Path) -> Path:
    """The file that the index stands in."""
    return folder / "index.json"


def write_index(folder: Path, kind: str, records: Sequence[FrameRecord]) -> None:
    """Write the index; one that says the same is left as it is.

    Raises:
        OutputError: the file cannot be written.
    """
    lines = ",\n".join(f"{json.dumps(record.name)}: {json.dumps(record.to_json())}" for record in records)
    about = f'"format": {FORMAT},\n"lidar_ebm": {json.dumps(__version__)},\n"kind": {json.dumps(kind)}'
    write_if_changed(index_path(folder), f'{{\n{about},\n"frames": {{\n{lines}\n}}\n}}\n')


def read_index(folder: Path, root: Path) -> Index:
    """Read the index in a folder of prepared frames of the data set ROOT.

    Raises:
        InputError: it is missing, damaged, or of another format.
    """
    path = index_path(folder)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise ValueError(f"written by version {values.get('lidar_ebm')} in another format")
        frames = {str(name): FrameRecord.from_json(name, item) for name, item in values["frames"].items()}
        return Index(str(values["lidar_ebm"]), str(values["kind"]), frames)
    except OSError as error:
        reason = error.strerror or "no such file"
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise InputError(f"{path}: cannot be used ({reason}). Run `lidar-ebm prepare {root}` to make it anew.")


def fingerprint(names: Sequence[str], inputs: Sequence[Stamps]) -> str:
    """Digest that changes as soon as the list of frames or one of their files does."""
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
