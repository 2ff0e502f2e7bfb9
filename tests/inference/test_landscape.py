from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from lidar_ebm.config.config import Config
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.datasets.samples import crop_to_range
from lidar_ebm.energy.box_space import BOX_NAMES
from lidar_ebm.energy.landscape import PLANES, Landscape, Slice, unwrapped
from lidar_ebm.errors import InputError
from lidar_ebm.inference.detection import LoadedDetector
from lidar_ebm.inference.landscape import (
    MAX_REACH,
    MIN_TURN,
    boxes_of,
    landscape,
    landscapes,
)
from lidar_ebm.runs.model import Model

pytestmark = pytest.mark.filterwarnings("ignore:.*how sure the energy is")


def some_points(count: int = 1500) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform((0, -15, -2, 0), (40, 15, 0, 1), (count, 4)).astype(np.float32)


@pytest.fixture
def detector(eager_config: Config, tmp_path: Path) -> LoadedDetector:
    """One that has learnt nothing but proposes boxes all the same."""
    return LoadedDetector(Model(eager_config), tmp_path)


@pytest.fixture
def found(detector: LoadedDetector) -> list[Landscape]:
    return landscapes(detector, some_points(), [0, 3], resolution=11)


def slices_of(each: Landscape) -> tuple[Slice, ...]:
    return (*each.planes, each.yaw, each.turn)


def test_values_are_those_of_the_energy_at_the_same_boxes(detector: LoadedDetector, found: list[Landscape]) -> None:
    model = detector.model
    frame = Sample("a", some_points(), np.zeros((0, 7), np.float32), np.zeros(0, np.int64))
    batch = collate([crop_to_range(frame, detector.config.voxels.range)])
    with torch.no_grad():
        features = model.detector.encode(batch)
        proposals = model.detector.propose(features)
        context = model.energy.context(batch, features.bev, proposals.boxes, proposals.batch_index)
        for each in found:
            for piece in slices_of(each):
                boxes = np.tile(each.box, (piece.f.size, 1))
                for row, place in enumerate(np.ndindex(piece.f.shape)):
                    for k, name in enumerate(piece.names):
                        boxes[row, BOX_NAMES.index(name)] = piece.axes[k][place[k]]
                candidates = torch.from_numpy(boxes)[None].float()
                expected = model.energy(context, candidates.expand(len(proposals.boxes), -1, -1))[each.index]
                np.testing.assert_allclose(piece.f.ravel(), expected.numpy(), rtol=1e-4, atol=1e-4)


def test_the_path_leads_from_what_is_detected_to_what_it_is_refined_to(
    detector: LoadedDetector, found: list[Landscape]
) -> None:
    before, after = detector.detect_before_after(some_points())
    for each in found:
        np.testing.assert_allclose(each.path[0], before.boxes[each.index], atol=1e-5)
        np.testing.assert_allclose(each.path[-1], after.boxes[each.index], atol=1e-5)
        np.testing.assert_array_equal(each.path[0], each.proposal)
        np.testing.assert_array_equal(each.path[-1], each.box)
        assert len(each.path) == len(each.path_f) == 1 + detector.config.refinement.steps
        assert each.f == pytest.approx(float(after.f[each.index]), abs=1e-4)
        assert (np.diff(each.path_f) >= -1e-4).all()
        assert each.score == float(after.scores[each.index])
        assert each.class_name == str(after.names[each.index])


def test_slices_pass_through_the_refined_box_and_hold_the_path(found: list[Landscape]) -> None:
    for each in found:
        assert tuple(plane.names for plane in each.planes) == PLANES
        for piece in slices_of(each):
            columns = [BOX_NAMES.index(name) for name in piece.names]
            assert piece.f.shape == tuple(len(axis) for axis in piece.axes)
            for axis, k in zip(piece.axes, columns, strict=True):
                assert (np.diff(axis) > 0).all()
                nearest = int(np.abs(axis - each.box[k]).argmin())
                assert axis[nearest] == pytest.approx(each.box[k], abs=1e-9)
                if piece.names != ("yaw",) and np.abs(each.path[:, k] - each.box[k]).max() < MAX_REACH:
                    assert axis[0] <= each.path[:, k].min() <= each.path[:, k].max() <= axis[-1]
            middle = tuple(
                int(np.abs(axis - each.box[k]).argmin()) for axis, k in zip(piece.axes, columns, strict=True)
            )
            assert piece.f[middle] == pytest.approx(each.f, abs=1e-3)
        assert each.turn.axes[0][-1] - each.turn.axes[0][0] == pytest.approx(2 * math.pi)
        assert each.turn.f[0] == pytest.approx(each.turn.f[-1], abs=1e-3)


