"""Between KITTI's labels, in its rectified camera frame (x right, y down, z forward), and boxes in the LiDAR frame.

KITTI gives an object by the centre of its bottom face, its sizes and one angle, `rotation_y`, about the camera's y
axis. This program gives it upright in the LiDAR frame. The two verticals differ by the camera's tilt, under one degree
on KITTI's car, which no seven numbers in the LiDAR frame can express; it is neglected. The rest is exact: the geometric
centre (the location raised by half the height along the *camera's* vertical, then transformed, so that the box stays
where it was labelled) and the heading (its direction seen from above in the LiDAR frame, which on KITTI is
-(rotation_y + pi/2) to 0.02 degrees; a camera that looks elsewhere is taken into account).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lidar_ebm.formats.kitti.calibration import Calibration
from lidar_ebm.formats.kitti.label import Label
from lidar_ebm.geometry.projection import clip_to_image, image_extents, project_boxes, transform
from lidar_ebm.geometry.upright import corners_3d, wrap_angle


def labels_to_boxes(labels: Sequence[Label], calibration: Calibration) -> np.ndarray:
    """Boxes of labels, all of them and in their order: leave DontCare regions out, which have no box in space.

    Returns:
        [M, 7] float64 (x, y, z, l, w, h, yaw) in the LiDAR frame, m and rad, yaw in [-pi, pi).
    """
    rows = [(*label.location, *label.dimensions, label.rotation_y) for label in labels]
    x, y, z, height, width, length, rotation_y = np.array(rows, dtype=np.float64).reshape(-1, 7).T
    centers = transform(np.stack((x, y - height / 2, z), axis=1), calibration.rect_to_lidar)  # [M, 3]
    headings = np.stack((np.cos(rotation_y), -np.sin(rotation_y)), axis=1) @ calibration.heading_to_lidar.T  # [M, 2]
    yaw = wrap_angle(np.arctan2(headings[:, 1], headings[:, 0]))
    return np.column_stack((centers, length, width, height, yaw))


def boxes_to_camera(boxes: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Boxes as KITTI's files give them: the inverse of what `labels_to_boxes` does with numbers.

    Args:
        boxes: [M, 7] float64, LiDAR frame.
        calibration: of this frame.

    Returns:
        [M, 7] float64 (x, y, z, height, width, length, rotation_y): centre of the bottom face, rectified camera frame,
        m; rotation_y in [-pi, pi).
    """
    centers = transform(boxes, calibration.lidar_to_rect)  # [M, 3]
    directions = np.stack((np.cos(boxes[:, 6]), np.sin(boxes[:, 6])), axis=1)  # [M, 2]
    headings = directions @ np.linalg.inv(calibration.heading_to_lidar).T  # [M, 2] camera x, z
    rotation_y = wrap_angle(np.arctan2(-headings[:, 1], headings[:, 0]))
    length, width, height = boxes[:, 3:6].T
    return np.column_stack(
        (centers[:, 0], centers[:, 1] + height / 2, centers[:, 2], height, width, length, rotation_y)
    )


def boxes_to_labels(
    boxes: np.ndarray,
    calibration: Calibration,
    *,
    types: Sequence[str],
    scores: Sequence[float] | np.ndarray | None = None,
    image_size: tuple[int, int] | None,
) -> list[Label]:
    """Labels of boxes: the inverse of `labels_to_boxes`, with `alpha` and the 2-D box computed.

    The 2-D box is the extent of the box's part in front of the camera, cut to the image; where nothing of it is there
    it is (0, 0, 0, 0). Truncation and occlusion are unknown here: -1, as in result files.

    Args:
        boxes: [M, 7] LiDAR frame.
        calibration: of this frame.
        types: M class names.
        scores: M scores, or None for labels without.
        image_size: width and height in pixels; None without an image: alpha and the 2-D box are then unknown, -10 and
            -1.
    """
    array = np.asarray(boxes, dtype=np.float64).reshape(-1, 7)
    values = [None] * len(array) if scores is None else [float(score) for score in scores]
    camera = boxes_to_camera(array, calibration)  # [M, 7]
    if image_size is None:
        alpha, rectangles = np.full(len(array), -10.0), np.full((len(array), 4), -1.0)
    else:
        alpha = wrap_angle(camera[:, 6] - np.arctan2(camera[:, 0], camera[:, 2]))
        rectangles = clip_to_image(project_boxes(array, calibration.camera(image_size)), image_size)
    return [
        Label(
            type=name,
            truncated=-1.0,
            occluded=-1,
            alpha=float(alpha[i]),
            bbox=tuple(rectangles[i].tolist()),
            dimensions=tuple(box[3:6].tolist()),
            location=tuple(box[:3].tolist()),
            rotation_y=float(box[6]),
            score=score,
        )
        for i, (box, name, score) in enumerate(zip(camera, types, values, strict=True))
    ]


def project_camera_boxes(boxes: np.ndarray, calibration: Calibration) -> np.ndarray:
    """`project_boxes` of boxes in the camera's own frame, where what KITTI's files say is exact.

    Args:
        boxes: [M, 7] (x, y, z, height, width, length, rotation_y), (x, y, z) the centre of the bottom face, rectified
            camera frame, m and rad.
        calibration: of this frame; P2 alone is used.

    Returns:
        [M, 4] float64, as `project_boxes`.
    """
    x, y, z, height, width, length, rotation_y = np.asarray(boxes, dtype=np.float64).reshape(-1, 7).T
    # The camera's axes renamed: forward, left and up make an upright box of it.
    upright = np.column_stack((z, -x, height / 2 - y, length, width, height, -rotation_y - math.pi / 2))
    forward, left, up = corners_3d(upright).reshape(-1, 3).T
    corners = np.column_stack((-left, -up, forward))
    return image_extents(transform(corners, calibration.p2).reshape(-1, 8, 3))
