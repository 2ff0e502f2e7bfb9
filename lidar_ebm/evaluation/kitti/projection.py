"""2-D boxes for results of programs that look at the LiDAR alone: the projection of their 3-D boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lidar_ebm.evaluation.kitti.objects import Objects
from lidar_ebm.evaluation.kitti.point_counts import has_box_in_space, rows_by_frame
from lidar_ebm.evaluation.kitti.rules import UNKNOWN_ANGLE
from lidar_ebm.formats.image_size import read_image_size
from lidar_ebm.formats.kitti.conversion import project_camera_boxes
from lidar_ebm.formats.kitti.files import read_calibration
from lidar_ebm.geometry.projection import clip_to_image
from lidar_ebm.geometry.upright import wrap_angle
from lidar_ebm.system.progress import progress_bar


def project_missing_boxes(
    objects: Objects, frame_names: Sequence[str], calib_folder: Path, image_folder: Path | None
) -> tuple[Objects, int]:
    """Give every object that has a 3-D box but no 2-D box the extent of its 3-D box in the image.

    An object has no 2-D box where the width or height of what is stored is not positive (zeros, or -1 -1 -1 -1). What
    of the 3-D box is in front of the camera is projected, in the camera's own frame and so without rounding or tilt,
    and cut to the image; where nothing of it is there, the 2-D box is (0, 0, 0, 0). Of the same objects, alpha is
    computed where it is unknown. All others stay as they are, as do frames without such objects, of which no file is
    read.

    Args:
        objects: of F frames.
        frame_names: F names.
        calib_folder: KITTI's `calib`; frame NAME has its calibration in NAME.txt.
        image_folder: KITTI's `image_2`: the size of NAME.png is read where it is there, and is KITTI's most frequent
            one elsewhere.

    Returns:
        the objects, and how many of them now have a 2-D box that they lacked.

    Raises:
        InputError: a calibration file is missing or malformed, or an image is none; the message names it.
    """
    flat = (objects.bbox[:, 2:] <= objects.bbox[:, :2]).any(axis=1)
    wanted = flat & has_box_in_space(objects)
    frames = rows_by_frame(objects, frame_names, wanted)
    bbox = objects.bbox.copy()
    with progress_bar("Projecting boxes", len(frames)) as bar:
        for name, rows in frames:
            calibration = read_calibration(Path(calib_folder) / f"{name}.txt")
            rectangles = project_camera_boxes(objects.boxes[rows], calibration)
            camera = calibration.camera(_image_size(image_folder, name))
            bbox[rows] = clip_to_image(rectangles, camera.image_size)
            bar.advance()
    x, z, rotation_y = objects.boxes[:, 0], objects.boxes[:, 2], objects.boxes[:, 6]
    angles = wrap_angle(rotation_y - np.arctan2(x, z))
    alpha = np.where(wanted & (objects.alpha == UNKNOWN_ANGLE), angles, objects.alpha)
    projected = int((bbox[wanted, 2:] > bbox[wanted, :2]).all(axis=1).sum())
    return replace(objects, bbox=bbox, alpha=alpha), projected


def _image_size(folder: Path | None, name: str) -> tuple[int, int] | None:
    path = None if folder is None else Path(folder) / f"{name}.png"
    return None if path is None or not path.is_file() else read_image_size(path)
