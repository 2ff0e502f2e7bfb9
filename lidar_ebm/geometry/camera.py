"""A camera beside the LiDAR: where it stands, what it projects to, and how large its image is. NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lidar_ebm.errors import InputError


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera with the LiDAR beside it, in metres and pixels.

    The camera frame has x to the right, y down and z along the optical axis.

    Raises:
        InputError: a matrix has the wrong shape, is not finite or is singular, or the image has no pixel; the message
            names it.
    """

    projection: np.ndarray  # [3, 4] float64: camera frame → image (homogeneous)
    lidar_to_camera: np.ndarray  # [4, 4] float64: LiDAR frame → camera frame (homogeneous)
    image_size: tuple[int, int]  # width, height, pixels

    def __post_init__(self) -> None:
        for name, shape in (("projection", (3, 4)), ("lidar_to_camera", (4, 4))):
            matrix = np.asarray(getattr(self, name), dtype=np.float64)
            if matrix.shape != shape:
                raise InputError(f"camera: {name} has shape {matrix.shape}; give it as {shape}.")
            if not np.isfinite(matrix).all():
                raise InputError(f"camera: {name} holds NaN or infinity; restore the original values.")
            if np.linalg.cond(matrix[:3, :3]) > 1e8:
                raise InputError(f"camera: {name} is singular; restore the original values.")
            object.__setattr__(self, name, matrix)
        if min(self.image_size) < 1:
            raise InputError(f"camera: an image of {self.image_size[0]} x {self.image_size[1]} pixels; give its size.")

    @cached_property
    def lidar_to_image(self) -> np.ndarray:
        """[3, 4] float64: LiDAR frame → image (homogeneous)."""
        return self.projection @ self.lidar_to_camera

    @cached_property
    def camera_to_lidar(self) -> np.ndarray:
        """[4, 4] float64: camera frame → LiDAR frame (homogeneous)."""
        return np.linalg.inv(self.lidar_to_camera)
