from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgb
from matplotlib.lines import Line2D

from lidar_ebm.energy.box_space import BOX_NAMES
from lidar_ebm.energy.landscape import PLANES, Landscape, Slice
from lidar_ebm.inference.landscape import boxes_of
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.landscape_plot import draw_plane, draw_turn, draw_yaw, plot_landscape
from lidar_ebm.visualization.palette import DARK, new_figure, use_theme
from tests.visualization.test_bev_plot import random_points, read_picture

BOX = np.array([20.0, -6.0, -0.9, 3.9, 1.6, 1.5, 3.1])
SCALES = np.array([0.1, 0.05, 0.05, 0.1, 0.1, 0.1, 0.02])  # of the Gaussian that f is the logarithm of


def f(boxes: np.ndarray) -> np.ndarray:
    offset = boxes - BOX
    offset[..., 6] = (offset[..., 6] + np.pi) % (2 * np.pi) - np.pi
    return -100.0 - 0.5 * ((offset / SCALES) ** 2).sum(axis=-1)


def some_landscape() -> Landscape:
    def cut(names: tuple[str, ...], *reaches: float) -> Slice:
        centers = [BOX[BOX_NAMES.index(name)] for name in names]
        axes = tuple(c + np.linspace(-reach, reach, 41) for c, reach in zip(centers, reaches, strict=True))
        return Slice(names, axes, f(boxes_of(BOX, names, axes)))

    proposal = BOX + np.array([0.2, -0.12, 0.1, 0.15, -0.2, 0.2, -0.06])
    path = BOX + np.array([1.0, 0.6, 0.2, 0.0])[:, None] * (proposal - BOX)
    return Landscape(
        index=2,
        class_name="Car",
        score=0.7,
        temperature=1.5,
        box=BOX,
        proposal=proposal,
        path=path,
        path_f=f(path),
        label=BOX + np.array([-0.15, 0.1, -0.1, -0.1, 0.1, -0.15, 0.03]),
        overlaps=(0.7, 0.9),
        planes=tuple(cut(names, 0.3, 0.3) for names in PLANES),
        yaw=cut(("yaw",), 0.1),
        turn=cut(("yaw",), np.pi),
        points=random_points(3000),
    )


def drawn_plane(shown: Landscape, number: int) -> tuple[Axes, np.ndarray]:
    """Axes over the whole of a picture and the picture's pixels [H, W, 3], 0..1, top row first."""
    figure = new_figure((600, 600))
    axes = figure.add_axes((0, 0, 1, 1))
    draw_plane(axes, shown, shown.planes[number], Normalize(-130, -100))
    axes.set_axis_off()
    figure.canvas.draw()
    return axes, np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255  # type: ignore[attr-defined]


def data_of(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_xydata(), np.float64)


def has_color(
    axes: Axes, pixels: np.ndarray, place: np.ndarray | tuple[float, float], color: str, within: int = 1
) -> bool:
    column, from_bottom = axes.transData.transform(place)
    row, column = round(len(pixels) - from_bottom), round(column)
    around = pixels[row - within : row + within + 1, column - within : column + within + 1]
    return bool((np.abs(around - to_rgb(color)).max(axis=-1) < 0.02).any())


@pytest.mark.parametrize(("number", "right", "up"), [(0, 1, 0), (1, 3, 4), (2, 2, 5)])
def test_boxes_path_and_regions_lie_where_they_belong(number: int, right: int, up: int) -> None:
    shown = some_landscape()
    axes, pixels = drawn_plane(shown, number)
    assert shown.label is not None
    for box, color in ((shown.label, palette.LABEL), (shown.proposal, palette.BEFORE), (shown.box, palette.AFTER)):
        assert has_color(axes, pixels, (box[right], box[up]), color)
    path = data_of(axes.lines[0])
    np.testing.assert_allclose(path, shown.path[:, [right, up]])
    np.testing.assert_allclose(path[-1], shown.box[[right, up]])
    assert has_color(axes, pixels, (path[0] + path[1]) / 2, palette.AFTER, within=2)
    radius = np.sqrt(-2 * np.log(0.5) * shown.temperature)  # of the 50 % region, in the Gaussian's deviations
    for sign in (-1, 1):
        edge = (shown.box[right] + sign * radius * SCALES[right], shown.box[up])
        assert has_color(axes, pixels, edge, palette.REGION, within=5)


