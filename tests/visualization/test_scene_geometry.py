"""Boxes and points as what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from lidar_ebm.errors import InputError
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.box_arrays import arrow_segments
from lidar_ebm.visualization.scene import BoxSet, SceneFrame
from lidar_ebm.visualization.scene_geometry import (
    LAG_REACH,
    Pose,
    box_segments,
    colored_points,
    colorings,
    project,
    scale_ends,
    tubes,
)


def test_projection_is_a_pinhole() -> None:
    pose = Pose((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), field_of_view=90.0)
    places = np.array([[10.0, 0.0, 0.0], [10.0, 10.0, 0.0], [10.0, 0.0, 10.0], [-1.0, 0.0, 0.0]])
    found = project(places, pose, (400, 200))
    np.testing.assert_allclose(found[:3], [[200, 100], [100, 100], [200, 0]], atol=1e-9)
    assert np.isnan(found[3]).all()


def test_points_are_coloured_by_what_is_asked() -> None:
    points = np.array([[1.0, 0, -2.0, 0.0], [60.0, 0, 1.0, 1.0]], np.float32)
    for by in ("height", "reflectance", "distance"):
        near, far = colored_points(SceneFrame("a", points), by, palette.LIGHT)
        assert near.sum() > far.sum()  # low, dull and near is light
    boxes = BoxSet("label", np.array([[1.0, 0, -2.0, 2.0, 2.0, 2.0, 0.0]], np.float32), ("crate",), palette.LABEL)
    colors = colored_points(SceneFrame("a", points, (boxes,)), "boxes", palette.LIGHT)
    np.testing.assert_allclose(colors[0], to_rgb(palette.REGION))
    assert not np.allclose(colors[1], colors[0])


def test_any_channel_colours_points() -> None:
    points = np.array([[1.0, 0, 0, 0.2, 3.0], [2.0, 0, 0, 0.1, 31.0], [3.0, 0, 0, 0.3, np.nan]], np.float32)
    frame = SceneFrame("a", points, channels=("time_lag", "ring"))
    assert colorings(frame.channels) == ("height", "time_lag", "ring", "distance", "boxes")
    low, high, _ = colored_points(frame, "ring", palette.LIGHT)
    np.testing.assert_allclose(low, palette.LIGHT.heights(0.0)[:3])
    np.testing.assert_allclose(high, palette.LIGHT.heights(1.0)[:3])
    assert [words for words, _ in scale_ends(frame, "ring", palette.LIGHT)] == ["3", "31 ring"]
    assert colored_points(SceneFrame("b", points[:0], channels=frame.channels), "ring", palette.LIGHT).shape == (0, 3)


def test_tubes_are_closed_and_as_thick_as_they_should_be() -> None:
    boxes = np.array([[15.0, 3.0, -0.9, 4.0, 1.7, 1.5, 0.4], [np.nan] * 7])
    segments = box_segments(boxes)
    assert segments.shape == (13, 2, 3)
    vertices, triangles = tubes(segments, 0.05)
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    assert set(np.unique(edges, axis=0, return_counts=True)[1]) == {2}  # every edge has a triangle on either side
    for k, (start, end) in enumerate(segments):
        around = vertices[12 * k : 12 * (k + 1)]
        along = (end - start) / np.linalg.norm(end - start)
        away = np.linalg.norm(np.cross(around - start, along), axis=1)
        np.testing.assert_allclose(away, 0.05, atol=1e-9)
    assert len(tubes(box_segments(np.zeros((0, 7))))[1]) == 0


def test_a_pose_is_read() -> None:
    assert Pose.read("1,2,3,4,5,6") == Pose((1, 2, 3), (4, 5, 6))
    assert Pose.read("1,2,30,1,2,0").up == (1, 0, 0)  # straight down
    for text in ("1,2,3", "1,2,3,4,5,x", "1,2,3,1,2,3", "1,2,3,4,5,nan"):
        with pytest.raises(InputError, match=r"pose.*eye"):
            Pose.read(text)


def test_axes_are_a_frame_whatever_numbers_a_pose_has() -> None:
    for pose in (Pose((0, 0, 0), (3, 4, 0)), Pose((1.0, 2.0, 3.0), (-4.0, 0.5, 9.0))):
        axes = pose.axes()
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(np.cross(axes[0], axes[1]), -axes[2], atol=1e-12)  # right, up, forward
        toward = np.subtract(pose.target, pose.eye)
        np.testing.assert_allclose(axes[2] * np.linalg.norm(toward), toward, atol=1e-12)


def test_boxes_with_a_number_that_is_not_finite_have_no_lines() -> None:
    assert box_segments(np.full((2, 7), np.nan)).shape == box_segments(np.zeros((0, 7))).shape == (0, 2, 3)


def test_colours_fade_with_the_lag_and_mean_the_same_in_every_frame() -> None:
    lags = np.linspace(0, 0.45, 10, dtype=np.float32)
    points = np.column_stack([np.random.default_rng(0).normal(0, 20, (10, 3)), lags]).astype(np.float32)
    for theme in palette.THEMES.values():
        colors = colored_points(SceneFrame("a", points, channels=("time_lag",)), "time_lag", theme)
        away = np.abs(colors - to_rgb(theme.background)).sum(axis=1)
        assert (np.diff(away) < 0).all()
        fewer = colored_points(SceneFrame("b", points[:3], channels=("time_lag",)), "time_lag", theme)
        np.testing.assert_array_equal(fewer, colors[:3])
    ends = [
        words for words, _ in scale_ends(SceneFrame("a", points, channels=("time_lag",)), "time_lag", palette.LIGHT)
    ]
    assert ends == ["0", f"{LAG_REACH:g} s, time lag"]
    late = SceneFrame("c", points * np.float32(4), channels=("time_lag",))
    assert scale_ends(late, "time_lag", palette.LIGHT)[1][0] == "1.8 s, time lag"


def test_a_frame_without_lags_is_coloured_as_it_was() -> None:
    points = np.random.default_rng(0).uniform(-3, 3, (50, 4)).astype(np.float32)
    frame = SceneFrame("a", points)
    assert colorings(frame.channels) == ("height", "reflectance", "distance", "boxes")
    shares = np.clip((points[:, 2] + 2) / 3, 0, 1)
    np.testing.assert_allclose(colored_points(frame, "height", palette.LIGHT), palette.LIGHT.heights(shares)[:, :3])


def test_lines_of_boxes_with_velocities_end_with_arrows() -> None:
    boxes = np.array(
        [[15.0, 3.0, -0.9, 4.0, 1.7, 1.5, 0.4, 3.0, 1.0], [25.0, 3.0, -0.9, 4.0, 1.7, 1.5, 0.4, np.nan, 0]]
    )
    segments = box_segments(boxes)
    np.testing.assert_array_equal(segments[:26], box_segments(boxes[:, :7]))
    np.testing.assert_array_equal(segments[26:], arrow_segments(boxes))
    assert len(segments) == 29
