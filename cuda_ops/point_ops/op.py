"""Points in, near and as seen by boxes, in native code; `reference.py` says what each operation means."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from cuda_ops import _native
from cuda_ops._checks import check_boxes, check_column, check_one_device
from cuda_ops.point_nearest.op import interpolate, three_nearest
from cuda_ops.point_ops import reference
from cuda_ops.point_ops.reference import FRAME_FEATURES, LAG_COLUMN, SIGNED_DISTANCES
from cuda_ops.point_ops.registered import features_op, gather_near_boxes_op, points_in_boxes_op

__all__ = [
    "FRAME_FEATURES",
    "LAG_COLUMN",
    "SIGNED_DISTANCES",
    "box_frame_features",
    "box_frame_features_ragged",
    "gather_near_boxes",
    "interpolate",
    "points_in_boxes",
    "three_nearest",
]


def points_in_boxes(
    points: Tensor,
    boxes: Tensor,
    *,
    point_batch_index: Tensor | None = None,
    batch_index: Tensor | None = None,
    first: bool = False,
) -> Tensor:
    """Mask of the points that lie in each box.

    Computed in float64, so that every device decides alike. A point on a face lies inside; a box with NaN or infinity
    holds no point, and a point with NaN lies in no box.

    Args:
        points: `[P, >= 3]` of a floating type, x, y, z first, m.
        boxes: `[N, 7]` LiDAR frame, m, rad.
        point_batch_index: `[P]` integers, frame of each point, which meets the boxes of its frame alone, in whatever
            order they come. None: one frame.
        batch_index: `[N]` integers, frame of each box; given where `point_batch_index` is.
        first: ask for the first box of each point instead of all.

    Returns:
        `[P, N]` bool; with `first`, `[P]` int64, the lowest row of a box that holds the point, -1 where none does.

    Raises:
        ValueError: a shape other than the above, frames of only the points or only the boxes, or several devices.
        TypeError: points or boxes that are not of a floating type, frames that are not integers.
    """
    _check_points(points)
    check_boxes(boxes)
    if (point_batch_index is None) != (batch_index is None):
        missing, given = "point_batch_index", "batch_index"
        if batch_index is None:
            missing, given = given, missing
        raise ValueError(f"{given} was given without {missing}: points and boxes need both or neither")
    if point_batch_index is not None and batch_index is not None:
        check_column(point_batch_index, len(points), "point_batch_index")
        check_column(batch_index, len(boxes), "batch_index")
        point_batch_index, batch_index = point_batch_index.long(), batch_index.long()
    device = check_one_device(points=points, boxes=boxes, point_batch_index=point_batch_index, batch_index=batch_index)
    if not _native.serves(device):
        return reference.points_in_boxes(
            points, boxes, point_batch_index=point_batch_index, batch_index=batch_index, first=first
        )
    return points_in_boxes_op(_widened(points), boxes.detach().double(), point_batch_index, batch_index, first)


def gather_near_boxes(
    points: Tensor,
    point_batch_index: Tensor,
    boxes: Tensor,
    batch_index: Tensor,
    *,
    margin: Sequence[float],
    max_points: int,
    seed: int,
    drift: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Points inside each box, grown by a margin, at most `max_points` of them.

    A box with a velocity is where it was when each point was measured: a point with lag t meets it at
    centre - velocity * t. The velocity may be somewhat wrong: `drift` lets the margins grow with t.

    Where there are more, the choice follows a hash of (seed, place of the point among those of its frame): it looks
    random, is the same on every device, and depends neither on the other boxes nor on the other frames of the batch.
    Membership is that of `points_in_boxes`. Not differentiable.

    Args:
        points: `[P, F]` of a floating type, F at least 3, x, y, z first, m; for moving boxes the fifth, if there is
            one, is the time lag in s.
        point_batch_index: `[P]` integers, frame of each point, in any order.
        boxes: `[N, 7]` LiDAR frame, m, rad, or `[N, 9]` with vx, vy over ground, m/s.
        batch_index: `[N]` integers, frame of each box.
        margin: added on either side of length, width and height, m.
        max_points: K.
        seed: of the choice; its lowest 32 bits count.
        drift: of moving boxes, added on either side of length and width for each second of a point's lag, m/s.

    Returns:
        chosen points `[N, K, F]` of the points' dtype in the order of their hashes, zeros after the last, and the
        number of points in each grown box `[N]` int64, chosen or not.

    Raises:
        ValueError: a shape other than the above, a margin that is not three numbers, a negative `max_points` or
            `drift`, or several devices.
        TypeError: points or boxes that are not of a floating type, frames that are not integers.
    """
    _check_points(points)
    check_boxes(boxes, moving=True)
    check_column(point_batch_index, len(points), "point_batch_index")
    check_column(batch_index, len(boxes), "batch_index")
    if len(margin) != 3:
        raise ValueError(f"margin holds {len(margin)} numbers, expected 3: along length, width and height")
    if max_points < 0:
        raise ValueError(f"max_points is {max_points}, expected 0 or more")
    if not 0 <= drift < math.inf:
        raise ValueError(f"drift is {drift}, expected a finite number of 0 or more")
    device = check_one_device(points=points, point_batch_index=point_batch_index, boxes=boxes, batch_index=batch_index)
    if not _native.serves(device):
        return reference.gather_near_boxes(
            points, point_batch_index, boxes, batch_index, margin=margin, max_points=max_points, seed=seed, drift=drift
        )
    chosen, counts = gather_near_boxes_op(
        _widened(points),
        point_batch_index.long(),
        boxes.detach().double(),
        batch_index.long(),
        float(margin[0]),
        float(margin[1]),
        float(margin[2]),
        float(drift),
        max_points,
        seed & 0xFFFFFFFF,
    )
    return chosen.to(points.dtype), counts


