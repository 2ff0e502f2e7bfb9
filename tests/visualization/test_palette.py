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
from tests.visualization.color_difference import (
    DEUTERANOPIA,
    PROTANOPIA,
    TRITANOPIA,
    linear_rgb,
    smallest_difference,
    to_lab,
)
from tests.visualization.test_bev_plot import read_picture

# Ten classes that a detection benchmark has.
TEN = (
    *("barrier", "bicycle", "bus", "car", "construction_vehicle", "motorcycle", "pedestrian", "traffic_cone"),
    *("trailer", "truck"),
)


def luminance(color: Any) -> float:
    return float(linear_rgb(color) @ [0.2126, 0.7152, 0.0722])


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
        assert np.linalg.norm(seen @ (linear_rgb(first) - linear_rgb(second))) > 0.2


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
        names = (*TEN, "van", "cyclist", "forklift")
        assert len({each.class_color(name) for name in names}) == len(names)
        roads = ("car", "van", "truck", "pedestrian", "person_sitting", "cyclist", "tram")
        assert len({each.class_color(name) for name in roads}) == len(roads)


@pytest.mark.parametrize("each", THEMES.values(), ids=THEMES)
@pytest.mark.parametrize(
    ("seen", "bound"),
    [(np.eye(3), 22.0), (PROTANOPIA, 14.0), (DEUTERANOPIA, 14.0), (TRITANOPIA, 16.0)],
    ids=["all", "protanopia", "deuteranopia", "tritanopia"],
)
def test_ten_classes_can_be_told_apart(each: Theme, seen: np.ndarray, bound: float) -> None:
    """By far: about 2 can be seen side by side, and about 10 at a glance."""
    for colors in ([each.class_color(name) for name in TEN], list(each.class_colors(TEN).values())):
        assert smallest_difference(colors, seen) > bound
    assert smallest_difference([*each.classes, each.background], np.eye(3)) > 13  # twenty, and never lost


@pytest.mark.parametrize("each", THEMES.values(), ids=THEMES)
def test_classes_can_be_seen_on_the_background(each: Theme) -> None:
    assert min(contrast(color, each.background) for color in each.classes) > 1.9


@pytest.mark.parametrize("each", THEMES.values(), ids=THEMES)
def test_any_ten_declared_classes_are_as_far_apart(each: Theme) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        names = [f"class {number}" for number in rng.choice(10_000, 10, replace=False)]
        colors = each.class_colors(names)
        assert list(colors) == names
        assert smallest_difference(list(colors.values()), np.eye(3)) > 22
        others = [f"other {number}" for number in rng.choice(10_000, 10, replace=False)]
        beside = each.class_colors(names, [*others, names[3].upper()])
        assert {name: beside[name] for name in names} == colors  # what else is there changes nothing
        assert len(set(beside.values())) == 20
    many = each.class_colors([f"class {number}" for number in range(50)], ["one more"])
    assert len(many) == 51 and set(many.values()) == set(each.classes)
    assert each.class_colors(TEN) == {name: each.class_color(name) for name in TEN}


@pytest.mark.parametrize("each", THEMES.values(), ids=THEMES)
def test_new_sweeps_stand_out_and_old_ones_fade(each: Theme) -> None:
    lags = np.linspace(0, 1, 32)
    lab = to_lab(np.stack([linear_rgb(color) for color in each.lags(lags)[:, :3]]))
    away = np.abs(lab[:, 0] - to_lab(linear_rgb(each.background))[0])  # lightness from the background's
    assert (np.diff(away) < 0).all()
    assert away[0] > 60 and 3 < away[-1] < 20
