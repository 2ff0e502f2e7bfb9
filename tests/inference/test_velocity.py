"""Detections with a velocity, from the network's nine numbers to `Boxes`, landscapes and calibration."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lidar_ebm.boxes import Boxes
from lidar_ebm.config.config import Config
from lidar_ebm.energy.landscape import PLANES
from lidar_ebm.errors import InputError
from lidar_ebm.inference.box_matching import match_boxes
from lidar_ebm.inference.detection import LoadedDetector, detect_batch
from lidar_ebm.inference.energy import LoadedEnergy
from lidar_ebm.inference.landscape import landscape
from lidar_ebm.inference.points import checked_points
from lidar_ebm.runs.model import Model
from lidar_ebm.types import LabelBatch, Proposals
from lidar_ebm.visualization.landscape_plot import plot_landscape

pytestmark = pytest.mark.filterwarnings("ignore:.*how sure the energy is")
CHANNELS = ("reflectance", "time_lag")
MakeDetector = Callable[..., LoadedDetector]


def some_points(count: int = 1500) -> np.ndarray:
    rng = np.random.default_rng(0)
    points = rng.uniform((0, -15, -2, 0, 0), (40, 15, 0, 1, 0), (count, 5)).astype(np.float32)
    points[:, 4] = 0.05 * rng.integers(0, 10, count)
    return points


@pytest.fixture
def make_detector(eager_config: Config, tmp_path: Path) -> MakeDetector:
    """Detectors that have learnt nothing but propose boxes all the same, with a velocity each."""

    def make(**energy: Any) -> LoadedDetector:
        values = eager_config.model_dump()
        values["points"] = {"channels": CHANNELS, "sweeps": 10}
        values["velocity"] = True
        values["energy"] |= energy
        torch.manual_seed(0)
        model = Model(Config.model_validate(values))
        torch.nn.init.normal_(model.energy.points.head[-1].weight)  # far from flat
        propose = model.detector.propose

        def with_velocity(*arguments: Any) -> Proposals:
            proposals = propose(*arguments)
            velocity = torch.linspace(-9, 9, 2 * len(proposals.boxes)).view(-1, 2)
            return replace(proposals, boxes=torch.cat([proposals.boxes[:, :7], velocity], dim=1))

        model.detector.propose = with_velocity  # type: ignore[method-assign]
        return LoadedDetector(model, tmp_path)

    return make


def test_detections_have_velocities_which_refinement_changes(make_detector: MakeDetector) -> None:
    before, after = make_detector().detect_before_after(some_points(), steps=3, uncertainty=True)
    assert len(after) > 3
    assert before.boxes.shape == after.boxes.shape == (len(after), 7)
    np.testing.assert_allclose(before.velocity, np.linspace(-9, 9, 2 * len(before)).reshape(-1, 2), atol=1e-5)
    assert (after.velocity != before.velocity).any()
    assert after.covariance.shape == (len(after), 9, 9)
    assert after.samples.shape[2] == 9
    path = make_detector().refinement_path(some_points(), steps=3)
    assert path.path.shape == (4, len(after), 9)
    np.testing.assert_allclose(path.path[-1, :, 7:], after.velocity, atol=1e-5)


def test_an_energy_over_seven_leaves_velocities_alone(make_detector: MakeDetector) -> None:
    before, after = make_detector(velocity=False).detect_before_after(some_points(), steps=3, uncertainty=True)
    np.testing.assert_array_equal(after.velocity, before.velocity)
    assert (after.boxes != before.boxes).any()
    assert after.covariance.shape == (len(after), 7, 7)


def test_points_need_the_channels_of_the_run(make_detector: MakeDetector) -> None:
    detector, points = make_detector(), some_points(50)
    with pytest.raises(InputError, match=r"\[N, 5\] \(x, y, z, reflectance, time_lag\).*column of zeros"):
        detector.detect(points[:, :4])
    for wrong in (math.nan, -0.05):
        bad = points.copy()
        bad[3, 4] = wrong
        with pytest.raises(InputError, match="1 of 50 rows have a time_lag that is no number of 0 or more"):
            detector.detect(bad)
    assert checked_points(points, CHANNELS).shape == (50, 5)


class TestBoxesOfAnySource:
    def boxes(self, detector: LoadedDetector) -> Boxes:
        return detector.detect(some_points(), steps=0).select(slice(4))

    def test_their_velocities_are_where_it_begins(self, make_detector: MakeDetector) -> None:
        detector = make_detector(features=("points",))
        given, energy = self.boxes(detector), LoadedEnergy(detector.model)
        detected = detector.detect(some_points(), steps=2)
        refined = energy.refine(some_points(), given, steps=2)
        np.testing.assert_allclose(refined.boxes.velocity, detected.velocity[:4], atol=1e-4)
        np.testing.assert_allclose(refined.f, detected.f[:4], atol=1e-3)
        np.testing.assert_array_equal(energy.refine(some_points(), given, steps=0).boxes.velocity, given.velocity)

    def test_an_unknown_velocity_begins_at_rest_and_is_said(self, make_detector: MakeDetector) -> None:
        detector = make_detector(features=("points",))
        given, energy = self.boxes(detector), LoadedEnergy(detector.model)
        velocity = given.velocity.copy()
        velocity[1, 0] = np.nan
        with pytest.warns(UserWarning, match="1 of 4 have no velocity"):
            found = energy.refine(some_points(), given.with_columns(velocity=velocity), steps=0)
        np.testing.assert_array_equal(found.boxes.velocity[1], [0, 0])
        np.testing.assert_array_equal(found.boxes.velocity[2], given.velocity[2])
        with pytest.warns(UserWarning, match="4 of 4 have no velocity"):
            energy.refine(some_points(), given.boxes, given.names, steps=0)

    def test_an_energy_over_seven_keeps_even_unknown_ones(self, make_detector: MakeDetector) -> None:
        detector = make_detector(features=("points",), velocity=False)
        given = self.boxes(detector)
        velocity = given.velocity.copy()
        velocity[1, 0] = np.nan
        with pytest.warns(UserWarning, match="1 of 4"):
            found = LoadedEnergy(detector.model).refine(some_points(), given.with_columns(velocity=velocity), steps=2)
        np.testing.assert_array_equal(found.boxes.velocity, velocity)

    def test_a_class_that_the_energy_was_not_told_of(self, make_detector: MakeDetector) -> None:
        detector = make_detector(
            features=("points",), points={"channels": (8,), "hidden": 8, "max_points": 16, "class_input": True}
        )
        given, energy = self.boxes(detector), LoadedEnergy(detector.model)
        assert len(energy.refine(some_points(), given, steps=1).boxes) == 4
        other = given.with_columns(names=["Car", "Tram", "Car", "Car"])
        with pytest.raises(InputError, match="box 1 is a 'Tram', and this energy was trained for Car"):
            energy.refine(some_points(), other, steps=1)


class TestLandscapes:
    def test_a_map_over_velocity(self, make_detector: MakeDetector, tmp_path: Path) -> None:
        detector, points = make_detector(), some_points()
        label = np.concatenate([detector.detect(points).boxes[1], [1.0, 2.0]])
        each = landscape(detector, points, 1, labels=label[None], resolution=11)
        assert tuple(plane.names for plane in each.planes) == (*PLANES, ("vx", "vy"))
        assert each.box.shape == each.proposal.shape == each.label.shape == (9,)
        plane = each.planes[-1]
        for axis, k in zip(plane.axes, (7, 8), strict=True):
            assert axis[0] <= each.path[:, k].min() <= each.path[:, k].max() <= axis[-1]
        middle = tuple(int(np.abs(axis - each.box[k]).argmin()) for axis, k in zip(plane.axes, (7, 8), strict=True))
        assert plane.f[middle] == pytest.approx(each.f, abs=1e-3)
        assert np.ptp(plane.f) > 0
        assert plot_landscape(each, tmp_path / "nine.png").stat().st_size > 10_000

    def test_any_two_numbers(self, make_detector: MakeDetector, tmp_path: Path) -> None:
        detector, points = make_detector(), some_points()
        planes = (("x", "vx"), ("yaw", "l"), ("vy", "z"))
        unknown = np.concatenate([detector.detect(points).boxes[0], [np.nan, np.nan]])
        each = landscape(detector, points, 0, labels=unknown[None], resolution=9, planes=planes)
        assert tuple(plane.names for plane in each.planes) == planes
        assert all(np.isfinite(plane.f).all() for plane in each.planes)
        assert plot_landscape(each, tmp_path / "any.png").stat().st_size > 10_000
        for wrong in (("x", "x"), ("x", "speed")):
            with pytest.raises(ValueError, match="name two of x, y, z"):
                landscape(detector, points, 0, planes=[wrong])
        with pytest.raises(ValueError, match=r"name two of .* yaw$"):
            landscape(make_detector(velocity=False), points, 0, planes=[("vx", "vy")])


@pytest.mark.parametrize("over_velocity", [True, False])
def test_matches_whose_velocity_is_unknown_are_left_out(make_detector: MakeDetector, over_velocity: bool) -> None:
    detector = make_detector(velocity=over_velocity)
    batch = detector.to_batch(some_points())
    detected = detect_batch(detector.model, batch)
    labels = detected.ascent.y[:3].clone()
    labels[1, 7] = math.nan
    nothing = torch.zeros(3, dtype=torch.int64)
    batch = replace(batch, boxes=LabelBatch(labels, detected.proposals.class_index[:3], nothing, 1))
    found = match_boxes(detector.model, batch)
    assert len(found.boxes) == (2 if over_velocity else 3)
    assert found.targets.shape[1] == (9 if over_velocity else 7)
    assert found.targets.isfinite().all()
