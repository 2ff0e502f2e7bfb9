"""Bodies of every labelled class, fitted to their boxes, and the sizes and shares of the classes as in KITTI.

The figures are those of KITTI's 7,481 training frames: number of labels of each class, mean and standard deviation of
length, width and height.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from lidar_ebm.simulation.cars import Size, add_wheels, car_body, choose_style, paint_albedo, plan_corners
from lidar_ebm.simulation.solids import (
    Solid,
    SolidBuilder,
    axle_prism,
    ball,
    block,
    hull,
    profile,
    sides,
    upright_prism,
)

_TRUNCATION = 2.5  # sizes are drawn within so many standard deviations
_LENGTH_CORRELATION = 0.5  # between the length and the width of one object


@dataclass(frozen=True)
class ClassStatistics:
    """Sizes of a class in KITTI's training labels."""

    count: int
    mean: Size
    deviation: Size


STATISTICS: Final = MappingProxyType(
    {
        "Car": ClassStatistics(28742, (3.88, 1.63, 1.53), (0.43, 0.10, 0.14)),
        "Van": ClassStatistics(2914, (5.08, 1.90, 2.21), (0.60, 0.16, 0.32)),
        "Truck": ClassStatistics(1094, (10.11, 2.59, 3.25), (2.60, 0.22, 0.45)),
        "Pedestrian": ClassStatistics(4487, (0.84, 0.66, 1.76), (0.23, 0.14, 0.11)),
        "Person_sitting": ClassStatistics(222, (0.80, 0.59, 1.27), (0.18, 0.12, 0.10)),
        "Cyclist": ClassStatistics(1627, (1.76, 0.60, 1.74), (0.18, 0.12, 0.09)),
    }
)
SIMULATED_CLASSES: Final = tuple(STATISTICS)
VEHICLES: Final = ("Car", "Van", "Truck")


def draw_vehicle_class(rng: np.random.Generator) -> str:
    """Car, Van or Truck with KITTI's shares."""
    counts = np.array([STATISTICS[name].count for name in VEHICLES], dtype=np.float64)
    return VEHICLES[int(rng.choice(len(VEHICLES), p=counts / counts.sum()))]


def people_per_vehicle(class_name: str) -> float:
    """Labels of a class of people for each vehicle label in KITTI."""
    return STATISTICS[class_name].count / sum(STATISTICS[name].count for name in VEHICLES)


def draw_size(class_name: str, rng: np.random.Generator) -> Size:
    """Length, width and height in metres: normal, truncated at 2.5 standard deviations, long ones tend to be wide."""
    statistics = STATISTICS[class_name]
    while True:
        normal = rng.standard_normal(3)
        normal[1] = _LENGTH_CORRELATION * normal[0] + np.sqrt(1 - _LENGTH_CORRELATION**2) * normal[1]
        if np.abs(normal).max() <= _TRUNCATION:
            size = np.asarray(statistics.mean) + np.asarray(statistics.deviation) * normal
            return float(size[0]), float(size[1]), float(size[2])


def make_body(class_name: str, size: Size, rng: np.random.Generator) -> Solid:
    """A body of the class in its box's frame (origin at the box's centre, x along the heading), touching all six faces.

    Raises:
        KeyError: there are no bodies of that class.
    """
    if class_name == "Car":
        return car_body(choose_style(size, rng), size, rng)
    make = {
        "Van": _van,
        "Truck": _truck,
        "Pedestrian": _pedestrian,
        "Person_sitting": _person_sitting,
        "Cyclist": _cyclist,
    }[class_name]
    return make(size, rng).fitted(size)


def _van(size: Size, rng: np.random.Generator) -> Solid:
    """A panel van or a minibus: short bonnet, high box; the minibus has windows along its sides."""
    albedo = paint_albedo(rng)
    belt = 0.52
    bonnet = rng.uniform(0.36, 0.43)
    roof_front = rng.uniform(0.20, 0.30)
    lower = [(-0.49, 0.11), (0.47, 0.11), (0.5, 0.22), (0.485, 0.40), (bonnet, belt), (-0.495, belt), (-0.5, 0.25)]
    body_sides = sides((0.11, 0.475), (0.35, 0.5)) + sides((0.35, 0.5), (belt, 0.49))
    builder = SolidBuilder()
    builder.add(profile(hull(lower)) + body_sides + plan_corners(0.5, -0.5, cut=0.05), albedo)
    upper = [(-0.495, belt), (bonnet, belt), (roof_front, 0.97), (roof_front - 0.08, 1.0), (-0.47, 1.0), (-0.485, 0.95)]
    windows = (1, 6, 7) if rng.random() < 0.5 else (1,)  # windscreen, and both sides of a minibus
    builder.add(profile(upper) + sides((belt, 0.488), (1.0, 0.44)), albedo, glass=windows)
    add_wheels(builder, size, axles=(0.31, -0.29), radius=0.34)
    return builder.build()


