"""The one rule for reflectance: its full scale is decided once for a data set or run, kept, and applied to every file.

Files have reflectance of 0..1, 0..255 or 0..65,535, and seldom say so. Where the field's type is a small integer, its
largest value is the full scale. Otherwise that goes by the 99 % quantile of the values that are not 0 in a file, and by
the median of these over the files of a sample: single retroreflectors, damaged values or a file of another scale decide
nothing, and two frames of a drive never differ. Values below 0, as of decibel, have no full scale: they become 0, with
a warning.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.formats.point_clouds.point_cloud import PointCloud

T = TypeVar("T")

QUANTILE = 0.99
SAMPLED_FILES = 8  # of a sample
_UNIT_LIMIT = 1.5  # of the quantile; a sensor of 8 bit that sees nothing brighter than 1 of 255 does not exist
_BYTE_LIMIT = 256.0
_SCALES = (1.0, 255.0, 65535.0)
_NARROW_SCALES = (1023.0, 4095.0)  # of 10 and 12 bit, which stand in fields of 16


@dataclass(frozen=True)
class ReflectanceScale:
    """The value that stands for a reflectance of 1, and a word on where that is known from.

    Raises:
        InputError: it is no positive number.
    """

    full_scale: float
    source: str = "given"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.full_scale) and self.full_scale > 0):
            raise InputError(f"full_scale: {self.full_scale} is no positive number. Give 1, 255 or 65535.")

    def apply(self, values: np.ndarray) -> tuple[np.ndarray, int]:
        """Bring reflectances [N] to 0..1.

        Returns:
            [N] float32, and the number of values that lay outside and were clipped. NaN becomes 0, and counts.
        """
        scaled = np.asarray(values, np.float32) / np.float32(self.full_scale)
        inside = (scaled >= 0) & (scaled <= 1)
        clipped = int(scaled.size - inside.sum())
        if clipped:
            scaled = np.where(np.isnan(scaled), np.float32(0), np.clip(scaled, 0, 1))
        return scaled, clipped

    def to_dict(self) -> dict[str, Any]:
        """The values that a run or data set keeps of it."""
        return {"full_scale": self.full_scale, "source": self.source}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ReflectanceScale:
        """The scale that `to_dict` kept.

        Raises:
            InputError: the values are not of one.
        """
        try:
            return cls(float(values["full_scale"]), str(values.get("source", "given")))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"reflectance scale: {dict(values)!r} has no number full_scale.") from error

    def __str__(self) -> str:
        return f"{self.full_scale:g} ({self.source})"


def choose_reflectance_scale(clouds: Iterable[PointCloud], names: Sequence[object] = ()) -> ReflectanceScale:
    """Decide the full scale for files of one sensor by a sample of them, or by one.

    Args:
        clouds: the sample.
        names: files of the clouds, for messages; clouds without one go by their number.

    Raises:
        InputError: the files' own types say different full scales.
    """
    by_type: dict[float, str] = {}  # and the first file of each
    values: list[np.ndarray] = []
    for number, cloud in enumerate(clouds):
        reflectance = cloud.reflectance
        if reflectance is None:
            continue
        if cloud.full_scale is not None:
            by_type.setdefault(cloud.full_scale, str(names[number]) if number < len(names) else f"cloud {number}")
        values.append(reflectance[np.isfinite(reflectance)])
    if len(by_type) > 1:
        raise InputError(
            f"reflectance: some files have it in 8 bit and some in 16 bit ({by_type[min(by_type)]} and "
            f"{by_type[max(by_type)]}). Take the files of each kind by themselves."
        )
    if by_type:
        (full_scale,) = by_type
        return ReflectanceScale(full_scale, "the field's type" + _describe_doubt(values, full_scale))
    return scale_of_values(*values)


def sample_reflectance_scale(
    files: Sequence[T], read: Callable[[T], PointCloud], path_of: Callable[[T], object] = str
) -> ReflectanceScale:
    """Decide the full scale for files of one sensor by some of them, taken evenly; damaged ones say nothing.

    Args:
        files: what `read` makes a cloud of.
        read: its warnings are passed over here, for they are said where the file is used.
        path_of: what a message calls a file.

    Raises:
        InputError: the files' own types say different full scales.
    """
    clouds, paths = [], []
    for file in files[:: max(len(files) // SAMPLED_FILES, 1)][:SAMPLED_FILES]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                clouds.append(read(file))
            paths.append(path_of(file))
        except InputError:
            continue  # said where the file is used
    return choose_reflectance_scale(clouds, paths)


def scale_of_values(*files: np.ndarray) -> ReflectanceScale:
    """Decide the full scale by the reflectances [N] of files, of no type; zeros and what is not finite say nothing."""
    finite = [each[np.isfinite(each)] for each in map(np.asarray, files)]
    _warn_of_negative([each for each in finite if len(each)])
    said = [each[each > 0] for each in finite]
    quantiles = [float(np.quantile(each, QUANTILE)) for each in said if len(each)]
    if not quantiles:
        return ReflectanceScale(1.0, "no value above 0")
    quantile = float(np.median(quantiles))
    full_scale = _SCALES[0] if quantile <= _UNIT_LIMIT else _SCALES[1] if quantile < _BYTE_LIMIT else _SCALES[2]
    doubt = _describe_doubt(said, full_scale)
    return ReflectanceScale(full_scale, f"99 % of the values are at most {quantile:.4g}{doubt}")


def scale_reflectance(cloud: PointCloud, scale: ReflectanceScale | None = None) -> tuple[PointCloud, str]:
    """Bring a cloud's reflectance to 0..1.

    Args:
        scale: of the data set or run; None: decided by this cloud alone.

    Returns:
        The cloud with a channel reflectance of 0..1 (zeros where the file has none), and a clause that tells the scale
        and the number of clipped values.
    """
    values = cloud.reflectance
    if values is None:
        return cloud.with_reflectance(np.zeros(len(cloud), np.float32)), "no reflectance, 0 is taken"
    if scale is None:
        scale = choose_reflectance_scale([cloud])
    scaled, clipped = scale.apply(values)
    told = f"reflectance divided by {scale.full_scale:g} ({scale.source})"
    if clipped:
        told += f", {clipped} of {len(cloud)} values outside 0…{scale.full_scale:g} clipped"
    return cloud.with_reflectance(scaled), told


def _warn_of_negative(files: Sequence[np.ndarray]) -> None:
    """Warn of finite values [N] of files that go below 0 in more than single points; no file is empty."""
    if files and float(np.median([np.quantile(each, 1 - QUANTILE) for each in files])) < 0:
        low, high = min(float(each.min()) for each in files), max(float(each.max()) for each in files)
        warnings.warn(
            f"reflectance: values from {low:g} to {high:g}: those below 0 become 0. Bring them to 0…1, 0…255 or "
            "0…65535 (from decibel: 10 ** (value / 10)).",
            stacklevel=3,
        )


def _describe_doubt(files: Sequence[np.ndarray], full_scale: float) -> str:
    """A clause where 16 bit are used like 8, 10 or 12."""
    values = np.concatenate([*files, np.zeros(0)])
    values = values[values != 0]
    if full_scale <= _SCALES[1] or not len(values):
        return ""
    highest = float(values.max())
    if float(np.quantile(values, QUANTILE)) <= _BYTE_LIMIT:
        return f"; its values reach {highest:g} alone: if 8 bit are meant, its full scale is 255"
    narrow = next((scale for scale in _NARROW_SCALES if highest <= scale), None)
    return "" if narrow is None else f"; values reach {highest:g} alone; is it {narrow:g}?"
