"""Pictures in space: what is where, seen without a display."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from lidar_ebm.errors import InputError
from lidar_ebm.geometry.boxes import corners_3d
from lidar_ebm.visualization import open3d_import, palette
from lidar_ebm.visualization.animation import TURNS, flight, turntable
from lidar_ebm.visualization.offscreen import SIZE, render
from lidar_ebm.visualization.scene_frames import BoxSet, SceneFrame, open_frames
from lidar_ebm.visualization.scene_geometry import (
    POSES,
    Coloring,
    Pose,
    box_segments,
    inside_color,
    outside_color,
    point_colors,
    project,
    tubes,
)
from lidar_ebm.visualization.scene_pictures import write_pictures

REAL = Path(os.environ.get("LIDAR_EBM_KITTI", Path(__file__).parents[3] / "shared" / "kitti"))


needs_open3d = pytest.mark.usefixtures("open3d")


def is_near(picture: np.ndarray, place: np.ndarray, color: str, reach: int = 3) -> bool:
    """Whether a colour stands within `reach` pixels of (right, down)."""
    column, row = np.round(place).astype(int)
    around = picture[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1] / 255
    return bool((np.abs(around - to_rgb(color)) < 0.03).all(axis=-1).any())


@needs_open3d
@pytest.mark.parametrize("pose", list(POSES))
def test_boxes_stand_where_they_project_to(pose: str) -> None:
    boxes = np.array([[15.0, 3.0, -0.9, 4.0, 1.7, 1.5, 0.4], [25.0, -6.0, -0.8, 3.6, 1.6, 1.5, -2.0]], np.float32)
    sets = tuple(BoxSet(c, boxes[i : i + 1], ("Car",), c) for i, c in enumerate((palette.LABEL, palette.AFTER)))
    picture = render(SceneFrame("a", np.zeros((0, 4), np.float32), None, None, sets), POSES[pose])
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


def test_projection_is_a_pinhole() -> None:
    pose = Pose((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), field_of_view=90.0)
    places = np.array([[10.0, 0.0, 0.0], [10.0, 10.0, 0.0], [10.0, 0.0, 10.0], [-1.0, 0.0, 0.0]])
    found = project(places, pose, (400, 200))
    np.testing.assert_allclose(found[:3], [[200, 100], [100, 100], [200, 0]], atol=1e-9)
    assert np.isnan(found[3]).all()


def test_points_are_coloured_by_what_is_asked() -> None:
    points = np.array([[1.0, 0, -2.0, 0.0], [60.0, 0, 1.0, 1.0]], np.float32)
    for by in ("height", "reflectance", "distance"):
        near, far = point_colors(points, np.zeros((0, 7)), by, palette.LIGHT)  # type: ignore[arg-type]
        assert near.sum() > far.sum()  # low, dull and near is light
    colors = point_colors(points, np.array([[1.0, 0, -2.0, 2.0, 2.0, 2.0, 0.0]]), "boxes", palette.LIGHT)
    np.testing.assert_allclose(colors[0], to_rgb(palette.REGION))
    assert not np.allclose(colors[1], colors[0])


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(InputError, match=r"lidar-ebm\[viz\].*apt-get install libusb-1\.0-0"):
        open3d_import.import_open3d()
    monkeypatch.setattr(open3d_import.ctypes.util, "find_library", lambda name: None)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(InputError, match=r"Vulkan.*apt-get install.*--screenshot"):
        open3d_import.check_vulkan()


@needs_open3d
def test_what_is_nearer_hides_what_is_behind() -> None:
    pose = Pose((0.0, 0.0, 0.0), (10.0, 0.0, 0.0))
    box = BoxSet("label", np.array([[10.0, 0, 0, 2, 2, 2, 0]], np.float32), ("Car",), palette.LABEL)
    edge = project(np.array([[9.0, -1.0, 0.3]]), pose, SIZE)[0]  # in the middle of an upright edge of the front
    for depth, seen in ((5.0, False), (15.0, True)):
        points = np.array([[depth, -1.0 * depth / 9, 0.3 * depth / 9, 0.5]], np.float32)
        picture = render(SceneFrame("a", points, None, None, (box,)), pose, color="reflectance")
        column, row = np.floor(edge).astype(int)
        assert np.allclose(picture[row, column] / 255, to_rgb(palette.LABEL), atol=0.01) == seen


@needs_open3d
def test_nothing_behind_the_eye_is_drawn() -> None:
    points = np.array([[-5.0, 0, 0, 1], [np.nan, 0, 0, 1]], np.float32)
    box = BoxSet("label", np.array([[-8.0, 0, 0, 4, 2, 2, 0]], np.float32), ("Car",), palette.LABEL)
    frame = SceneFrame("a", points, None, None, (box,))
    picture = render(frame, Pose((0.0, 0.0, 0.0), (10.0, 0.0, 0.0)), legend=False)
    assert (picture == 255).all()


@needs_open3d
@pytest.mark.parametrize("color", ["height", "boxes"])
def test_the_legend_says_what_points_colours_mean(color: Coloring) -> None:
    points = np.array([[-5.0, 0, 0, 1]], np.float32)  # behind the eye: all that is drawn is the legend
    picture = render(SceneFrame("a", points, None, None, ()), Pose((0.0, 0.0, 0.0), (10.0, 0.0, 0.0)), color=color)
    legend = picture[-60:, :260]
    ends = (
        (inside_color, outside_color)
        if color == "boxes"
        else (lambda t: t.heights(0)[:3], lambda t: t.heights(1.0)[:3])
    )
    for end in ends:
        assert (np.abs(legend / 255 - to_rgb(end(palette.LIGHT))) < 0.01).all(axis=-1).any()


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
        with pytest.raises(InputError, match=r"--pose.*eye"):
            Pose.read(text)


def test_moving_pictures_go_all_around_and_along() -> None:
    turn, flown = (
        np.array([pose.eye for pose in turntable()]),
        np.array([pose.eye for pose in flight(np.zeros((0, 4)))]),
    )
    assert len(turn) == len(flown) == TURNS
    gaps = np.linalg.norm(turn - np.roll(turn, 1, axis=0), axis=1)
    np.testing.assert_allclose(gaps, gaps[0])  # no jump where it begins again
    assert (np.diff(flown[:, 0]) >= 0).all()
    near = np.stack([np.linspace(0, 30, 100), *np.zeros((3, 100))], axis=1)
    assert flight(near)[-1].target[0] <= 30 < flown[-1, 0] + 20


@needs_open3d
def test_pictures_are_written(simulated: Path, tmp_path: Path) -> None:
    frames = open_frames([simulated])[:2]
    written = write_pictures(frames, tmp_path, seen="above", color="boxes")
    assert written == [tmp_path / f"{frame.name}_above.png" for frame in frames]
    assert all(path.stat().st_size > 1000 for path in written)


@needs_open3d
def test_themes_and_poses_reach_the_picture(simulated: Path, tmp_path: Path) -> None:
    frames = open_frames([simulated], theme=palette.DARK)[:1]
    pose = Pose((-15.0, -12.0, 10.0), (20.0, 0.0, -2.0))
    (path,) = write_pictures(frames, tmp_path, pose=pose, theme=palette.DARK)
    assert path.name.endswith("_pose.png")
    picture = np.asarray(Image.open(path).convert("RGB"))
    np.testing.assert_allclose(picture[-1, -1] / 255, to_rgb(palette.DARK.background), atol=0.01)


@needs_open3d
def test_the_refinement_moves(tmp_path: Path) -> None:
    path = np.zeros((4, 1, 7), np.float32) + np.array([12.0, 0, -1, 4, 1.7, 1.5, 0], np.float32)
    path[:, 0, 1] = [3.0, 2.0, 1.0, 0.0]
    boxes = BoxSet("after", path[-1], ("Car",), palette.AFTER, np.ones(1), np.zeros(1), path, np.zeros((4, 1)))
    frame = SceneFrame("a", np.zeros((0, 4), np.float32), None, None, (boxes,))
    (written,) = write_pictures([frame], tmp_path, animate="refinement")
    with Image.open(written) as film:
        assert film.n_frames == 4
        pictures = []
        for k in range(4):
            film.seek(k)
            pictures.append(np.asarray(film.convert("RGB")).astype(int))
    for picture in pictures:  # each set keeps its own colour
        assert (np.abs(picture / 255 - to_rgb(palette.AFTER)) < 0.01).all(axis=-1).any()
    for first, second in pairwise(pictures):
        assert (np.abs(first - second).max(axis=-1) > 50).sum() > 50
    with pytest.raises(InputError, match="no refinement"):
        write_pictures(open_frames_of(frame), tmp_path, animate="refinement")
    with pytest.raises(InputError, match="waltz"):
        write_pictures([frame], tmp_path, animate="waltz")


def open_frames_of(frame: SceneFrame) -> list[SceneFrame]:
    """The frame without its path."""
    return [replace(frame, sets=tuple(replace(each, path=None) for each in frame.sets))]


def test_the_camera_s_image_needs_no_open3d(simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    (path,) = write_pictures(open_frames([simulated])[:1], tmp_path, seen="image")
    assert path.name.endswith("_image.png") and path.stat().st_size > 1000


@pytest.mark.parametrize(("name", "value"), [("seen", "below"), ("color", "taste")])
def test_unknown_choices_are_refused(simulated: Path, tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(InputError, match=value):
        write_pictures(open_frames([simulated])[:1], tmp_path, **{name: value})  # type: ignore[arg-type]
