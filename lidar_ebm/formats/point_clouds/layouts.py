"""Layouts of raw .bin files: the number and type of columns that the bytes themselves speak for.

A raw file says nothing of its columns. Read with another number of them, every column is a mixture of all: that is
seen by comparing how well a histogram for each column describes the values (the marginal likelihood of a Dirichlet
prior, so that few points decide nothing).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

FLOAT32_COLUMNS = (3, 4, 5, 6, 7, 8)
FLOAT64_COLUMNS = (3, 4, 5, 6, 7, 8)
_BLOCK = 2520  # values; a whole number of records of each number of columns
_BLOCKS = 6  # spread over the file; enough to tell any two layouts apart
_FARTHEST = 1e8  # m, or counts; beyond is no place, though UTM in millimetres is not
_NEAREST = 1e-20  # smaller numbers that are not 0 are bits of something else
_MAX_IMPOSSIBLE = 0.01  # share of single damaged values that is no reason to doubt the layout
_PRIOR = 0.1  # pseudo-count of a symbol
_NEEDED_GAIN = 12.0  # nats; a layout is doubted for no less
_NEEDED_GAIN_PER_VALUE = 0.05
_FEWEST_ROWS = 4
_MAX_NEGATIVE = 0.02  # share of a reflectance that is below 0
_LARGEST_OVERLAP = 0.25  # of the histograms of different quantities


@dataclass(frozen=True)
class Layout:
    """Records of equal numbers without a header."""

    columns: int
    dtype: str = "float32"

    @property
    def bytes_per_point(self) -> int:
        """Size of a record."""
        return self.columns * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{self.columns} columns of {self.dtype}"


# Bits of other things may be signalling NaNs, or beyond float32: no reason for a warning.
@np.errstate(over="ignore", invalid="ignore")
def is_impossible(values: np.ndarray) -> bool:
    """Tell whether numbers are bits of another type: denormal, or larger than any coordinate or count."""
    sample = _sample(values.ravel()) if values.flags.c_contiguous else values[:: max(len(values) // _BLOCK, 1)]
    magnitude = np.abs(sample)
    wild = ((magnitude > _FARTHEST) | ((magnitude < _NEAREST) & (sample != 0))) & np.isfinite(sample)
    return bool(wild.sum() > _MAX_IMPOSSIBLE * max(sample.size, 1))


@np.errstate(over="ignore", invalid="ignore")
def find_other_layout(content: bytes, expected: Layout) -> Layout | None:
    """The layout that a raw file has by its values, where that is clearly not the expected one.

    Args:
        content: the whole file, little-endian.
        expected: columns of float32.

    Returns:
        None where the expected layout is as good as any, or nothing can be said.
    """
    words = np.frombuffer(content, "<f4", len(content) // 4)
    sample = _sample(words)
    if len(sample) < _FEWEST_ROWS * expected.columns:
        return None
    if _is_likely_float64(content, sample):
        doubles = _sample(np.frombuffer(content, "<f8", len(content) // 8))
        return Layout(_choose_columns(doubles, FLOAT64_COLUMNS, len(content) // 8), "float64")
    columns = _choose_columns(sample, FLOAT32_COLUMNS, len(words), expected.columns)
    return None if columns == expected.columns else Layout(columns)


def _sample(values: np.ndarray) -> np.ndarray:
    """The values, or whole blocks of them from all over the file."""
    blocks = len(values) // _BLOCK
    if blocks <= _BLOCKS:
        return values
    chosen = np.linspace(0, blocks - 1, _BLOCKS).astype(np.int64)
    return values[: blocks * _BLOCK].reshape(blocks, _BLOCK)[chosen].ravel()


def _symbols(values: np.ndarray) -> np.ndarray:
    """A small number for each value: sign, half octave, and whether it is whole."""
    wide = values.astype(np.float64)
    magnitude = np.abs(np.nan_to_num(wide, nan=0.0, posinf=1e30, neginf=-1e30))
    octave = np.floor(2 * np.log2(np.clip(magnitude, 2.0**-8, 2.0**24))).astype(np.int64) + 17
    octave[magnitude < 1e-9] = 0
    symbols = 4 * octave + 2 * (wide < 0) + (magnitude == np.floor(magnitude))
    symbols[np.isnan(wide)] = 4 * 70
    return np.asarray(symbols)


def _evidence(symbols: np.ndarray, columns: int) -> float:
    """Log marginal likelihood of the symbols where each column has a distribution of its own, in nats."""
    rows = len(symbols) // columns
    total = 0.0
    kinds = len(np.unique(symbols))
    for column in range(columns):
        counts = np.bincount(symbols[column : rows * columns : columns])
        counts = counts[counts > 0]
        total += float(_log_gamma(counts + _PRIOR).sum() - len(counts) * _log_gamma(np.array(_PRIOR)))
        total += float(_log_gamma(np.array(kinds * _PRIOR)) - _log_gamma(np.array(rows + kinds * _PRIOR)))
    return total


def _log_gamma(values: np.ndarray) -> np.ndarray:
    """Stirling's series for log Γ, from arguments shifted by 8: right to 1e-10."""
    shifted = values + 8.0
    series = (shifted - 0.5) * np.log(shifted) - shifted + 0.5 * np.log(2 * np.pi)
    series = series + 1 / (12 * shifted) - 1 / (360 * shifted**3) + 1 / (1260 * shifted**5)
    for step in range(8):
        series = series - np.log(values + step)
    return np.asarray(series)


