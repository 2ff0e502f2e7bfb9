"""A street to drive along: its plan, the way of the sensor's car, and all that stands or moves there for a while."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from lidar_ebm.simulation.occupancy import Occupancy
from lidar_ebm.simulation.road_users import ROAD_USERS, attribute_of
from lidar_ebm.simulation.scene import StreetPlan
from lidar_ebm.simulation.solids import Solid
from lidar_ebm.simulation.street import Ground, Road, make_ground, wrap
from lidar_ebm.simulation.surroundings import place_surroundings
from lidar_ebm.simulation.timetable import Timetable
from lidar_ebm.simulation.tracks import AlongRoad, Path, Standing, Straight

REACH: Final = 85.0  # m of the street beyond both ends of the drive
EGO_SIZE: Final = (4.8, 2.0)  # m, of the car that carries the sensor
EGO_CENTER: Final = 1.4  # m before its rear axle, the origin of its frame
_GAP = 0.3  # m kept free between things
_NO_ATTRIBUTE = 0.005  # share of the things whose attribute nobody noted


@dataclass(frozen=True)
class Mover:
    """A labelled thing with its way."""

    name: str  # of ROAD_USERS
    attribute: str
    size: tuple[float, float, float]
    body: Solid  # in its box's frame
    path: Path

    @property
    def category(self) -> str:
        """nuScenes' name of its category."""
        return ROAD_USERS[self.name].category


@dataclass(frozen=True)
class DriveStreet:
    """All that a drive shows."""

    ground: Ground
    ego: AlongRoad
    movers: tuple[Mover, ...]
    surroundings: Solid


@dataclass
class _Stage:
    """A street in the making."""

    plan: StreetPlan
    ego: AlongRoad
    stretch: tuple[float, float]
    duration: float
    rng: np.random.Generator
    times: Timetable = field(init=False)
    movers: list[Mover] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.times = Timetable(self.duration)
        self.times.claim(self.ego, *EGO_SIZE, gap=0.0, ahead=EGO_CENTER)

    def add(self, name: str, path: Path, *, parked: bool = False, gap: float = _GAP) -> bool:
        """Add a thing of `ROAD_USERS` if its whole way is free; False if it is not."""
        kind = ROAD_USERS[name]
        size = kind.draw_size(self.rng)
        if not self.times.claim(path, size[0], size[1], gap=gap):
            return False
        self._keep(name, path, size, parked)
        return True

    def _keep(self, name: str, path: Path, size: tuple[float, float, float], parked: bool) -> None:
        attribute = attribute_of(name, path.speed, parked=parked)
        attribute = "" if self.rng.random() < _NO_ATTRIBUTE else attribute
        self.movers.append(Mover(name, attribute, size, ROAD_USERS[name].body(size, self.rng), path))

    def stand(self, name: str, s: float, d: float, turn: float, *, parked: bool = False, gap: float = _GAP) -> bool:
        """Let a thing stand at (s, d), turned by `turn` against the road."""
        x, y = self.plan.road.point(s, d)
        path = Standing(x, y, wrap(self.plan.road.heading_at(s) + turn))
        return self.add(name, path, parked=parked, gap=gap)

    def anywhere(self, density: float) -> list[float]:
        """Places along the street, `density` of them a metre on average."""
        low, high = self.stretch
        return [float(s) for s in self.rng.uniform(low, high, int(self.rng.poisson(density * (high - low))))]


def make_drive_street(rng: np.random.Generator, duration: float) -> DriveStreet:
    """Draw a street and what happens on it for `duration` seconds; the generator alone decides it."""
    speed = 0.0 if rng.random() < 0.12 else float(rng.uniform(2.0, 12.0))
    plan = _draw_plan(rng)
    length = speed * duration
    ego = AlongRoad(plan.road, -length / 2, plan.ego_offset, speed, forward=True)
    stretch = (-length / 2 - REACH, length / 2 + REACH)
    ground = make_ground(
        plan.road,
        kerbs=(plan.kerb(1), plan.kerb(-1)),
        kerb_height=float(rng.uniform(0.05, 0.16)),
        crossing=None if plan.crossing is None else (plan.crossing, plan.crossing_half_width),
        rng=rng,
    )
    stage = _Stage(plan, ego, stretch, duration, rng)
    _place_works(stage)
    _place_traffic(stage)
    _place_crossing_traffic(stage)
    _place_parked(stage)
    _place_racks(stage)
    _place_cyclists(stage)
    _place_people(stage)
    _place_small_things(stage)
    taken = Occupancy()
    taken.block(stage.times.footprints())
    surroundings = place_surroundings(plan, ground, taken, rng, stretch)
    return DriveStreet(ground, ego, tuple(stage.movers), surroundings)


