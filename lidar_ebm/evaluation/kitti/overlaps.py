"""Overlaps in KITTI's own terms, in double precision, for the pairs of one frame at a time (numba, CPU).

2-D boxes are (x1, y1, x2, y2) pixels; 3-D boxes (x, y, z, h, w, l, rotation_y) in the camera frame, y down and at the
bottom face, metres and radians. A box without extent overlaps nothing. A negative size, as in the placeholder -1, turns
a rectangle on the ground about itself, as in KITTI's program: to it a DontCare line is a square metre on the ground at
(-1000, -1000).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from lidar_ebm.boxes.overlap import rectangle_intersection
from lidar_ebm.evaluation.kitti.objects import Objects

IMAGE, GROUND, VOLUME = 0, 1, 2
GEOMETRIES = {"2d": IMAGE, "aos": IMAGE, "bev": GROUND, "3d": VOLUME}  # what each metric compares


@dataclass(frozen=True, eq=False)
class Pairs:
    """Every (label, detection) pair of one frame whose overlap may count, twice: by label and by detection.

    Both are in file order, of labels as of detections.
    """

    offsets: np.ndarray  # [L + 1] int64: label i owns rows offsets[i] to offsets[i + 1]
    detection: np.ndarray  # [P] int64, row of the detection
    overlap: np.ndarray  # [P] float64, intersection over union
    detection_offsets: np.ndarray  # [D + 1] int64: detection j owns rows offsets[j] to offsets[j + 1] of what follows
    label: np.ndarray  # [P] int64, row of the label
    overlap_by_detection: np.ndarray  # [P] float64


def find_pairs(labels: Objects, detections: Objects, geometry: int, minimum: float) -> Pairs:
    """Pairs of the same frame with an intersection over union greater than `minimum`."""
    offsets, detection, overlap = _find_pairs(
        labels.offsets,
        labels.bbox,
        labels.boxes,
        detections.offsets,
        detections.bbox,
        detections.boxes,
        geometry,
        minimum,
    )
    by_detection = np.argsort(detection, kind="stable")
    detection_offsets = np.searchsorted(detection[by_detection], np.arange(len(detections.scores) + 1))
    label = np.repeat(np.arange(len(labels.scores)), np.diff(offsets))
    return Pairs(offsets, detection, overlap, detection_offsets, label[by_detection], overlap[by_detection])


def dont_care_shares(labels: Objects, detections: Objects, geometry: int) -> np.ndarray:
    """The largest share of each detection's area (or volume) that one DontCare region covers, [D] float64."""
    return _dont_care_shares(
        labels.offsets,
        labels.is_type("dontcare"),
        labels.bbox,
        labels.boxes,
        detections.offsets,
        detections.bbox,
        detections.boxes,
        geometry,
    )


@njit(cache=True, nogil=True)
def shared_ground_area(a: np.ndarray, b: np.ndarray) -> float:
    """Area that two boxes (x, y, z, h, w, l, rotation_y) share on the ground."""
    # rotation_y turns x towards -z: with v = -z the plane (x, v) has counter-clockwise angles.
    return rectangle_intersection(a[0] - b[0], b[2] - a[2], abs(a[5]), abs(a[4]), a[6], abs(b[5]), abs(b[4]), b[6])


@njit(cache=True, nogil=True)
def _shared(a2: np.ndarray, a3: np.ndarray, b2: np.ndarray, b3: np.ndarray, geometry: int) -> float:
    """Size of the part that two objects share: pixels squared, square metres or cubic metres."""
    if geometry == IMAGE:
        width = min(a2[2], b2[2]) - max(a2[0], b2[0])
        height = min(a2[3], b2[3]) - max(a2[1], b2[1])
        return width * height if width > 0.0 and height > 0.0 else 0.0
    shared = 1.0
    if geometry == VOLUME:  # from y - h (top) to y (bottom); tested first, as it is cheap
        shared = min(a3[1], b3[1]) - max(a3[1] - a3[3], b3[1] - b3[3])
        if shared <= 0.0:
            return 0.0
    return shared * shared_ground_area(a3, b3)


@njit(cache=True, nogil=True)
def _content(box2: np.ndarray, box3: np.ndarray, geometry: int) -> float:
    """An object's own area or volume in the same units."""
    if geometry == IMAGE:
        return (box2[2] - box2[0]) * (box2[3] - box2[1])
    area = abs(box3[5] * box3[4])
    return area if geometry == GROUND else area * box3[3]


