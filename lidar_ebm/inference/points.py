"""Points as a caller gives them, checked and brought to one scale."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from lidar_ebm.errors import InputError
from lidar_ebm.formats.point_clouds import scale_of_values


def checked_points(points: ArrayLike | Tensor) -> np.ndarray:
    """Points [N, 4] float32 (x, y, z in m, reflectance 0..1) of any array or tensor.

    Reflectances of 0..255 or 0..65535 are brought to 0..1, with a warning; those that are not finite become 0.

    Raises:
        InputError: they have another shape, or a place that is NaN or infinite.
    """
    array = np.array(points.detach().cpu().numpy() if isinstance(points, Tensor) else points, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        turned = "; is it transposed? Give points.T" if array.ndim == 2 and array.shape[0] == 4 else ""
        raise InputError(
            f"points: expected an array [N, 4] (x, y, z, reflectance), got shape {list(array.shape)}{turned}."
        )
    bad = int((~np.isfinite(array[:, :3])).any(axis=1).sum())
    if bad:
        raise InputError(f"points: {bad} of {len(array)} rows have a NaN or infinite place. Drop them first.")
    scale = scale_of_values(array[:, 3])
    if scale.full_scale != 1:
        warnings.warn(f"points: reflectance divided by {scale}; give 0..1 to have it as it is.", stacklevel=4)
    array[:, 3], _ = scale.apply(array[:, 3])
    return array
