"""Bodies of cones, barriers, bicycle racks and of what else lies about or walks there; in unit coordinates."""

from __future__ import annotations

import numpy as np

from lidar_ebm.simulation.cars import Size, paint_albedo
from lidar_ebm.simulation.solids import Solid, SolidBuilder, axle_prism, ball, block, profile, sides, upright_prism


def traffic_cone(size: Size, rng: np.random.Generator) -> Solid:
    """A cone on a square foot, with a collar that throws the light back."""
    builder = SolidBuilder().add(block((-0.5, 0.5), (-0.5, 0.5), (0.0, 0.06)), 0.15)
    builder.add(upright_prism((0.0, 0.0), (0.38, 0.38), (0.06, 1.0), top_scale=0.25), 0.45)
    builder.add(upright_prism((0.0, 0.0), (0.27, 0.27), (0.50, 0.66), top_scale=0.85), 0.9)
    return builder.build().fitted(size)


def barrier(size: Size, rng: np.random.Generator) -> Solid:
    """A wall of concrete or plastic with a broad foot, or a board on two feet; wide across its heading."""
    builder = SolidBuilder()
    if rng.random() < 0.7:
        foot = [(-0.5, 0.0), (0.5, 0.0), (0.5, 0.10), (0.22, 0.40), (-0.22, 0.40), (-0.5, 0.10)]
        ends = sides((0.0, 0.5), (1.0, 0.5))
        builder.add(profile(foot) + ends, 0.4)
        builder.add(profile([(-0.22, 0.38), (0.22, 0.38), (0.15, 1.0), (-0.15, 1.0)]) + ends, 0.4)
        return builder.build().fitted(size)
    for y in (-0.45, 0.38):
        builder.add(block((-0.5, 0.5), (y, y + 0.07), (0.0, 0.08)), 0.2)
        builder.add(block((-0.08, 0.08), (y, y + 0.07), (0.0, 1.0)), 0.3)
    for z in (0.35, 0.7):
        builder.add(block((-0.12, 0.12), (-0.5, 0.5), (z, z + 0.25)), 0.8)
    return builder.build().fitted(size)


def bicycle_rack(size: Size, rng: np.random.Generator) -> Solid:
    """Hoops on a rail along the rack's length; what stands in it has bodies of its own."""
    builder = SolidBuilder().add(block((-0.5, 0.5), (-0.5, 0.5), (0.0, 0.03)), 0.3, opacity=0.3)
    for x in np.linspace(-0.5, 0.46, max(2, round(size[0] / 0.8))):
        builder.add(block((float(x), float(x) + 0.04), (-0.25, 0.25), (0.0, 1.0)), 0.35, opacity=0.35)
    return builder.build().fitted(size)


def animal(size: Size, rng: np.random.Generator) -> Solid:
    """A dog: legs, trunk, head."""
    albedo = float(rng.uniform(0.1, 0.6))
    builder = SolidBuilder().add(block((-0.45, 0.30), (-0.45, 0.45), (0.45, 0.85)), albedo)
    for x in (-0.42, 0.18):
        for y in (-0.5, 0.25):
            builder.add(block((x, x + 0.1), (y, y + 0.25), (0.0, 0.5)), albedo)
    builder.add(ball((0.37, 0.0, 0.86), (0.13, 0.3, 0.14)), albedo)
    return builder.build().fitted(size)


def debris(size: Size, rng: np.random.Generator) -> Solid:
    """A bag or a fallen branch: a low lump."""
    return SolidBuilder().add(ball((0.0, 0.0, 0.5), (0.5, 0.5, 0.5)), float(rng.uniform(0.1, 0.6))).build().fitted(size)


def pushable(size: Size, rng: np.random.Generator) -> Solid:
    """A bin or a cart: a box that is wider at its top, on wheels."""
    builder = SolidBuilder()
    builder.add([*block((-0.5, 0.5), (-0.5, 0.5), (0.08, 1.0)), *sides((0.08, 0.40), (1.0, 0.5))], paint_albedo(rng))
    for x in (-0.35, 0.35):
        builder.add(axle_prism((x, 0.06), (0.1, 0.06), (-0.4, 0.4)), 0.1)
    return builder.build().fitted(size)
