"""Sizes of images of every kind, by their headers."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lidar_ebm.errors import InputError
from lidar_ebm.formats.image_size import IMAGE_SUFFIXES, find_image, read_image_size


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_size_is_that_of_the_pixels(tmp_path: Path, suffix: str, mode: str) -> None:
    for width, height in ((1, 1), (1242, 375), (37, 512)):
        Image.new(mode, (width, height)).save(tmp_path / f"a{suffix}")
        assert read_image_size(tmp_path / f"a{suffix}") == (width, height)


def test_webp_of_all_three_kinds(tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 50, 4), np.uint8), "RGBA")
    picture.convert("RGB").save(tmp_path / "lossy.webp")
    picture.convert("RGB").save(tmp_path / "lossless.webp", lossless=True)
    picture.save(tmp_path / "extended.webp")
    kinds = {path.read_bytes()[12:16] for path in tmp_path.iterdir()}
    assert kinds == {b"VP8 ", b"VP8L", b"VP8X"}
    assert {read_image_size(path) for path in tmp_path.iterdir()} == {(50, 30)}


def test_the_content_counts_not_the_suffix(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "a.png")
    assert read_image_size(tmp_path / "a.png") == (20, 10)


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return b"\x89PNG\r\n\x1a\n" + chunk + end


@pytest.mark.parametrize(
    "content",
    [b"", b"JFIF", b"\x89PNG\r\n\x1a\n", b"RIFF\x00\x00\x00\x00WEBPVP8 ", b"GIF89a" + bytes(50), b"BM" + bytes(10)],
)
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png: this is no image") as caught:
        read_image_size(tmp_path / "a.png")
    assert "_io." not in str(caught.value) and "()" not in str(caught.value)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (70_000, 5), (2**31 - 1, 2**31 - 1)])
def test_sizes_that_no_camera_has_are_damage(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "a.png").write_bytes(png_header(width, height))
    with pytest.raises(InputError, match=r"a\.png: .*damaged"):
        read_image_size(tmp_path / "a.png")


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_image_size(path)


def test_an_image_is_found_whatever_its_suffix(tmp_path: Path) -> None:
    assert find_image(tmp_path, "000001") is None
    (tmp_path / "000001.JPG").touch()
    assert find_image(tmp_path, "000001") == tmp_path / "000001.JPG"
    (tmp_path / "000001.png").touch()
    assert find_image(tmp_path, "000001") == tmp_path / "000001.png"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
def test_mutations_give_a_size_or_an_input_error_within_bounds(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 40, 3), np.uint8)).save(tmp_path / f"a{suffix}")
    content = (tmp_path / f"a{suffix}").read_bytes()
    generator = random.Random(0)
    for _ in range(200):
        mutated = bytearray(content)
        for _ in range(generator.randint(1, 4)):
            mutated[generator.randrange(min(len(mutated), 200))] = generator.choice((0, 1, 127, 128, 255, 66))
        (tmp_path / f"b{suffix}").write_bytes(mutated[: generator.randint(0, len(mutated))])
        tracemalloc.start()
        try:
            width, height = read_image_size(tmp_path / f"b{suffix}")
            assert min(width, height) >= 1
        except InputError as error:
            assert f"b{suffix}" in str(error)
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 20 * len(content) + 1_500_000  # Pillow reads blocks of 1 MiB
