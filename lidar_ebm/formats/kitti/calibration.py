"""KITTI's calibration files of the LiDAR and the left colour camera."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.geometry.camera import Camera


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration of the LiDAR and the left colour camera by KITTI's calib files, in metres and pixels.

    Raises:
        InputError: a matrix has the wrong shape, is not finite or is singular; the message names it.
    """

    p2: np.ndarray  # [3, 4] float64: rectified camera frame → left colour image (homogeneous)
    r0_rect: np.ndarray  # [3, 3] float64: reference camera → rectified camera
    tr_velo_to_cam: np.ndarray  # [3, 4] float64: LiDAR → reference camera

    def __post_init__(self) -> None:
        for name, shape in (("p2", (3, 4)), ("r0_rect", (3, 3)), ("tr_velo_to_cam", (3, 4))):
            matrix = np.asarray(getattr(self, name), dtype=np.float64)
            if matrix.shape != shape:
                raise InputError(f"calibration matrix {name} has shape {matrix.shape}; give it as {shape}.")
            if not np.isfinite(matrix).all():
                raise InputError(f"calibration matrix {name} holds NaN or infinity; restore the original values.")
            if np.linalg.cond(matrix[:, :3]) > 1e8:
                raise InputError(f"calibration matrix {name} is singular; restore the original values.")
            object.__setattr__(self, name, matrix)

    @cached_property
    def lidar_to_rect(self) -> np.ndarray:
        """[4, 4] float64: LiDAR frame → rectified camera frame (homogeneous)."""
        transform = np.eye(4)
        transform[:3] = self.r0_rect @ self.tr_velo_to_cam
        return transform

    @cached_property
    def rect_to_lidar(self) -> np.ndarray:
        """[4, 4] float64: rectified camera frame → LiDAR frame (homogeneous)."""
        return np.linalg.inv(self.lidar_to_rect)

    @cached_property
    def heading_to_lidar(self) -> np.ndarray:
        """[2, 2] float64: a direction (x, z) on the camera's ground plane → (x, y) seen from above in the LiDAR frame.

        Raises:
            InputError: the camera is not roughly upright, so that `rotation_y` says nothing about yaw.
        """
        matrix = self.rect_to_lidar[:2][:, [0, 2]]
        if abs(np.linalg.det(matrix)) < 0.5:
            raise InputError(
                "the calibration tilts the camera by more than 60 degrees against the LiDAR, so that rotation_y cannot "
                "give a heading; check Tr_velo_to_cam and R0_rect."
            )
        return matrix

    def camera(self, image_size: tuple[int, int] | None = None) -> Camera:
        """The left colour camera; its image has this width and height in pixels, or that which P2 tells where None.

        Raises:
            InputError: P2 is of no camera, or of one with another image.
        """
        if image_size is None:
            return Camera(self.p2, self.lidar_to_rect, image_size_of(self.p2))
        _check_principal_point(self.p2, image_size)
        return Camera(self.p2, self.lidar_to_rect, image_size)


# Width and height of KITTI's rectified images, by the principal point that P2 has with each.
_KITTI_SIZES = {
    (609.56, 172.85): (1242, 375),
    (607.19, 185.22): (1241, 376),
    (604.08, 180.51): (1224, 370),
    (601.89, 183.11): (1226, 370),
    (601.89, 180.51): (1238, 374),
}


_ADVICE = "Restore the camera's own P2, or leave the calibration out for data without a camera."
_MIN_CENTRE = 8  # pixels; nearer to the corner it tells of no image


def image_size_of(p2: np.ndarray) -> tuple[int, int]:
    """Width and height in pixels of the image that P2 projects to: KITTI's own, or twice its principal point.

    Raises:
        InputError: the principal point does not lie within an image, or a focal length is not above 0: this P2 is of no
            camera.
    """
    x, y = _principal_point(p2)
    image_size = _KITTI_SIZES.get((round(x, 2), round(y, 2)))
    if image_size is not None:
        return image_size
    if x < _MIN_CENTRE or y < _MIN_CENTRE:
        raise InputError(
            f"P2 has its principal point at ({x:g}, {y:g}) pixels, in no image: it is of no camera. {_ADVICE}"
        )
    return round(2 * x), round(2 * y)


def _principal_point(p2: np.ndarray) -> tuple[float, float]:
    """Pixels of P2's optical axis, after a check of the focal lengths beside it."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        focal_x, focal_y, x, y = (float(p2[at] / p2[2, 2]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
    if not (0 < focal_x < math.inf and 0 < focal_y < math.inf and math.isfinite(x) and math.isfinite(y)):
        raise InputError(
            f"P2 has focal lengths of {focal_x:g} and {focal_y:g} pixels, not above 0: it is of no camera. {_ADVICE}"
        )
    return x, y


def _check_principal_point(p2: np.ndarray, image_size: tuple[int, int]) -> None:
    x, y = _principal_point(p2)
    width, height = image_size
    if not (0 < x < width and 0 < y < height):
        raise InputError(
            f"P2 has its principal point at ({x:g}, {y:g}) pixels, outside of the image of {width} x {height} pixels: "
            f"it is of no camera, or of another image. {_ADVICE}"
        )


# The fixed axes of labels that stand in KITTI's files without any calibration: the camera frame 0.27 m before and
# 0.08 m below the LiDAR, looking exactly ahead. There is no image.
FIXED_AXES = Calibration(
    p2=np.eye(3, 4), r0_rect=np.eye(3), tr_velo_to_cam=np.array([[0.0, -1, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.27]])
)

# A camera and an image as on KITTI's car, looking exactly ahead and level, for simulated data sets in its layout.
SIMULATED_IMAGE_SIZE = (1242, 375)
SIMULATED = Calibration(
    p2=np.array([[721.5377, 0, 609.5593, 44.85728], [0, 721.5377, 172.854, 0.2163791], [0, 0, 1, 0.002745884]]),
    r0_rect=np.eye(3),
    tr_velo_to_cam=FIXED_AXES.tr_velo_to_cam,
)
SIMULATED_CAMERA = SIMULATED.camera(SIMULATED_IMAGE_SIZE)
