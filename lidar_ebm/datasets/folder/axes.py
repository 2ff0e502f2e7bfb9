"""Axes of a sensor by words, such as "x right, y forward, z up", and the way into x forward, y left, z up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.folder.settings import SensorSettings
from lidar_ebm.datasets.frame import GROUND
from lidar_ebm.errors import InputError
from lidar_ebm.geometry.upright import wrap_angle

_DIRECTIONS = {
    **dict.fromkeys(("forward", "forwards", "front", "ahead"), (1, 0, 0)),
    **dict.fromkeys(("backward", "backwards", "back", "rear"), (-1, 0, 0)),
    "left": (0, 1, 0),
    "right": (0, -1, 0),
    "up": (0, 0, 1),
    "down": (0, 0, -1),
}


def rotation_of(axes: str) -> np.ndarray:
    """Rotation [3, 3] from the files' axes into x forward, y left, z up.

    Args:
        axes: the direction of each axis, "x right, y forward, z up".

    Raises:
        InputError: an axis is missing or its direction unknown, or the three are no right-handed axes.
    """
    words = re.findall(r"([xyz])\s*[:=]?\s*([a-z]+)", axes.lower())
    directions = dict(words)
    if sorted(name for name, _ in words) != ["x", "y", "z"] or any(d not in _DIRECTIONS for d in directions.values()):
        raise InputError(
            f"axes {axes!r}: say where each axis points, for example 'x right, y forward, z up'; the directions are "
            f"{', '.join(('forward', 'backward', 'left', 'right', 'up', 'down'))}."
        )
    rotation = np.array([_DIRECTIONS[directions[axis]] for axis in "xyz"], dtype=np.float64).T  # columns: the axes
    if round(float(np.linalg.det(rotation))) != 1:
        raise InputError(
            f"axes {axes!r}: these are no right-handed axes (x to y turns about z as a right hand's fingers do). "
            "Check which of them is the other way round."
        )
    return rotation


@dataclass(frozen=True, eq=False)
class FileAxes:
    """Axes, unit and height of a sensor's files, and the way into x forward, y left, z up, metres, and back."""

    said: str  # the setting and where it stands, for messages
    rotation: np.ndarray  # [3, 3] from the files' axes
    unit: float = 1.0  # m, that the files' 1.0 is
    lift: float = 0.0  # m, that brings the ground to its place

    @classmethod
    def of(cls, sensor: SensorSettings, path: Path) -> FileAxes:
        """The axes that `dataset.yaml` says in `sensor`.

        Args:
            path: of `dataset.yaml`, to be named in messages.

        Raises:
            InputError: as `rotation_of`.
        """
        try:
            rotation = rotation_of(sensor.axes)
        except InputError as error:
            raise InputError(f"{path}: sensor.{error}") from error
        lift = 0.0 if sensor.height is None else sensor.height + GROUND
        return cls(f"{path}: sensor.axes {sensor.axes!r}", rotation, sensor.unit, lift)

    def points_from_files(self, points: np.ndarray) -> np.ndarray:
        """Points [N, 3 + C] of the files; channels beside the place stay as they are."""
        if self._turns_nothing and self.unit == 1.0 and not self.lift:
            return points
        places = points[:, :3].astype(np.float64) * self.unit @ self.rotation.T + self._shift
        return np.column_stack((places, points[:, 3:]))

    def from_files(self, boxes: Boxes) -> Boxes:
        """Boxes of the files, with their velocity.

        Raises:
            InputError: the files' z does not stand upright.
        """
        rows = boxes.boxes.copy()
        rows[:, :3] = rows[:, :3] * self.unit @ self.rotation.T + self._shift
        rows[:, 3:6] *= self.unit
        rows[:, 6] = self._turn(rows[:, 6], self.rotation)
        if boxes.velocity is None:
            return boxes.with_columns(boxes=rows)
        return boxes.with_columns(boxes=rows, velocity=boxes.velocity * self.unit @ self.rotation[:2, :2].T)

    def to_files(self, boxes: Boxes) -> Boxes:
        """The inverse of `from_files`; errors as there."""
        rows = boxes.boxes.copy()
        rows[:, :3] = (rows[:, :3] - self._shift) @ self.rotation / self.unit
        rows[:, 3:6] /= self.unit
        rows[:, 6] = self._turn(rows[:, 6], self.rotation.T)
        if boxes.velocity is None:
            return boxes.with_columns(boxes=rows)
        return boxes.with_columns(boxes=rows, velocity=boxes.velocity @ self.rotation[:2, :2] / self.unit)

    @property
    def _shift(self) -> np.ndarray:
        return np.array([0.0, 0.0, self.lift])

    @property
    def _turns_nothing(self) -> bool:
        return np.array_equal(self.rotation, np.eye(3))

    def _turn(self, yaw: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        if abs(rotation[2, 2]) != 1:
            raise InputError(
                f"{self.said} do not have z along the vertical, about which boxes turn. Bring labels and points into "
                "axes with z up or down."
            )
        if self._turns_nothing:
            return yaw
        heading = np.column_stack((np.cos(yaw), np.sin(yaw), np.zeros(len(yaw)))) @ rotation.T
        return np.asarray(wrap_angle(np.arctan2(heading[:, 1], heading[:, 0])))
