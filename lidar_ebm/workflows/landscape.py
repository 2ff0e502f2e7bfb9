"""From a run and a frame's files to pictures of f around its detections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lidar_ebm.datasets.frame import Frame
from lidar_ebm.errors import InputError
from lidar_ebm.inference.detection import load_detector
from lidar_ebm.inference.landscape import landscapes
from lidar_ebm.visualization.landscape_plot import plot_landscape
from lidar_ebm.visualization.palette import LIGHT, Theme, use_theme
from lidar_ebm.workflows.sources import open_files, open_frame_source, points_in_view, read_label_file


def plot_frame_landscapes(
    run: str | Path,
    frame: str | Path,
    *,
    data: str | Path | None = None,
    boxes: Sequence[int] = (0,),
    labels: str | Path | None = None,
    out: str | Path | None = None,
    steps: int | None = None,
    theme: Theme = LIGHT,
    device: str = "cpu",
) -> list[Path]:
    """Draw f around detections of one frame, to OUT/landscape_FRAME_BOX.png.

    Args:
        run: a trained run.
        frame: a point-cloud file, or with `data` a frame's name. Where the frame has a camera, the points in its image
            are used alone.
        data: the data set.
        boxes: rows of the frame's detections, which come by falling score.
        labels: label file; the frame's own labels where None.
        out: folder for the pictures; RUN/pictures where None.
        steps: refinement steps T; the configuration's where None.
        theme: light or dark.
        device: where f is computed.

    Returns:
        The pictures, one for each of `boxes`.

    Raises:
        InputError: the frame, its files, the run, or a box of this number are not there or cannot be used.
        OutputError: a picture cannot be written.
    """
    seen = find_frame(frame, data)
    given = seen.boxes if labels is None else read_label_file(labels, seen)
    label_boxes = None if given is None else given.boxes
    detector, chosen = load_detector(run, device), list(dict.fromkeys(boxes))
    points = points_in_view(seen, detector.config.points.channels)
    shown = landscapes(detector, points, chosen, labels=label_boxes, steps=steps)
    folder = Path(run) / "pictures" if out is None else Path(out)
    with use_theme(theme):
        return [
            plot_landscape(
                each,
                folder / f"landscape_{seen.name}_{each.index}.png",
                title=f"Frame {seen.name}, box {each.index}: {each.class_name}",
            )
            for each in shown
        ]


def find_frame(frame: str | Path, data: str | Path | None) -> Frame:
    """The frame that a name in a data set, or the path of a point cloud, stands for.

    Raises:
        InputError: there is none, or one of its files cannot be used.
    """
    if data is None:
        if not Path(frame).is_file():
            raise InputError(f"{frame}: no such point cloud. Give a file, or a frame's name and its data set.")
        return open_files([frame])[0]
    source = open_frame_source(data)
    names = [source.name(index) for index in range(len(source))]
    if str(frame) not in names:
        raise InputError(f"{data}: has no frame {frame}. Name one of the {len(names)}, {names[0]} to {names[-1]}.")
    return source[names.index(str(frame))]
