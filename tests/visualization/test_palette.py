from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from lidar_ebm.errors import InputError
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.bev_plot import plot_bev
from lidar_ebm.visualization.palette import DARK, LIGHT, THEMES, Theme, find_theme, new_figure, theme, use_theme
from tests.visualization.test_bev_plot import read_picture

# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency", 2009:
# what people without one kind of cone see, on linear RGB.
PROTANOPIA = np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.0520]])
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
)


def linear(color: Any) -> np.ndarray:
    rgb = np.array(to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def luminance(color: Any) -> float:
    return float(linear(color) @ [0.2126, 0.7152, 0.0722])


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_a_theme_is_in_use_within_its_block_and_thread_alone() -> None:
    seen = []
    assert theme() is LIGHT
    with use_theme(DARK):
        with use_theme(LIGHT):
            assert theme() is LIGHT
        assert theme() is DARK
        thread = threading.Thread(target=lambda: seen.append(theme()))
        thread.start()
        thread.join()
        with pytest.raises(RuntimeError), use_theme(LIGHT):
            raise RuntimeError
        assert theme() is DARK
    assert theme() is LIGHT
    assert seen == [LIGHT]


def test_a_picture_takes_the_theme_it_is_drawn_in(tmp_path: Path) -> None:
    for each in THEMES.values():
        with use_theme(each):
            path = plot_bev(np.zeros((0, 4)), tmp_path / "bev.png", title="a title", size=(300, 280))
        corner = read_picture(path)[0, 0] / 255
        np.testing.assert_allclose(corner, to_rgb(each.background), atol=0.003)


def test_a_legend_takes_the_theme(tmp_path: Path) -> None:
    with use_theme(DARK):
        figure = new_figure((200, 200))
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], label="a line")
        legend = axes.legend()
        palette.save_figure(figure, tmp_path / "a.png")
    assert legend.get_texts()[0].get_color() == DARK.text
    assert to_rgb(legend.get_frame().get_facecolor()) == to_rgb(DARK.background)


@pytest.mark.parametrize("each", THEMES.values(), ids=THEMES)
def test_text_can_be_read(each: Theme) -> None:
    assert contrast(each.text, each.background) > 7
    assert contrast(each.muted_text, each.background) > 4.5


@pytest.mark.parametrize("each", THEMES.values(), ids=THEMES)
@pytest.mark.parametrize("seen", [np.eye(3), PROTANOPIA, DEUTERANOPIA], ids=["all", "protanopia", "deuteranopia"])
def test_what_boxes_mean_can_be_told_apart(each: Theme, seen: np.ndarray) -> None:
    for first, second in itertools.combinations((each.label, each.before, each.after), 2):
        assert np.linalg.norm(seen @ (linear(first) - linear(second))) > 0.2


def test_lightness_of_f_rises_evenly() -> None:
    colors = palette.ENERGY_COLORS(np.linspace(0, 1, 64))[:, :3]
    lightness = np.cbrt([luminance(color) for color in colors])  # as the eye has it, but for a factor
    steps = np.diff(lightness)
    assert (steps > 0).all()
    assert steps.max() < 3 * steps.min()


def test_an_unknown_theme_names_those_there_are() -> None:
    assert find_theme("dark") is DARK
    with pytest.raises(InputError, match=r"'blue'.*light, dark"):
        find_theme("blue")


def test_a_class_has_one_colour_by_its_name_alone() -> None:
    for each in THEMES.values():
        assert each.class_color("Forklift") == each.class_color("forklift")
        assert each.class_color("") != each.background
        names = ("car", "van", "truck", "pedestrian", "cyclist", "bus", "motorcycle", "bicycle", "forklift", "trailer")
        assert len({each.class_color(name) for name in names}) == len(names)
