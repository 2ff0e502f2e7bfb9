"""Point-cloud files to result files and pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.kitti.frame_file import check_names, read_frame_file
from lidar_ebm.energy.box_space import BOX_NAMES
from lidar_ebm.formats.kitti.calibration import FIXED_AXES, Calibration
from lidar_ebm.formats.kitti.conversion import boxes_to_labels
from lidar_ebm.formats.kitti.files import write_labels
from lidar_ebm.formats.kitti.label import Label
from lidar_ebm.inference.detection import LoadedDetector, load_detector
from lidar_ebm.system.files import atomic_write
from lidar_ebm.system.progress import progress_bar
from lidar_ebm.visualization.bev_plot import after_layer, before_layer, plot_bev
from lidar_ebm.visualization.uncertainty_plot import plot_uncertainty


def detect_files(
    run: str | Path,
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    calibration: str | Path | None = None,
    steps: int | None = None,
    uncertainty: bool | None = None,
    device: str = "cpu",
) -> list[Path]:
    """Detect in point-cloud files; write NAME.txt (a KITTI result file) and NAME.png (a bird's-eye view) into `out`.

    With uncertainty also NAME.json: for each line of NAME.txt the box in the LiDAR frame with its covariance, expected
    IoU, and the probability that its yaw is flipped (null where the energy cannot know); the picture then shows it.

    Where a frame's calibration is known, only what the camera sees is looked at, as in KITTI's labels (the image's size
    is that of ../image_2/NAME.png where it is there). Without one the
    whole cloud is, positions are written with KITTI's nominal calibration, and the 2-D box (-1) and alpha (-10) say
    "unknown".

    Args:
        paths: .bin, .npy, .pcd or .ply files.
        calibration: a KITTI calibration file for all of them, or a folder with NAME.txt for each; where None,
            ../calib/NAME.txt beside a file's folder is used if it is there.
        uncertainty: as configured where None.

    Returns:
        The result files.

    Raises:
        InputError: a file, the calibration or the run cannot be used.
        OutputError: a result cannot be written.
    """
    check_names(paths)
    detector = load_detector(run, device)
    low_x, low_y, _, high_x, high_y, _ = detector.config.voxels.range
    written = []
    with progress_bar("Detecting", len(paths)) as bar:
        for path in paths:
            frame = read_frame_file(path, calibration=calibration)
            name = frame.name
            points = frame.points_in_view()
            before, after = detector.detect_before_after(points, steps=steps, uncertainty=uncertainty)
            result = Path(out) / f"{name}.txt"
            write_labels(result, _result_labels(after, frame.calibration, frame.image_size()))
            picture, title = result.with_suffix(".png"), f"{name}: {len(after.boxes)} detections"
            view = (low_x, low_y, high_x, high_y)
            if after.covariance is None:
                layers = [before_layer(before.boxes), after_layer(after.boxes, after.scores)]
                plot_bev(points, picture, layers=layers, view=view, title=title)
            else:
                _write_uncertainty(result.with_suffix(".json"), after, detector)
                plot_uncertainty(points, before.boxes, after, picture, view=view, title=title)
            written.append(result)
            bar.advance()
    return written


def _result_labels(detections: Boxes, calibration: Calibration | None, image_size: tuple[int, int]) -> list[Label]:
    nominal = FIXED_AXES if calibration is None else calibration
    labels = boxes_to_labels(
        detections.boxes, nominal, types=detections.names.tolist(), scores=detections.scores, image_size=image_size
    )
    if calibration is None:
        labels = [replace(label, bbox=(-1.0, -1.0, -1.0, -1.0), alpha=-10.0) for label in labels]
    return labels


def _write_uncertainty(path: Path, found: Boxes, detector: LoadedDetector) -> None:
    """Write what is known of the boxes as JSON: numbers in m and rad, LiDAR frame, rows in the order of `found`."""
    rows: list[dict[str, Any]] = [
        {"type": str(row["name"]), "score": float(row["scores"]), "box": row["box"].tolist()} for row in found.rows()
    ]
    for name in ("covariance", "flip_probability", "expected_iou", "effective_samples"):
        values = getattr(found, name)
        for row, value in zip(rows, [None] * len(rows) if values is None else values.tolist(), strict=True):
            row[name] = value
    content = {"dimensions": BOX_NAMES, "temperature": detector.temperature, "detections": rows}
    with atomic_write(path, "w") as file:
        json.dump(content, file, indent=1)
        file.write("\n")
