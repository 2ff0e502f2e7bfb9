"""Point-cloud files to result files and pictures."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.frame import take_channels
from lidar_ebm.datasets.kitti.frame_file import FrameFile, check_names, read_frame_file
from lidar_ebm.energy.box_space import BOX_NAMES
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import FIXED_AXES
from lidar_ebm.formats.kitti.conversion import boxes_to_labels
from lidar_ebm.formats.kitti.files import write_labels
from lidar_ebm.formats.point_clouds import (
    PointsReport,
    ReflectanceScale,
    describe_points,
    read_point_cloud,
    sample_reflectance_scale,
)
from lidar_ebm.inference.detection import LoadedDetector, load_detector
from lidar_ebm.system.files import atomic_write
from lidar_ebm.system.progress import progress_bar
from lidar_ebm.types import REFLECTANCE
from lidar_ebm.visualization.bev_plot import after_layer, before_layer, plot_bev
from lidar_ebm.visualization.box_arrays import as_array
from lidar_ebm.visualization.uncertainty_plot import plot_uncertainty

Told = Callable[[str], None]
"""Called with a line to be shown."""


@dataclass(frozen=True)
class DetectedFiles:
    """Result files that were written, and the files for which there is none."""

    written: tuple[Path, ...]
    failed: tuple[str, ...]  # why, each beginning with the file's name


def detect_files(
    run: str | Path,
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    calibration: str | Path | None = None,
    steps: int | None = None,
    uncertainty: bool | None = None,
    columns: str | None = None,
    dtype: str | None = None,
    full_scale: float | None = None,
    device: str = "cpu",
    tell: Told | None = None,
) -> DetectedFiles:
    """Detect in point-cloud files; write NAME.txt (a KITTI result file) and NAME.png (a bird's-eye view) into `out`.

    With uncertainty also NAME.json: for each line of NAME.txt the box in the LiDAR frame with its covariance, expected
    IoU, and the probability that its yaw is flipped (null where the energy cannot know); the picture then shows it.

    Where a frame's calibration is known, only what the camera sees is looked at, as in KITTI's labels (the image's size
    is that of the image beside it, or that which the calibration tells). Without one the whole cloud is,
    positions are written in the fixed axes of label files without calibrations, and the 2-D box (-1) and alpha (-10)
    say "unknown". A damaged file costs its own result alone.

    Args:
        paths: .bin, .npy, .npz, .pcd, .ply, .las or .laz files.
        calibration: a KITTI calibration file for all of them, or a folder with NAME.txt for each; where None,
            ../calib/NAME.txt beside a file's folder is used if it is there.
        uncertainty: as configured where None.
        columns: names of the columns of .bin and .npy files that are not x, y, z, reflectance, separated by commas.
        dtype: of the numbers in .bin files, float32 (None) or float64.
        full_scale: the files' reflectance that is 1.0; where None, one for all files is decided by some of them.
        tell: called with a line for each file: how many points are in range and view, and what looks wrong.

    Raises:
        InputError: the run or the calibration cannot be used, or no file at all can.
        OutputError: a result cannot be written.
    """
    check_names(paths)
    detector = load_detector(run, device)
    scale = (
        sample_reflectance_scale(paths, partial(read_point_cloud, columns=columns, dtype=dtype))
        if full_scale is None
        else ReflectanceScale(full_scale)
    )
    written, failed = [], []
    with progress_bar("Detecting", len(paths)) as bar:
        for path in paths:
            try:
                frame = read_frame_file(path, calibration=calibration, scale=scale, columns=columns, dtype=dtype)
                report = _describe(frame, detector, scale)
            except InputError as error:
                failed.append(str(error))
                if len(paths) > 1:  # else it is raised below
                    warnings.warn(f"{error} Left out; the others go on.", stacklevel=2)
                bar.advance()
                continue
            if tell is not None:
                tell(f"{path}: {report}")
            written.append(_detect_frame(detector, frame, Path(out), steps, uncertainty))
            bar.advance()
    if failed and not written:
        raise InputError("\n".join(failed))
    return DetectedFiles(tuple(written), tuple(failed))


def _describe(frame: FrameFile, detector: LoadedDetector, scale: ReflectanceScale) -> PointsReport:
    report = describe_points(
        frame.points,
        detector.config.voxels.range,
        in_view=frame.in_view(),
        reflectance=f"reflectance divided by {scale}"
        if scale.full_scale != 1
        else f"reflectance as it is ({scale.source})",
    )
    own = []
    if frame.turned:
        own.append("Axes turned from nuScenes' (x to the right, y ahead).")
    if detector.config.points.sweeps > 1:
        own.append(f"One sweep; the run was trained on {detector.config.points.sweeps}.")
    return replace(report, findings=(*own, *report.findings))


def _detect_frame(
    detector: LoadedDetector, frame: FrameFile, out: Path, steps: int | None, uncertainty: bool | None
) -> Path:
    """Detect in one frame, write what there is to write, and return the result file."""
    low_x, low_y, _, high_x, high_y, _ = detector.config.voxels.range
    points = frame.points_in_view()
    shown = take_channels(points, (REFLECTANCE,), detector.config.points.channels)  # all of one sweep, of no lag
    before, after = detector.detect_before_after(shown, steps=steps, uncertainty=uncertainty)
    result = out / f"{frame.name}.txt"
    camera = frame.camera()
    labels = boxes_to_labels(
        after.boxes,
        FIXED_AXES if frame.calibration is None else frame.calibration,
        types=after.names.tolist(),
        scores=after.scores,
        image_size=None if camera is None else camera.image_size,
    )
    write_labels(result, labels)
    picture, title = result.with_suffix(".png"), f"{frame.name}: {len(after)} detections"
    view = (low_x, low_y, high_x, high_y)
    if after.covariance is None:
        layers = [before_layer(as_array(before)), after_layer(as_array(after), after.scores)]
        plot_bev(points, picture, layers=layers, view=view, title=title)
    else:
        _write_uncertainty(result.with_suffix(".json"), after, detector)
        plot_uncertainty(points, as_array(before), after, picture, view=view, title=title)
    return result


def _write_uncertainty(path: Path, boxes: Boxes, detector: LoadedDetector) -> None:
    """Write the boxes and their uncertainty as JSON: numbers in m and rad, LiDAR frame, rows in the boxes' order."""
    columns = boxes.columns()
    rows: list[dict[str, Any]] = [
        {"type": str(row["name"]), "score": float(row["scores"]), "box": row["box"].tolist()} for row in boxes.rows()
    ]
    own = ("velocity",) if "velocity" in columns else ()
    for name in (*own, "covariance", "flip_probability", "expected_iou", "effective_samples"):
        values = columns.get(name)
        for row, value in zip(rows, [None] * len(rows) if values is None else values.tolist(), strict=True):
            row[name] = value
    dimensions = BOX_NAMES[: detector.config.energy_dimensions]  # of the covariance
    content = {"dimensions": dimensions, "temperature": detector.temperature, "detections": rows}
    with atomic_write(path, "w") as file:
        json.dump(content, file, indent=1)
        file.write("\n")
