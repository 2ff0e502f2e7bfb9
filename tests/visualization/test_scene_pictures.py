"""Files of pictures, still and moving."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from lidar_ebm.errors import InputError
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.image_overlay import HEADER
from lidar_ebm.visualization.scene import BoxSet, SceneFrame
from lidar_ebm.visualization.scene_geometry import Pose
from lidar_ebm.visualization.scene_pictures import write_pictures
from lidar_ebm.workflows.view import open_frames


@pytest.mark.usefixtures("open3d")
def test_pictures_are_written(simulated: Path, tmp_path: Path) -> None:
    frames = open_frames([simulated])[:2]
    written = write_pictures(frames, tmp_path, seen="above", color="boxes")
    assert written == [tmp_path / f"{frame.name}_above.png" for frame in frames]
    assert all(path.stat().st_size > 1000 for path in written)


@pytest.mark.usefixtures("open3d")
def test_themes_and_poses_reach_the_picture(simulated: Path, tmp_path: Path) -> None:
    frames = open_frames([simulated], theme=palette.DARK)[:1]
    pose = Pose((-15.0, -12.0, 10.0), (20.0, 0.0, -2.0))
    (path,) = write_pictures(frames, tmp_path, pose=pose, theme=palette.DARK)
    assert path.name.endswith("_pose.png")
    picture = np.asarray(Image.open(path).convert("RGB"))
    np.testing.assert_allclose(picture[-1, -1] / 255, to_rgb(palette.DARK.background), atol=0.01)


@pytest.mark.usefixtures("open3d")
def test_the_refinement_moves(tmp_path: Path) -> None:
    path = np.zeros((4, 1, 7), np.float32) + np.array([12.0, 0, -1, 4, 1.7, 1.5, 0], np.float32)
    path[:, 0, 1] = [3.0, 2.0, 1.0, 0.0]
    boxes = BoxSet("after", path[-1], ("Car",), palette.AFTER, np.ones(1), np.zeros(1), path, np.zeros((4, 1)))
    frame = SceneFrame("a", np.zeros((0, 4), np.float32), (boxes,))
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


def with_camera(frame: SceneFrame) -> SceneFrame:
    """The frame with a camera that looks ahead."""
    lidar_to_camera = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    projection = np.array([[500.0, 0, 400, 0], [0, 500, 150, 0], [0, 0, 1, 0]])
    return replace(frame, camera=Camera(projection, lidar_to_camera, (800, 300)))


def test_the_camera_s_image_needs_no_open3d(simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    frame = with_camera(open_frames([simulated])[0])
    (path,) = write_pictures([frame], tmp_path, seen="image")
    assert path.name.endswith("_image.png") and Image.open(path).size == (800, 300 + HEADER)


def test_a_frame_without_a_camera_has_no_image(simulated: Path, tmp_path: Path) -> None:
    frame = replace(open_frames([simulated])[0], camera=None)
    with pytest.raises(InputError, match=f"{frame.name}: has no camera.*above"):
        write_pictures([frame], tmp_path, seen="image")


@pytest.mark.usefixtures("open3d")
def test_classes_have_their_own_colours(simulated: Path, tmp_path: Path) -> None:
    frames = open_frames([simulated])
    frame = next(frame for frame in frames if frame.boxes().size)
    forklift = replace(frame, sets=tuple(replace(each, types=("forklift",) * len(each.types)) for each in frame.sets))
    (path,) = write_pictures([forklift], tmp_path, by_class=True)
    picture = np.asarray(Image.open(path).convert("RGB")) / 255
    color = to_rgb(palette.LIGHT.class_color("Forklift"))
    assert (np.abs(picture - color) < 0.01).all(axis=-1).sum() > 100
    assert forklift.by_class(palette.LIGHT).sets[0].name == "label: forklift"


@pytest.mark.parametrize(("name", "value"), [("seen", "below"), ("color", "taste")])
def test_unknown_choices_are_refused(simulated: Path, tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(InputError, match=value):
        write_pictures([with_camera(open_frames([simulated])[0])], tmp_path, **{name: value})  # type: ignore[arg-type]


def test_names_are_drawn_as_they_are_written(simulated: Path, tmp_path: Path) -> None:
    frame = with_camera(open_frames([simulated])[0])
    odd = replace(frame, name="x$_$y", sets=tuple(replace(each, name="_a$_$b") for each in frame.sets))
    (path,) = write_pictures([odd], tmp_path, seen="image")
    (plain,) = write_pictures([replace(odd, sets=())], tmp_path / "plain", seen="image")
    drawn, bare = (np.asarray(Image.open(each).convert("RGB"))[:44, 200:-250] for each in (path, plain))
    assert (drawn != bare).any()  # the legend has the set, although its name begins with an underscore


def test_a_frame_is_drawn_once(simulated: Path) -> None:
    frames = open_frames([simulated])
    first, second = frames.names[:2]
    assert frames.choose([second, first, second], whole_folder=True) == [1, 0]