def box_frame_features(points: Tensor, boxes: Tensor) -> Tensor:
    """Each point as each candidate box sees it, with gradient to points and boxes, once.

    A point with a lag is seen by a box with a velocity from where the box was then: centre - velocity * lag.

    Args:
        points: `[N, K, 4]` x, y, z in the LiDAR frame in m, and reflectance; or `[N, K, 5]` with the time lag in s.
        boxes: `[N, S, 7]`, S candidates for each neighbourhood of points, m, rad; or `[N, S, 9]` with vx, vy over
            ground, m/s.

    Returns:
        `[N, S, K, 16]` in m, in the wider of the two dtypes and at least float32: the point's offset from the centre
        along the box's length, width and height (3); its signed distances to the faces at +l/2, +w/2, +h/2, -l/2,
        -w/2, -h/2, positive outside (6); the distance beyond each of them, zero inside (6); reflectance (1). Of points
        with a lag `[N, S, K, 17]`, the lag last.

    Raises:
        ValueError: a shape other than the above, or two devices.
        TypeError: inputs that are not of a floating type.
    """
    if points.ndim != 3 or points.shape[2] not in (4, 5):
        raise ValueError(f"points has shape {tuple(points.shape)}, expected [N, K, 4]: {_COLUMNS}")
    _check_candidates(boxes)
    if len(points) != len(boxes):
        raise ValueError(f"{len(points)} neighbourhoods of points for {len(boxes)} of boxes, expected one each")
    points, boxes = _to_common_type(points, boxes)
    if not _native.serves(check_one_device(points=points, boxes=boxes)):
        return reference.box_frame_features(points, boxes)
    return features_op(points.flatten(0, 1), None, boxes, points.shape[1])


def box_frame_features_ragged(points: Tensor, box_index: Tensor, boxes: Tensor) -> Tensor:
    """`box_frame_features` for neighbourhoods of different sizes.

    Args:
        points: `[V, 4]` x, y, z in the LiDAR frame in m, and reflectance; or `[V, 5]` with the time lag in s.
        box_index: `[V]` integers in 0..N - 1, the neighbourhood that each point belongs to. It is fastest where it
            rises.
        boxes: `[N, S, 7]`, S candidates for each neighbourhood, m, rad; or `[N, S, 9]` with vx, vy.

    Returns:
        `[V, S, 16]`, of points with a lag `[V, S, 17]`. On CUDA, whose tensors cannot be looked at without waiting for
        them, a point whose index lies outside 0..N - 1 has NaN for features.

    Raises:
        ValueError: a shape other than the above, or several devices.
        TypeError: points or boxes that are not of a floating type, an index that is not of integers.
        RuntimeError: an index outside 0..N - 1, on the CPU.
    """
    if points.ndim != 2 or points.shape[1] not in (4, 5):
        raise ValueError(f"points has shape {tuple(points.shape)}, expected [V, 4]: {_COLUMNS}")
    _check_candidates(boxes)
    check_column(box_index, len(points), "box_index")
    points, boxes = _to_common_type(points, boxes)
    if not _native.serves(check_one_device(points=points, box_index=box_index, boxes=boxes)):
        return reference.box_frame_features_ragged(points, box_index, boxes)
    return features_op(points, box_index.long(), boxes, 0)


_COLUMNS = "x, y, z, reflectance, or one more: the time lag"


def _check_points(points: Tensor) -> None:
    if points.ndim != 2 or points.shape[1] < 3:
        raise ValueError(f"points has shape {tuple(points.shape)}, expected [P, 3 or more]: x, y, z first")
    if not points.is_floating_point():
        raise TypeError(f"points is of {points.dtype}, expected a floating type")


def _check_candidates(boxes: Tensor) -> None:
    if boxes.ndim != 3 or boxes.shape[2] not in (7, 9):
        raise ValueError(
            f"boxes has shape {tuple(boxes.shape)}, expected [N, S, 7]: x, y, z, l, w, h, yaw, or [N, S, 9] with vx, vy"
        )


def _widened(points: Tensor) -> Tensor:
    """Without gradient, and float32 at least, which holds every 16-bit value."""
    return points.detach().to(torch.promote_types(points.dtype, torch.float32))


def _to_common_type(points: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    for name, tensor in (("points", points), ("boxes", boxes)):
        if not tensor.is_floating_point():
            raise TypeError(f"{name} is of {tensor.dtype}, expected a floating type")
    dtype = torch.promote_types(torch.promote_types(points.dtype, boxes.dtype), torch.float32)
    return points.to(dtype), boxes.to(dtype)