def _draw_plan(rng: np.random.Generator) -> StreetPlan:
    """A city street, straight or in a wide curve."""
    lanes = 2 if rng.random() < 0.5 else 1
    lane_width = float(rng.uniform(3.2, 3.9))
    styles = np.where(rng.random(2) < 0.55, np.where(rng.random(2) < 0.8, "parallel", "across"), "none")
    curvature = 0.0 if rng.random() < 0.5 else float(rng.choice([-1.0, 1.0]) / rng.uniform(250.0, 700.0))
    offset = -(int(rng.integers(lanes)) + 0.5) * lane_width + float(rng.normal(0.0, 0.15))
    return StreetPlan(
        road=Road((0.0, 0.0), 0.0, curvature),
        lane_width=lane_width,
        lanes=lanes,
        ego_offset=offset,
        parking=(str(styles[0]), str(styles[1])),
        occupancy=(float(rng.uniform(0.15, 0.75)), float(rng.uniform(0.15, 0.75))),
        traffic=float(rng.uniform(0.008, 0.035)),
        pavement=float(rng.uniform(2.5, 5.0)),
        crossing=float(rng.uniform(-15.0, 15.0)) if rng.random() < 0.5 else None,
        built_up=float(rng.uniform(0.4, 0.9)),
    )


def _choose(rng: np.random.Generator, shares: dict[str, float]) -> str:
    weights = np.array(list(shares.values()))
    return list(shares)[int(rng.choice(len(shares), p=weights / weights.sum()))]


_TRAFFIC = {"car": 0.55, "van": 0.07, "truck": 0.13, "bus": 0.08, "trailer": 0.06, "construction": 0.04}
_TRAFFIC |= {"motorcyclist": 0.07, "police": 0.01}


def _place_traffic(stage: _Stage) -> None:
    """Vehicles in all lanes; those of a lane go at nearly one speed, and in some lanes they stand."""
    plan, rng = stage.plan, stage.rng
    for lane in range(plan.lanes):
        for side in (1, -1):
            middle = side * (lane + 0.5) * plan.lane_width
            with_ego = abs(middle - plan.ego_offset) < plan.lane_width / 2
            pace = stage.ego.speed if with_ego else 0.0 if rng.random() < 0.15 else float(rng.uniform(3.0, 13.0))
            low, high = stage.stretch
            # Who comes from outside during the drive starts beyond the stretch.
            lead = pace * stage.duration
            s = low - (lead if side < 0 else 0.0) + float(rng.exponential(20.0))
            while s < high + (lead if side > 0 else 0.0):
                name = _choose(rng, _TRAFFIC)
                d = middle + float(rng.normal(0.0, 0.15))
                speed = pace * float(rng.uniform(0.97, 1.03))
                stage.add(name, AlongRoad(plan.road, s, d, speed, side < 0, float(rng.normal(0.0, 0.01))))
                s += 7.0 + float(rng.exponential(0.5 / plan.traffic))


def _place_crossing_traffic(stage: _Stage) -> None:
    """Vehicles on the side road, that wait or, where the way is free, cross."""
    plan, rng = stage.plan, stage.rng
    if plan.crossing is None:
        return
    x0, y0 = plan.road.point(plan.crossing, 0.0)
    across = plan.road.heading_at(plan.crossing) + math.pi / 2
    edge = abs(plan.kerb(1)) + 4.0
    for way in (1, -1):
        for _ in range(int(rng.poisson(2.0))):
            waits = rng.random() < 0.5
            along = -way * (edge + float(rng.uniform(0.0, 25.0)))
            beside = -way * 0.5 * plan.lane_width
            x = x0 + along * math.cos(across) - beside * math.sin(across)
            y = y0 + along * math.sin(across) + beside * math.cos(across)
            yaw = wrap(across + (0.0 if way > 0 else math.pi))
            stage.add(_choose(rng, _TRAFFIC), Straight(x, y, yaw, 0.0 if waits else float(rng.uniform(2.0, 8.0))))


