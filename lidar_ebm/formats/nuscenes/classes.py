"""nuScenes' ten detection classes: which categories they are made of, and the attributes that suit them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# In the benchmark's own order.
CLASSES = (
    "car",
    "truck",
    "bus",
    "trailer",
    "construction_vehicle",
    "pedestrian",
    "motorcycle",
    "bicycle",
    "traffic_cone",
    "barrier",
)

_CATEGORIES = {
    "car": ("vehicle.car",),
    "truck": ("vehicle.truck",),
    "bus": ("vehicle.bus.bendy", "vehicle.bus.rigid"),
    "trailer": ("vehicle.trailer",),
    "construction_vehicle": ("vehicle.construction",),
    "pedestrian": (
        "human.pedestrian.adult",
        "human.pedestrian.child",
        "human.pedestrian.construction_worker",
        "human.pedestrian.police_officer",
    ),
    "motorcycle": ("vehicle.motorcycle",),
    "bicycle": ("vehicle.bicycle",),
    "traffic_cone": ("movable_object.trafficcone",),
    "barrier": ("movable_object.barrier",),
}

# Category → class; every other category is none of the ten.
CLASS_OF_CATEGORY: Mapping[str, str] = MappingProxyType(
    {category: name for name, categories in _CATEGORIES.items() for category in categories}
)

# Objects that the scoring passes over.
OTHER_CATEGORIES = (
    "animal",
    "human.pedestrian.personal_mobility",
    "human.pedestrian.stroller",
    "human.pedestrian.wheelchair",
    "movable_object.debris",
    "movable_object.pushable_pullable",
    "static_object.bicycle_rack",
    "vehicle.emergency.ambulance",
    "vehicle.emergency.police",
)

BIKE_RACK = "static_object.bicycle_rack"

# Surfaces that lidarseg's releases name beside the objects.
_SURFACES = ("flat.", "static.", "noise", "vehicle.ego")

_VEHICLE = ("vehicle.moving", "vehicle.stopped", "vehicle.parked")
_CYCLE = ("cycle.with_rider", "cycle.without_rider")
_PEDESTRIAN = ("pedestrian.moving", "pedestrian.standing", "pedestrian.sitting_lying_down")

# Attributes that suit a class.
ATTRIBUTES_OF_CLASS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "car": _VEHICLE,
        "truck": _VEHICLE,
        "bus": _VEHICLE,
        "trailer": _VEHICLE,
        "construction_vehicle": _VEHICLE,
        "pedestrian": _PEDESTRIAN,
        "motorcycle": _CYCLE,
        "bicycle": _CYCLE,
        "traffic_cone": (),
        "barrier": (),
    }
)

ATTRIBUTES = (*_PEDESTRIAN, *_CYCLE, *_VEHICLE)


def is_category_of_nuscenes(name: str) -> bool:
    """Tell if nuScenes has a category of this name."""
    return name in CLASS_OF_CATEGORY or name in OTHER_CATEGORIES or name.startswith(_SURFACES)
