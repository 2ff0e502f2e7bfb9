"""f around one box, on grids: plain data, for whoever draws it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lidar_ebm.energy.box_space import BOX_NAMES

Plane = tuple[str, str]  # two of BOX_NAMES

PLANES: tuple[Plane, ...] = (("x", "y"), ("l", "w"), ("z", "h"))
VELOCITY_PLANE: Plane = ("vx", "vy")
YAW = BOX_NAMES.index("yaw")


def planes_of(dimensions: int) -> tuple[Plane, ...]:
    """The planes that show f over boxes of 7 or 9 dimensions."""
    return PLANES if dimensions == YAW + 1 else (*PLANES, VELOCITY_PLANE)


@dataclass(frozen=True, eq=False)
class Slice:
    """f on the grid that one or two of a box's numbers span, the others being those of the refined box."""

    names: tuple[str, ...]  # of BOX_NAMES
    axes: tuple[np.ndarray, ...]  # of each of them its rising values [A], m, rad or m/s; yaw may leave [-π, π)
    f: np.ndarray  # [A] or [A, B]

    def density(self, temperature: float) -> np.ndarray:
        """The share of exp(f / temperature) that each grid point stands for: [A] or [A, B], of sum 1."""
        share = np.exp((self.f - self.f.max()) / temperature)
        for number, axis in enumerate(self.axes):
            widths = np.gradient(axis)
            widths[[0, -1]] /= 2  # the trapezoid rule: the first and the last stand for what is inside alone
            share = share * np.expand_dims(widths, [k for k in range(self.f.ndim) if k != number])
        return share / share.sum()

    def threshold(self, level: float, temperature: float) -> float:
        """The f from which on the grid points hold `level` (0..1) of the density: the credible region's edge."""
        order = np.argsort(-self.f, axis=None, kind="stable")
        held = np.cumsum(self.density(temperature).ravel()[order])
        return float(self.f.ravel()[order][min(int(np.searchsorted(held, level)), len(order) - 1)])


@dataclass(frozen=True, eq=False)
class Landscape:
    """f around one detection. Boxes are (x, y, z, l, w, h, yaw), LiDAR frame, m and rad; D is 9 with (vx, vy), m/s."""

    index: int  # row of the frame's detections, by falling score
    class_name: str
    score: float
    temperature: float  # that f is divided by to make a density
    box: np.ndarray  # [D] refined
    proposal: np.ndarray  # [D] where the ascent began
    path: np.ndarray  # [1 + T, D] from the proposal to the refined box
    path_f: np.ndarray  # [1 + T] f along it
    label: (
        np.ndarray | None
    )  # [D] that overlaps it most, velocity NaN where it is unknown; None where none is known, or none does
    overlaps: tuple[float, float] | None  # 3-D IoU with the label before and after refinement
    planes: tuple[Slice, ...]  # `planes_of` the energy's dimensions, or those that were asked for
    yaw: Slice  # near the refined yaw
    turn: Slice  # a whole turn, from a quarter before it on
    points: np.ndarray  # [N, 3 + C] float32, the frame's points within some metres of the box

    @property
    def f(self) -> float:
        """f at the refined box."""
        return float(self.path_f[-1])


def unwrapped(yaw: np.ndarray, low: float) -> np.ndarray:
    """Angles [...] as they lie within the turn from the angle `low` on, rad."""
    return low + np.mod(np.asarray(yaw, np.float64) - low, 2 * np.pi)