def _choose_columns(sample: np.ndarray, candidates: Sequence[int], count: int, expected: int | None = None) -> int:
    """The number of columns, among those that divide `count`, that the values speak for; the expected one in doubt."""
    symbols = _symbols(sample)
    evidence = {columns: _evidence(symbols, columns) for columns in candidates if count % columns == 0}
    if expected is not None:
        evidence.setdefault(expected, _evidence(symbols, expected))
        evidence[expected] += _NEEDED_GAIN + _NEEDED_GAIN_PER_VALUE * len(sample)
    chosen = expected if expected is not None else min(evidence, default=4)
    for columns in sorted(evidence):
        better = evidence[columns] > evidence[chosen]
        if better and _is_sound(sample, columns) and _is_one_point(symbols, columns, evidence):
            chosen = columns
    return chosen


def _is_sound(sample: np.ndarray, columns: int) -> bool:
    """Tell whether column 3 may be a reflectance; of six columns and more it may be anything."""
    return columns not in (4, 5) or bool((sample[3::columns] < 0).mean() <= _MAX_NEGATIVE)


def _is_one_point(symbols: np.ndarray, columns: int, others: Iterable[int]) -> bool:
    """Tell whether a record is one point, and not several of fewer columns.

    Lasers that fire by turns differ in z from row to row; x, y and reflectance stay alike.
    """
    rows = len(symbols) // columns
    table = symbols[: rows * columns].reshape(rows, columns)
    for part in (3, 4):
        if part in others and columns > part and columns % part == 0:
            axes = (0, 1, part - 1)
            different = [_overlap(table[:, axis], table[:, part + axis]) < _LARGEST_OVERLAP for axis in axes]
            if sum(different) < 2:
                return False
    return True


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Common share of two histograms of as many symbols."""
    length = int(max(first.max(), second.max())) + 1
    counts = [np.bincount(values, minlength=length) for values in (first, second)]
    return float(np.minimum(*counts).sum() / max(len(first), 1))


def _is_likely_float64(content: bytes, sample: np.ndarray) -> bool:
    """Tell whether the bytes are sound as float64 and not as float32."""
    if len(content) % 8:
        return False
    doubles = _sample(np.frombuffer(content, "<f8"))
    magnitude = np.abs(doubles)
    with np.errstate(invalid="ignore"):
        odd = (magnitude > 1e10) | ((magnitude < 1e-9) & (doubles != 0))
    if odd.mean() > _MAX_IMPOSSIBLE or not np.any(doubles):
        return False
    if is_impossible(sample):
        return True
    # Of float64 made from float32 or from few digits, the lower words have only their first three bits.
    words = _sample(np.frombuffer(content, "<u4"))
    lower = words[::2]
    return bool(not (lower & 0x1FFFFFFF).any() and len(np.unique(words[1::2])) >= 2 * _FEWEST_ROWS)
