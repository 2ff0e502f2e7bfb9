"""Composing a scene: a street with its traffic, its people and what stands beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lidar_ebm.simulation.bodies import draw_size, draw_vehicle_class, make_body, people_per_vehicle
from lidar_ebm.simulation.occupancy import Occupancy
from lidar_ebm.simulation.sensor import SURROUNDINGS
from lidar_ebm.simulation.solids import Solid, merge
from lidar_ebm.simulation.street import Ground, Road, make_ground, wrap
from lidar_ebm.simulation.surroundings import place_surroundings

FAR: Final = 85.0  # m along the street up to which things are placed
BEHIND: Final = -12.0
EGO_SIZE: Final = (5.0, 2.2)  # m kept free around the sensor
_GAP = 0.25  # m kept free between things
_THINNING = (25.0, 80.0, 0.2)  # from 25 m on vehicles become rarer, down to a fifth at 80 m: KITTI labels near ones


@dataclass(frozen=True)
class Actor:
    """Something that gets a label."""

    type: str  # class name, of SIMULATED_CLASSES
    box: NDArray[np.float64]  # [7] LiDAR frame
    solid: Solid  # in the LiDAR frame, touching all faces of the box
    on_its_way: bool = False  # it moves along its heading, where a frame has motion at all


@dataclass(frozen=True)
class Scene:
    """All that a frame shows."""

    actors: tuple[Actor, ...]
    surroundings: Solid
    ground: Ground

    def solid(self) -> tuple[Solid, NDArray[np.int64]]:
        """Everything but the ground as one solid, and for each of its pieces [K] the index of its actor or
        SURROUNDINGS."""
        parts = [*(actor.solid for actor in self.actors), self.surroundings]
        owners = [*range(len(self.actors)), SURROUNDINGS]
        pieces = [len(part.opacity) for part in parts]
        return merge(parts), np.repeat(np.array(owners, dtype=np.int64), pieces)

    def moved(self, shifts: NDArray[np.float64]) -> Scene:
        """The scene with each labelled thing shifted on the ground by its row of [A, 2], m."""
        actors = []
        for actor, (x, y) in zip(self.actors, shifts, strict=True):
            box = actor.box + np.array([x, y, 0, 0, 0, 0, 0])
            actors.append(replace(actor, box=box, solid=actor.solid.placed((x, y, 0.0), 0.0)))
        return replace(self, actors=tuple(actors))


@dataclass(frozen=True)
class StreetPlan:
    """Measures across the street (d in metres, positive to the left) and what happens on it."""

    road: Road
    lane_width: float
    lanes: int  # each way
    ego_offset: float  # d of the sensor
    parking: tuple[str, str]  # left, right: "none", "parallel" or "across"
    occupancy: tuple[float, float]  # share of the parking places taken, left and right
    traffic: float  # vehicles per metre of lane
    pavement: float  # width, m
    crossing: float | None  # s of a side road
    built_up: float  # how closely the street is lined with buildings, 0..1

    def kerb(self, side: int) -> float:
        """d of the left (side = 1) or right (side = -1) kerb."""
        room = {"none": 0.3, "parallel": 2.2, "across": 5.2}[self.parking[0 if side > 0 else 1]]
        return side * (self.lanes * self.lane_width + room)

    @property
    def crossing_half_width(self) -> float:
        """Half the width of a side road at its mouth, m."""
        return self.lane_width + 0.8


def draw_plan(rng: np.random.Generator) -> StreetPlan:
    """A residential street, a city road or a country road."""
    kind = str(rng.choice(["residential", "city", "country"], p=[0.5, 0.3, 0.2]))
    lanes = 2 if kind == "city" and rng.random() < 0.6 else 1
    lane_width = float(rng.uniform(2.7, 3.6))
    parked = {"residential": 0.55, "city": 0.4, "country": 0.05}[kind]
    styles = np.where(rng.random(2) < parked, np.where(rng.random(2) < 0.82, "parallel", "across"), "none")
    straight = rng.random() < 0.5
    curvature = 0.0 if straight else float(rng.choice([-1.0, 1.0]) / rng.uniform(60.0, 400.0))
    turning = rng.random() < 0.12  # the car is just turning, and looks across the street
    heading = float(rng.normal(0.0, 0.35 if turning else 0.025))
    lane = int(rng.integers(lanes))
    offset = -(lane + 0.5) * lane_width + float(rng.normal(0.0, 0.2))
    origin = (offset * math.sin(heading), -offset * math.cos(heading))
    has_crossing = rng.random() < {"residential": 0.4, "city": 0.6, "country": 0.2}[kind]
    return StreetPlan(
        road=Road(origin, heading, curvature),
        lane_width=lane_width,
        lanes=lanes,
        ego_offset=offset,
        parking=(str(styles[0]), str(styles[1])),
        occupancy=(float(rng.uniform(0.1, 0.75)), float(rng.uniform(0.1, 0.75))),
        traffic={"residential": 0.018, "city": 0.022, "country": 0.014}[kind] * float(rng.uniform(0.2, 1.8)),
        pavement=float(rng.uniform(1.4, 4.0)),
        crossing=float(rng.uniform(9.0, 55.0)) if has_crossing else None,
        built_up={"residential": 0.8, "city": 0.85, "country": 0.15}[kind],
    )


@dataclass
class _Stage:
    """A scene in the making."""

    plan: StreetPlan
    ground: Ground
    rng: np.random.Generator
    taken: Occupancy = field(default_factory=Occupancy)
    actors: list[Actor] = field(default_factory=list)

    def place(self, type_: str, s: float, d: float, turn: float, *, spread: float, moves: bool = False) -> bool:
        """Put a new thing of a class at (s, d), turned by `turn` against the road; False if there is no room.

        The size is drawn here, so that crowding, not choice, is all that can change its distribution.
        """
        x, y = self.plan.road.point(s, d)
        yaw = wrap(self.plan.road.heading_at(s) + turn + spread * float(self.rng.standard_normal()))
        return self.place_at(type_, x, y, yaw, moves=moves)

    def place_at(self, type_: str, x: float, y: float, yaw: float, *, moves: bool) -> bool:
        """Put a new thing of a class at (x, y) on the ground; False if there is no room."""
        size = draw_size(type_, self.rng)
        if not self.taken.claim(x, y, size[0], size[1], yaw, gap=_GAP):
            return False
        center = (x, y, self._stand(x, y, yaw, size) + size[2] / 2)
        body = make_body(type_, size, self.rng).placed(center, yaw)
        self.actors.append(Actor(type_, np.array([*center, *size, yaw]), body, moves))
        return True

    def place_vehicle(self, type_: str, s: float, d: float, turn: float, *, spread: float, moves: bool = False) -> None:
        """Put a vehicle at (s, d) if there is room, and far away only now and then."""
        start, end, min_share = _THINNING
        share = 1.0 - (1.0 - min_share) * min(max((s - start) / (end - start), 0.0), 1.0)
        if self.rng.random() < share:
            self.place(type_, s, d, turn, spread=spread, moves=moves)

    def _stand(self, x: float, y: float, yaw: float, size: tuple[float, float, float]) -> float:
        """z on which a thing stands: the mean of the ground under four places where wheels would be."""
        forward, left = 0.32 * size[0], 0.42 * size[1]
        cos, sin = math.cos(yaw), math.sin(yaw)
        heights = [
            self.ground.height(x + a * forward * cos - b * left * sin, y + a * forward * sin + b * left * cos)
            for a in (-1, 1)
            for b in (-1, 1)
        ]
        return sum(heights) / 4


def make_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene; the generator alone decides it."""
    plan = draw_plan(rng)
    ground = make_ground(
        plan.road,
        kerbs=(plan.kerb(1), plan.kerb(-1)),
        kerb_height=float(rng.uniform(0.05, 0.16)),
        crossing=None if plan.crossing is None else (plan.crossing, plan.crossing_half_width),
        rng=rng,
    )
    stage = _Stage(plan, ground, rng)
    stage.taken.claim(0.0, 0.0, *EGO_SIZE, 0.0, gap=0.0)
    _place_traffic(stage)
    _place_crossing_traffic(stage)
    for side in (1, -1):
        _place_parked(stage, side)
    _place_people(stage)
    surroundings = place_surroundings(plan, ground, stage.taken, rng)
    return Scene(tuple(stage.actors), surroundings, ground)


