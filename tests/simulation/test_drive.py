"""Drives: sweeps agree with one another and with the labels once everything is moved to one time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.geometry.boxes import points_in_boxes
from lidar_ebm.geometry.poses import boxes_to_child, move_points
from lidar_ebm.simulation.drive import ELEVATIONS, Drive, DriveSettings, DriveSweep, make_drive
from lidar_ebm.simulation.road_users import ROAD_USERS
from lidar_ebm.simulation.sensor import SURROUNDINGS
from lidar_ebm.simulation.shutter import ROLLING_SHUTTERS

STEPS = 240


def _moving_drive(**settings: object) -> Drive:
    """A drive whose car moves and that has moving vehicles."""
    base = DriveSettings(5, samples=3, azimuth_steps=STEPS, **settings)  # type: ignore[arg-type]
    for index in range(30):
        drive = make_drive(base, index)
        fast = [
            mover for mover in drive.street.movers if mover.path.speed > 3 and mover.name in ("car", "bus", "truck")
        ]
        if drive.street.ego.speed > 5 and len(fast) > 4:
            return drive
    raise AssertionError


@pytest.fixture(scope="module")
def drive() -> Drive:
    return _moving_drive()


@pytest.fixture(scope="module")
def sweeps(drive: Drive) -> list[DriveSweep]:
    return list(drive.sweeps())


def _to_world(drive: Drive, sweep: DriveSweep) -> np.ndarray:
    return move_points(sweep.points[:, :3], sweep.car_pose @ drive.sensor_pose)


def test_key_frames_are_every_tenth_and_stamps_rise(sweeps: list[DriveSweep]) -> None:
    assert len(sweeps) == 21
    assert [k for k, sweep in enumerate(sweeps) if sweep.boxes is not None] == [0, 10, 20]
    steps = np.diff([sweep.stamp for sweep in sweeps])
    assert np.abs(steps - 50_000).max() <= 800
    assert len(set(steps.tolist())) > 5


def test_rings_are_the_beams_from_below(drive: Drive, sweeps: list[DriveSweep]) -> None:
    points = sweeps[0].points.astype(np.float64)
    elevation = np.arcsin(points[:, 2] / np.linalg.norm(points[:, :3], axis=1))
    rings = points[:, 4].astype(int)
    assert set(rings.tolist()) <= set(range(32))
    assert np.abs(elevation - ELEVATIONS[::-1][rings]).max() < 2e-3
    assert np.degrees(ELEVATIONS[[0, -1]]) == pytest.approx([10.67, -30.67])


def test_ground_of_all_sweeps_lies_on_the_ground(drive: Drive, sweeps: list[DriveSweep]) -> None:
    """The sensor's way, lean and tilt are taken out by the poses alone."""
    ground, world = drive.street.ground, drive.world
    for sweep in sweeps[::5]:
        street = (_to_world(drive, sweep) - world[:3, 3]) @ world[:3, :3]
        static = sweep.owners == SURROUNDINGS
        own = np.linalg.norm(sweep.points[:, :2], axis=1) < 3.0
        near = static & ~own & (np.linalg.norm(sweep.points[:, :2], axis=1) < 30.0)
        above = np.array([z - ground.height(x, y) for x, y, z in street[near]])
        on_ground = np.abs(above) < 0.4
        assert on_ground.mean() > 0.4
        assert np.median(np.abs(above[on_ground])) < 0.03
        assert above.min() > -0.4


def test_walls_of_all_sweeps_coincide(drive: Drive, sweeps: list[DriveSweep]) -> None:
    """Points above the ground have a neighbour in a sweep of another time."""
    clouds = []
    for sweep in (sweeps[0], sweeps[8]):
        static = (sweep.owners == SURROUNDINGS) & (sweep.points[:, 2] > 0.0)
        clouds.append(_to_world(drive, sweep)[static])
    gaps = np.array([np.linalg.norm(clouds[1] - point, axis=1).min() for point in clouds[0]])
    unmoved = clouds[0] + np.array([3.0, 0.0, 0.0])
    apart = np.array([np.linalg.norm(clouds[1] - point, axis=1).min() for point in unmoved])
    assert np.median(gaps) < 0.35  # neighbouring rays are as far from each other
    assert np.median(apart) > 2 * np.median(gaps)


def test_points_of_moving_things_lie_in_their_box_when_moved_by_velocity_and_lag(
    drive: Drive, sweeps: list[DriveSweep]
) -> None:
    key = sweeps[20]
    assert key.boxes is not None and key.boxes.velocity is not None and key.boxes.track is not None
    tried = 0
    for box, velocity, track in zip(key.boxes.boxes, key.boxes.velocity, key.boxes.track, strict=True):
        if np.linalg.norm(velocity) < 3.0:
            continue
        grown = box + np.array([0, 0, 0, 0.25, 0.25, 0.3, 0])
        for sweep in sweeps[11:20]:
            points = _to_world(drive, sweep)[sweep.owners == int(track)]
            if len(points) < 5:
                continue
            lag = 1e-6 * (key.stamp - sweep.stamp)
            moved = points + np.array([*(velocity * lag), 0.0])
            assert np.asarray(points_in_boxes(moved, grown[None])).mean() > 0.9
            if lag > 0.35:
                assert np.asarray(points_in_boxes(points, grown[None])).mean() < 0.95
            tried += 1
    assert tried > 10


