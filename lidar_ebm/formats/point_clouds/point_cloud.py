"""`PointCloud`: points with named channels, as every reader of this package returns them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from lidar_ebm.errors import InputError

PathLike: TypeAlias = "str | os.PathLike[str]"
AXES = ("x", "y", "z")
REFLECTANCE = "reflectance"
REFLECTANCE_NAMES = (REFLECTANCE, "intensity", "reflectivity", "remission", "signal", "i", "r")
MAX_CHANNELS = 64
_PADDING = "_"
_PACKED_COLOURS = ("rgb", "rgba")  # three bytes in the place of a number
_NEEDED_RESOLUTION = 0.01  # m; of float32 up to 1e5 m


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Points of one file, in the file's own frame and units, with whatever else it says of each.

    Raises:
        InputError: the names of the channels do not fit the columns.
    """

    points: np.ndarray  # [N, 3 + C] float32: x, y, z, then the channels; places are finite
    channels: tuple[str, ...] = ()  # names of columns 3, 4, …: "reflectance", "ring", "time", …
    notes: tuple[str, ...] = ()  # sentences on what the reader found and did
    full_scale: float | None = None  # of the reflectance, where the file's own type says it: 255, 65535

    def __post_init__(self) -> None:
        points = np.asarray(self.points, np.float32)
        if points.ndim != 2 or points.shape[1] != 3 + len(self.channels):
            raise InputError(
                f"points: an array of shape {list(points.shape)} does not have the columns x, y, z"
                f"{''.join(', ' + name for name in self.channels)}. Name every column after the third."
            )
        if len(set(self.channels)) < len(self.channels):
            raise InputError(f"channels: a name stands twice in {', '.join(self.channels)}. Rename one.")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "channels", tuple(self.channels))

    def __len__(self) -> int:
        return len(self.points)

    @property
    def field_names(self) -> list[str]:
        """Names of all columns as files of PCD and PLY have them: PCL calls reflectance intensity."""
        return [*AXES, *("intensity" if name == REFLECTANCE else name for name in self.channels)]

    @property
    def places(self) -> np.ndarray:
        """[N, 3] float32 x, y, z."""
        return self.points[:, :3]

    def channel(self, name: str) -> np.ndarray:
        """[N] float32 values of a channel.

        Raises:
            InputError: there is no such channel; the message names those that are.
        """
        if name not in self.channels:
            raise InputError(f"channel {name!r}: the points have {', '.join(self.channels) or 'none'}.")
        return self.points[:, 3 + self.channels.index(name)]

    @property
    def reflectance(self) -> np.ndarray | None:
        """[N] float32 reflectance as the file has it, or None."""
        return self.channel(REFLECTANCE) if REFLECTANCE in self.channels else None

    def with_reflectance(self, values: np.ndarray) -> PointCloud:
        """The same points with other reflectances [N]; a channel for them is put first where there is none."""
        if REFLECTANCE not in self.channels:
            points = np.column_stack((self.places, values, self.points[:, 3:]))
            return replace(self, points=points, channels=(REFLECTANCE, *self.channels), full_scale=None)
        points = self.points.copy()
        points[:, 3 + self.channels.index(REFLECTANCE)] = values
        return replace(self, points=points, full_scale=None)

    def as_four_columns(self) -> np.ndarray:
        """[N, 4] float32 x, y, z and the reflectance as the file has it, zeros where it has none."""
        values = self.reflectance
        return np.column_stack((self.places, np.zeros(len(self), np.float32) if values is None else values))


def normalise_name(name: str) -> str:
    """A field's name in lower case, without the prefix that CloudCompare gives."""
    return name.strip().lower().removeprefix("scalar_")


def parse_columns(columns: str | Sequence[str]) -> tuple[str, ...]:
    """Names of columns, given as a list or separated by commas; `_` stands for columns to pass over.

    Raises:
        InputError: x, y or z is missing, or a name stands twice.
    """
    names = columns.split(",") if isinstance(columns, str) else list(columns)
    names = [normalise_name(name) for name in names]
    lacking = [axis for axis in AXES if axis not in names]
    if lacking:
        raise InputError(f"columns: {lacking[0]} is missing in {','.join(names)}. Name x, y and z.")
    kept = [name for name in names if name != _PADDING]
    twice = next((name for name in kept if kept.count(name) > 1), None)
    if twice is not None or "" in kept:
        raise InputError(
            f"columns: {twice or 'an empty name'!r} in {','.join(names)}. Give each column its own name, or _."
        )
    return tuple(names)


