"""Files of arrays in safetensors' format, with facts about them and checksums."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

import numpy as np
from safetensors.numpy import save

FORMAT = 3  # to be raised whenever what a prepared file holds changes
_KINDS = {"int64": "I64", "float64": "F64", "float32": "F32", "uint16": "U16", "uint8": "U8"}


def pack_arrays(arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> bytes:
    """A safetensors file of arrays and of what is to be said of them; the same input gives the same bytes."""
    # One key alone, as the library writes several in any order.
    return bytes(save(dict(arrays), metadata={"about": _pack_about(about)}))


def write_arrays(
    file: IO[bytes],
    streamed: str,
    shape: tuple[int, ...],
    parts: Iterable[np.ndarray],
    arrays: Mapping[str, np.ndarray],
    about: Mapping[str, Any],
) -> None:
    """Write a safetensors file as `pack_arrays` makes it, of which one array is never in memory as a whole.

    Args:
        file: to write to.
        streamed: name of that array, of float32.
        shape: its shape.
        parts: its rows, some at a time; read while the file is written.
        arrays: the others, those of wide numbers first.
        about: facts.
    """
    header: dict[str, Any] = {"__metadata__": {"about": _pack_about(about)}}
    start = 0
    sizes = {name: (_KINDS[array.dtype.name], array.shape, array.nbytes) for name, array in arrays.items()}
    sizes[streamed] = (_KINDS["float32"], shape, 4 * math.prod(shape))
    wide = [name for name, (kind, _, _) in sizes.items() if kind in ("I64", "F64")]
    narrow = [name for name, (kind, _, _) in sizes.items() if kind not in ("I64", "F64", "F32")]
    order = [
        *wide,
        *(name for name in sizes if name not in (*wide, *narrow)),
        *narrow,
    ]  # every array on its own boundary
    for name in order:
        kind, size, count = sizes[name]
        header[name] = {"dtype": kind, "shape": list(size), "data_offsets": [start, start + count]}
        start += count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        for part in parts if name == streamed else (arrays[name],):
            file.write(np.ascontiguousarray(part).tobytes())


def unpack_about(metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """Facts that `pack_arrays` was told. ValueError, TypeError or AttributeError where it is something else."""
    checksum, _, text = (metadata or {}).get("about", "").partition(" ")
    if len(checksum) != 8 or int(checksum, 16) != zlib.crc32(text.encode()):
        raise ValueError("it is of another version, or was changed")
    about = json.loads(text)
    if about.get("format") != FORMAT:
        raise ValueError("it is of another version")
    return dict(about)


def checksum_of(arrays: Sequence[np.ndarray], value: int = 0) -> int:
    """The CRC-32 of arrays' bytes, one after the other, going on from `value`."""
    for array in arrays:
        value = zlib.crc32(array.reshape(-1).view(np.uint8).data, value)
    return value


def _pack_about(about: Mapping[str, Any]) -> str:
    text = json.dumps({"format": FORMAT, **about})
    return f"{zlib.crc32(text.encode()):08x} {text}"
