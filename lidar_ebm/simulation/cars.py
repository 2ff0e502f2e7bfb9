"""Bodies of cars: hull, cabin with slanted glass, wheels, in eight styles.

Bodies are drawn in unit coordinates (x from -0.5 at the rear to 0.5 at the front, y from -0.5 to 0.5, z from 0 at the
road to 1 at the roof), and fitted to (l, w, h) at the end, so that every body touches all six faces of its box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Final

import numpy as np

from lidar_ebm.simulation.solids import Plane, Solid, SolidBuilder, axle_prism, block, hull, profile, sides

Size = tuple[float, float, float]
"""Length, width, height in metres."""

WHEEL_ALBEDO = 0.08
INTERIOR_BELOW_BELT = 0.06  # how far the cabin reaches down into the hull, unit height
_STYLE_SPREAD = 0.012  # standard deviation of every measure of a style, unit coordinates
_WHEEL_RADIUS = 0.31  # m
_WHEEL_WIDTH = 0.20  # m
_SIZE_TOLERANCE = (0.40, 0.10)  # how strictly (l, h) decide the style, m


@dataclass(frozen=True)
class CarStyle:
    """A silhouette, in unit coordinates; x falls from the front to the rear."""

    nose: float  # z of the bonnet's front edge
    belt: float  # z of the lower edge of the side windows
    cowl: float  # x where the bonnet meets the windscreen
    roof_front: float  # x where the windscreen meets the roof
    roof_rear: float  # x where the roof meets the rear window
    rear_base: float  # x of the rear window's lower edge
    boot: float  # z of the boot lid's rear edge
    roof_width: float  # half width of the roof
    clearance: float  # z of the underside
    typical_length: float  # m
    typical_height: float  # m
    open_bed: bool = False

    def varied(self, rng: np.random.Generator) -> CarStyle:
        """A car of this style: every measure a little different."""
        measures = [field.name for field in fields(self) if field.name != "open_bed"]
        noise = np.clip(rng.standard_normal(len(measures)), -2.0, 2.0) * _STYLE_SPREAD
        values = {name: getattr(self, name) + float(d) for name, d in zip(measures, noise, strict=True)}
        return CarStyle(**values, open_bed=self.open_bed)


CAR_STYLES: Final = MappingProxyType(
    {
        "compact": CarStyle(0.53, 0.60, 0.29, 0.10, -0.40, -0.485, 0.58, 0.39, 0.13, 3.40, 1.52),
        "hatchback": CarStyle(0.50, 0.61, 0.27, 0.06, -0.36, -0.475, 0.60, 0.39, 0.12, 3.85, 1.50),
        "saloon": CarStyle(0.47, 0.62, 0.25, 0.05, -0.22, -0.36, 0.62, 0.37, 0.11, 4.35, 1.45),
        "estate": CarStyle(0.47, 0.62, 0.25, 0.06, -0.42, -0.48, 0.60, 0.38, 0.11, 4.35, 1.50),
        "coupe": CarStyle(0.46, 0.63, 0.22, 0.01, -0.16, -0.42, 0.62, 0.35, 0.10, 4.10, 1.36),
        "suv": CarStyle(0.56, 0.63, 0.25, 0.10, -0.40, -0.48, 0.62, 0.41, 0.16, 4.15, 1.70),
        "minivan": CarStyle(0.48, 0.55, 0.36, 0.14, -0.43, -0.485, 0.56, 0.42, 0.11, 4.15, 1.66),
        "pickup": CarStyle(0.55, 0.61, 0.24, 0.11, -0.06, -0.10, 0.60, 0.40, 0.16, 4.75, 1.66, open_bed=True),
    }
)


def choose_style(size: Size, rng: np.random.Generator) -> str:
    """A style that goes with the size: long low cars tend to be coupés or saloons, high ones SUVs or minivans."""
    names = list(CAR_STYLES)
    distance = np.array(
        [
            ((size[0] - CAR_STYLES[name].typical_length) / _SIZE_TOLERANCE[0]) ** 2
            + ((size[2] - CAR_STYLES[name].typical_height) / _SIZE_TOLERANCE[1]) ** 2
            for name in names
        ]
    )
    weight = np.exp(-0.5 * (distance - distance.min())) + 0.02  # any style may come in any size, rarely
    return names[int(rng.choice(len(names), p=weight / weight.sum()))]


def paint_albedo(rng: np.random.Generator) -> float:
    """Share of infrared light that a car's paint scatters back: from black (0.05) to white (0.65)."""
    return float(np.clip(0.24 * math.exp(0.6 * rng.standard_normal()), 0.05, 0.65))


def car_body(style_name: str, size: Size, rng: np.random.Generator) -> Solid:
    """A car of the given style, in its box's frame: x forward, origin at the box's centre, tight on all six faces."""
    style = CAR_STYLES[style_name].varied(rng)
    albedo = paint_albedo(rng)
    builder = SolidBuilder()
    if style.open_bed:
        _add_bed(builder, style, albedo)
    else:
        _add_hull(builder, style, albedo, rear=-0.5)
    _add_cabin(builder, style, albedo)
    add_wheels(builder, size, axles=(0.5 - 0.205, -0.5 + 0.20), radius=_WHEEL_RADIUS)
    return builder.build().fitted(size)


