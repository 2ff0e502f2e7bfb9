"""Pictures of a frame in space, without a display, a GPU or graphics drivers.

Open3D casts a ray for each sample of the picture against the boxes' tubes; points are projected, nearer ones over
farther ones, and the nearer of the two is seen. Open3D's own offscreen renderer takes less time, but wants a Vulkan
driver, which macOS, Windows and most containers do not have without a display.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image, ImageDraw, ImageFont

from lidar_ebm.types import TIME_LAG
from lidar_ebm.visualization.box_arrays import ARROW_LEGEND
from lidar_ebm.visualization.open3d_import import import_open3d
from lidar_ebm.visualization.palette import Theme, theme
from lidar_ebm.visualization.scene import SceneFrame
from lidar_ebm.visualization.scene_geometry import (
    BOX_RADIUS,
    Pose,
    box_segments,
    colored_points,
    project,
    ramp_of,
    scale_ends,
    tubes,
)

SIZE = (1280, 720)  # width and height of the pictures, pixels
FINER = 2  # samples along each side of a pixel, for smooth edges
POINT_SIZE = 2  # pixels
EDGE_WIDTH = 1.6  # pixels, of box edges at least, however far they are
ROW_HEIGHT, COLUMN_GAP = 22, 24  # pixels, of the legend
HALO = 2  # pixels of background around letters, where points may stand behind them
SCALE_WIDTH = 120  # pixels, of the bar that says what points' colours mean
ROWS = 256  # of samples that rays are cast for at a time, which bounds the memory
MINIMUM_DEPTH = 0.1  # m; what is nearer to the eye is not seen


def render(
    frame: SceneFrame, pose: Pose, *, color: str = "height", size: tuple[int, int] = SIZE, legend: bool = True
) -> np.ndarray:
    """A picture [H, W, 3] uint8 of a frame with all its sets of boxes, in the theme in use.

    Args:
        frame: what is shown.
        pose: where from.
        color: of the points.
        size: width and height, pixels.
        legend: whether the frame's name and the sets' colours are written on it.

    Raises:
        InputError: Open3D, or a library of the system that it needs, is missing.
    """
    o3d, current = import_open3d(), theme()
    fine = (FINER * size[0], FINER * size[1])
    samples = np.empty((fine[1], fine[0], 3), np.uint8)
    samples[:] = _bytes(current.background)
    depth = np.full((fine[1], fine[0]), np.inf, np.float32)
    _draw_points(samples, depth, frame, pose, color, current)
    _draw_boxes(samples, depth, frame, pose, o3d)
    picture = samples.reshape(size[1], FINER, size[0], FINER, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    return _with_legend(picture, frame, color, current) if legend else picture


def _draw_points(
    samples: np.ndarray, depth: np.ndarray, frame: SceneFrame, pose: Pose, color: str, current: Theme
) -> None:
    """Round spots in `samples` [H, W, 3] where a frame's points are, and how far they are in `depth` [H, W], m."""
    height, width = depth.shape
    away = (frame.points[:, :3].astype(np.float64) - pose.eye) @ pose.axes()[2]
    seen = np.flatnonzero(away > MINIMUM_DEPTH)
    seen = seen[np.argsort(-away[seen], kind="stable")]  # the nearest is written last and stays
    places = project(frame.points[seen, :3], pose, (width, height))
    inside = ((places > -POINT_SIZE * FINER) & (places < np.array([width, height]) + POINT_SIZE * FINER)).all(axis=1)
    seen, places = seen[inside], places[inside]
    reach = np.arange(POINT_SIZE * FINER) - (POINT_SIZE * FINER - 1) / 2
    right, down = np.meshgrid(reach, reach)
    spot = np.stack([right, down], axis=-1)[np.hypot(right, down) <= POINT_SIZE * FINER / 2]  # [S, 2]
    at = np.floor(places[:, None] + spot).astype(np.int64).reshape(-1, 2)
    point = np.repeat(seen, len(spot))
    within = ((at >= 0) & (at < (width, height))).all(axis=1)
    at, point = at[within], point[within]
    nearest = np.full(height * width, -1, np.int64)
    nearest[at[:, 1] * width + at[:, 0]] = point
    covered = np.flatnonzero(nearest >= 0)
    rgb = (255 * colored_points(frame, color, current)).round().astype(np.uint8)
    samples.reshape(-1, 3)[covered] = rgb[nearest[covered]]
    depth.reshape(-1)[covered] = away[nearest[covered]]


