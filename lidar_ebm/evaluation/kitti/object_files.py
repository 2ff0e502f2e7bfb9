"""Label and result files of many frames, read at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lidar_ebm.evaluation.kitti.objects import Objects, pack_objects
from lidar_ebm.evaluation.kitti.text_numbers import ODD, parse_files
from lidar_ebm.formats.kitti.files import read_labels
from lidar_ebm.formats.kitti.label import KITTI_TYPES

_CHUNK_BYTES = 1 << 20  # text that is held and parsed at a time
_BLOCK_BYTES = 1 << 16  # nearly every file is read in one
# Where the parser leaves what goes to each field of Objects.
_COLUMNS: dict[str, int | slice] = {
    "truncated": 0,
    "occluded": 1,
    "alpha": 2,
    "bbox": slice(3, 7),
    "boxes": slice(7, 14),
    "scores": 14,
}


def read_object_files(
    paths: Sequence[Path | None], *, need_scores: bool, types: Sequence[str] = KITTI_TYPES, others: bool = False
) -> Objects:
    """Read one label or result file a frame: what `read_labels` and `pack_objects` give, without an object a line.

    Args:
        paths: the file of each frame; None for a frame without objects.
        need_scores: these are results, each line of which ends with a score. Otherwise scores are read where there are
            any and are NaN elsewhere.
        types: the classes that are known, compared without case.
        others: other classes may stand there too.

    Raises:
        InputError: a file is missing or a line of it malformed, as `read_labels` says it; of several the first.
    """
    names = list(dict.fromkeys(name.lower() for name in types))  # grows where other classes are met
    counts, kinds = [], []
    fields: dict[str, list[np.ndarray]] = {field: [] for field in _COLUMNS}
    for chunk, contents in _read_chunks(paths):
        chunk_counts, chunk_kinds, numbers = _parse_chunk(
            chunk, contents, names, need_scores, None if others else types
        )
        counts.append(chunk_counts)
        kinds.append(chunk_kinds)
        for field, columns in _COLUMNS.items():
            fields[field].append(numbers[:, columns].copy())  # a view would keep the chunk's whole buffer
    all_kinds = np.concatenate(kinds)
    present, first = np.unique(all_kinds, return_index=True)
    present = present[np.argsort(first)]  # classes in the order in which they appear
    position = np.zeros(len(names), dtype=np.int64)
    position[present] = np.arange(len(present))
    return Objects(
        offsets=np.concatenate(([0], np.cumsum(np.concatenate(counts)))).astype(np.int64),
        type_index=position[all_kinds],
        type_names=tuple(names[kind] for kind in present),
        # Each field's pieces go as soon as they are joined, so that one field at a time is held twice.
        **{field: np.concatenate(fields.pop(field)) for field in _COLUMNS},
    )


def _read_chunks(paths: Sequence[Path | None]) -> Iterator[tuple[list[Path | None], list[bytes | None]]]:
    """The paths in runs of about _CHUNK_BYTES, at least one, with each file's bytes, None where it cannot be read."""
    chunk: list[Path | None] = []
    contents: list[bytes | None] = []
    size = 0
    for path in paths:
        content = b"" if path is None else _read_file(path)
        chunk.append(path)
        contents.append(content)
        size += len(content or b"")
        if size >= _CHUNK_BYTES:
            yield chunk, contents
            chunk, contents, size = [], [], 0
    yield chunk, contents


def _read_file(path: Path) -> bytes | None:
    """`Path.read_bytes` in little more than half its time, which for files of some hundred bytes is most of what
    reading takes; None where the file cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            blocks = []
            while block := os.read(descriptor, _BLOCK_BYTES):
                blocks.append(block)
            return b"".join(blocks)
        finally:
            os.close(descriptor)
    except OSError:
        return None


def _parse_chunk(
    paths: Sequence[Path | None],
    contents: Sequence[bytes | None],
    names: list[str],
    need_scores: bool,
    types: Sequence[str] | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Objects of each file `[F]`, and of all these objects the index into `names` [N] and the numbers [N, 15].

    Where any class may stand there (`types` is None), new ones are added to `names`, for the files that follow.
    """
    text = b"".join(part for content in contents for part in (content or b"", b"\n"))
    codes = [name.encode() for name in names]
    counts, kinds, numbers, later = parse_files(
        np.frombuffer(text, dtype=np.uint8),
        _starts([len(content or b"") + 1 for content in contents]),
        np.frombuffer(b"".join(codes), dtype=np.uint8),
        _starts([len(code) for code in codes]),
        need_scores,
    )
    rows, columns, first, end = later.T
    numbers[rows, columns] = [float(text[a:b]) for a, b in zip(first.tolist(), end.tolist(), strict=True)]
    odd = (counts == ODD) | np.array([content is None for content in contents], dtype=np.bool_)
    if not odd.any():
        return counts, kinds, numbers
    # One parser alone knows every spelling and says what is wrong, or that the file cannot be read.
    odd_paths = [path for path, is_odd in zip(paths, odd, strict=True) if is_odd and path is not None]
    labels = [read_labels(path, require_score=need_scores, types=types) for path in odd_paths]
    others = pack_objects(labels, need_scores=need_scores, names=[str(path) for path in odd_paths])
    names += [name for name in others.type_names if name not in names]
    counts[odd] = np.diff(others.offsets)
    from_others = np.repeat(odd, counts)  # [N]
    all_kinds = np.empty(len(from_others), dtype=np.int32)
    all_numbers = np.empty((len(from_others), numbers.shape[1]))
    all_kinds[~from_others], all_numbers[~from_others] = kinds, numbers
    all_kinds[from_others] = np.array([names.index(name) for name in others.type_names], np.int32)[others.type_index]
    for field, place in _COLUMNS.items():
        all_numbers[from_others, place] = getattr(others, field)
    return counts, all_kinds, all_numbers


def _starts(lengths: Sequence[int]) -> np.ndarray:
    """Start of each of several things that stand one behind the other, and the end of the last, `[n + 1]` int64."""
    return np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))).astype(np.int64)