def add_wheels(
    builder: SolidBuilder, size: Size, *, axles: tuple[float, ...], radius: float, half_width: float = 0.49
) -> None:
    """A left and a right wheel of `radius` (m) at each of the axles (x, unit coordinates)."""
    radii = (radius / size[0], radius / size[2])
    width = _WHEEL_WIDTH / size[1]
    for x in axles:
        center = (x, radii[1])
        builder.add(axle_prism(center, radii, (half_width - width, half_width)), WHEEL_ALBEDO)
        builder.add(axle_prism(center, radii, (-half_width, -half_width + width)), WHEEL_ALBEDO)


def plan_corners(front: float, rear: float, *, cut: float = 0.09) -> list[Plane]:
    """Planes that round the four corners of a body seen from above."""
    depth = 0.6 * cut
    planes = []
    for side in (1.0, -1.0):
        planes.append((cut, side * depth, 0.0, cut * front + depth * (0.5 - cut)))
        planes.append((-cut, side * depth, 0.0, -cut * rear + depth * (0.5 - cut)))
    return planes


def _body_sides(style: CarStyle) -> list[Plane]:
    waist = 0.45
    return sides((style.clearance, 0.465), (waist, 0.5)) + sides((waist, 0.5), (style.belt, 0.475))


def _add_hull(builder: SolidBuilder, style: CarStyle, albedo: float, *, rear: float) -> None:
    """Everything below the windows: bumpers, bonnet, doors, boot."""
    outline = [
        (rear + 0.03, style.clearance),
        (0.46, style.clearance),
        (0.50, 0.27),
        (0.492, 0.42),
        (0.475, style.nose),
        (style.cowl, style.belt),
        (style.rear_base, style.belt + 0.002),
        (rear + 0.008, style.boot),
        (rear, 0.30),
    ]
    builder.add(profile(hull(outline)) + _body_sides(style) + plan_corners(0.5, rear), albedo)


def _add_bed(builder: SolidBuilder, style: CarStyle, albedo: float) -> None:
    """A pickup: the front as on other cars, behind it an open bed with walls."""
    bed_floor, wall_top, wall = 0.42, style.belt, 0.04
    front_rear_end = style.rear_base - 0.02
    outline = [
        (front_rear_end, style.clearance),
        (0.46, style.clearance),
        (0.50, 0.27),
        (0.475, style.nose),
        (style.cowl, style.belt),
        (front_rear_end, style.belt),
    ]
    builder.add(profile(hull(outline)) + _body_sides(style) + plan_corners(0.5, front_rear_end - 0.5), albedo)
    builder.add(block((-0.49, front_rear_end), (-0.49, 0.49), (style.clearance + 0.06, bed_floor)), albedo)
    for low, high in ((0.49 - wall, 0.49), (-0.49, -0.49 + wall)):
        builder.add(block((-0.495, front_rear_end), (low, high), (bed_floor, wall_top)), albedo)
    builder.add(block((-0.5, -0.485), (-0.48, 0.48), (style.clearance + 0.06, wall_top)), albedo)


def _add_cabin(builder: SolidBuilder, style: CarStyle, albedo: float) -> None:
    """Windscreen, side windows and rear window as glass between the belt and the roof; the roof as a sheet on top."""
    base = style.belt - INTERIOR_BELOW_BELT
    eave = 0.955  # where the glass ends and the roof begins

    def screen(low_x: float, high_x: float, z: float) -> float:
        return low_x + (high_x - low_x) * (z - style.belt) / (1.0 - style.belt)

    outline = [
        (max(screen(style.rear_base, style.roof_rear, base), -0.485), base),  # bumpers, not glass, stick out most
        (screen(style.cowl, style.roof_front, base), base),
        (screen(style.cowl, style.roof_front, eave), eave),
        (screen(style.rear_base, style.roof_rear, eave), eave),
    ]
    walls = sides((style.belt, 0.46), (1.0, style.roof_width))
    # Planes 1 and 3 are the windscreen and the rear window, 4 and 5 the side windows.
    builder.add(profile(outline) + walls, albedo, glass=(1, 3, 4, 5))
    front, rear = screen(style.cowl, style.roof_front, eave), screen(style.rear_base, style.roof_rear, eave)
    crown = 0.25 * (front - rear)
    top = [(front, eave), (front - crown, 1.0), (rear + crown, 1.0), (rear, eave)]
    roof = [(rear, eave - 0.01), (front, eave - 0.01), *top]
    builder.add(profile(roof) + sides((eave, style.roof_width + 0.015), (1.0, style.roof_width - 0.03)), albedo)
    middle = style.roof_front * 0.35 + style.roof_rear * 0.65 if style.roof_front - style.roof_rear > 0.3 else None
    if middle is not None:
        _add_pillar(builder, style, albedo, middle, eave)


def _add_pillar(builder: SolidBuilder, style: CarStyle, albedo: float, x: float, eave: float) -> None:
    """The pillar between the side windows, on both sides."""
    outline = [(x - 0.012, style.belt), (x + 0.012, style.belt), (x + 0.012, eave), (x - 0.012, eave)]
    lean = (0.46 - style.roof_width) / (1.0 - style.belt)
    for side in (1.0, -1.0):
        outer = 0.463 + lean * style.belt
        skin = [(0.0, side, lean, outer), (0.0, -side, -lean, -outer + 0.02)]
        builder.add(profile(outline) + skin, albedo)