def test_f_is_shown_by_the_colors_of_the_bar() -> None:
    shown = some_landscape()
    axes, pixels = drawn_plane(shown, 0)
    values = []
    for offset in (0.02, 0.12, 0.28):  # of x, ever farther from the box and away from what is drawn over the map
        column, from_bottom = axes.transData.transform((BOX[1] + 0.06, BOX[0] + offset))
        values.append(pixels[round(len(pixels) - from_bottom), round(column)].mean())
    assert values[0] > values[1] > values[2]


def test_x_points_up_and_y_left_as_in_other_pictures() -> None:
    axes, _ = drawn_plane(some_landscape(), 0)
    here, ahead, left = axes.transData.transform([(BOX[1], BOX[0]), (BOX[1], BOX[0] + 0.1), (BOX[1] + 0.1, BOX[0])])
    assert ahead[1] > here[1]
    assert left[0] < here[0]


def test_a_label_off_the_map_is_shown_faintly_at_its_edge() -> None:
    shown = replace(some_landscape(), label=BOX + 5.0)
    axes, _ = drawn_plane(shown, 1)
    (mark,) = [line for line in axes.lines if line.get_color() == palette.LABEL]
    np.testing.assert_allclose(data_of(mark), [[shown.planes[1].axes[0][-1], shown.planes[1].axes[1][-1]]])
    assert (mark.get_alpha() or 1.0) < 1.0


def test_curves_show_f_and_yaws_across_the_seam() -> None:
    shown = some_landscape()  # the yaw is 3.1, so that half of the curve lies beyond π
    for whole in (False, True):
        axes = new_figure((500, 400)).add_subplot()
        if whole:
            draw_turn(axes, shown)
        else:
            draw_yaw(axes, shown, shown.yaw)
        curve, marks = axes.lines[0], {line.get_color(): data_of(line) for line in axes.lines}
        assert np.ptp(data_of(curve)[:, 1]) > 1.0
        np.testing.assert_allclose(marks[palette.AFTER], [[np.degrees(3.1), -100.0]], atol=1e-6)
        np.testing.assert_allclose(marks[palette.LABEL][:, 0], [np.degrees(3.13)])
        texts = [axes.xaxis.get_major_formatter()(place) for place in (-180, -90, 179, 180, 270)]
        assert texts == ["−180", "−90", "179", "−180", "−90"]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
def test_pictures_with_and_without_label_in_both_themes(tmp_path: Path, *, labelled: bool, dark: bool) -> None:
    shown = some_landscape() if labelled else replace(some_landscape(), label=None, overlaps=None)
    with use_theme(DARK if dark else palette.LIGHT):
        path, again = (plot_landscape(shown, tmp_path / name, title="a_$box") for name in ("a.png", "b.png"))
    picture = read_picture(path)
    assert picture.shape == (1010, 1500, 3)
    assert path.read_bytes() == again.read_bytes()
    labels = np.abs(picture / 255 - to_rgb(palette.LABEL)).max(axis=-1) < 0.02
    assert (labels.sum() > 100) == labelled


@pytest.mark.parametrize("flat", [0.0, 1e-3])
def test_an_energy_that_knows_nothing_makes_a_picture(tmp_path: Path, flat: float) -> None:
    shown = some_landscape()
    planes = tuple(Slice(p.names, p.axes, flat * p.f) for p in shown.planes)
    plot_landscape(replace(shown, planes=planes, points=np.zeros((0, 4), np.float32)), tmp_path / "flat.png")
