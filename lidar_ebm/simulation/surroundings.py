"""Things beside the street that get no label: buildings, walls, fences, hedges, poles, trees, bushes, bins."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from lidar_ebm.simulation.occupancy import Occupancy
from lidar_ebm.simulation.solids import Solid, SolidBuilder, ball, block, merge, profile, sides, upright_prism
from lidar_ebm.simulation.street import Ground

if TYPE_CHECKING:
    from lidar_ebm.simulation.scene import StreetPlan

_FROM, _TO = -25.0, 110.0  # m along the street
_SCATTERED = 85.0  # m of the street that small things are scattered along at a time
_VIEW_ENDS, _VIEW_DEPTH = -22.0, 17.0  # m beyond the stretch's end at which the view is closed, and how deep
_SUNK = 0.6  # m that things reach into the ground, so that none hovers on a slope
_FOLIAGE_ALBEDO = 0.35


def place_surroundings(
    plan: StreetPlan,
    ground: Ground,
    taken: Occupancy,
    rng: np.random.Generator,
    stretch: tuple[float, float] = (_FROM, _TO),
) -> Solid:
    """Line both sides of a stretch (m along the street); small things keep clear of what is taken."""
    gardener = _Surroundings(plan, ground, taken, rng, stretch)
    for side in (1, -1):
        gardener.line_buildings(side)
        gardener.line_border(side)
        gardener.line_poles(side)
        gardener.line_trees(side)
        for start in np.arange(stretch[0] - _FROM, stretch[1] + _FROM, _SCATTERED):
            gardener.scatter_small_things(side, float(start))
    gardener.close_the_view(stretch[1] + _VIEW_ENDS)
    if stretch[0] < _FROM:
        gardener.close_the_view(stretch[0] - _VIEW_ENDS - _VIEW_DEPTH)
    return merge(gardener.solids)


class _Surroundings:
    def __init__(
        self,
        plan: StreetPlan,
        ground: Ground,
        taken: Occupancy,
        rng: np.random.Generator,
        stretch: tuple[float, float],
    ) -> None:
        self.solids: list[Solid] = []
        self._from, self._to = stretch
        self._plan, self._ground, self._taken, self._rng = plan, ground, taken, rng

    def line_buildings(self, side: int) -> None:
        """Houses in a row, with gaps."""
        plan, rng = self._plan, self._rng
        setback = float(rng.choice([0.2, 3.0, 7.0], p=[0.4, 0.3, 0.3]))
        s = self._from + float(rng.uniform(0.0, 10.0))
        while s < self._to:
            length, depth, height = rng.uniform(8.0, 18.0), rng.uniform(7.0, 11.0), rng.uniform(3.5, 12.0)
            if rng.random() < plan.built_up and not self._on_side_road(s, length / 2 + 1.0):
                d = plan.kerb(side) + side * (plan.pavement + setback + depth / 2 + rng.uniform(0.0, 0.8))
                self._add(_house(rng), s, d, (length, depth, height), gap=0.0)
            s += length + (0.0 if rng.random() < 0.4 else rng.uniform(1.0, 8.0))

    def line_border(self, side: int) -> None:
        """Garden walls, fences and hedges along the back of the pavement, in sections."""
        plan, rng = self._plan, self._rng
        s = self._from
        while s < self._to:
            kind = str(rng.choice(["none", "wall", "fence", "hedge"], p=[0.45, 0.15, 0.2, 0.2]))
            height = {"none": 0.0, "wall": rng.uniform(0.6, 1.8), "fence": rng.uniform(0.9, 1.6)}.get(
                kind, rng.uniform(0.7, 2.0)
            )
            sections = int(rng.integers(2, 7))
            thickness = {"fence": 0.06, "wall": 0.25}.get(kind, 0.9)
            albedo = float(rng.choice([0.2, 0.35, 0.5]))
            for _ in range(sections):
                d = plan.kerb(side) + side * (plan.pavement + 0.5 * thickness)
                if kind != "none" and not self._on_side_road(s, 3.0):
                    self._add(_border(kind, albedo), s, d, (4.0, thickness, float(height)), gap=0.0)
                s += 4.0

    def line_poles(self, side: int) -> None:
        """Lamp posts and traffic signs near the kerb."""
        plan, rng = self._plan, self._rng
        s = self._from + float(rng.uniform(0.0, 20.0))
        spacing = float(rng.uniform(15.0, 35.0))
        while s < self._to:
            sign = rng.random() < 0.4
            width = float(rng.uniform(0.1, 0.28))
            solid = _sign() if sign else _pole()
            size = (0.12, 0.6, 2.6) if sign else (width, width, float(rng.uniform(4.0, 8.0)))
            self._add(solid, s, plan.kerb(side) + side * 0.5, size, gap=0.1)
            s += spacing * float(rng.uniform(0.5, 1.3))

    def line_trees(self, side: int) -> None:
        """Trees: trunks, and crowns that some rays pass."""
        plan, rng = self._plan, self._rng
        if rng.random() < 0.35:
            return
        s = self._from + float(rng.uniform(0.0, 10.0))
        far_back = float(rng.choice([0.8, plan.pavement + 2.5]))
        while s < self._to:
            if not self._on_side_road(s, 2.0):
                d = plan.kerb(side) + side * (far_back + float(rng.uniform(0.0, 0.6)))
                self._add_tree(s, d)
            s += float(rng.uniform(6.0, 20.0))

    def scatter_small_things(self, side: int, start: float) -> None:
        """Bushes, bins, cabinets and bollards, from `start` on."""
        plan, rng = self._plan, self._rng
        for _ in range(int(rng.poisson(3 if plan.built_up > 0.5 else 7))):
            width = float(rng.uniform(0.8, 2.8))
            height = width * float(rng.uniform(0.5, 1.0))
            d = plan.kerb(side) + side * (plan.pavement + float(rng.uniform(0.5, 8.0)))
            self._add(_bush(), start + float(rng.uniform(0.0, 70.0)), d, (width, width, height), gap=0.0)
        for _ in range(int(rng.poisson(2))):
            size = (float(rng.uniform(0.3, 1.4)), float(rng.uniform(0.3, 0.8)), float(rng.uniform(0.7, 1.5)))
            d = plan.kerb(side) + side * float(rng.uniform(0.6, plan.pavement + 0.4))
            self._add(_crate(), start + float(rng.uniform(0.0, 60.0)), d, size, gap=0.1)

    def close_the_view(self, start: float) -> None:
        """Something stands at the far end: trees or houses, so that not every ray there is lost."""
        plan, rng = self._plan, self._rng
        for _ in range(int(rng.integers(2, 7))):
            size = (float(rng.uniform(3.0, 9.0)), float(rng.uniform(5.0, 14.0)), float(rng.uniform(3.0, 8.0)))
            solid = _bush() if rng.random() < 0.6 else _house(rng)
            self._add(solid, start + float(rng.uniform(0.0, 17.0)), float(rng.uniform(-30.0, 30.0)), size, gap=0.0)
        if plan.crossing is not None:
            for end in (-42.0, 42.0):
                self._add(_house(rng), plan.crossing, end, (14.0, 5.0, 7.0), gap=0.0)

    def _on_side_road(self, s: float, half_length: float) -> bool:
        crossing = self._plan.crossing
        return crossing is not None and abs(s - crossing) < self._plan.crossing_half_width + half_length + 0.5

    def _add_tree(self, s: float, d: float) -> None:
        rng = self._rng
        trunk_width, trunk_height = float(rng.uniform(0.2, 0.6)), float(rng.uniform(2.0, 4.0))
        if not self._add(_pole(), s, d, (trunk_width, trunk_width, trunk_height), gap=0.1):
            return
        crown = float(rng.uniform(2.5, 6.0))
        x, y = self._plan.road.point(s, d)
        base = self._ground.height(x, y) + trunk_height * float(rng.uniform(0.6, 0.95))
        self.solids.append(_bush().fitted((crown, crown, crown)).placed((x, y, base + crown / 2), 0.0))

    def _add(self, solid: Solid, s: float, d: float, size: tuple[float, float, float], *, gap: float) -> bool:
        """Stand a solid, stretched to `size` above the ground, along the road at (s, d), if there is room."""
        x, y = self._plan.road.point(s, d)
        yaw = self._plan.road.heading_at(s)
        # Longish things that touch each other in a row must not refuse one another.
        if not self._taken.claim(x, y, 0.97 * size[0], 0.97 * size[1], yaw, gap=gap):
            return False
        height = size[2] + _SUNK
        z = self._ground.height(x, y) - _SUNK + height / 2
        self.solids.append(solid.fitted((size[0], size[1], height)).placed((x, y, z), yaw))
        return True


def _house(rng: np.random.Generator) -> Solid:
    """Walls and a saddle roof, in unit coordinates."""
    return _houses()[int(rng.integers(len(_houses())))]


@cache
def _houses() -> tuple[Solid, ...]:
    """Houses of several paints, plain and with a bay in front of the wall."""
    houses = []
    for albedo in (0.2, 0.35, 0.5, 0.65):
        for bay in (False, True):
            builder = SolidBuilder().add(block((-0.5, 0.5), (-0.5, 0.5), (0.0, 0.75)), albedo)
            roof = [(0.0, 1.0, 0.8, 1.1), (0.0, -1.0, 0.8, 1.1), *block((-0.5, 0.5), (-0.5, 0.5), (0.75, 1.0))]
            builder.add(roof, 0.25)
            if bay:
                builder.add(block((-0.25, 0.1), (-0.56, 0.56), (0.0, 0.7)), albedo)
            houses.append(builder.build())
    return tuple(houses)


@cache
def _border(kind: str, albedo: float) -> Solid:
    unit = block((-0.5, 0.5), (-0.5, 0.5), (0.0, 1.0))
    if kind == "wall":
        return SolidBuilder().add(unit, albedo).build()
    if kind == "fence":
        return SolidBuilder().add(unit, albedo, opacity=0.45).build()
    return SolidBuilder().add(unit, _FOLIAGE_ALBEDO, free_path=0.15).build()


@cache
def _pole() -> Solid:
    return SolidBuilder().add(upright_prism((0.0, 0.0), (0.5, 0.5), (0.0, 1.0), top_scale=0.8), 0.3).build()


@cache
def _sign() -> Solid:
    """A plate on a post; the plate throws the light back."""
    builder = SolidBuilder().add(upright_prism((0.0, 0.0), (0.3, 0.06), (0.0, 0.8)), 0.3)
    plate = [(-0.5, 0.77), (0.5, 0.77), (0.5, 1.0), (-0.5, 1.0)]
    return builder.add(profile(plate) + sides((0.77, 0.5), (1.0, 0.5)), 0.95).build()


@cache
def _bush() -> Solid:
    return SolidBuilder().add(ball((0.0, 0.0, 0.5), (0.5, 0.5, 0.5)), _FOLIAGE_ALBEDO, free_path=0.35).build()


@cache
def _crate() -> Solid:
    return SolidBuilder().add(block((-0.5, 0.5), (-0.5, 0.5), (0.0, 1.0)), 0.3).build()
