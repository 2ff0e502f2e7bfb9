"""Pictures of frames, still or moving, from any of the places that pictures are taken from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from lidar_ebm.errors import InputError
from lidar_ebm.system.files import atomic_write
from lidar_ebm.system.progress import progress_bar
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.bev_frame import box_layers, plot_frame
from lidar_ebm.visualization.image_overlay import plot_overlay
from lidar_ebm.visualization.scene import BoxFilter, SceneFrame
from lidar_ebm.visualization.scene_geometry import POSES, Pose, colorings, pose_of

IMAGE, BEV = "image", "bev"
FLAT = (IMAGE, BEV)  # what is seen without a place in space, and needs no Open3D
VIEWS = (*POSES, *FLAT)


def check_coloring(frame: SceneFrame, color: str) -> str:
    """Name that a frame's points can be coloured by.

    Raises:
        InputError: it is unknown, and no channel of the points.
    """
    if color not in colorings(frame.channels):
        raise InputError(
            f"color {color!r}: the points of frame {frame.name} have no such channel; choose one of "
            f"{', '.join(colorings(frame.channels))}."
        )
    return color


def write_pictures(
    frames: Sequence[SceneFrame],
    out: str | Path,
    *,
    seen: str = "behind",
    pose: Pose | None = None,
    color: str = "height",
    chosen: BoxFilter = BoxFilter(),  # noqa: B008 (frozen, without state)
    theme: palette.Theme = palette.LIGHT,
    animate: str | None = None,
    by_class: bool = False,
    velocity: bool = True,
) -> list[Path]:
    """Write OUT/NAME_SEEN.png of frames, or with `animate` OUT/NAME_ANIMATE.gif.

    Args:
        frames: what is shown.
        out: folder of the pictures.
        seen: a name of `POSES`, "bev": a map from above with axes, or "image": points and boxes in the camera's image.
        pose: another place to look from, in place of `seen`; files then end in _pose.
        color: of the points: height, distance, boxes, or a channel that they have; in the image it is by depth.
        chosen: boxes that are shown.
        theme: light or dark.
        animate: one of `animation.KINDS`.
        by_class: boxes in the colours of their classes rather than of their sets.
        velocity: arrows of the boxes that have a velocity.

    Raises:
        InputError: `seen`, `color` or `animate` is unknown, a frame has no camera to see it by, or a library is
            missing.
        OutputError: a picture cannot be written.
    """
    if seen not in VIEWS:
        raise InputError(f"seen from {seen!r}: choose one of {', '.join(VIEWS)}.")
    if seen in FLAT and animate is not None:
        raise InputError(
            f"animate {animate!r}: what is drawn flat does not move; choose a view from {' or '.join(POSES)}."
        )
    written, suffix = list[Path](), seen if pose is None else "pose"
    with palette.use_theme(theme), progress_bar("Drawing", 0 if animate else len(frames)) as bar:
        for frame in frames:
            shown = frame.filtered(chosen)
            shown = shown if velocity else shown.without_velocity()
            shown = shown.by_class(theme) if by_class else shown
            check_coloring(shown, color)
            place = pose if pose is not None or seen in FLAT else pose_of(seen, shown)
            path = Path(out) / f"{frame.name}_{animate or suffix}.{'gif' if animate else 'png'}"
            if animate is not None:
                written.append(_animate(shown, animate, path, place or POSES["behind"], color))
            else:
                written.append(_draw(shown, path, seen, place, color))
                bar.advance()
    return written


def overlay(frame: SceneFrame, path: Path) -> Path:
    """Write points and all sets of boxes in the camera's image as PNG; an empty image where the frame has none.

    Raises:
        InputError: the frame has no camera.
        OutputError: the file cannot be written.
    """
    if frame.camera is None:
        raise InputError(
            f"frame {frame.name}: has no camera to draw into; choose a view from {' or '.join(POSES)} instead."
        )
    return plot_overlay(
        frame.image, frame.camera, path, points=frame.points, layers=box_layers(frame), title=frame.name
    )


def _draw(frame: SceneFrame, path: Path, seen: str, pose: Pose | None, color: str) -> Path:
    """One picture, from a place in space where there is one."""
    if pose is not None:
        return _screenshot(frame, path, pose, color)
    return overlay(frame, path) if seen == IMAGE else plot_frame(frame, path, color=color)


def _screenshot(frame: SceneFrame, path: Path, pose: Pose, color: str) -> Path:
    from lidar_ebm.visualization.offscreen import render  # Open3D is an extra

    picture = render(frame, pose, color=color)
    with atomic_write(path) as file:
        Image.fromarray(picture).save(file, format="png")
    return path


def _animate(frame: SceneFrame, kind: str, path: Path, pose: Pose, color: str) -> Path:
    from lidar_ebm.visualization.animation import write_animation  # Open3D is an extra

    return write_animation(frame, kind, path, pose=pose, color=color)