@njit(cache=True, nogil=True, error_model="numpy")
def overlap(a2: np.ndarray, a3: np.ndarray, b2: np.ndarray, b3: np.ndarray, geometry: int) -> float:
    """Intersection over union of two objects, each given by its 2-D and its 3-D box."""
    shared = _shared(a2, a3, b2, b3, geometry)
    if shared <= 0.0:
        return 0.0
    return shared / (_content(a2, a3, geometry) + _content(b2, b3, geometry) - shared)


@njit(cache=True, nogil=True)
def _are_apart(
    bbox_a: np.ndarray, boxes_a: np.ndarray, i: int, bbox_b: np.ndarray, boxes_b: np.ndarray, j: int, geometry: int
) -> bool:
    """Tell if row i of a and row j of b plainly share nothing: most pairs, at a fraction of the cost."""
    if geometry == IMAGE:
        across = min(bbox_a[i, 2], bbox_b[j, 2]) <= max(bbox_a[i, 0], bbox_b[j, 0])
        return across or min(bbox_a[i, 3], bbox_b[j, 3]) <= max(bbox_a[i, 1], bbox_b[j, 1])
    # A box reaches no farther than half its length and half its width together.
    reach = 0.5 * (abs(boxes_a[i, 4]) + abs(boxes_a[i, 5]) + abs(boxes_b[j, 4]) + abs(boxes_b[j, 5]))
    x, z = boxes_a[i, 0] - boxes_b[j, 0], boxes_a[i, 2] - boxes_b[j, 2]
    return x * x + z * z > reach * reach


@njit(cache=True, nogil=True, error_model="numpy")
def _find_pairs(
    label_offsets: np.ndarray,
    label_bbox: np.ndarray,
    label_boxes: np.ndarray,
    detection_offsets: np.ndarray,
    detection_bbox: np.ndarray,
    detection_boxes: np.ndarray,
    geometry: int,
    minimum: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    offsets = np.zeros(len(label_boxes) + 1, dtype=np.int64)
    capacity, count = 1024, 0
    rows = np.empty(capacity, dtype=np.int64)
    values = np.empty(capacity, dtype=np.float64)
    for frame in range(len(label_offsets) - 1):
        for i in range(label_offsets[frame], label_offsets[frame + 1]):
            for j in range(detection_offsets[frame], detection_offsets[frame + 1]):
                if _are_apart(detection_bbox, detection_boxes, j, label_bbox, label_boxes, i, geometry):
                    continue
                value = overlap(detection_bbox[j], detection_boxes[j], label_bbox[i], label_boxes[i], geometry)
                if not value > minimum:  # NaN, of sizes beyond all bounds, is no overlap
                    continue
                if count == capacity:
                    rows = np.concatenate((rows, np.empty(capacity, dtype=np.int64)))
                    values = np.concatenate((values, np.empty(capacity, dtype=np.float64)))
                    capacity *= 2
                rows[count], values[count] = j, value
                count += 1
            offsets[i + 1] = count
    return offsets, rows[:count].copy(), values[:count].copy()


@njit(cache=True, nogil=True, error_model="numpy")
def _dont_care_shares(
    label_offsets: np.ndarray,
    dont_care: np.ndarray,
    label_bbox: np.ndarray,
    label_boxes: np.ndarray,
    detection_offsets: np.ndarray,
    detection_bbox: np.ndarray,
    detection_boxes: np.ndarray,
    geometry: int,
) -> np.ndarray:
    shares = np.zeros(len(detection_boxes), dtype=np.float64)
    for frame in range(len(label_offsets) - 1):
        for i in range(label_offsets[frame], label_offsets[frame + 1]):
            if not dont_care[i]:
                continue
            for j in range(detection_offsets[frame], detection_offsets[frame + 1]):
                if _are_apart(detection_bbox, detection_boxes, j, label_bbox, label_boxes, i, geometry):
                    continue
                shared = _shared(detection_bbox[j], detection_boxes[j], label_bbox[i], label_boxes[i], geometry)
                if shared > 0.0:
                    share = shared / _content(detection_bbox[j], detection_boxes[j], geometry)
                    shares[j] = max(shares[j], share)
    return shares
