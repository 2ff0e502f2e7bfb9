"""The studies on images: what they draw, what their energies see, and one tiny run from data to page."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lidar_ebm.ebm import TargetSpace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "studies"))

import box_2d
import head_pose_like
import scalar_from_image
from image_networks import DirectNetwork, EnergyHead, TargetCoding
from image_regression import Problem
from image_report import report

STUDIES = (head_pose_like, box_2d, scalar_from_image)
PROBLEMS = tuple(study.PROBLEM for study in STUDIES)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_data_are_fresh_seeded_and_in_the_targets_space(problem: Problem) -> None:
    images, y = problem.draw(50, np.random.default_rng(3))
    again, other = problem.draw(50, np.random.default_rng(3)), problem.draw(50, np.random.default_rng(4))
    assert images.shape == (50, 1, problem.size, problem.size) and y.shape == (50, problem.space.dims)
    assert images.dtype == y.dtype == np.float32
    assert np.isfinite(images).all() and images.min() > -0.5 and images.max() < 1.5
    np.testing.assert_array_equal(images, again[0])
    np.testing.assert_array_equal(y, again[1])
    assert not np.any(y == other[1])
    targets = torch.from_numpy(y)
    assert problem.space.contains(targets).all()
    torch.testing.assert_close(problem.space.constrain(targets), targets)
    for error in problem.errors(targets, targets).values():
        torch.testing.assert_close(error, torch.zeros_like(error), atol=1e-5, rtol=0)  # an IoU is rounded


def test_a_rotation_is_roll_after_pitch_after_yaw() -> None:
    yaw, pitch, roll = 0.7, -0.4, 0.3
    turns = head_pose_like.rotation(torch.tensor([[yaw, 0, 0], [0, pitch, 0], [0, 0, roll]]))
    whole = head_pose_like.rotation(torch.tensor([yaw, pitch, roll]))
    torch.testing.assert_close(whole, turns[2] @ turns[1] @ turns[0])
    torch.testing.assert_close(whole @ whole.T, torch.eye(3))
    # Half a turn away the nose points away from the viewer; a quarter of a turn, to the right.
    nose = head_pose_like.rotation(torch.tensor([[math.pi, 0, 0], [math.pi / 2, 0, 0]]))[:, :, 2]
    torch.testing.assert_close(nose, torch.tensor([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]), atol=1e-6, rtol=0)


def test_heads_are_read_where_they_are() -> None:
    """The images' dark eyes lie where the eyes' points of the surface are said to be."""
    rng = np.random.default_rng(0)
    angles = np.tile(np.array([[0.5, 0.2, -0.3]], dtype=np.float32), (400, 1))
    image = torch.from_numpy(head_pose_like._render(angles, rng)).mean(dim=0)  # [1, 32, 32]
    axes = torch.tensor(head_pose_like.SEMI_AXES)
    directions = torch.tensor([feature[0] for feature in head_pose_like.FEATURES[:2]])
    eyes = axes * directions / directions.norm(dim=1, keepdim=True)  # [2, 3]
    seen = eyes @ head_pose_like.rotation(torch.from_numpy(angles[0])).T / head_pose_like.HALF_SIDE

    def brightness(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        place = torch.stack([x, y], dim=-1).view(1, 1, -1, 2)
        return torch.nn.functional.grid_sample(image.unsqueeze(0), place, align_corners=False).flatten()

    here = brightness(seen[:, 0], -seen[:, 1])
    for x, y in ((0.2, 0.0), (-0.2, 0.0), (0.0, 0.2), (0.0, -0.2)):
        assert (here < brightness(seen[:, 0] + x, -seen[:, 1] + y)).all()
    points = head_pose_like.surface_points(torch.zeros(1, 1, 3))[0, 0]
    assert points.shape == (head_pose_like.POINTS, 3) and points[:, :2].abs().max() < 1
    assert (points[:, 2] > 0.5).sum() == head_pose_like.POINTS // 2  # as many face the viewer as do not


def test_boxes_hold_cars_and_buses_inside_of_the_image() -> None:
    _, boxes = box_2d.draw(2000, np.random.default_rng(0))
    assert (boxes[:, :2] - boxes[:, 2:] / 2 > 0).all() and (boxes[:, :2] + boxes[:, 2:] / 2 < box_2d.SIZE).all()
    shape = boxes[:, 2] / boxes[:, 3]
    assert abs((shape > 2).mean() - box_2d.LONG_SHARE) < 0.05
    assert ((shape > 1.8) & (shape < 2.1)).mean() < 0.01  # two kinds, and nothing in between


def test_overlap_and_reading_points_of_boxes() -> None:
    a = torch.tensor([[10.0, 10.0, 4.0, 2.0], [10.0, 10.0, 4.0, 2.0], [10.0, 10.0, 4.0, 2.0]])
    b = torch.tensor([[12.0, 10.0, 4.0, 2.0], [10.0, 10.0, 2.0, 4.0], [30.0, 10.0, 4.0, 2.0]])
    torch.testing.assert_close(box_2d.overlap(a, b), torch.tensor([1 / 3, 1 / 3, 0.0]))
    points = box_2d.box_points(torch.tensor([[[24.0, 12.0, 10.0, 5.0]]]))[0, 0]  # [P, 3]
    ends = torch.stack([points[:, :2].amin(0), points[:, :2].amax(0)])
    torch.testing.assert_close(ends, torch.tensor([[18.0, 9.0], [30.0, 15.0]]) / 24 - 1)


def test_labels_scatter_to_one_side() -> None:
    shown = np.full(20_000, 50.0)
    error = scalar_from_image._label(shown, np.random.default_rng(0)) - shown
    late = 1 + scalar_from_image.LATE_MEAN * (50 - scalar_from_image.YOUNGEST)
    assert abs(error.mean() - (1 - scalar_from_image.EXACT_SHARE) * late) < 0.2
    assert abs(np.median(error[error < 0])) < 1 and (error > 10).mean() > 0.1 and (error < -5).mean() == 0


def test_codes_say_all_of_a_target_and_energies_are_periodic() -> None:
    space = TargetSpace(("angle", "size", "place"), (math.pi, None, None), (-math.inf, 1.0, -math.inf), (0.1, 1.0, 1.0))
    torch.manual_seed(0)
    y = space.constrain(3 * torch.randn(20, 3))
    coding = TargetCoding(space, y)
    torch.testing.assert_close(coding.decode(coding(y)), y, atol=1e-5, rtol=1e-5)
    network = DirectNetwork(16, (4, 8), 8, coding, fine=1).eval()
    head = EnergyHead(network, (1.0, 1.0, 1.0), 8)
    with torch.no_grad():
        energy = head.energy(network.features(torch.rand(20, 1, 16, 16)))
        turned = y + torch.tensor([math.pi, 0.0, 0.0])
        torch.testing.assert_close(energy(turned.unsqueeze(1)), energy(y.unsqueeze(1)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.PROBLEM.name)
def test_a_tiny_run_writes_its_page_and_picture(study: argparse.Namespace, tmp_path: Path) -> None:
    settings = replace(
        study.PROBLEM.settings,
        direct_images=128,
        energy_images=128,
        validation=20,
        test=30,
        channels=(4, 4, 4),
        hidden=8,
        samples=4,
        steps=2,
        step_lengths=(0.1,),
        starts=4,
        density_images=20,
        density_samples=60,
        density_rounds=min(1, study.PROBLEM.settings.density_rounds),
    )
    problem = replace(study.PROBLEM, settings=settings)
    arguments = argparse.Namespace(quick=False, seeds=2, out=tmp_path / "out", results=tmp_path, processes=1)
    report(problem, study.show, study.ABOUT, study.CAPTION, arguments)
    page = (tmp_path / f"{problem.name}.md").read_text(encoding="utf-8")
    assert "direct regression" in page and "Gain of each seed" in page and "nan" not in page
    assert (tmp_path / f"{problem.name}.png").stat().st_size < 150_000
