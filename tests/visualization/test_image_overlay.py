from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from PIL import Image

from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.formats.kitti.calibration import Calibration
from lidar_ebm.formats.kitti.conversion import labels_to_boxes
from lidar_ebm.formats.kitti.files import read_calibration, read_labels, read_points
from lidar_ebm.geometry.boxes import corners_3d
from lidar_ebm.geometry.projection import project_boxes, project_to_image
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.bev_plot import BoxLayer, after_layer, label_layer
from lidar_ebm.visualization.image_overlay import (
    HEADER,
    draw_overlay,
    plot_overlay,
    project_arrows,
    project_edges,
)
from lidar_ebm.workflows.sources import read_image
from tests.visualization.test_bev_plot import read_picture

CAR = np.array([[20.0, 2.0, -0.9, 3.9, 1.6, 1.5, 0.4]])
CALIBRATION = Calibration(
    np.array([[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.2], [0, 0, 1, 0.003]]),
    np.eye(3),
    np.array([[0, -1.0, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.27]]),
)
AHEAD = CALIBRATION.camera((1242, 375))
SIZE = (600, 200)


def drawn(layers: list[BoxLayer], points: np.ndarray | None = None) -> np.ndarray:
    """Pixels [H, W, 3], 0..1, of boxes in the empty image of the camera."""
    figure = palette.new_figure((1242, 375))
    axes: Axes = figure.add_axes((0, 0, 1, 1))
    draw_overlay(axes, None, AHEAD, points=points, layers=layers)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255  # type: ignore[attr-defined]


def near_color(pixels: np.ndarray, place: np.ndarray, color: str) -> bool:
    """Tell if `color` stands within a pixel of (u, v)."""
    column, row = np.round(place).astype(int)
    around = pixels[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
    return bool((np.abs(around - to_rgb(color)).max(axis=-1) < 0.02).any())


def random_boxes(count: int) -> np.ndarray:
    return np.random.default_rng(1).uniform([-30, -30, -2, 1, 1, 1, -3], [60, 30, 1, 8, 4, 4, 3], (count, 7))


def test_edges_end_at_the_projected_corners() -> None:
    (edges,) = project_edges(CAR, AHEAD)
    corners, _ = project_to_image(corners_3d(CAR)[0], AHEAD)
    assert edges.shape == (13, 2, 2)
    ends = np.unique(np.round(edges[:12].reshape(-1, 2), 6), axis=0)
    np.testing.assert_allclose(ends, np.unique(np.round(corners, 6), axis=0), atol=1e-5)
    start, end = edges[12]
    heading = np.array([np.cos(0.4), np.sin(0.4), 0.0])
    bottom = CAR[0, :3] - [0, 0, 0.75]
    expected, _ = project_to_image(np.stack([bottom, bottom + heading * (3.9 / 2 + 0.15 * 1.6)]), AHEAD)
    np.testing.assert_allclose([start, end], expected)


def test_boxes_are_cut_off_at_the_plane_of_the_camera() -> None:
    boxes = random_boxes(400)
    extents = project_boxes(boxes, AHEAD)
    _, depth = project_to_image(corners_3d(boxes).reshape(-1, 3), AHEAD)
    depth = depth.reshape(-1, 8)
    partly = 0
    for edges, extent, depths in zip(project_edges(boxes, AHEAD), extents, depth, strict=True):
        assert np.isfinite(edges).all()
        if (depths < 0.01).all():
            assert len(edges[:12]) <= 1  # at most the heading mark, which reaches beyond the box, is before the camera
        elif (depths > 0.1).all():
            np.testing.assert_allclose(edges[:12].reshape(-1, 2).min(axis=0), extent[:2], atol=1e-6)
            np.testing.assert_allclose(edges[:12].reshape(-1, 2).max(axis=0), extent[2:], atol=1e-6)
        else:
            partly += 1
            assert 0 < len(edges) <= 13
    assert partly > 10


def test_boxes_behind_the_camera_and_without_numbers_draw_nothing() -> None:
    behind, lost = CAR.copy(), CAR.copy()
    behind[0, 0], lost[0, 3] = -20.0, np.nan
    for box in (behind, lost):
        assert [len(edges) for edges in project_edges(box, AHEAD)] == [0]
        np.testing.assert_array_equal(drawn([label_layer(box)]), drawn([]))
    assert project_edges(np.zeros((0, 7)), AHEAD) == []


def test_a_box_around_the_camera_is_drawn_as_far_as_it_can_be_seen() -> None:
    around = np.array([[0.0, 0.0, 0.0, 60.0, 6.0, 3.0, 0.0]])
    pixels = drawn([after_layer(around)])
    corner, _ = project_to_image(corners_3d(around)[0][[0]], AHEAD)
    assert near_color(pixels, corner[0], palette.AFTER)


def test_front_and_heading_mark_tell_where_a_box_faces() -> None:
    box = np.array([[12.0, 0.0, -0.9, 4.0, 1.8, 1.5, np.pi]])  # towards the camera
    pixels = drawn([after_layer(box)])
    faces, _ = project_to_image(np.array([[10.0, 0.5, -0.6], [12.0 - 2.2, 0.0, -1.65]]), AHEAD)
    inside = pixels[round(faces[0, 1]), round(faces[0, 0])]
    assert (np.array(to_rgb(palette.AFTER)) < inside).all()  # shaded
    assert (inside < 0.99).any()
    assert near_color(pixels, faces[1], palette.AFTER)


def test_points_are_drawn_where_they_are_seen_and_near_ones_unlike_far_ones() -> None:
    points = np.array([[8.0, 1.0, -0.5, 0], [50.0, -5.0, 1.0, 0], [-8.0, 1.0, 0.0, 0], [np.nan, 0, 0, 0], [0, 0, 0, 0]])
    pixels = drawn([], points)
    places, _ = project_to_image(points[:2], AHEAD)
    colors = []
    for column, row in np.round(places).astype(int):
        patch = pixels[row - 1 : row + 2, column - 1 : column + 2].reshape(-1, 3)
        colors.append(patch[patch.min(axis=-1).argmin()])
    assert min(color.min() for color in colors) < 0.8
    assert np.abs(colors[0] - colors[1]).max() > 0.3
    assert (pixels.min(axis=-1) < 0.98).sum() < 40  # and nothing else


def test_the_image_is_shown_pixel_for_pixel(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "in.png")
    for given in (image, read_image(tmp_path / "in.png")):
        path = plot_overlay(given, AHEAD, tmp_path / "out.png", title="a $title_")
        picture = read_picture(path)
        assert picture.shape == (SIZE[1] + HEADER, SIZE[0], 3)
        np.testing.assert_array_equal(picture[HEADER:], image)


def test_images_that_cannot_be_read_and_pictures_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    for name in ("damaged.png", "missing.png"):
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / name)
    with pytest.raises(OutputError, match=r"out\.png"):
        plot_overlay(None, AHEAD, tmp_path / "damaged.png" / "out.png")