def test_velocity_is_what_the_places_of_key_frames_say(sweeps: list[DriveSweep]) -> None:
    places: dict[str, dict[int, np.ndarray]] = {}
    for k in (0, 10, 20):
        boxes = sweeps[k].boxes
        assert boxes is not None and boxes.track is not None
        for track, box in zip(boxes.track, boxes.boxes, strict=True):
            places.setdefault(str(track), {})[k] = box
    middle = sweeps[10].boxes
    assert middle is not None and middle.velocity is not None and middle.track is not None
    seconds = 1e-6 * (sweeps[20].stamp - sweeps[0].stamp)
    compared = 0
    for track, velocity in zip(middle.track, middle.velocity, strict=True):
        there = places[str(track)]
        if len(there) == 3:
            np.testing.assert_allclose((there[20][:2] - there[0][:2]) / seconds, velocity, atol=0.05)
            compared += 1
    assert compared > 5


def test_labels_stand_on_the_ground_and_are_named_as_nuscenes_does(drive: Drive, sweeps: list[DriveSweep]) -> None:
    boxes = sweeps[0].boxes
    assert boxes is not None
    categories = {user.category for user in ROAD_USERS.values()}
    assert set(boxes.names.tolist()) <= categories
    own = boxes_to_child(boxes.boxes, sweeps[0].car_pose)
    assert np.hypot(own[:, 0], own[:, 1]).max() < 71.0
    assert np.abs(own[:, 2] - own[:, 5] / 2).mean() < 1.0


def test_things_never_drive_through_each_other(drive: Drive) -> None:
    from shapely.geometry import Polygon

    from lidar_ebm.geometry.boxes import corners_bev

    movers = [mover for mover in drive.street.movers if mover.name not in ("rack", "bicycle")]
    for t in np.linspace(0.0, drive.settings.duration, 4):
        places = [(*mover.path.place(float(t)), mover.size) for mover in movers]
        boxes = np.array([[x, y, 0.0, *size, yaw] for x, y, yaw, size in places])
        shapes = [Polygon(corners) for corners in np.asarray(corners_bev(boxes))]
        for a, shape in enumerate(shapes):
            for b in range(a):
                if np.hypot(*(boxes[a, :2] - boxes[b, :2])) < 15:
                    assert shape.intersection(shapes[b]).area < 1e-9


def test_a_drive_is_decided_by_seed_and_index() -> None:
    settings = DriveSettings(1, samples=2, sweep_rate=4, azimuth_steps=60)
    one, two, other = (list(make_drive(settings, index).sweeps()) for index in (3, 3, 4))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.points, b.points)
        np.testing.assert_array_equal(a.car_pose, b.car_pose)
    assert len(one[0].points) != len(other[0].points)


def test_racks_hold_bicycles_and_every_class_occurs() -> None:
    names: set[str] = set()
    in_racks = 0
    for index in range(25):
        movers = make_drive(DriveSettings(2, samples=10), index).street.movers
        names |= {mover.name for mover in movers}
        racks = [mover for mover in movers if mover.name == "rack"]
        for bicycle in (mover for mover in movers if mover.name == "bicycle"):
            x, y, _ = bicycle.path.place(0.0)
            for rack in racks:
                rx, ry, yaw = rack.path.place(0.0)
                along = (x - rx) * np.cos(yaw) + (y - ry) * np.sin(yaw)
                across = (y - ry) * np.cos(yaw) - (x - rx) * np.sin(yaw)
                in_racks += abs(along) < rack.size[0] / 2 and abs(across) < rack.size[1] / 2
    assert names == set(ROAD_USERS)
    assert in_racks > 10


def _surface_distance(drive: Drive, sweep: DriveSweep) -> np.ndarray:
    """Distance of the points on massive surroundings from the surface of the nearest piece, m."""
    solid = drive.street.surroundings
    street = (_to_world(drive, sweep) - drive.world[:3, 3]) @ drive.world[:3, :3]
    heights = np.array([z - drive.street.ground.height(x, y) for x, y, z in street])
    points = street[(sweep.owners == SURROUNDINGS) & (heights > 0.5) & (np.linalg.norm(sweep.points, axis=1) > 3.0)]
    nearest = np.full(len(points), np.inf)
    for first, last in pairwise(solid.plane_starts):
        outside = (points @ solid.planes[first:last, :3].T - solid.planes[first:last, 3]).max(axis=1)
        nearest = np.minimum(nearest, np.abs(outside))
    return nearest


def test_rolling_shutter_compensated_leaves_what_stands_on_its_surfaces() -> None:
    still = _moving_drive()
    distance = {}
    for kind in ROLLING_SHUTTERS:
        drive = replace(still, settings=replace(still.settings, rolling_shutter=kind))
        distance[kind] = _surface_distance(drive, next(iter(drive.sweeps())))
    assert np.mean(distance["none"] < 0.08) > 0.6  # leaves let rays in
    assert np.mean(distance["compensated"] < 0.08) == pytest.approx(np.mean(distance["none"] < 0.08), abs=0.03)
    assert np.mean(distance["raw"] < 0.08) < np.mean(distance["compensated"] < 0.08) - 0.05


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 0, "samples": 0}, "samples"),
        ({"seed": 0, "sweep_rate": 7}, "sweep_rate"),
        ({"seed": 0, "azimuth_steps": 3}, "azimuth_steps"),
        ({"seed": 0, "rolling_shutter": "global"}, "rolling_shutter 'global'"),
    ],
)
def test_settings_that_make_no_sense_are_named(arguments: dict[str, object], name: str) -> None:
    with pytest.raises(InputError, match=name):
        DriveSettings(**arguments)  # type: ignore[arg-type]


def test_every_kind_of_rolling_shutter_has_a_name() -> None:
    assert ROLLING_SHUTTERS == ("none", "raw", "compensated")
