"""Bodies of buses, trailers and construction vehicles; drawn in unit coordinates as those of cars are."""

from __future__ import annotations

import numpy as np

from lidar_ebm.simulation.cars import Size, add_wheels, paint_albedo, plan_corners
from lidar_ebm.simulation.solids import Solid, SolidBuilder, block, hull, profile, sides


def bus(size: Size, rng: np.random.Generator) -> Solid:
    """A long box with a raked windscreen and a band of windows along its sides."""
    albedo = paint_albedo(rng)
    nose = 0.35 / size[0]
    builder = SolidBuilder()
    lower = [(-0.5, 0.10), (0.5, 0.10), (0.5, 0.38), (-0.5, 0.38)]
    builder.add(profile(lower) + sides((0.10, 0.49), (0.38, 0.5)) + plan_corners(0.5, -0.5, cut=0.02), albedo)
    band = [(-0.5, 0.38), (0.5, 0.38), (0.5 - nose, 0.80), (-0.495, 0.80)]
    builder.add(profile(band) + sides((0.38, 0.495), (0.80, 0.48)), albedo, glass=(1, 4, 5))
    for x in np.linspace(-0.42, 0.30, 5):  # pillars between the windows
        builder.add(block((float(x) - 0.01, float(x) + 0.01), (-0.5, 0.5), (0.38, 0.80)), albedo)
    roof = [(-0.495, 0.80), (0.5 - nose, 0.80), (0.48 - nose, 1.0), (-0.485, 1.0)]
    builder.add(profile(roof) + sides((0.80, 0.49), (1.0, 0.46)), albedo)
    add_wheels(builder, size, axles=(0.5 - 2.6 / size[0], -0.5 + 3.0 / size[0]), radius=0.48, half_width=0.49)
    return builder.build().fitted(size)


def trailer(size: Size, rng: np.random.Generator) -> Solid:
    """A semi-trailer without its lorry: box, landing legs in front, axles at the rear."""
    builder = SolidBuilder()
    low = rng.random() < 0.2
    builder.add(block((-0.5, 0.5), (-0.5, 0.5), (0.30, 0.55 if low else 1.0)), paint_albedo(rng))
    if low:  # a flat bed with a wall at its front end
        builder.add(block((0.47, 0.5), (-0.5, 0.5), (0.30, 1.0)), 0.3)
    builder.add(block((-0.48, 0.46), (-0.3, 0.3), (0.24, 0.30)), 0.1)
    for y in (-0.4, 0.34):
        builder.add(block((0.22, 0.24), (y, y + 0.06), (0.0, 0.30)), 0.2)
    axles = (-0.30, -0.30 - 1.3 / size[0])
    add_wheels(builder, size, axles=axles, radius=0.5, half_width=0.48)
    return builder.build().fitted(size)


def construction_vehicle(size: Size, rng: np.random.Generator) -> Solid:
    """An excavator (tracks, cab, counterweight, boom and bucket) or a wheel loader (wheels, cab, shovel)."""
    albedo = float(rng.uniform(0.35, 0.6))  # yellow
    builder = SolidBuilder()
    if rng.random() < 0.5:
        for low, high in ((-0.5, -0.28), (0.28, 0.5)):
            builder.add(block((-0.45, 0.18), (low, high), (0.0, 0.26)), 0.12)
        builder.add(block((-0.5, 0.12), (-0.46, 0.46), (0.30, 0.60)), albedo)
        builder.add(block((-0.12, 0.12), (0.02, 0.46), (0.60, 0.95)), albedo, glass=(0, 2, 3))
        boom = [(0.02, 0.58), (0.10, 0.52), (0.40, 0.94), (0.36, 1.0)]
        builder.add(profile(hull(boom)) + sides((0.5, 0.10), (1.0, 0.10)), albedo)
        arm = [(0.36, 1.0), (0.41, 0.94), (0.47, 0.30), (0.42, 0.30)]
        builder.add(profile(hull(arm)) + sides((0.3, 0.08), (1.0, 0.08)), albedo)
        builder.add(block((0.36, 0.5), (-0.2, 0.2), (0.10, 0.34)), 0.2)
        return builder.build().fitted(size)
    builder.add(block((-0.5, -0.05), (-0.40, 0.40), (0.25, 0.62)), albedo)
    builder.add(block((-0.12, 0.14), (-0.36, 0.36), (0.55, 1.0)), albedo, glass=(0, 1, 2, 3))
    builder.add(block((-0.05, 0.28), (-0.28, 0.28), (0.22, 0.48)), albedo)
    for y in (-0.24, 0.16):
        arm = [(0.10, 0.50), (0.14, 0.42), (0.42, 0.14), (0.42, 0.24)]
        builder.add([*profile(hull(arm)), (0.0, 1.0, 0.0, y + 0.08), (0.0, -1.0, 0.0, -y)], albedo)
    builder.add(block((0.38, 0.5), (-0.5, 0.5), (0.03, 0.34)), 0.2)
    add_wheels(builder, size, axles=(0.20, -0.30), radius=0.24 * size[2], half_width=0.49)
    return builder.build().fitted(size)
