"""Bird's-eye maps of frames with all that they have to show."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb

from lidar_ebm.visualization import palette
from lidar_ebm.visualization.bev_frame import draw_frame
from lidar_ebm.visualization.scene import AFTER, LABEL, BoxSet, SceneFrame
from lidar_ebm.visualization.scene_geometry import colored_points
from lidar_ebm.visualization.scene_pictures import write_pictures
from tests.visualization.test_bev_plot import read_picture
from tests.visualization.test_box_arrays import moving_boxes

CHANNELS = ("reflectance", "time_lag", "ring")


def a_frame(name: str = "a") -> SceneFrame:
    """Three sweeps around the sensor, labels of ten classes and detections, without a camera."""
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.normal(0, 20, (900, 3)), rng.uniform(0, 1, 900), np.repeat([0, 0.05, 0.1], 300)])
    points = np.column_stack([points, rng.integers(0, 32, 900)]).astype(np.float32)
    names = tuple(f"kind {k % 10}" for k in range(20))
    sets = (
        BoxSet(LABEL, moving_boxes(20), names, palette.LABEL),
        BoxSet(AFTER, moving_boxes(20, seed=1)[:, :7], names, palette.AFTER, np.linspace(1, 0, 20)),
    )
    return SceneFrame(name, points, sets, CHANNELS, class_names=names[:10])


@pytest.mark.parametrize("color", ["height", "reflectance", "time_lag", "ring", "distance", "boxes"])
def test_every_colour_of_points_is_drawn_without_open3d(
    color: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    (path,) = write_pictures([a_frame()], tmp_path, seen="bev", color=color)
    assert path == tmp_path / "a_bev.png"
    picture = read_picture(path) / 255
    frame = a_frame()
    legend = picture[50:900, 1080:]
    for each in frame.sets:
        assert (np.abs(legend - to_rgb(each.color)) < 0.02).all(axis=-1).any()
    scale = picture[900:, 1050:1400]
    assert ((np.abs(scale - 1) > 0.02).any()) == (color != "boxes")


def test_classes_are_in_the_legend_in_their_colours(tmp_path: Path) -> None:
    for theme in palette.THEMES.values():
        (path,) = write_pictures([a_frame(theme.name)], tmp_path, seen="bev", by_class=True, theme=theme)
        legend = read_picture(path)[50:900, 1080:] / 255
        for color in theme.class_colors([f"kind {k}" for k in range(10)]).values():
            assert (np.abs(legend - to_rgb(color)) < 0.02).all(axis=-1).sum() >= 20


def test_velocities_are_left_out_on_request(tmp_path: Path) -> None:
    pictures = [
        read_picture(write_pictures([a_frame()], tmp_path, seen="bev", velocity=velocity)[0])
        for velocity in (True, False)
    ]
    assert (pictures[0] != pictures[1]).any(axis=-1).sum() > 500


def test_new_sweeps_are_drawn_over_old_ones() -> None:
    figure, frame = palette.new_figure((400, 400)), a_frame()
    axes = figure.add_subplot()
    draw_frame(axes, frame, "time_lag")
    (cloud,) = (each for each in axes.collections if isinstance(each, PathCollection))
    drawn = np.asarray(cloud.get_facecolors())[:, :3]  # type: ignore[attr-defined]
    away = np.abs(drawn - to_rgb(palette.LIGHT.background)).sum(axis=1)
    assert (np.diff(away) >= 0).all() and len(np.unique(away)) == 3
    assert len(drawn) <= len(colored_points(frame, "time_lag", palette.LIGHT))


def test_an_empty_frame_is_a_picture_too(tmp_path: Path) -> None:
    empty = SceneFrame("none", np.zeros((0, 6), np.float32), (), CHANNELS)
    (path,) = write_pictures([empty], tmp_path, seen="bev", color="time_lag")
    assert path.stat().st_size > 1000


def test_long_names_stay_in_the_picture(tmp_path: Path) -> None:
    frame = a_frame()
    words = " ".join(["results of a program with a long name"] * 4)
    odd = replace(frame, sets=(*frame.sets, replace(frame.sets[1], name=words, color=palette.REGION)))
    picture = read_picture(write_pictures([odd], tmp_path, seen="bev")[0])
    assert (picture[:, -4:] == picture[0, -1]).all()
    assert (np.abs(picture[50:900, 1080:] / 255 - to_rgb(palette.REGION)) < 0.02).all(axis=-1).any()
