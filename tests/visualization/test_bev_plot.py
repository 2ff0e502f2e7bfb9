from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from lidar_ebm.errors import OutputError
from lidar_ebm.formats.kitti.conversion import labels_to_boxes
from lidar_ebm.formats.kitti.files import read_calibration, read_labels, read_points
from lidar_ebm.geometry.boxes import corners_bev
from lidar_ebm.geometry.projection import crop_to_camera_view
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.bev_plot import (
    BoxLayer,
    after_layer,
    before_layer,
    draw_bev,
    label_layer,
    plot_bev,
    plot_refinement,
)

NO_POINTS = np.zeros((0, 4), np.float32)
NO_BOXES = np.zeros((0, 7), np.float32)
CAR = np.array([[20.0, -6.0, -0.9, 3.9, 1.6, 1.5, 0.4]])


def random_points(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform([0, -40, -2, 0], [70, 40, 1, 1], (count, 4)).astype(np.float32)


def random_boxes(count: int) -> np.ndarray:
    return np.random.default_rng(1).uniform([0, -40, -2, 0.5, 0.5, 1, -3.1], [70, 40, 0, 5, 2, 2, 3.1], (count, 7))


def drawn(layers: list[BoxLayer], points: np.ndarray = NO_POINTS) -> tuple[Axes, np.ndarray]:
    """Axes over the whole of a picture and the picture's pixels [H, W, 3], 0..1, top row first."""
    figure = palette.new_figure((800, 700))
    axes = figure.add_axes((0, 0, 1, 1))
    draw_bev(axes, points, layers=layers, view=(0.0, -40.0, 70.4, 40.0))
    axes.set_axis_off()
    figure.canvas.draw()
    return axes, np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255  # type: ignore[attr-defined]


def has_color(axes: Axes, pixels: np.ndarray, x: float, y: float, color: str) -> bool:
    """Tell if `color` stands within a pixel of where the ground point (x, y) is drawn."""
    column, from_bottom = axes.transData.transform((y, x))
    row, column = round(len(pixels) - from_bottom), round(column)
    around = pixels[row - 1 : row + 2, column - 1 : column + 2]
    return bool((np.abs(around - to_rgb(color)).max(axis=-1) < 0.02).any())


def read_picture(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def test_every_edge_of_a_label_is_drawn_where_it_lies() -> None:
    axes, pixels = drawn([label_layer(CAR)])
    corners = corners_bev(CAR)[0]
    for first, second in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        for share in (0.1, 0.5, 0.9):
            assert has_color(axes, pixels, *(first + share * (second - first)), palette.LABEL)
    assert not has_color(axes, pixels, 40.0, 20.0, palette.LABEL)


def test_the_heading_mark_points_along_the_yaw() -> None:
    axes, pixels = drawn([after_layer(CAR)])
    heading = np.array([np.cos(CAR[0, 6]), np.sin(CAR[0, 6])])
    assert has_color(axes, pixels, *(CAR[0, :2] + 1.0 * heading), palette.AFTER)
    assert not has_color(axes, pixels, *(CAR[0, :2] - 1.0 * heading), palette.AFTER)


def test_forward_is_up_and_left_is_left() -> None:
    axes, _ = drawn([])
    (here, ahead, left) = axes.transData.transform([(0.0, 10.0), (0.0, 30.0), (20.0, 10.0)])  # (y, x)
    assert ahead[1] > here[1]
    assert ahead[0] == pytest.approx(here[0])
    assert left[0] < here[0]
    assert ahead[1] - here[1] == pytest.approx(here[0] - left[0])  # a metre is a metre in both directions


def test_later_layers_lie_over_a_label_that_stays_visible() -> None:
    axes, pixels = drawn([label_layer(CAR), after_layer(CAR)])
    corners = corners_bev(CAR)[0]
    middle = (corners[0] + corners[1]) / 2
    assert has_color(axes, pixels, *middle, palette.AFTER)
    assert (np.abs(pixels - to_rgb(palette.LABEL)).max(axis=-1) < 0.02).any()


def test_points_are_drawn_where_they_lie_and_colored_by_height() -> None:
    axes, pixels = drawn([], np.array([[30.0, 10.0, -2.0, 0.0], [40.0, -10.0, 1.0, 0.0]]))
    values = []
    for x, y in ((30.0, 10.0), (40.0, -10.0)):
        column, from_bottom = axes.transData.transform((y, x))
        row = round(len(pixels) - from_bottom)
        values.append(pixels[row - 2 : row + 3, round(column) - 2 : round(column) + 3].min())
    assert values[1] < values[0] < 0.95  # high points are darker, both differ from the background


@pytest.mark.parametrize(
    "points",
    [NO_POINTS, np.full((5, 4), np.nan), np.array([[10.0, 0.0, np.inf, 0.0]]), np.array([[-500.0, 0.0, 0.0, 0.0]])],
    ids=["none", "nan", "infinite height", "out of view"],
)
@pytest.mark.parametrize(
    "boxes", [NO_BOXES, np.zeros(0), np.full((1, 7), np.nan), CAR + 500.0], ids=["none", "list", "nan", "out of view"]
)
def test_frames_without_anything_to_draw_make_pictures(tmp_path: Path, points: np.ndarray, boxes: np.ndarray) -> None:
    path = tmp_path / "frame.png"
    layers = [label_layer(boxes), before_layer(boxes), after_layer(boxes, np.ones(len(boxes)))]
    plot_bev(points, path, layers=layers, size=(300, 280))
    assert read_picture(path).shape == (280, 300, 3)


def test_a_picture_has_the_requested_size_and_shows_something(tmp_path: Path) -> None:
    boxes = random_boxes(400)
    layers = [label_layer(boxes), before_layer(boxes), after_layer(boxes, np.linspace(0, 1, 400))]
    path = plot_bev(random_points(5000), tmp_path / "deep" / "frame.png", layers=layers, title="many", size=(640, 600))
    picture = read_picture(path)
    assert picture.shape == (600, 640, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100
    assert (picture != 255).any(axis=-1).mean() > 0.05


def test_the_same_frame_makes_the_same_bytes(tmp_path: Path) -> None:
    files = [plot_bev(random_points(100), tmp_path / name, layers=[label_layer(CAR)]) for name in ("a.png", "b.png")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_picture_that_cannot_be_written_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"frame\.png"):
        plot_bev(NO_POINTS, tmp_path / "file" / "frame.png")


@pytest.mark.parametrize("view", [(10, 0, 10, 5), (0, 5, 10, -5)])
def test_an_empty_view_is_refused(tmp_path: Path, view: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="view"):
        plot_bev(NO_POINTS, tmp_path / "frame.png", view=view)


def test_boxes_and_scores_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\[M, 7\]"):
        plot_bev(NO_POINTS, tmp_path / "frame.png", layers=[label_layer(np.zeros((3, 5)))])
    with pytest.raises(ValueError, match="score"):
        plot_bev(NO_POINTS, tmp_path / "frame.png", layers=[after_layer(CAR, [0.5, 0.5])])


@pytest.mark.parametrize("count", [0, 1, 4, 9])
def test_refinement_is_drawn_for_any_number_of_boxes(tmp_path: Path, count: int) -> None:
    before = random_boxes(count)
    after = before + 0.05
    path = plot_refinement(
        random_points(500),
        before[:3],
        before,
        after,
        tmp_path / "frame.png",
        iou_before=np.full(count, np.nan),
        iou_after=np.full(count, 0.7),
        scores=np.full(count, 0.5),
        size=(1000, 500),
    )
    picture = read_picture(path)
    assert picture.shape == (500, 1000, 3)
    # The right half holds the panels, and the panels hold boxes.
    found = (np.abs(picture[:, 540:].astype(float) - np.multiply(to_rgb(palette.AFTER), 255)).max(axis=-1) < 5).sum()
    assert (found > 100) == (count > 0)


def test_boxes_that_did_not_move_have_no_panel(tmp_path: Path) -> None:
    ious = {"iou_before": [0.7], "iou_after": [0.7]}
    picture = read_picture(plot_refinement(NO_POINTS, CAR, CAR, CAR, tmp_path / "frame.png", **ious))
    assert (picture[:, -800:] == 255).all()


def test_refinement_compares_row_for_row(tmp_path: Path) -> None:
    path = tmp_path / "frame.png"
    with pytest.raises(ValueError, match="row for row"):
        plot_refinement(NO_POINTS, NO_BOXES, CAR, NO_BOXES, path, iou_before=[0], iou_after=[0])
    with pytest.raises(ValueError, match="IoU"):
        plot_refinement(NO_POINTS, NO_BOXES, CAR, CAR, path, iou_before=[], iou_after=[0])
    with pytest.raises(ValueError, match="finite"):
        plot_refinement(NO_POINTS, NO_BOXES, CAR, CAR * np.nan, path, iou_before=[0], iou_after=[0])
    with pytest.raises(ValueError, match="panels"):
        plot_refinement(NO_POINTS, NO_BOXES, CAR, CAR, path, iou_before=[0], iou_after=[0], zooms=7)


@pytest.mark.parametrize("frame", ["000003", "000008"])
def test_labels_of_real_frames_enclose_points_in_the_picture(kitti_frames: Path, frame: str) -> None:
    training = kitti_frames / "training"
    calibration = read_calibration(training / "calib" / f"{frame}.txt")
    labels = [label for label in read_labels(training / "label_2" / f"{frame}.txt") if label.type == "Car"]
    boxes = labels_to_boxes(labels, calibration)
    points = read_points(training / "velodyne" / f"{frame}.bin")
    axes, pixels = drawn([label_layer(boxes)], points[crop_to_camera_view(points, calibration.camera())])
    for corners in corners_bev(boxes):
        assert has_color(axes, pixels, *((corners[0] + corners[1]) / 2), palette.LABEL)


def test_names_are_no_formulas(tmp_path: Path) -> None:
    layers = [BoxLayer("a$_$b", np.zeros((0, 7)), palette.AFTER)]
    assert plot_bev(np.zeros((0, 4)), tmp_path / "x.png", layers=layers, title="x$_$y").is_file()


def arrow_lines(axes: Axes) -> np.ndarray:
    """Lines [K, 2, 2] of the arrows in `axes`, (x, y) m: of the three collections that each layer has the third."""
    lines = [each for each in axes.collections if isinstance(each, LineCollection)][2::3]
    segments = [np.asarray(part)[:, ::-1] for each in lines for part in each.get_segments()]
    return np.array(segments).reshape(-1, 2, 2)


def test_arrows_end_where_velocities_lead_in_the_picture_s_coordinates() -> None:
    boxes = np.column_stack([random_boxes(20), np.random.default_rng(2).normal(0, 6, (20, 2))])
    boxes[3, 7:] = np.nan
    axes, pixels = drawn([BoxLayer("a", boxes, palette.REGION, linewidth=3.0)])
    moving = np.delete(boxes, 3, axis=0)
    shafts = arrow_lines(axes)[::3]
    np.testing.assert_allclose(shafts[:, 0], moving[:, :2], atol=1e-9)
    np.testing.assert_allclose(shafts[:, 1], moving[:, :2] + moving[:, 7:], atol=1e-9)
    for x, y in shafts[:, 1]:
        if 1 < x < 69 and abs(y) < 39:
            assert has_color(axes, pixels, float(x), float(y), palette.REGION)
    assert "arrow: velocity, 1 s ahead" in axes.get_legend_handles_labels()[1]


def test_without_velocities_pictures_are_what_they_were() -> None:
    boxes, points = random_boxes(20), random_points(2000)
    unknown = np.column_stack([boxes, np.full((20, 2), np.nan)])
    (axes, plain), (_, same) = (drawn([BoxLayer("a", each, palette.REGION)], points) for each in (boxes, unknown))
    np.testing.assert_array_equal(plain, same)
    assert len(arrow_lines(axes)) == 0 and axes.get_legend_handles_labels()[1] == ["a (20)"]


def test_points_have_the_colours_that_are_given(tmp_path: Path) -> None:
    points = np.array([[10.0, 0, 0, 0], [30.0, 10, 0, 0], [30.0, 10, -1, 0], [np.nan, 0, 0, 0]])
    colors = np.array([to_rgb(color) for color in ("#FF0000", "#00FF00", "#0000FF", "#000000")])
    figure = palette.new_figure((800, 700))
    axes = figure.add_axes((0, 0, 1, 1))
    draw_bev(axes, points, view=(0.0, -40.0, 70.4, 40.0), colors=colors, point_size=6)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255  # type: ignore[attr-defined]
    assert has_color(axes, pixels, 10, 0, "#FF0000")
    assert has_color(axes, pixels, 30, 10, "#0000FF")  # later points over earlier ones


def test_the_move_of_a_velocity_is_told(tmp_path: Path) -> None:
    before = np.column_stack([CAR, [[4.0, -1.0]]])
    after = before + np.array([[0.3, 0, 0, 0, 0, 0, 0, 0.5, 0.25]])
    figures = []

    def keep(figure: Figure, path: Path) -> Path:
        figures.append(figure)
        return path

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(palette, "save_figure", keep)
        for width in (9, 7):
            ious = {"iou_before": [0.5], "iou_after": [0.6]}
            given = (CAR, before[:, :width], after[:, :width])
            plot_refinement(NO_POINTS, *given, tmp_path / "a.png", **ious)  # type: ignore[arg-type]
    notes = [[axes.get_xlabel() for axes in figure.axes][1] for figure in figures]
    assert notes[0].endswith("yaw +0.0°\nvx +0.50  vy +0.25 m/s")
    assert notes[1].endswith("yaw +0.0°")
    lines = arrow_lines(figures[0].axes[1])[::3]  # label without; then before and after
    np.testing.assert_allclose(lines[:, 1] - lines[:, 0], [before[0, 7:], after[0, 7:]])
