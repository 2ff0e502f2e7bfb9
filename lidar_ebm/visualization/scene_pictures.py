"""From frames' files to pictures of them, from any of the places that pictures are taken from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from lidar_ebm.errors import InputError
from lidar_ebm.geometry.calibration import Calibration
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.bev_plot import BoxLayer
from lidar_ebm.visualization.image_overlay import plot_overlay
from lidar_ebm.visualization.offscreen import POSES, Coloring, write_screenshots
from lidar_ebm.visualization.scene_frames import SceneFrame, open_frames

IMAGE = "image"


def write_pictures(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    names: Sequence[str] | None = None,
    split: str | None = None,
    labels: bool = True,
    results: Sequence[str | Path] = (),
    run: str | Path | None = None,
    seen: str = "behind",
    color: str = "height",
) -> list[Path]:
    """Write OUT/NAME_SEEN.png of frames.

    Args:
        paths: as for `open_frames`, like `split`, `labels`, `results` and `run`.
        out: folder of the pictures.
        names: frames; the first one, or all of the files, where None.
        seen: a name of `offscreen.POSES`, or "image": points and boxes in the camera's image.
        color: of the points, by height, reflectance, distance or boxes; in the image it is by depth.

    Raises:
        InputError: a frame, a file, `seen` or `color` is unknown, or a library is missing.
        OutputError: a picture cannot be written.
    """
    if seen not in (*POSES, IMAGE):
        raise InputError(f"--from {seen!r}: choose one of {', '.join((*POSES, IMAGE))}.")
    if color not in get_args(Coloring):
        raise InputError(f"--color {color!r}: choose one of {', '.join(get_args(Coloring))}.")
    frames = open_frames(paths, split=split, labels=labels, results=results, run=run)
    whole_folder = Path(paths[0]).is_dir()
    chosen = [frames.index_of(name) for name in names] if names else list(range(1 if whole_folder else len(frames)))
    scenes = [frames[index] for index in chosen]
    if seen == IMAGE:
        return [overlay(scene, Path(out) / f"{scene.name}_{IMAGE}.png") for scene in scenes]
    return write_screenshots(scenes, Path(out), pose=POSES[seen], suffix=seen, color=color)  # type: ignore[arg-type]


def overlay(frame: SceneFrame, path: Path) -> Path:
    """Points and all sets of boxes in the frame's image; in an empty one of the nominal camera where there is none.

    Raises:
        InputError: the image cannot be read.
        OutputError: the file cannot be written.
    """
    layers = [
        BoxLayer(each.name, each.boxes, each.color, linewidth=3.0 if each.color == palette.LABEL else 1.5)
        for each in frame.sets
    ]
    calibration = Calibration.nominal() if frame.calibration is None else frame.calibration
    return plot_overlay(frame.image, calibration, path, points=frame.points, layers=layers, title=frame.name)
