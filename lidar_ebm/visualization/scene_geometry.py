"""Points and boxes in space as what is drawn: colours, edges, and places that are looked from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb

from lidar_ebm.errors import InputError
from lidar_ebm.geometry.boxes import corners_3d, points_in_boxes
from lidar_ebm.types import REFLECTANCE, TIME_LAG
from lidar_ebm.visualization.bev_plot import HEIGHT_LIMITS
from lidar_ebm.visualization.box_arrays import arrow_segments, split_velocity
from lidar_ebm.visualization.image_overlay import EDGES
from lidar_ebm.visualization.palette import Theme
from lidar_ebm.visualization.scene import SceneFrame
from lidar_ebm.visualization.views import is_all_around, view_of

Rgb = tuple[float, float, float]  # 0..1
COLORINGS = ("height", "distance", "boxes")  # of points, beside the channels that they have
# What the colours of points mean, and the values at the scale's ends; of other channels these are the frame's own.
SCALES = {
    "height": ("m, height", *HEIGHT_LIMITS),
    REFLECTANCE: ("reflectance", 0.0, 1.0),
    "distance": ("m, distance", 0.0, 70.0),
}
LAG_REACH = 0.5  # s, of the scale of lags at least, so that ten sweeps of any frame have the same colours
BOX_RADIUS = 0.035  # m, of the tubes that rays see edges as
SIDES = 6  # of a tube


@dataclass(frozen=True)
class Pose:
    """Place that a picture is taken from, in the LiDAR frame, m."""

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    field_of_view: float = 55.0  # vertical, degrees

    @classmethod
    def read(cls, text: str) -> Pose:
        """From "x,y,z,x,y,z": the eye, then what it looks at.

        Raises:
            InputError: these are not six numbers of two different places.
        """
        try:
            values = [float(part) for part in text.split(",")]
        except ValueError:
            values = []
        if len(values) != 6 or not all(map(math.isfinite, values)) or values[:3] == values[3:]:
            raise InputError(f"pose {text!r}: give x,y,z of the eye and x,y,z of what it looks at, in m.")
        eye, target = (values[0], values[1], values[2]), (values[3], values[4], values[5])
        straight = eye[:2] == target[:2]  # down or up: then x forward is up in the picture
        return cls(eye, target, up=(1.0, 0.0, 0.0) if straight else (0.0, 0.0, 1.0))

    def axes(self) -> np.ndarray:
        """Unit vectors [3, 3] in the LiDAR frame: right and up in the picture, and forward."""
        forward = np.subtract(self.target, self.eye, dtype=np.float64)
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, self.up)
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(right, forward), forward])

    def scale(self, height: int) -> float:
        """Pixels per unit of the tangent from the middle, in a picture so many pixels high."""
        return height / 2 / math.tan(math.radians(self.field_of_view) / 2)


POSES = {
    "behind": Pose((-10.0, 0.0, 7.0), (18.0, 0.0, -2.0)),
    "above": Pose((25.0, 0.0, 55.0), (25.0, 0.0, 0.0), up=(1.0, 0.0, 0.0)),
}


def pose_of(name: str, frame: SceneFrame) -> Pose:
    """The place of `POSES` that suits a frame: from above, one that looks all around has its sensor in the middle."""
    boxes, camera = frame.boxes(), frame.camera is not None
    if name != "above" or not is_all_around(frame.points, boxes, camera=camera):
        return POSES[name]
    above = POSES["above"]
    half = view_of(frame.points, boxes, camera=camera)[2]
    return Pose((0.0, 0.0, half / math.tan(math.radians(above.field_of_view) / 2)), (0.0, 0.0, 0.0), up=above.up)


def project(places: np.ndarray, pose: Pose, size: tuple[int, int]) -> np.ndarray:
    """Pixels [N, 2] (right, down) of places [N, 3] in a picture of (width, height); NaN behind the eye."""
    x, y, depth = ((np.asarray(places, np.float64) - pose.eye) @ pose.axes().T).T
    scale = pose.scale(size[1])
    depth = np.where(depth > 0, depth, np.nan)
    return np.stack([size[0] / 2 + scale * x / depth, size[1] / 2 - scale * y / depth], axis=1)


def colorings(channels: Sequence[str]) -> tuple[str, ...]:
    """All that points with these channels can be coloured by."""
    return (COLORINGS[0], *(name for name in channels if name not in COLORINGS), *COLORINGS[1:])


def colored_points(frame: SceneFrame, by: str, theme: Theme) -> np.ndarray:
    """Colours [N, 3], 0..1, of a frame's points; those by membership are by all of its sets of boxes.

    Args:
        frame: points and boxes.
        by: one of `colorings`; points without this channel have the colour of the lowest value.
        theme: light or dark.
    """
    points = frame.points
    if by == "boxes":
        boxes = frame.boxes()
        inside = np.asarray(points_in_boxes(points, boxes[np.isfinite(boxes).all(axis=1)])).any(axis=1, keepdims=True)
        return np.where(inside, inside_color(theme), outside_color(theme))
    _, low, high = scale_of(frame, by)
    with np.errstate(invalid="ignore"):
        shares = np.clip((_values(frame, by) - low) / (high - low), 0, 1)
    return ramp_of(by, theme)(np.nan_to_num(shares))[:, :3]


def ramp_of(by: str, theme: Theme) -> LinearSegmentedColormap:
    """Colours of points from the lowest to the highest value: by time lag new points stand out and old ones fade."""
    return theme.lags if by == TIME_LAG else theme.heights


def scale_of(frame: SceneFrame, by: str) -> tuple[str, float, float]:
    """Words for what a frame's points are coloured by, and the lowest and the highest value that colours tell apart."""
    if by in SCALES:
        return SCALES[by]
    low, high = channel_limits(by, _values(frame, by))
    return "s, time lag" if by == TIME_LAG else by.replace("_", " "), low, high


