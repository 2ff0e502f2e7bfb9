"""From frames' files to pictures of them, still or moving, from any of the places that pictures are taken from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast, get_args

from PIL import Image

from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import Calibration
from lidar_ebm.system.files import atomic_write
from lidar_ebm.system.progress import progress_bar
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.bev_plot import BoxLayer
from lidar_ebm.visualization.image_overlay import plot_overlay
from lidar_ebm.visualization.scene_frames import LABEL, BoxFilter, SceneFrame, SceneFrames
from lidar_ebm.visualization.scene_geometry import POSES, Coloring, Pose

IMAGE = "image"


def choose_frames(frames: SceneFrames, names: Sequence[str] | None, whole_folder: bool) -> list[int]:
    """Places of the frames of these names; without names the first of a folder, or all of the given files.

    Raises:
        InputError: a name is unknown.
    """
    if not names:
        return list(range(1 if whole_folder else len(frames)))
    return list(dict.fromkeys(map(frames.index_of, names)))


def check_coloring(color: str) -> Coloring:
    """What points are coloured by.

    Raises:
        InputError: it is unknown.
    """
    if color not in get_args(Coloring):
        raise InputError(f"--color {color!r}: choose one of {', '.join(get_args(Coloring))}.")
    return cast("Coloring", color)


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
) -> list[Path]:
    """Write OUT/NAME_SEEN.png of frames, or with `animate` OUT/NAME_ANIMATE.gif.

    Args:
        frames: what is shown.
        out: folder of the pictures.
        seen: a name of `POSES`, or "image": points and boxes in the camera's image.
        pose: another place to look from, in place of `seen`; files then end in _pose.
        color: of the points, by height, reflectance, distance or boxes; in the image it is by depth.
        chosen: boxes that are shown.
        theme: light or dark.
        animate: one of `animation.KINDS`.

    Raises:
        InputError: `seen`, `color` or `animate` is unknown, or a library is missing.
        OutputError: a picture cannot be written.
    """
    if seen not in (*POSES, IMAGE):
        raise InputError(f"--from {seen!r}: choose one of {', '.join((*POSES, IMAGE))}.")
    coloring, written = check_coloring(color), list[Path]()
    if seen == IMAGE and animate is not None:
        raise InputError("--animate: what is drawn in the camera's image does not move; leave out --from image.")
    place, suffix = (POSES.get(seen), seen) if pose is None else (pose, "pose")
    with palette.use_theme(theme):
        if animate is not None:  # each with a bar of its own
            start = place or POSES["behind"]
            return [_animate(frame.filtered(chosen), animate, Path(out), start, coloring) for frame in frames]
        with progress_bar("Drawing", len(frames)) as bar:
            for frame in frames:
                shown, path = frame.filtered(chosen), Path(out) / f"{frame.name}_{suffix}.png"
                written.append(overlay(shown, path) if place is None else _screenshot(shown, path, place, coloring))
                bar.advance()
    return written


def overlay(frame: SceneFrame, path: Path) -> Path:
    """Points and all sets of boxes in the frame's image; in an empty one of the nominal camera where there is none.

    Raises:
        InputError: the image cannot be read.
        OutputError: the file cannot be written.
    """
    layers = [
        BoxLayer(each.name, each.boxes, each.color, linewidth=3.0 if each.name == LABEL else 1.5) for each in frame.sets
    ]
    calibration = Calibration.nominal() if frame.calibration is None else frame.calibration
    return plot_overlay(frame.image, calibration, path, points=frame.points, layers=layers, title=frame.name)


def _screenshot(frame: SceneFrame, path: Path, pose: Pose, color: Coloring) -> Path:
    from lidar_ebm.visualization.offscreen import render  # Open3D is an extra

    picture = render(frame, pose, color=color)
    with atomic_write(path) as file:
        Image.fromarray(picture).save(file, format="png")
    return path


def _animate(frame: SceneFrame, kind: str, out: Path, pose: Pose, color: Coloring) -> Path:
    from lidar_ebm.visualization.animation import write_animation

    return write_animation(frame, kind, out / f"{frame.name}_{kind}.gif", pose=pose, color=color)