@np.errstate(over="ignore", invalid="ignore")  # numbers beyond float32 become infinite, and are dropped
def cloud_from_fields(
    fields: Mapping[str, np.ndarray],
    path: PathLike,
    notes: Sequence[str] = (),
    *,
    origin: Sequence[float] | None = None,
) -> PointCloud:
    """Build a cloud of fields [N] of any number type by their names in the file.

    The reflectance is the first of `REFLECTANCE_NAMES` among them (`r` beside `g` and `b` is red). Points whose place
    is not finite are dropped, a reflectance that is not finite becomes 0; both are warned of with their number.

    Args:
        fields: by name as the file has it; padding is called `_`.
        path: what messages call the file.
        origin: x, y, z that is subtracted in float64, before float32 rounds.

    Raises:
        InputError: x, y or z is missing; the message names the fields.
    """
    named: dict[str, np.ndarray] = {}
    said = list(notes)
    for name, values in fields.items():
        name = normalise_name(name)
        if name in named:
            said.append(f"field {name} stands twice; the first is taken")
        elif name in _PACKED_COLOURS:
            said.append(f"field {name} is passed over")
        elif name and name != _PADDING:
            named[name] = values
    lacking = [axis for axis in AXES if axis not in named]
    if lacking:
        raise InputError(
            f"{path}: field {lacking[0]} is missing; the fields are {', '.join(named) or 'none'}. "
            "Export it anew with x, y and z."
        )
    others = [name for name in named if name not in AXES]
    chosen = _reflectance_name(others)
    others = [name for name in others if name != chosen]
    if len(others) > MAX_CHANNELS:
        said.append(f"fields after {others[MAX_CHANNELS - 1]} are passed over")
        others = others[:MAX_CHANNELS]
    if chosen is None:
        warn(path, f"no reflectance among the fields {', '.join(named)}; 0 is taken", said)
    elif chosen != REFLECTANCE:
        said.append(f"reflectance from the field {chosen}")
    axes = [_subtract(named[axis], index, origin) for index, axis in enumerate(AXES)]
    _warn_of_rounding(axes, path, said)
    said += [f"field {name} is rounded to float32" for name in others if _is_rounded(named[name])]
    columns = [*axes, *([] if chosen is None else [named[chosen]]), *(named[name] for name in others)]
    points = np.empty((len(axes[0]), len(columns)), np.float32)
    for index, values in enumerate(columns):
        points[:, index] = values
    names = tuple(others) if chosen is None else (REFLECTANCE, *others)
    if chosen is not None:
        clear_reflectance(points, path, said)
    full_scale = None if chosen is None else _full_scale(named[chosen].dtype)
    return PointCloud(drop_non_finite(points, path, said), names, tuple(said), full_scale)


def drop_non_finite(points: np.ndarray, path: PathLike, notes: list[str] | None = None) -> np.ndarray:
    """`points` [N, C] without those whose place is NaN or infinite, warning with the file's name and their number."""
    if np.isfinite(points[:, :3]).all():  # nearly always
        return points
    finite = np.isfinite(points[:, :3]).all(axis=1)
    dropped = len(points) - int(finite.sum())
    warn(path, f"dropped {dropped} of {len(points)} points that are NaN or infinite", notes)
    return points[finite]


def clear_reflectance(points: np.ndarray, path: PathLike, notes: list[str] | None = None) -> None:
    """Write 0 over reflectances (column 3) that are not finite, where the place is, and warn with their number."""
    odd = ~np.isfinite(points[:, 3])
    points[odd, 3] = 0
    number = int((odd & np.isfinite(points[:, :3]).all(axis=1)).sum())
    if number:
        warn(path, f"the reflectance of {number} of {len(points)} points is NaN or infinite; 0 is taken", notes)


def warn(path: PathLike, message: str, notes: list[str] | None = None) -> None:
    """Warn of a file, and keep the sentence for the cloud's notes."""
    warnings.warn(f"{path}: {message}.", stacklevel=4)
    if notes is not None:
        notes.append(message)


def _reflectance_name(names: Sequence[str]) -> str | None:
    colours = "g" in names and "b" in names
    return next((name for name in REFLECTANCE_NAMES if name in names and not (name == "r" and colours)), None)


def _subtract(values: np.ndarray, axis: int, origin: Sequence[float] | None) -> np.ndarray:
    return values if origin is None else np.asarray(values, np.float64) - float(origin[axis])


def _warn_of_rounding(axes: Sequence[np.ndarray], path: PathLike, notes: list[str]) -> None:
    """Warn where float32 cannot hold coordinates that the file has in a finer type."""
    finer = [(name, values) for name, values in zip(AXES, axes, strict=True) if values.dtype != np.float32]
    reach = {name: float(np.max(np.abs(values), where=np.isfinite(values), initial=0)) for name, values in finer}
    name = max(reach, key=lambda axis: reach[axis], default="x")
    resolution = float(np.spacing(np.float32(min(reach.get(name, 0.0), 1e30))))
    if resolution > _NEEDED_RESOLUTION:
        message = (
            f"{name} reaches {reach[name]:.0f} m, of which float32 keeps steps of {resolution:.3g} m (a map's frame, "
            "such as UTM?); give the sensor's place as origin"
        )
        warn(path, message, notes)


def _is_rounded(values: np.ndarray) -> bool:
    """Tell whether float32 takes more than a thousandth of the range of a channel: times of day, large counters."""
    if values.dtype.itemsize < 4 or values.dtype == np.float32 or not len(values):
        return False
    numbers = values[np.isfinite(values)].astype(np.float64)
    if not len(numbers):
        return False
    return bool(np.abs(numbers - numbers.astype(np.float32)).max() > 1e-3 * np.ptp(numbers))


def _full_scale(dtype: np.dtype) -> float | None:
    return {"u1": 255.0, "u2": 65535.0}.get(dtype.str[1:])
