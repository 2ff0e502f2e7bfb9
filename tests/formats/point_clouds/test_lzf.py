"""LibLZF's stream: what is packed comes back, what is damaged is refused."""

from __future__ import annotations

import numpy as np
import pytest

from lidar_ebm.formats.point_clouds.lzf import LARGEST_RATIO, compress_lzf, decompress_lzf


def literal(data: bytes) -> bytes:
    """A valid stream that repeats nothing."""
    return b"".join(bytes([len(data[i : i + 32]) - 1]) + data[i : i + 32] for i in range(0, len(data), 32))


def test_repeats_are_of_what_came_before() -> None:
    assert decompress_lzf(b"\x02abc" + bytes([1 << 5, 2]), 6) == b"abcabc"
    assert decompress_lzf(b"\x00a" + bytes([7 << 5, 3, 0]), 13) == b"a" * 13  # longer than what it repeats
    far_back = literal(bytes(range(256)) * 2) + bytes([1 << 5 | 1, 0])  # three bytes from 257 bytes before
    assert decompress_lzf(far_back, 515)[512:] == bytes([255, 0, 1])


@pytest.mark.parametrize("seed", range(20))
def test_what_is_packed_comes_back(seed: int) -> None:
    generator = np.random.default_rng(seed)
    data = generator.integers(0, generator.integers(1, 256), generator.integers(0, 20_000), np.uint8).tobytes()
    data += bytes(seed * 1000) + data[: seed * 100]
    packed = compress_lzf(data)
    assert decompress_lzf(packed, len(data)) == data
    assert len(data) <= LARGEST_RATIO * len(packed)
    assert len(packed) <= len(data) * 33 // 32 + 1


@pytest.mark.parametrize("stream", [b"\x02ab", b"\x00a" + bytes([1 << 5]), b"\x00a" + bytes([1 << 5, 9]), b"\x00a" * 9])
def test_damaged_streams_are_refused(stream: bytes) -> None:
    with pytest.raises(ValueError, match="stream"):
        decompress_lzf(stream, 4)


def test_no_more_is_unpacked_than_was_asked_for() -> None:
    bomb = b"\x00a" + bytes([7 << 5, 255, 0]) * 100_000
    with pytest.raises(ValueError, match="holds 265 bytes instead of 10"):
        decompress_lzf(bomb, 10)