@pytest.mark.parametrize("name", ["000003", "000008"])
def test_labels_of_real_frames_stand_at_their_places_in_the_image(
    kitti_frames: Path, tmp_path: Path, name: str
) -> None:
    training = kitti_frames / "training"
    image = training / "image_2" / f"{name}.png"
    if not image.is_file():
        pytest.skip("the image of this frame is not here")
    calibration = read_calibration(training / "calib" / f"{name}.txt")
    camera = calibration.camera(read_image(image).shape[1::-1])
    labels = [label for label in read_labels(training / "label_2" / f"{name}.txt") if label.type == "Car"]
    boxes, points = labels_to_boxes(labels, calibration), read_points(training / "velodyne" / f"{name}.bin")
    layers = [BoxLayer("label", boxes, palette.LABEL, linewidth=2.0)]
    pixels = read_picture(plot_overlay(read_image(image), camera, tmp_path / "a.png", points=points, layers=layers))[
        HEADER:
    ]
    height, width = pixels.shape[:2]
    assert (height, width) == read_image(image).shape[:2]
    seen = 0
    for corners in corners_3d(boxes):
        places, depth = project_to_image(corners, camera)
        for place, ahead in zip(places, depth > 0.1, strict=True):
            if ahead and (place > 2).all() and (place < [width - 3, height - 3]).all():
                assert near_color(pixels / 255, place, palette.LABEL)
                seen += 1
    assert seen >= 8
    # Truncated labels aside, the drawn boxes fill the 2-D boxes that people drew by hand.
    for label, extent in zip(labels, project_boxes(boxes, camera), strict=True):
        if label.truncated == 0:
            np.testing.assert_allclose(extent, label.bbox, atol=12)


def test_arrows_end_at_the_projected_place_a_second_ahead() -> None:
    moving = np.column_stack([CAR, [[5.0, -2.0]]])
    shaft, *barbs = project_arrows(moving, AHEAD)
    ends = np.array([CAR[0, :3], CAR[0, :3] + [5.0, -2.0, 0.0]])
    np.testing.assert_allclose(shaft, project_to_image(ends, AHEAD)[0], atol=1e-6)
    assert len(barbs) == 2
    assert near_color(drawn([label_layer(moving)]), shaft[1], palette.LABEL)
    assert not near_color(drawn([label_layer(CAR)]), shaft[1], palette.LABEL)
    assert len(project_arrows(np.column_stack([CAR, [[np.nan, 0.0]]]), AHEAD)) == 0
    behind = moving - np.array([60.0, *np.zeros(8)])
    assert len(project_arrows(behind, AHEAD)) == 0


def test_the_header_says_what_arrows_are(tmp_path: Path) -> None:
    moving = np.column_stack([CAR, [[5.0, -2.0]]])
    pictures = [
        read_picture(plot_overlay(None, AHEAD, tmp_path / "a.png", layers=[label_layer(each)]))[:HEADER]
        for each in (CAR, moving)
    ]
    assert (pictures[0] != pictures[1]).any()