def _truck(size: Size, rng: np.random.Generator) -> Solid:
    """A lorry: cab, chassis, and either a box or a low open bed."""
    albedo = paint_albedo(rng)
    cab_length = 1.9 / size[0]
    cab_rear = 0.5 - cab_length
    has_box = rng.random() < 0.75
    cab_top = rng.uniform(0.78, 0.98) if has_box else 1.0
    cab_belt = 0.55 * cab_top
    builder = SolidBuilder()
    cab_low = [(cab_rear, 0.13), (0.5, 0.13), (0.5, cab_belt), (cab_rear, cab_belt)]
    builder.add(profile(cab_low) + sides((0.13, 0.485), (cab_belt, 0.485)), albedo)
    screen_top = 0.5 - 0.12 * cab_length
    cab_high = [(cab_rear, cab_belt), (0.498, cab_belt), (screen_top, cab_top), (cab_rear, cab_top)]
    builder.add(profile(cab_high) + sides((cab_belt, 0.485), (cab_top, 0.45)), albedo, glass=(1, 4, 5))
    builder.add(block((-0.48, 0.4), (-0.35, 0.35), (0.14, 0.28)), 0.1)
    load_front = cab_rear - 0.15 / size[0]
    load_top = 1.0 if has_box else rng.uniform(0.40, 0.55)
    builder.add(block((-0.5, load_front), (-0.5, 0.5), (0.27, load_top)), paint_albedo(rng))
    rear_axles = (-0.30, -0.30 - 1.2 / size[0]) if size[0] > 9.0 else (-0.30,)
    add_wheels(builder, size, axles=(0.5 - 1.3 / size[0], *rear_axles), radius=0.46, half_width=0.48)
    return builder.build()


def _pedestrian(size: Size, rng: np.random.Generator) -> Solid:
    """A walker or someone standing: legs apart by the stride, trunk, swinging arms, head."""
    trousers, jacket, skin = (float(a) for a in rng.uniform(0.08, 0.55, 3))
    stride = rng.uniform(0.05, 0.32) * float(rng.choice([-1.0, 1.0]))
    builder = SolidBuilder()
    for side in (1.0, -1.0):
        foot, hip = side * stride, side * 0.05
        leg = [(foot - 0.10, 0.0), (foot + 0.16, 0.0), (hip + 0.13, 0.50), (hip - 0.13, 0.50)]
        y = side * 0.17
        builder.add([*profile(hull(leg)), (0.0, 1.0, 0.0, y + 0.12), (0.0, -1.0, 0.0, 0.12 - y)], trousers)
        hand, shoulder = -side * (abs(stride) + 0.12), 0.0
        arm = [(hand - 0.08, 0.44), (hand + 0.08, 0.44), (shoulder + 0.09, 0.81), (shoulder - 0.09, 0.81)]
        y = side * 0.42
        builder.add([*profile(hull(arm)), (0.0, 1.0, 0.0, y + 0.08), (0.0, -1.0, 0.0, 0.08 - y)], jacket)
    builder.add(upright_prism((0.0, 0.0), (0.20, 0.36), (0.46, 0.83), top_scale=1.1), jacket)
    builder.add(ball((0.02, 0.0, 0.93), (0.14, 0.15, 0.075)), 0.3 + 0.5 * skin)
    return builder.build()


def _person_sitting(size: Size, rng: np.random.Generator) -> Solid:
    """Someone on a seat: shins, thighs, trunk, head."""
    trousers, jacket, skin = (float(a) for a in rng.uniform(0.08, 0.55, 3))
    builder = SolidBuilder()
    builder.add(block((0.28, 0.5), (-0.35, 0.35), (0.0, 0.36)), trousers)
    builder.add(block((-0.3, 0.48), (-0.4, 0.4), (0.33, 0.46)), trousers)
    trunk = [(-0.48, 0.40), (-0.05, 0.40), (-0.10, 0.82), (-0.42, 0.82)]
    builder.add(profile(trunk) + sides((0.40, 0.46), (0.82, 0.5)), jacket)
    builder.add(ball((-0.25, 0.0, 0.91), (0.16, 0.18, 0.09)), 0.3 + 0.5 * skin)
    builder.add(block((-0.5, 0.1), (-0.4, 0.4), (0.02, 0.30)), 0.2, opacity=0.4)
    return builder.build()


def _cyclist(size: Size, rng: np.random.Generator) -> Solid:
    """A rider on a bicycle: wheels that half the rays pass, frame, legs, a trunk leaning forward, arms, head."""
    trousers, jacket, skin = (float(a) for a in rng.uniform(0.08, 0.55, 3))
    builder = SolidBuilder()
    radius = 0.34
    radii = (radius / size[0], radius / size[2])
    for x in (0.5 - radii[0], -0.5 + radii[0]):
        builder.add(axle_prism((x, radii[1]), radii, (-0.05, 0.05)), 0.15, opacity=0.45)
    frame = [(-0.30, 0.19), (0.0, 0.16), (0.30, 0.50), (-0.12, 0.50)]
    builder.add(profile(frame) + sides((0.16, 0.05), (0.50, 0.05)), 0.3, opacity=0.4)
    builder.add(block((0.20, 0.28), (-0.5, 0.5), (0.56, 0.59)), 0.2)
    pedal = rng.uniform(-0.08, 0.08)
    for side in (1.0, -1.0):
        foot = side * pedal
        leg = [(foot - 0.06, 0.14 + side * pedal), (foot + 0.08, 0.14), (0.04, 0.56), (-0.14, 0.56)]
        y = side * 0.18
        builder.add([*profile(hull(leg)), (0.0, 1.0, 0.0, y + 0.12), (0.0, -1.0, 0.0, 0.12 - y)], trousers)
        arm = [(0.04, 0.74), (0.20, 0.57), (0.26, 0.60), (0.09, 0.80)]
        y = side * 0.38
        builder.add([*profile(hull(arm)), (0.0, 1.0, 0.0, y + 0.09), (0.0, -1.0, 0.0, 0.09 - y)], jacket)
    lean = rng.uniform(0.05, 0.2)
    trunk = [(-0.17, 0.52), (0.04, 0.52), (lean + 0.04, 0.84), (lean - 0.13, 0.84)]
    builder.add(profile(trunk) + sides((0.52, 0.34), (0.84, 0.42)), jacket)
    builder.add(ball((lean + 0.03, 0.0, 0.93), (0.075, 0.16, 0.075)), 0.3 + 0.5 * skin)
    return builder.build()
