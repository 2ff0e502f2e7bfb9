"""Bodies of bicycles and motorcycles, alone or with a rider; drawn in unit coordinates as those of cars are."""

from __future__ import annotations

import numpy as np

from lidar_ebm.simulation.cars import Size, paint_albedo
from lidar_ebm.simulation.solids import Solid, SolidBuilder, axle_prism, ball, block, hull, profile, sides

_ALONE = 0.72  # height of a machine as a share of its height with a rider


def bicycle(size: Size, rng: np.random.Generator, *, rider: bool) -> Solid:
    """Thin wheels that half the rays pass, a frame, a handlebar; a rider's legs, trunk, arms and head."""
    height = size[2] if rider else size[2] / _ALONE
    builder = SolidBuilder()
    radii = (0.34 / size[0], 0.34 / height)
    for x in (0.5 - radii[0], -0.5 + radii[0]):
        builder.add(axle_prism((x, radii[1]), radii, (-0.06, 0.06)), 0.15, opacity=0.45)
    frame = [(-0.30, 0.19), (0.0, 0.16), (0.30, 0.50), (-0.12, 0.52)]
    builder.add(profile(hull(frame)) + sides((0.16, 0.05), (0.52, 0.05)), paint_albedo(rng), opacity=0.5)
    builder.add(block((0.20, 0.28), (-0.5, 0.5), (0.58, 0.62)), 0.2)
    builder.add(block((-0.2, -0.08), (-0.15, 0.15), (0.54, 0.58)), 0.1)
    if rider:
        _add_rider(builder, rng, seat=0.54, lean=rng.uniform(0.05, 0.2))
    return builder.build().fitted(size)


def motorcycle(size: Size, rng: np.random.Generator, *, rider: bool) -> Solid:
    """Broad wheels, an engine and tank, a seat, a fork with its bar; a rider as on a bicycle."""
    height = size[2] if rider else size[2] / _ALONE
    albedo = paint_albedo(rng)
    builder = SolidBuilder()
    radii = (0.31 / size[0], 0.31 / height)
    for x in (0.5 - radii[0], -0.5 + radii[0]):
        builder.add(axle_prism((x, radii[1]), radii, (-0.1, 0.1)), 0.08)
    body = [(-0.28, 0.16), (0.2, 0.16), (0.26, 0.50), (0.05, 0.56), (-0.35, 0.50)]
    builder.add(profile(hull(body)) + sides((0.16, 0.2), (0.56, 0.26)), albedo)
    builder.add(block((-0.46, 0.0), (-0.24, 0.24), (0.46, 0.54)), 0.1)
    fork = [(0.33, 0.15), (0.40, 0.15), (0.27, 0.64), (0.20, 0.64)]
    builder.add(profile(fork) + sides((0.15, 0.12), (0.64, 0.12)), 0.4)
    builder.add(block((0.17, 0.25), (-0.5, 0.5), (0.62, 0.67)), 0.2)
    builder.add(block((0.24, 0.31), (-0.22, 0.22), (0.50, 0.71)), albedo)
    if rider:
        _add_rider(builder, rng, seat=0.54, lean=rng.uniform(0.0, 0.12))
    return builder.build().fitted(size)


def _add_rider(builder: SolidBuilder, rng: np.random.Generator, *, seat: float, lean: float) -> None:
    trousers, jacket, skin = (float(a) for a in rng.uniform(0.08, 0.55, 3))
    for side in (1.0, -1.0):
        leg = [(0.0, 0.16), (0.12, 0.16), (0.1, seat), (-0.12, seat)]
        y = side * 0.22
        builder.add([*profile(hull(leg)), (0.0, 1.0, 0.0, y + 0.12), (0.0, -1.0, 0.0, 0.12 - y)], trousers)
        arm = [(0.04, 0.76), (0.19, 0.59), (0.25, 0.62), (0.09, 0.82)]
        y = side * 0.38
        builder.add([*profile(hull(arm)), (0.0, 1.0, 0.0, y + 0.09), (0.0, -1.0, 0.0, 0.09 - y)], jacket)
    trunk = [(-0.17, seat - 0.02), (0.04, seat - 0.02), (lean + 0.04, 0.84), (lean - 0.13, 0.84)]
    builder.add(profile(trunk) + sides((seat - 0.02, 0.34), (0.84, 0.42)), jacket)
    builder.add(ball((lean + 0.03, 0.0, 0.93), (0.075, 0.18, 0.075)), 0.3 + 0.5 * skin)
