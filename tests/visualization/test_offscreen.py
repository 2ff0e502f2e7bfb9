"""Pictures in space: what is where, seen without a display."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from lidar_ebm.geometry.boxes import corners_3d
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.offscreen import SIZE, render
from lidar_ebm.visualization.scene import BoxSet, SceneFrame
from lidar_ebm.visualization.scene_geometry import (
    POSES,
    Pose,
    inside_color,
    outside_color,
    project,
)
from lidar_ebm.workflows.view import open_frames

REAL = Path(os.environ.get("LIDAR_EBM_KITTI", Path(__file__).parents[3] / "shared" / "kitti"))

needs_open3d = pytest.mark.usefixtures("open3d")


def is_near(picture: np.ndarray, place: np.ndarray, color: str, reach: int = 3) -> bool:
    """Tell if a colour stands within `reach` pixels of (right, down)."""
    column, row = np.round(place).astype(int)
    around = picture[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1] / 255
    return bool((np.abs(around - to_rgb(color)) < 0.03).all(axis=-1).any())


@needs_open3d
@pytest.mark.parametrize("pose", list(POSES))
def test_boxes_stand_where_they_project_to(pose: str) -> None:
    boxes = np.array([[15.0, 3.0, -0.9, 4.0, 1.7, 1.5, 0.4], [25.0, -6.0, -0.8, 3.6, 1.6, 1.5, -2.0]], np.float32)
    sets = tuple(BoxSet(c, boxes[i : i + 1], ("Car",), c) for i, c in enumerate((palette.LABEL, palette.AFTER)))
    picture = render(SceneFrame("a", np.zeros((0, 4), np.float32), sets), POSES[pose])
    assert picture.shape == (SIZE[1], SIZE[0], 3)
    for each in sets:
        for corner in project(np.asarray(corners_3d(each.boxes))[0], POSES[pose], SIZE):
            assert is_near(picture, corner, each.color)


@needs_open3d
@pytest.mark.parametrize("name", ["000003", "000008"])
def test_real_frames_show_their_labels(name: str) -> None:
    if not (REAL / "training" / "velodyne" / f"{name}.bin").is_file():
        pytest.skip("no real frames here")
    frames = open_frames([REAL])
    frame = frames[frames.index_of(name)]
    picture = render(frame, POSES["behind"])
    centers = project(frame.sets[0].boxes[:, :3], POSES["behind"], SIZE)
    inside = ((centers > 20) & (centers < np.array(SIZE) - 20)).all(axis=1)
    assert inside.any()
    for center in centers[inside]:  # the heading mark begins in the middle
        assert is_near(picture, center, palette.LABEL)
    drawn = (picture < 235).any(axis=-1).mean()
    assert 0.01 < drawn < 0.9


@needs_open3d
def test_what_is_nearer_hides_what_is_behind() -> None:
    pose = Pose((0.0, 0.0, 0.0), (10.0, 0.0, 0.0))
    box = BoxSet("label", np.array([[10.0, 0, 0, 2, 2, 2, 0]], np.float32), ("Car",), palette.LABEL)
    edge = project(np.array([[9.0, -1.0, 0.3]]), pose, SIZE)[0]  # in the middle of an upright edge of the front
    for depth, seen in ((5.0, False), (15.0, True)):
        points = np.array([[depth, -1.0 * depth / 9, 0.3 * depth / 9, 0.5]], np.float32)
        picture = render(SceneFrame("a", points, (box,)), pose, color="reflectance")
        column, row = np.floor(edge).astype(int)
        assert np.allclose(picture[row, column] / 255, to_rgb(palette.LABEL), atol=0.01) == seen


@needs_open3d
def test_nothing_behind_the_eye_is_drawn() -> None:
    points = np.array([[-5.0, 0, 0, 1], [np.nan, 0, 0, 1]], np.float32)
    box = BoxSet("label", np.array([[-8.0, 0, 0, 4, 2, 2, 0]], np.float32), ("Car",), palette.LABEL)
    frame = SceneFrame("a", points, (box,))
    picture = render(frame, Pose((0.0, 0.0, 0.0), (10.0, 0.0, 0.0)), legend=False)
    assert (picture == 255).all()


@needs_open3d
@pytest.mark.parametrize("color", ["height", "boxes"])
def test_the_legend_says_what_points_colours_mean(color: str) -> None:
    points = np.array([[-5.0, 0, 0, 1]], np.float32)  # behind the eye: all that is drawn is the legend
    picture = render(SceneFrame("a", points), Pose((0.0, 0.0, 0.0), (10.0, 0.0, 0.0)), color=color)
    legend = picture[-60:, :260]
    ends = (
        (inside_color, outside_color)
        if color == "boxes"
        else (lambda t: t.heights(0)[:3], lambda t: t.heights(1.0)[:3])
    )
    for end in ends:
        assert (np.abs(legend / 255 - to_rgb(end(palette.LIGHT))) < 0.01).all(axis=-1).any()


@needs_open3d
def test_arrows_end_where_they_project_to() -> None:
    boxes = np.array([[15.0, 3.0, -0.9, 4.0, 1.7, 1.5, 0.4, 6.0, -2.0]], np.float32)
    frame = SceneFrame("a", np.zeros((0, 4), np.float32), (BoxSet("label", boxes, ("Car",), palette.REGION),))
    (tip,) = project(boxes[:, :3] + [[6.0, -2.0, 0.0]], POSES["behind"], SIZE)
    assert is_near(render(frame, POSES["behind"]), tip, palette.REGION)
    still = frame.without_velocity()
    assert not is_near(render(still, POSES["behind"]), tip, palette.REGION)
    legends = [render(each, POSES["behind"])[58:80, :300] for each in (frame, still)]
    assert (legends[0] != 255).any() and (legends[1] == 255).all()  # the row that says what arrows are


@needs_open3d
@pytest.mark.parametrize("theme", palette.THEMES.values(), ids=palette.THEMES)
def test_the_scale_of_lags_has_its_own_colours(theme: palette.Theme) -> None:
    points = np.array([[-5.0, 0, 0, 0.1]], np.float32)  # behind the eye: all that is drawn is the legend
    with palette.use_theme(theme):
        frame = SceneFrame("a", points, channels=("time_lag",))
        legend = render(frame, Pose((0.0, 0.0, 0.0), (10.0, 0.0, 0.0)), color="time_lag")[-60:, :260] / 255
    for share in (0.0, 0.5, 1.0):
        assert (np.abs(legend - theme.lags(share)[:3]) < 0.02).all(axis=-1).any()


@needs_open3d
def test_legends_of_many_classes_stand_in_columns() -> None:
    box = np.array([[15.0, 3.0, -0.9, 4.0, 1.7, 1.5, 0.4]], np.float32)
    colors = [palette.LIGHT.classes[k % 20] for k in range(60)]
    sets = tuple(BoxSet(f"set {k}", box, ("thing",), colors[k]) for k in range(60))
    picture = render(SceneFrame("a", np.zeros((1, 4), np.float32), sets), Pose((0.0, 0.0, 0.0), (-10.0, 0.0, 0.0)))
    swatches = (np.abs(picture[36:-50] / 255 - to_rgb(colors[59])) < 0.01).all(axis=-1)
    assert swatches[:, 250:].any() and (picture[-50:-30] == 255).all()


@needs_open3d
def test_letters_before_points_of_many_sweeps_have_room() -> None:
    across, up = np.meshgrid(np.linspace(-12, 12, 1300), np.linspace(-7, 7, 740))
    wall = np.stack([np.full(across.size, 10.0), across.ravel(), up.ravel(), np.zeros(across.size)], axis=1)
    pose = Pose((0.0, 0.0, 0.0), (10.0, 0.0, 0.0))
    found = []
    for channel in ("reflectance", "time_lag"):
        picture = render(SceneFrame("a", wall.astype(np.float32), channels=(channel,)), pose, color="height")
        found.append((picture[8:34, 12:200] == 255).all(axis=-1).sum())
    assert found[0] == 0 < 200 < found[1]