def _place_traffic(stage: _Stage) -> None:
    """Vehicles in all lanes, at random distances; on the left they come towards us."""
    plan, rng = stage.plan, stage.rng
    for lane in range(plan.lanes):
        for side in (1, -1):
            s = BEHIND + float(rng.exponential(1.0 / plan.traffic))
            while s < FAR:
                d = side * (lane + 0.5) * plan.lane_width + float(rng.normal(0.0, 0.2))
                way = math.pi if side > 0 else 0.0
                stage.place_vehicle(draw_vehicle_class(rng), s, d, way, spread=0.03, moves=True)
                s += 7.0 + float(rng.exponential(1.0 / plan.traffic))


def _place_crossing_traffic(stage: _Stage) -> None:
    """Vehicles on the side road, both ways."""
    plan, rng = stage.plan, stage.rng
    if plan.crossing is None:
        return
    x0, y0 = plan.road.point(plan.crossing, 0.0)
    across = plan.road.heading_at(plan.crossing) + math.pi / 2
    for way in (1, -1):
        along = -40.0 + float(rng.exponential(40.0))
        while along < 40.0:
            # Driving on the right of a road that runs along `across`.
            beside = -way * 0.5 * plan.lane_width
            x = x0 + along * math.cos(across) - beside * math.sin(across)
            y = y0 + along * math.sin(across) + beside * math.cos(across)
            yaw = across + (0.0 if way > 0 else math.pi) + 0.05 * float(rng.standard_normal())
            stage.place_at(draw_vehicle_class(rng), x, y, wrap(yaw), moves=True)
            along += 7.0 + float(rng.exponential(40.0))


