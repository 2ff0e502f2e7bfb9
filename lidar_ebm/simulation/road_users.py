"""Categories of things on a street as nuScenes names them: sizes, states of moving, bodies.

Sizes are near the mean ones of nuScenes' labels, in this order: length along the heading, width, height. (A barrier is
wide and short: it heads across itself.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final

import numpy as np

from lidar_ebm.simulation.bodies import make_body
from lidar_ebm.simulation.cars import Size
from lidar_ebm.simulation.cycles import bicycle, motorcycle
from lidar_ebm.simulation.heavy_vehicles import bus, construction_vehicle, trailer
from lidar_ebm.simulation.solids import Solid
from lidar_ebm.simulation.street_things import (
    animal,
    barrier,
    bicycle_rack,
    debris,
    pushable,
    traffic_cone,
)

_TRUNCATION = 2.0  # sizes are drawn within so many standard deviations

BodyMaker = Callable[[Size, np.random.Generator], Solid]


@dataclass(frozen=True)
class RoadUser:
    """Sizes and bodies of a category."""

    category: str  # nuScenes' name
    mean: Size
    deviation: Size
    body: BodyMaker

    def draw_size(self, rng: np.random.Generator) -> Size:
        """Length, width and height in metres: one factor for all three, and a little of their own."""
        normal = np.clip(0.7 * rng.standard_normal() + 0.7 * rng.standard_normal(3), -_TRUNCATION, _TRUNCATION)
        length, width, height = np.asarray(self.mean) + np.asarray(self.deviation) * normal
        return float(length), float(width), float(height)


def _like(name: str) -> BodyMaker:
    """Bodies of one of the classes that single frames have."""
    return partial(make_body, name)


# By the names that placing them uses, of which several may share a category.
ROAD_USERS: Final = MappingProxyType(
    {
        "car": RoadUser("vehicle.car", (4.62, 1.95, 1.73), (0.40, 0.12, 0.20), _like("Car")),
        "van": RoadUser("vehicle.car", (5.10, 2.05, 2.15), (0.35, 0.10, 0.15), _like("Van")),
        "truck": RoadUser("vehicle.truck", (7.00, 2.52, 2.85), (1.40, 0.20, 0.45), _like("Truck")),
        "bus": RoadUser("vehicle.bus.rigid", (11.00, 2.93, 3.45), (1.20, 0.15, 0.25), bus),
        "trailer": RoadUser("vehicle.trailer", (12.00, 2.90, 3.87), (1.50, 0.20, 0.30), trailer),
        "construction": RoadUser("vehicle.construction", (6.40, 2.80, 3.15), (1.00, 0.30, 0.40), construction_vehicle),
        "motorcycle": RoadUser(
            "vehicle.motorcycle", (2.10, 0.78, 1.20), (0.15, 0.10, 0.10), partial(motorcycle, rider=False)
        ),
        "motorcyclist": RoadUser(
            "vehicle.motorcycle", (2.12, 0.80, 1.65), (0.15, 0.10, 0.10), partial(motorcycle, rider=True)
        ),
        "bicycle": RoadUser("vehicle.bicycle", (1.70, 0.60, 1.10), (0.12, 0.06, 0.08), partial(bicycle, rider=False)),
        "cyclist": RoadUser("vehicle.bicycle", (1.75, 0.65, 1.70), (0.12, 0.08, 0.10), partial(bicycle, rider=True)),
        "adult": RoadUser("human.pedestrian.adult", (0.73, 0.67, 1.77), (0.12, 0.09, 0.10), _like("Pedestrian")),
        "child": RoadUser("human.pedestrian.child", (0.50, 0.50, 1.30), (0.08, 0.06, 0.12), _like("Pedestrian")),
        "worker": RoadUser(
            "human.pedestrian.construction_worker", (0.75, 0.70, 1.78), (0.12, 0.08, 0.08), _like("Pedestrian")
        ),
        "sitting": RoadUser("human.pedestrian.adult", (0.80, 0.62, 1.28), (0.10, 0.08, 0.08), _like("sitting_person")),
        "cone": RoadUser("movable_object.trafficcone", (0.41, 0.41, 0.95), (0.06, 0.06, 0.18), traffic_cone),
        "barrier": RoadUser("movable_object.barrier", (0.50, 2.50, 0.98), (0.06, 0.25, 0.08), barrier),
        "rack": RoadUser("static_object.bicycle_rack", (4.50, 2.10, 1.30), (1.00, 0.10, 0.05), bicycle_rack),
        "animal": RoadUser("animal", (0.80, 0.32, 0.60), (0.12, 0.05, 0.10), animal),
        "debris": RoadUser("movable_object.debris", (0.80, 0.60, 0.45), (0.20, 0.15, 0.10), debris),
        "pushable": RoadUser("movable_object.pushable_pullable", (0.65, 0.60, 1.05), (0.08, 0.06, 0.10), pushable),
        "stroller": RoadUser("human.pedestrian.stroller", (0.95, 0.58, 1.05), (0.08, 0.05, 0.06), pushable),
        "police": RoadUser("vehicle.emergency.police", (4.85, 1.95, 1.75), (0.15, 0.05, 0.10), _like("Car")),
    }
)
VEHICLES: Final = ("car", "van", "truck", "bus", "trailer", "construction", "police")
CYCLES: Final = ("motorcycle", "motorcyclist", "bicycle", "cyclist")
PEOPLE: Final = ("adult", "child", "worker", "sitting")
_ATTRIBUTED: Final = frozenset({*VEHICLES, *CYCLES, *PEOPLE})


def attribute_of(name: str, speed: float, *, parked: bool = False) -> str:
    """nuScenes' attribute of a thing of `ROAD_USERS` at a speed (m/s); "" where its category has none."""
    if name not in _ATTRIBUTED:
        return ""
    if name in CYCLES:
        return "cycle.with_rider" if name in ("cyclist", "motorcyclist") else "cycle.without_rider"
    if name in PEOPLE:
        return "pedestrian." + ("sitting_lying_down" if name == "sitting" else "moving" if speed > 0.3 else "standing")
    return "vehicle." + ("moving" if speed > 0.3 else "parked" if parked else "stopped")