def _near_crossing(plan: StreetPlan, s: float, margin: float) -> bool:
    return plan.crossing is not None and abs(s - plan.crossing) < plan.crossing_half_width + margin


def _place_parked(stage: _Stage) -> None:
    """Rows of parked vehicles along both kerbs."""
    plan, rng = stage.plan, stage.rng
    parked = {"car": 0.72, "van": 0.08, "truck": 0.09, "trailer": 0.04, "motorcycle": 0.06, "bus": 0.01}
    for side, style, share in zip((1, -1), plan.parking, plan.occupancy, strict=True):
        s = stage.stretch[0]
        while style != "none" and s < stage.stretch[1]:
            name = _choose(rng, parked if style == "parallel" else {"car": 0.9, "van": 0.1})
            half = ROAD_USERS[name].mean[0] / 2
            s += half if style == "parallel" else 1.3
            if rng.random() < share and not _near_crossing(plan, s, half + 2.0):
                if style == "parallel":
                    d = plan.kerb(side) - side * (1.1 + float(rng.normal(0.0, 0.08)))
                    turn = math.pi if (side > 0) != (rng.random() < 0.1) else 0.0
                else:
                    d = plan.kerb(side) - side * (2.5 + float(rng.normal(0.0, 0.15)))
                    turn = float(rng.choice([-1.0, 1.0])) * math.pi / 2
                stage.stand(name, s, d, turn + float(rng.normal(0.0, 0.03)), parked=True)
            s += half + float(rng.uniform(0.8, 1.8)) if style == "parallel" else float(rng.uniform(1.4, 1.8))


def _place_works(stage: _Stage) -> None:
    """Road works beside the lanes: a row of barriers, cones, a machine, workers."""
    plan, rng = stage.plan, stage.rng
    for s0 in stage.anywhere(0.014):
        side = int(rng.choice([1, -1]))
        edge = plan.lanes * plan.lane_width
        barriers = int(rng.integers(2, 11))
        length = 2.8 * barriers
        for k in range(barriers):
            turn = side * math.pi / 2 + float(rng.normal(0.0, 0.04))
            stage.stand("barrier", s0 + 2.8 * k, side * (edge + 0.5), turn, gap=0.0)
        for k in range(int(rng.integers(2, 9))):
            s = s0 - 1.5 - 2.2 * k if rng.random() < 0.6 else s0 + float(rng.uniform(0.0, length))
            d = edge + 0.25 + float(rng.uniform(0.0, 0.6)) if s < s0 else edge + float(rng.uniform(1.2, 3.0))
            stage.stand("cone", s, side * d, float(rng.uniform(-math.pi, math.pi)), gap=0.05)
        if rng.random() < 0.75:
            turn = float(rng.uniform(-0.4, 0.4)) + float(rng.choice([0.0, math.pi]))
            stage.stand("construction", s0 + length / 2, side * (edge + 3.4), turn, parked=rng.random() < 0.5)
        for _ in range(int(rng.poisson(1.5))):
            turn = float(rng.uniform(-math.pi, math.pi))
            stage.stand("worker", s0 + float(rng.uniform(0, length)), side * (edge + float(rng.uniform(1.3, 6))), turn)


