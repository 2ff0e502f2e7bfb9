"""Reliability pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lidar_ebm.ebm.calibration import HeldOut, Reliability
from lidar_ebm.errors import OutputError
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.calibration_plots import plot_calibration


def calibration(dims: int, sharpness: float, count: int = 300) -> Reliability:
    """Of targets whose ranks are pushed outwards where `sharpness` is above 1."""
    generator = torch.Generator().manual_seed(dims)
    uniform = torch.rand(count, dims, generator=generator)
    side = (2 * uniform - 1).sign()
    probabilities = 0.5 + side * (2 * uniform - 1).abs() ** (1 / sharpness) / 2
    rank = torch.rand(count, generator=generator) ** (1 / sharpness)
    held_out = HeldOut(probabilities, rank, torch.zeros(count), torch.full((count,), 50.0))
    return Reliability.of(held_out, [f"y{d + 1}" for d in range(dims)])


@pytest.mark.parametrize(("dims", "size"), [(1, (520, 310)), (3, (1040, 310)), (4, (780, 570)), (7, (1040, 570))])
def test_draws_a_panel_for_each_dimension_and_one_for_all(dims: int, size: tuple[int, int], tmp_path: Path) -> None:
    path = plot_calibration({"T = 1": calibration(dims, 3.0), "T = 2": calibration(dims, 1.0)}, tmp_path / "r.png")
    with Image.open(path) as picture:
        assert picture.size == size
        colors = {tuple(color) for color in np.asarray(picture.convert("RGB")).reshape(-1, 3)}
    for color in (palette.BEFORE, palette.AFTER, palette.GRID):
        assert tuple(bytes.fromhex(color[1:])) in colors


def test_a_title_and_other_colours(tmp_path: Path) -> None:
    path = plot_calibration({"f": calibration(2, 1.0)}, tmp_path / "r.png", title="Boxes", colors=[palette.LABEL])
    with Image.open(path) as picture:
        colors = {tuple(color) for color in np.asarray(picture.convert("RGB")).reshape(-1, 3)}
    assert tuple(bytes.fromhex(palette.LABEL[1:])) in colors
    assert tuple(bytes.fromhex(palette.BEFORE[1:])) not in colors


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dimensions"):
        plot_calibration({}, tmp_path / "r.png")
    with pytest.raises(ValueError, match="dimensions"):
        plot_calibration({"a": calibration(1, 1.0), "b": calibration(2, 1.0)}, tmp_path / "r.png")
    with pytest.raises(OutputError):
        plot_calibration({"a": calibration(1, 1.0)}, tmp_path)
