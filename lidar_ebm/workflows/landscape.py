"""From a run and a frame's files to pictures of f around its detections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lidar_ebm.datasets.kitti.frame_file import read_frame_file
from lidar_ebm.datasets.kitti.layout import input_path
from lidar_ebm.datasets.kitti.raw_frame import boxes_in_space
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import FIXED_AXES
from lidar_ebm.formats.kitti.files import read_labels
from lidar_ebm.inference.detection import load_detector
from lidar_ebm.inference.landscape import landscapes
from lidar_ebm.visualization.landscape_plot import plot_landscape
from lidar_ebm.visualization.palette import LIGHT, Theme, use_theme


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
        frame: a point-cloud file, or with `data` a frame's name. In KITTI's layout its calibration, image size and
            labels are found beside it, and what the camera sees is looked at alone.
        data: folder in KITTI's layout.
        boxes: rows of the frame's detections, which come by falling score.
        labels: KITTI label file; ../label_2/FRAME.txt beside the file's folder where None, if it is there.
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
    path = find_points(frame, data)
    points, known = read_frame(path, labels)
    found = landscapes(load_detector(run, device), points, list(dict.fromkeys(boxes)), labels=known, steps=steps)
    folder = Path(run) / "pictures" if out is None else Path(out)
    with use_theme(theme):
        return [
            plot_landscape(
                each,
                folder / f"landscape_{path.stem}_{each.index}.png",
                title=f"Frame {path.stem}, box {each.index}: {each.class_name}",
            )
            for each in found
        ]


def find_points(frame: str | Path, data: str | Path | None) -> Path:
    """The point-cloud file that a frame's name, or its path, stands for.

    Raises:
        InputError: there is none.
    """
    if data is None:
        if not Path(frame).is_file():
            raise InputError(f"{frame}: no such point cloud. Give a file, or a frame's name and --data.")
        return Path(frame)
    path = input_path(Path(data), "velodyne", str(frame))
    if not path.is_file():
        raise InputError(f"{path}: frame {frame} has no such file. Name a frame of {data}, for example 000003.")
    return path


def read_frame(path: Path, labels: str | Path | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """Points [N, 4] and labelled boxes [L, 7] (None where no labels are known) of a point-cloud file.

    Raises:
        InputError: one of the files cannot be used.
    """
    frame = read_frame_file(path)
    labels = frame.labels if labels is None else labels
    if labels is None:
        return frame.points_in_view(), None
    calibration = FIXED_AXES if frame.calibration is None else frame.calibration
    return frame.points_in_view(), boxes_in_space(read_labels(labels), calibration, labels)[1]