def _place_racks(stage: _Stage) -> None:
    """Racks on the pavement with bicycles in them, side by side across the rack."""
    plan, rng = stage.plan, stage.rng
    for s0 in stage.anywhere(0.008):
        side = int(rng.choice([1, -1]))
        d = plan.kerb(side) + side * 1.3
        if not stage.stand("rack", s0, d, 0.0):
            continue
        rack = stage.movers[-1]
        for k in range(int((rack.size[0] - 0.9) / 0.8) + 1):
            if rng.random() < 0.7:
                s = s0 - rack.size[0] / 2 + 0.45 + 0.8 * k
                x, y = plan.road.point(s, d)
                turn = float(rng.choice([-1.0, 1.0])) * math.pi / 2 + float(rng.normal(0.0, 0.05))
                size = ROAD_USERS["bicycle"].draw_size(rng)
                stage._keep("bicycle", Standing(x, y, wrap(plan.road.heading_at(s) + turn)), size, True)


def _place_cyclists(stage: _Stage) -> None:
    """Cyclists at the lanes' edges; bicycles and motorcycles that stand on the pavement."""
    plan, rng = stage.plan, stage.rng
    edge = plan.lanes * plan.lane_width
    for s in stage.anywhere(0.03):
        side = int(rng.choice([1, -1]))
        d = side * (edge - 0.3 if rng.random() < 0.6 else abs(plan.kerb(side)) + 0.7)
        speed = float(rng.uniform(2.5, 6.5))
        start = s - (speed * stage.duration / 2 if side < 0 else -speed * stage.duration / 2)
        stage.add("cyclist", AlongRoad(plan.road, start, d, speed, side < 0, float(rng.normal(0.0, 0.03))), gap=0.1)
    for s in stage.anywhere(0.025):
        side = int(rng.choice([1, -1]))
        turn = float(rng.uniform(-math.pi, math.pi))
        d = plan.kerb(side) + side * float(rng.uniform(0.6, 1.6))
        stage.stand("bicycle" if rng.random() < 0.6 else "motorcycle", s, d, turn, parked=True)


def _place_people(stage: _Stage) -> None:
    """People who walk along the pavements or across the street, stand, or sit."""
    plan, rng = stage.plan, stage.rng
    for s in stage.anywhere(0.12):
        side = int(rng.choice([1, -1]))
        name = "child" if rng.random() < 0.08 else "adult"
        d = plan.kerb(side) + side * float(rng.uniform(0.4, plan.pavement))
        what = rng.random()
        speed = float(np.clip(rng.normal(1.3, 0.3), 0.5, 2.2))
        if what < 0.62:
            forward = bool(rng.random() < 0.5)
            start = s + (-1.0 if forward else 1.0) * speed * stage.duration / 2
            stage.add(name, AlongRoad(plan.road, start, d, speed, forward), gap=0.15)
        elif what < 0.72:
            # Across the street from the far side of the pavement, reaching the lanes some time during the drive.
            begin = plan.kerb(side) + side * float(rng.uniform(0.3, 8.0))
            x, y = plan.road.point(s, begin)
            stage.add(name, Straight(x, y, wrap(plan.road.heading_at(s) - side * math.pi / 2), speed), gap=0.15)
        elif what < 0.94:
            stage.stand(name, s, d, float(rng.uniform(-math.pi, math.pi)), gap=0.15)
        else:
            stage.stand("sitting", s, d, -side * math.pi / 2 + float(rng.normal(0.0, 0.4)), gap=0.15)


def _place_small_things(stage: _Stage) -> None:
    """Cones and barriers by themselves, and categories that are not scored."""
    plan, rng = stage.plan, stage.rng
    shares = {"cone": 0.4, "barrier": 0.15, "debris": 0.1, "pushable": 0.15, "stroller": 0.1, "animal": 0.1}
    for s in stage.anywhere(0.05):
        side = int(rng.choice([1, -1]))
        name = _choose(rng, shares)
        d = plan.kerb(side) + side * float(rng.uniform(0.4, plan.pavement))
        stage.stand(name, s, d, float(rng.uniform(-math.pi, math.pi)))


def stand_height(ground: Ground, place: tuple[float, float, float], size: Sequence[float]) -> float:
    """z on which a thing stands: the mean of the ground under four places where wheels would be."""
    x, y, yaw = place
    forward, left = 0.32 * size[0], 0.42 * size[1]
    cos, sin = math.cos(yaw), math.sin(yaw)
    heights = [
        ground.height(x + a * forward * cos - b * left * sin, y + a * forward * sin + b * left * cos)
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    return sum(heights) / 4
