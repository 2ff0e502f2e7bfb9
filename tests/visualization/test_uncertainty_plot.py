from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from lidar_ebm.boxes import Boxes
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.bev_plot import draw_bev
from lidar_ebm.visualization.uncertainty_plot import draw_uncertainty, plot_uncertainty
from tests.visualization.test_bev_plot import NO_POINTS, has_color, random_boxes, random_points, read_picture


def detections(count: int) -> Boxes:
    boxes = torch.from_numpy(random_boxes(count)).float()
    stds = torch.tensor([0.5, 0.3, 0.1, 0.4, 0.1, 0.1, 0.05])
    return Boxes(
        boxes,
        ["Car"] * count,
        torch.linspace(0, 1, count),
        f=torch.zeros(count),
        covariance=torch.diag(stds**2).expand(count, 7, 7),
        expected_iou=torch.linspace(0.4, 0.9, count),
        samples=boxes.unsqueeze(1) + stds * torch.randn(count, 8, 7),
        effective_samples=torch.full((count,), 100.0),
    )


def test_the_ellipse_holds_ninety_percent_of_a_gaussian_center() -> None:
    box = np.array([[20.0, -6.0, -0.9, 3.9, 1.6, 1.5, 0.4]])
    covariance = np.diag([4.0, 1.0, 0.01, 0.01, 0.01, 0.01, 0.01])
    covariance[0, 1] = covariance[1, 0] = 1.2
    figure = palette.new_figure((800, 700))
    axes = figure.add_axes((0, 0, 1, 1))
    draw_bev(axes, NO_POINTS)
    draw_uncertainty(axes, box, covariance[None], np.zeros((1, 0, 7)))
    axes.set_axis_off()
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255  # type: ignore[attr-defined]
    radius = np.sqrt(-2 * np.log(0.1))
    ends = np.linalg.cholesky(covariance[:2, :2]) * radius @ np.array([[1.0, 0, -1, 0], [0, 1, 0, -1]])
    for x, y in (box[0, :2, None] + ends).T:
        assert has_color(axes, pixels, x, y, palette.REGION)
    ellipse = axes.collections[-1].get_segments()[0][:, ::-1] - box[0, :2]  # type: ignore[attr-defined]
    np.testing.assert_allclose(np.einsum("pi,ij,pj->p", ellipse, np.linalg.inv(covariance[:2, :2]), ellipse), radius**2)


@pytest.mark.parametrize("count", [0, 1, 9])
def test_pictures_of_any_number_of_boxes(tmp_path: Path, count: int) -> None:
    found = detections(count)
    before = found.boxes - 0.1
    path = plot_uncertainty(random_points(500), before, found, tmp_path / "frame.png", title="some", size=(1000, 500))
    picture = read_picture(path)
    assert picture.shape == (500, 1000, 3)
    panels = np.abs(picture[:, 540:].astype(float) - np.multiply(to_rgb(palette.AFTER), 255)).max(axis=-1) < 5
    assert (panels.sum() > 100) == (count > 0)
    again = plot_uncertainty(random_points(500), before, found, tmp_path / "again.png", title="some", size=(1000, 500))
    assert path.read_bytes() == again.read_bytes()


def test_flips_numbers_that_are_none_and_missing_uncertainty(tmp_path: Path) -> None:
    found = replace(detections(3), flip_probability=torch.tensor([0.1, 0.5, 0.9]))
    plain, flips = (
        read_picture(plot_uncertainty(NO_POINTS, each.boxes, each, tmp_path / "frame.png"))
        for each in (replace(found, flip_probability=None), found)
    )
    assert (plain != flips).any()
    assert found.samples is not None
    assert found.covariance is not None
    lost = replace(found, samples=found.samples * torch.nan, covariance=found.covariance * torch.nan)
    plot_uncertainty(NO_POINTS, lost.boxes, lost, tmp_path / "lost.png")
    with pytest.raises(ValueError, match="without uncertainty"):
        plot_uncertainty(NO_POINTS, found.boxes, replace(found, covariance=None), tmp_path / "none.png")
