"""Points as a caller gives them, checked and brought to one scale."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from lidar_ebm.errors import InputError
from lidar_ebm.formats.point_clouds import scale_of_values
from lidar_ebm.types import REFLECTANCE, TIME_LAG


def checked_points(points: ArrayLike | Tensor, channels: Sequence[str] = (REFLECTANCE,)) -> np.ndarray:
    """Points [N, 3 + C] float32 (x, y, z in m, reflectance 0..1, further channels) of any array or tensor.

    Reflectances of 0..255 or 0..65535 are brought to 0..1, with a warning; those that are not finite become 0.

    Args:
        points: [N, 3 + C].
        channels: names of the C channels, reflectance first.

    Raises:
        InputError: they have another shape, a place or channel that is NaN or infinite, or a time lag below 0.
    """
    array = np.array(points.detach().cpu().numpy() if isinstance(points, Tensor) else points, dtype=np.float32)
    width = 3 + len(channels)
    if array.ndim != 2 or array.shape[1] != width:
        hint = "; is it transposed? Give points.T" if array.ndim == 2 and array.shape[0] == width else ""
        if not hint and channels[-1] == TIME_LAG and array.ndim == 2 and array.shape[1] == width - 1:
            hint = f". The last is the {TIME_LAG} in seconds: of the points of a single sweep a column of zeros"
        raise InputError(
            f"points: expected an array [N, {width}] (x, y, z, {', '.join(channels)}), got shape "
            f"{list(array.shape)}{hint}."
        )
    for column, name in enumerate(channels[1:], start=4):
        wrong = int((~np.isfinite(array[:, column]) | ((array[:, column] < 0) & (name == TIME_LAG))).sum())
        if wrong:
            raise InputError(
                f"points: {wrong} of {len(array)} rows have a {name} that is no number"
                f"{' of 0 or more seconds' if name == TIME_LAG else ''}. Drop them first."
            )
    bad = int((~np.isfinite(array[:, :3])).any(axis=1).sum())
    if bad:
        raise InputError(f"points: {bad} of {len(array)} rows have a NaN or infinite place. Drop them first.")
    scale = scale_of_values(array[:, 3])
    if scale.full_scale != 1:
        warnings.warn(f"points: reflectance divided by {scale}; give 0..1 to have it as it is.", stacklevel=4)
    array[:, 3], _ = scale.apply(array[:, 3])
    return array