def _draw_boxes(samples: np.ndarray, depth: np.ndarray, frame: SceneFrame, pose: Pose, o3d: Any) -> None:
    """Boxes' edges in `samples` [H, W, 3] where they are nearer than `depth` [H, W], m."""
    scene, colors = o3d.t.geometry.RaycastingScene(), {}
    thinnest = EDGE_WIDTH * FINER / 2 / pose.scale(len(depth))  # radius in m, a metre away
    for each in frame.sets:
        segments = box_segments(each.boxes)
        away = (segments.mean(axis=1) - pose.eye) @ pose.axes()[2]
        vertices, triangles = tubes(segments, np.maximum(BOX_RADIUS, thinnest * away))
        if len(triangles):
            number = scene.add_triangles(
                o3d.core.Tensor(vertices.astype(np.float32)), o3d.core.Tensor(triangles.astype(np.uint32))
            )
            colors[number] = _bytes(each.color)
    if not colors:
        return
    table = np.array([colors[number] for number in range(len(colors))], np.uint8)
    height, width = depth.shape
    (right, up, forward), scale = pose.axes().astype(np.float32), np.float32(pose.scale(height))
    sideways = (np.arange(width, dtype=np.float32)[:, None] + 0.5 - width / 2) / scale * right  # [W, 3]
    for first in range(0, height, ROWS):
        rows = slice(first, min(first + ROWS, height))
        upwards = (height / 2 - 0.5 - np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]) / scale * up
        rays = np.empty((len(upwards), width, 6), np.float32)
        rays[..., :3] = pose.eye
        rays[..., 3:] = upwards[:, None] + sideways + forward  # so that a ray's parameter is the depth
        hits = scene.cast_rays(o3d.core.Tensor(rays))
        reached = hits["t_hit"].numpy()
        front = (reached < depth[rows]) & (reached > MINIMUM_DEPTH)
        samples[rows][front] = table[hits["geometry_ids"].numpy()[front]]


def _bytes(color: Any) -> np.ndarray:
    return np.round(255 * np.array(to_rgb(color))).astype(np.uint8)


def _with_legend(picture: np.ndarray, frame: SceneFrame, color: str, current: Theme) -> np.ndarray:
    image = Image.fromarray(picture)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=16)
    style: dict[str, Any] = {"fill": current.text, "font": font}
    if TIME_LAG in frame.channels:  # points of many sweeps fill the picture, its corners too
        style |= {"stroke_width": HALO, "stroke_fill": current.background}
    draw.text((14, 10), f"Frame {frame.name}, {len(frame.points):,} points", **style)
    rows = [(each.color, each.legend()) for each in frame.sets]
    if frame.has_arrows():
        rows.append((current.muted_text, ARROW_LEGEND))
    left, width, room = 14, 0, max((image.height - 36 - 60) // ROW_HEIGHT, 1)  # above the scale
    for number, (fill, words) in enumerate(rows):
        if number and number % room == 0:  # the next column
            left, width = left + width + COLUMN_GAP, 0
        top = 36 + ROW_HEIGHT * (number % room)
        draw.rectangle((left, top + 4, left + 20, top + 14), fill=fill)
        draw.text((left + 28, top), words, **style)
        width = max(width, 28 + round(draw.textlength(words, font=font)))
    if len(frame.points):
        _draw_scale(draw, image.height, frame, color, current, style)
    return np.asarray(image)


def _draw_scale(
    draw: ImageDraw.ImageDraw, height: int, frame: SceneFrame, color: str, current: Theme, style: dict[str, Any]
) -> None:
    """Write at the lower left what the points' colours mean, in a style of text."""
    top, (low, high) = height - 30, scale_ends(frame, color, current)
    if color == "boxes":
        for row, (words, rgb) in enumerate((high, low)):
            draw.ellipse((19, top - 22 * row + 4, 29, top - 22 * row + 14), fill=tuple(_bytes(rgb).tolist()))
            draw.text((42, top - 22 * row), words, **style)
        return
    draw.text((14, top), low[0], **style)
    left = 22 + round(draw.textlength(low[0], font=style["font"]))
    for step, rgb in enumerate(ramp_of(color, current)(np.linspace(0, 1, SCALE_WIDTH))):
        draw.line((left + step, top + 4, left + step, top + 14), fill=tuple(_bytes(rgb).tolist()))
    draw.text((left + SCALE_WIDTH + 8, top), high[0], **style)
