"""Width and height of image files, from their headers: no pixel is decoded."""

from __future__ import annotations

import os
import struct
import warnings
from pathlib import Path
from typing import IO, TypeAlias

from PIL import Image, UnidentifiedImageError

from lidar_ebm.errors import InputError
from lidar_ebm.system.files import file_kind, open_regular

PathLike: TypeAlias = "str | os.PathLike[str]"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
LARGEST_SIDE = 65535  # pixels, as JPEG allows; no camera of a vehicle has as many
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
_ADVICE = "Copy it again or remove it."


def read_image_size(path: PathLike) -> tuple[int, int]:
    """Read the width and height in pixels of a PNG, JPEG, BMP, TIFF or WebP image, as it is stored.

    An orientation in a JPEG's EXIF is not regarded, as cameras of vehicles are calibrated to the stored pixels.

    Raises:
        InputError: the file is missing, no such image, or damaged.
    """
    with open_regular(path) as file:
        width, height = _header_size(file, path)
    if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
        raise InputError(f"{path}: an image of {width} x {height} pixels; damaged. {_ADVICE}")
    return width, height


def _header_size(file: IO[bytes], path: PathLike) -> tuple[int, int]:
    try:
        first = file.read(30)
        file.seek(0)
        return _webp_size(first) if first[:4] == b"RIFF" else _pillow_size(file)
    except (
        *(UnidentifiedImageError, Image.DecompressionBombError, OSError, EOFError),
        *(ValueError, TypeError, KeyError, IndexError, AttributeError, SyntaxError, OverflowError, MemoryError),
        *(struct.error, ArithmeticError, RuntimeError),
    ) as error:
        # Pillow's own words for it show the open file, not its name.
        reason = "" if isinstance(error, UnidentifiedImageError) or not str(error) else f" ({str(error)[:100]})"
        raise InputError(f"{path}: this is no image, or it is damaged{reason}. {_ADVICE}") from error


def find_image(folder: PathLike, name: str) -> Path | None:
    """The image FOLDER/NAME with any of the known suffixes, also in capitals; None where there is none."""
    for suffix in IMAGE_SUFFIXES:
        for path in (Path(folder) / f"{name}{suffix}", Path(folder) / f"{name}{suffix.upper()}"):
            if file_kind(path) is not None:
                return path
    return None


def _pillow_size(file: IO[bytes]) -> tuple[int, int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow: large images, odd metadata
        with Image.open(file, formats=_FORMATS) as image:  # reads the header alone
            return image.size


def _webp_size(first: bytes) -> tuple[int, int]:
    """Size of a WebP image; Pillow would make room for all its pixels ("WebP Container Specification", Google)."""
    kind, data = first[12:16], first[20:30]
    if first[8:12] != b"WEBP" or len(data) < 10:
        raise ValueError("not WebP, or cut short")
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little")
    if kind == b"VP8L" and data[0] == 0x2F:
        bits = int.from_bytes(data[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and data[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", data[6:10])
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError("no WebP image of a known kind")