def test_sizes_stay_above_nothing_and_yaws_in_range() -> None:
    box = np.array([1.0, 2, 3, 4, 5, 6, 3.0])
    boxes = boxes_of(box, ("yaw",), (np.array([3.0, 3.5]),))
    np.testing.assert_allclose(boxes[:, :6], np.tile(box[:6], (2, 1)))
    np.testing.assert_allclose(boxes[:, 6], [3.0, 3.5 - 2 * math.pi])
    grid = boxes_of(box, ("l", "w"), (np.array([1.0, 2, 3]), np.array([7.0, 8])))
    assert grid.shape == (3, 2, 7)
    np.testing.assert_allclose(grid[2, 1], [1, 2, 3, 3, 8, 6, 3.0])


def test_planes_of_small_boxes_keep_to_sizes_there_can_be(detector: LoadedDetector) -> None:
    with torch.no_grad():
        for parameter in detector.model.energy.parameters():
            parameter.zero_()  # f is the same everywhere, so every plane is drawn as wide as can be
    for each in landscapes(detector, some_points(500), [0, 1], resolution=9):
        for plane in each.planes:
            for name, axis in zip(plane.names, plane.axes, strict=True):
                assert name not in "lwh" or axis[0] >= detector.config.energy.min_size - 1e-6