def _place_parked(stage: _Stage, side: int) -> None:
    """A row of parked vehicles along one kerb."""
    plan, rng = stage.plan, stage.rng
    style = plan.parking[0 if side > 0 else 1]
    share = plan.occupancy[0 if side > 0 else 1]
    if style == "none":
        return
    s = BEHIND + float(rng.uniform(0.0, 5.0))
    while s < FAR:
        near_crossing = plan.crossing is not None and abs(s - plan.crossing) < plan.crossing_half_width + 4.0
        type_ = draw_vehicle_class(rng)
        half_extra = 3.0 if type_ == "Truck" and style == "parallel" else 0.0  # m by which its place is longer
        s += half_extra
        if rng.random() < share and not near_crossing:
            backwards = math.pi if rng.random() < (0.85 if side > 0 else 0.1) else 0.0
            if style == "parallel":
                d = plan.kerb(side) - side * (1.05 + float(rng.normal(0.0, 0.1)))
                stage.place_vehicle(type_, s, d, backwards, spread=0.03)
            else:
                d = plan.kerb(side) - side * (2.4 + float(rng.normal(0.0, 0.2)))
                turn = math.pi / 2 if rng.random() < 0.5 else -math.pi / 2
                stage.place_vehicle(type_, s, d, turn, spread=0.05)
        s += half_extra + float(rng.uniform(5.0, 6.5) if style == "parallel" else rng.uniform(2.5, 3.0))


def _place_people(stage: _Stage) -> None:
    """Pedestrians on the pavements, alone or in groups, some on the road; cyclists; people who sit."""
    plan, rng = stage.plan, stage.rng
    vehicles = len(stage.actors)
    wanted = {
        name: int(rng.poisson(people_per_vehicle(name) * vehicles))
        for name in ("Pedestrian", "sitting_person", "Cyclist")
    }
    while wanted["Pedestrian"] > 0:
        group = min(wanted["Pedestrian"], int(rng.geometric(0.6)))
        wanted["Pedestrian"] -= group
        side = int(rng.choice([1, -1]))
        s = float(rng.uniform(4.0, 60.0))
        walks_across = rng.random() < 0.15
        room = abs(plan.kerb(side))
        d = side * (float(rng.uniform(0.0, room)) if walks_across else room + float(rng.uniform(0.4, plan.pavement)))
        turn = float(rng.choice([0.0, math.pi])) + (math.pi / 2 if walks_across else 0.0)
        for _ in range(group):
            _try_places(stage, "Pedestrian", s, d, turn, spread=0.25)
    for _ in range(wanted["sitting_person"]):
        side = int(rng.choice([1, -1]))
        d = plan.kerb(side) + side * (plan.pavement - 0.3)
        _try_places(stage, "sitting_person", float(rng.uniform(4.0, 40.0)), d, -side * math.pi / 2, spread=0.4)
    for _ in range(wanted["Cyclist"]):
        side = int(rng.choice([1, -1]))
        edge = plan.lanes * plan.lane_width
        d = side * (edge - 0.5 if rng.random() < 0.7 else abs(plan.kerb(side)) + 1.0)
        turn = math.pi if (side > 0) != (rng.random() < 0.1) else 0.0
        _try_places(stage, "Cyclist", float(rng.uniform(4.0, 60.0)), d, turn, spread=0.08)


def _try_places(stage: _Stage, type_: str, s: float, d: float, turn: float, *, spread: float) -> None:
    """Try places ever farther around (s, d) until there is room."""
    for attempt in range(8):
        ds, dd = stage.rng.normal(0.0, 0.5 + attempt, 2)
        moves = type_ != "sitting_person"
        if stage.place(type_, s + float(ds), d + 0.3 * float(dd), turn, spread=spread, moves=moves):
            return