def channel_limits(name: str, values: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest value of a channel [N] that colours tell apart: its own, unless its scale is fixed."""
    if name in SCALES:
        return SCALES[name][1:]
    finite = values[np.isfinite(values)]
    if name == TIME_LAG:
        return 0.0, max(float(finite.max(initial=0.0)), LAG_REACH)
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    return low, high if high > low else low + 1.0


def _values(frame: SceneFrame, by: str) -> np.ndarray:
    """A number [N] of each point."""
    if by == "height":
        return frame.points[:, 2]
    if by == "distance":
        return np.hypot(frame.points[:, 0], frame.points[:, 1])
    if by in frame.channels:
        return frame.points[:, 3 + frame.channels.index(by)]
    return np.zeros(len(frame.points), np.float32)


def inside_color(theme: Theme) -> Rgb:
    """Of points in boxes, where points are coloured by that."""
    return to_rgb(theme.region)


def outside_color(theme: Theme) -> Rgb:
    """Of the other points."""
    return to_rgb(theme.heights(0.25)[:3])


def scale_ends(frame: SceneFrame, by: str, theme: Theme) -> tuple[tuple[str, Rgb], tuple[str, Rgb]]:
    """Texts of a legend at the two ends of the scale of points' colours, each with the colour it is written in."""
    if by == "boxes":
        return ("other points", outside_color(theme)), ("points in boxes", inside_color(theme))
    words, low, high = scale_of(frame, by)
    low = 0.0 if abs(low) < 1e-3 * (high - low) else low
    return (f"{low:.3g}", to_rgb(theme.text)), (f"{high:.3g} {words}", to_rgb(theme.text))


def box_segments(boxes: np.ndarray) -> np.ndarray:
    """Lines [13 M + 3 K, 2, 3] of boxes [M, 7 or 9]: edges, a mark from each one's middle through its front, and arrows
    of K boxes with a velocity. Boxes with a number that is not finite are left out."""
    finite = split_velocity(boxes)[0]
    finite = finite[np.isfinite(finite).all(axis=1)]
    if not len(finite):
        return np.zeros((0, 2, 3))
    edges = np.asarray(corners_3d(finite))[:, np.array(EDGES)]  # [M, 12, 2, 3]
    heading = np.stack([np.cos(finite[:, 6]), np.sin(finite[:, 6]), np.zeros(len(finite))], axis=1)
    fronts = finite[:, :3] + heading * (0.5 * finite[:, 3:4] + 0.4 * finite[:, 4:5])
    marks = np.stack([finite[:, :3], fronts], axis=1)[:, None]
    return np.concatenate([np.concatenate([edges, marks], axis=1).reshape(-1, 2, 3), arrow_segments(boxes)])


def tubes(segments: np.ndarray, radius: float | np.ndarray = BOX_RADIUS) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] and triangles [F, 3] of thin prisms along lines [S, 2, 3]; radius: of all, or [S], m."""
    radius = np.broadcast_to(radius, len(segments))[:, None]
    along = segments[:, 1] - segments[:, 0]
    direction = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    steep = np.abs(direction[:, 2:]) > 0.9
    side = np.cross(direction, np.where(steep, [[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]]))
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    other = np.cross(direction, side)
    angles = 2 * np.pi * np.arange(SIDES) / SIDES
    circle = np.cos(angles)[:, None] * side[:, None] + np.sin(angles)[:, None] * other[:, None]
    ring = radius[..., None] * circle  # [S, 6, 3]
    # A little longer than the line, so that tubes meet without a gap in corners.
    ends = np.stack([segments[:, 0] - radius / 2 * direction, segments[:, 1] + radius / 2 * direction], axis=1)
    vertices = (ends[:, :, None] + ring[:, None]).reshape(-1, 3)  # [S · 2 · 6, 3]
    k, after = np.arange(SIDES), (np.arange(SIDES) + 1) % SIDES
    walls = np.concatenate([np.stack([k, after, k + SIDES], 1), np.stack([after, after + SIDES, k + SIDES], 1)])
    caps = np.stack([np.zeros(SIDES - 2, int), k[1:-1], k[2:]], 1)
    template = np.concatenate([walls, caps[:, ::-1], caps + SIDES])
    offsets = 2 * SIDES * np.arange(len(segments))[:, None, None]
    return vertices, (template + offsets).reshape(-1, 3)