@pytest.mark.parametrize("shape", [(41,), (17, 23)])
def test_credible_regions_hold_their_mass(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    axes = tuple(np.sort(rng.uniform(-2, 2, count)) for count in shape)
    piece, temperature = Slice(("x", "y")[: len(shape)], axes, rng.normal(-50, 4, shape)), 1.7
    masses = {}
    for place in np.ndindex(shape):  # the trapezoid rule: half of each neighbouring interval
        width = 1.0
        for axis, k in zip(axes, place, strict=True):
            width *= (axis[min(k + 1, len(axis) - 1)] - axis[max(k - 1, 0)]) / 2
        masses[place] = width * math.exp(piece.f[place] / temperature)
    total = sum(masses.values())
    np.testing.assert_allclose(piece.density(temperature), np.reshape(list(masses.values()), shape) / total)
    for level in (0.1, 0.5, 0.9, 0.99):
        edge = piece.threshold(level, temperature)
        inside = sum(mass for place, mass in masses.items() if piece.f[place] >= edge) / total
        without_edge = sum(mass for place, mass in masses.items() if piece.f[place] > edge) / total
        assert without_edge < level <= inside + 1e-12
    assert piece.threshold(1.0, temperature) == piece.f.min()


def test_the_region_of_a_gaussian_is_its_own() -> None:
    axis = np.sinh(np.linspace(-3, 3, 121)) / 3
    x, y = np.meshgrid(axis, 2 * axis, indexing="ij")
    piece = Slice(("x", "y"), (axis, 2 * axis), -7.0 - 2.0 * (x**2 / 0.3 + y**2 / 0.8) / 2)
    for level in (0.5, 0.9):  # of a plane's Gaussian: f falls by T log(1 / (1 - level)) to the edge
        assert piece.threshold(level, 2.0) == pytest.approx(-7.0 + 2.0 * math.log(1 - level), abs=0.15)


def test_the_label_is_the_one_that_overlaps_most(detector: LoadedDetector) -> None:
    points = some_points()
    plain = landscape(detector, points, 1, resolution=9)
    assert plain.label is None
    assert plain.overlaps is None
    near, far = plain.box + np.array([[0.1, 0, 0, 0, 0, 0, 0.02], [0.4, 0.2, 0, 0, 0, 0, 0]])
    each = landscape(detector, points, 1, labels=np.stack([far, near]), resolution=9)
    assert each.label is not None
    assert each.overlaps is not None
    np.testing.assert_allclose(each.label, near)
    assert 0 <= each.overlaps[0] <= 1
    assert each.overlaps[1] > 0.5
    elsewhere = landscape(detector, points, 1, labels=plain.box[None] + 100.0, resolution=9)
    assert elsewhere.label is None


def test_a_label_that_faces_the_other_way_does_not_widen_the_curve_near_the_box(detector: LoadedDetector) -> None:
    points = some_points()
    plain = landscape(detector, points, 0, resolution=9)
    turned = plain.box.copy()
    turned[6] = unwrapped(turned[6] + math.pi, -math.pi)
    each = landscape(detector, points, 0, labels=turned[None], resolution=9)
    np.testing.assert_allclose(each.yaw.axes[0], plain.yaw.axes[0])
    assert np.ptp(plain.yaw.axes[0]) >= 2 * MIN_TURN - 1e-9


def test_angles_are_unwrapped_into_the_turn_from_the_given_one() -> None:
    angles = np.linspace(-20, 20, 101)
    for low in (-math.pi, 0.0, 2.5):
        found = unwrapped(angles, low)
        assert ((found >= low) & (found < low + 2 * math.pi)).all()
        np.testing.assert_allclose(np.exp(1j * found), np.exp(1j * angles), atol=1e-12)


def test_what_cannot_be_used_is_refused(detector: LoadedDetector) -> None:
    points = some_points()
    count = len(detector.detect(points, steps=0).boxes)
    for row in (-1, count):
        with pytest.raises(InputError, match=f"box {row}: .* 0 to {count - 1}"):
            landscape(detector, points, row, resolution=9)
    with pytest.raises(InputError, match="shape"):
        landscape(detector, points[:, :3])
    with pytest.raises(InputError, match="NaN"):
        landscape(detector, np.full((3, 4), np.nan))
    with pytest.raises(InputError, match="steps: -1"):
        landscape(detector, points, steps=-1)
    with pytest.raises(ValueError, match="resolution"):
        landscape(detector, points, resolution=3)


def test_a_frame_without_detections_has_no_landscape(tiny_config: Config, tmp_path: Path) -> None:
    config = tiny_config.model_copy(
        update={"detection": tiny_config.detection.model_copy(update={"score_threshold": 1.0})}
    )
    detector = LoadedDetector(Model(config), tmp_path)
    assert landscapes(detector, np.zeros((0, 4), np.float32)) == []
    with pytest.raises(InputError, match="nothing was detected"):
        landscape(detector, some_points(10))


def test_without_refinement_the_path_is_the_proposal(detector: LoadedDetector) -> None:
    each = landscape(detector, some_points(), 0, steps=0, resolution=9)
    assert each.path.shape == (1, 7)
    np.testing.assert_array_equal(each.box, each.proposal)


def test_a_region_far_from_the_refined_box_is_found_and_finely_drawn(
    detector: LoadedDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    points, temperature = some_points(), detector.temperature
    box = detector.detect(points).boxes[0]
    peak, scales = box + np.array([0.6, -0.3, 0.2, 0.5, 0.1, 0.3, 0.2]), np.array([0.05] * 6 + [0.02])

    def evaluate(boxes: np.ndarray) -> np.ndarray:  # the logarithm of a Gaussian
        offset = boxes - peak
        offset[..., 6] = unwrapped(offset[..., 6], -math.pi)
        return -0.5 * temperature * ((offset / scales) ** 2).sum(axis=-1)

    monkeypatch.setattr("lidar_ebm.inference.landscape._energy_of_arrays", lambda *_: evaluate)
    each = landscape(detector, points, 0)
    for piece in (*each.planes, each.yaw):
        rows = np.array([BOX_NAMES.index(name) for name in piece.names])
        for axis, k in zip(piece.axes, rows, strict=True):
            assert axis[0] < peak[k] - 2 * scales[k]
            assert axis[-1] > peak[k] + 2 * scales[k]
        # The threshold of a Gaussian of one or two dimensions, below the slice's own peak.
        fall = {1: 0.4549, 2: 2 * math.log(2)}[len(rows)] / 2  # half the median of chi-square
        held = [k for k in range(7) if k not in rows]
        highest = -0.5 * temperature * (((box - peak) / scales)[held] ** 2).sum()
        assert piece.threshold(0.5, temperature) == pytest.approx(highest - temperature * fall, abs=0.2 * temperature)
