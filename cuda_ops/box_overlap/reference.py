"""Rotated-box overlap and non-maximum suppression in plain PyTorch.

Boxes are `[N, 7]`: (x, y, z, l, w, h, yaw), z at the geometric centre, yaw counter-clockwise about +z, metres and
radians. A box that holds NaN or an infinite number anywhere, or has no area, overlaps nothing. Only pairs whose
circumscribed circles meet are computed, each in float64 in the second box's own frame, so that neither a large distance
from the origin nor a thin or an identical pair costs accuracy.

The area shared by two rectangles needs no clipping of polygons. In the frame of the second rectangle, which spans
[-L, L] x [-W, W] there, Green's theorem gives the area of the first one's part inside as the integral of
`clamp(y, -W, W)` along its boundary, over the x within [-L, L]; that integrand is piecewise linear on each edge, so
three trapezoids an edge are exact. Nothing is decided by "inside or outside", so identical, touching and nested boxes
are ordinary cases and the result is continuous in both boxes.
"""

from __future__ import annotations

import torch
from torch import Tensor

_PAIRS_AT_ONCE = 1 << 21  # bounds the memory of the all-pairs distance test
_ROUNDING = 1e-12  # far above what float64 leaves of areas that should cancel


@torch.no_grad()
def box_iou_bev(a: Tensor, b: Tensor, *, aligned: bool = False) -> Tensor:
    """Intersection over union of boxes seen from above.

    Args:
        a: `[N, 7]` boxes of a floating type, any device.
        b: `[M, 7]` boxes; with `aligned`, M = N.
        aligned: compare row with row instead of all with all.

    Returns:
        `[N, M]`, or `[N]` with `aligned`, in [0, 1] and the inputs' dtype. A box without area, or with NaN or an
        infinite number anywhere, overlaps nothing. Not differentiable.

    Raises:
        ValueError: a shape other than the above.
    """
    return _box_iou(a, b, aligned=aligned, use_height=False)


@torch.no_grad()
def box_iou_3d(a: Tensor, b: Tensor, *, aligned: bool = False) -> Tensor:
    """Intersection over union of the boxes' volumes; arguments, result and errors as in `box_iou_bev`."""
    return _box_iou(a, b, aligned=aligned, use_height=True)


@torch.no_grad()
def nms_bev(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    *,
    class_index: Tensor | None = None,
    batch_index: Tensor | None = None,
    max_output: int | None = None,
) -> Tensor:
    """Greedy non-maximum suppression: by falling score, a kept box removes those that overlap it from above.

    Args:
        boxes: `[N, 7]` boxes.
        scores: `[N]`; of equal scores the earlier row goes first. NaN counts as the lowest.
        iou_threshold: a box goes where its bird's-eye-view IoU with a kept one is greater than this. Below 0 that
            holds for boxes apart from each other too: one is kept of each class in each frame.
        class_index: `[N]` integers; boxes of different classes leave each other alone. None: one class.
        batch_index: `[N]` integers; boxes of different frames leave each other alone. None: one frame.
        max_output: keep at most so many boxes of each frame, the highest-scored ones. None: all.

    Returns:
        `[K]` int64 indices of the kept boxes, by falling score over all frames.

    Raises:
        ValueError: a shape other than the above, or a negative `max_output`.
    """
    _check_boxes(boxes, "boxes")
    count = boxes.shape[0]
    for name, value in (("scores", scores), ("class_index", class_index), ("batch_index", batch_index)):
        if value is not None and value.shape != (count,):
            raise ValueError(f"{name} has shape {tuple(value.shape)}, expected ({count},): one value a box")
    if max_output is not None and max_output < 0:
        raise ValueError(f"max_output is {max_output}, expected at least 0")
    order = order_by_score(scores)  # [N]
    frame = (torch.zeros_like(order) if batch_index is None else batch_index.long())[order]  # [N]
    classes = (torch.zeros_like(order) if class_index is None else class_index.long())[order]  # [N]
    first, second = _overlapping_pairs(_usable(boxes)[order], torch.stack((frame, classes), dim=1), iou_threshold)
    kept = order.new_tensor(_keep_greedily(first, second, frame.tolist(), max_output))
    return order[kept]


def order_by_score(scores: Tensor) -> Tensor:
    """Rows `[N]` by falling score; NaN counts as the lowest, and of equal scores the earlier row goes first."""
    return torch.sort(torch.where(scores.isnan(), -torch.inf, scores), descending=True, stable=True).indices


def _keep_greedily(first: Tensor, second: Tensor, frame: list[int], max_output: int | None) -> list[int]:
    """Rows that survive, in order; `first[k] < second[k]` are the pairs that overlap, sorted by `first`."""
    count = len(frame)
    starts = torch.searchsorted(first, torch.arange(count + 1, device=first.device)).tolist()
    lower = second.tolist()
    removed = [False] * count
    kept_in_frame: dict[int, int] = {}
    kept = []
    for row in range(count):
        if removed[row] or (max_output is not None and kept_in_frame.get(frame[row], 0) >= max_output):
            continue
        kept.append(row)
        kept_in_frame[frame[row]] = kept_in_frame.get(frame[row], 0) + 1
        for other in lower[starts[row] : starts[row + 1]]:
            removed[other] = True
    return kept


def _overlapping_pairs(boxes: Tensor, group: Tensor, iou_threshold: float) -> tuple[Tensor, Tensor]:
    """Row pairs (i < j, sorted by i) of one group [N, 2] whose bird's-eye-view IoU is above the threshold."""
    if iou_threshold < 0.0:  # then boxes apart from each other count too
        first, second = torch.triu_indices(boxes.shape[0], boxes.shape[0], offset=1, device=boxes.device)
    else:
        first, second = _near_pairs(boxes, boxes)
    wanted = (first < second) & (group[first] == group[second]).all(dim=1)
    first, second = first[wanted], second[wanted]
    over = _pair_iou(boxes[first], boxes[second], use_height=False) > iou_threshold
    return first[over], second[over]


def _box_iou(a: Tensor, b: Tensor, *, aligned: bool, use_height: bool) -> Tensor:
    _check_boxes(a, "a")
    _check_boxes(b, "b")
    dtype = torch.promote_types(a.dtype, b.dtype)
    if aligned and a.shape != b.shape:
        raise ValueError(f"aligned boxes need equal shapes, got {tuple(a.shape)} and {tuple(b.shape)}")
    a, b = _usable(a), _usable(b)
    if aligned:
        return _pair_iou(a, b, use_height=use_height).to(dtype)
    iou = a.new_zeros((a.shape[0], b.shape[0]), dtype=dtype)
    first, second = _near_pairs(a, b)
    iou[first, second] = _pair_iou(a[first], b[second], use_height=use_height).to(dtype)
    return iou


def _check_boxes(boxes: Tensor, name: str) -> None:
    if boxes.dim() != 2 or boxes.shape[1] != 7:
        raise ValueError(f"{name} has shape {tuple(boxes.shape)}, expected [N, 7]: x, y, z, l, w, h, yaw")


def _usable(boxes: Tensor) -> Tensor:
    """The boxes in float32 or wider; one that is not finite becomes one without extent, which overlaps nothing."""
    boxes = boxes.to(torch.promote_types(boxes.dtype, torch.float32))
    return torch.where(boxes.isfinite().all(dim=1, keepdim=True), boxes, 0.0)


def _near_pairs(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Indices (into a, into b) of the pairs whose circumscribed circles meet, sorted by a, then b."""
    # A hair more than the radius, so that rounding in float32 never drops a touching pair.
    radius_a = 0.5001 * torch.linalg.vector_norm(a[:, 3:5], dim=1)  # [N]
    radius_b = 0.5001 * torch.linalg.vector_norm(b[:, 3:5], dim=1)  # [M]
    rows = max(1, _PAIRS_AT_ONCE // max(1, b.shape[0]))
    chunks = []
    for start in range(0, a.shape[0], rows):
        part = slice(start, start + rows)
        offset = a[part, None, :2] - b[None, :, :2]  # [rows, M, 2]
        reach = radius_a[part, None] + radius_b[None, :]  # [rows, M]
        near = (offset * offset).sum(dim=2) <= reach * reach
        pairs = near.nonzero()
        pairs[:, 0] += start
        chunks.append(pairs)
    pairs = torch.cat(chunks) if chunks else torch.zeros((0, 2), dtype=torch.int64, device=a.device)
    return pairs[:, 0], pairs[:, 1]


def _pair_iou(a: Tensor, b: Tensor, *, use_height: bool) -> Tensor:
    """IoU [P] float64 of boxes a [P, 7] and b [P, 7], row by row."""
    a, b = a.double(), b.double()
    size_a, size_b = a[:, 3:6].clamp(min=0.0), b[:, 3:6].clamp(min=0.0)  # [P, 3] l, w, h
    shared = _shared_area(a[:, :2] - b[:, :2], size_a[:, :2], a[:, 6], size_b[:, :2], b[:, 6])  # [P]
    content_a, content_b = size_a[:, 0] * size_a[:, 1], size_b[:, 0] * size_b[:, 1]  # [P] areas
    # Rounding may not make the shared part larger than either box, nor boxes apart from each other overlap a little.
    shared = torch.minimum(shared, torch.minimum(content_a, content_b))
    shared = torch.where(shared > _ROUNDING * (content_a + content_b), shared, 0.0)
    if use_height:
        height_a, height_b = size_a[:, 2], size_b[:, 2]  # [P]
        meeting = (height_a + height_b) / 2 - (a[:, 2] - b[:, 2]).abs()
        shared = shared * torch.minimum(meeting, torch.minimum(height_a, height_b)).clamp(min=0.0)
        content_a, content_b = content_a * height_a, content_b * height_b  # [P] volumes
    union = content_a + content_b - shared
    return torch.where(union > 0.0, shared / torch.where(union > 0.0, union, 1.0), 0.0).clamp(max=1.0)


def _shared_area(offset: Tensor, size_a: Tensor, yaw_a: Tensor, size_b: Tensor, yaw_b: Tensor) -> Tensor:
    """Area [P] shared by rectangles: `offset` [P, 2] from b's centre to a's, sizes [P, 2] (l, w), yaws [P]."""
    cos_b, sin_b = yaw_b.cos(), yaw_b.sin()
    center_x = cos_b * offset[:, 0] + sin_b * offset[:, 1]  # a's centre in b's frame
    center_y = cos_b * offset[:, 1] - sin_b * offset[:, 0]
    cos, sin = (yaw_a - yaw_b).cos(), (yaw_a - yaw_b).sin()
    along = size_a.new_tensor((0.5, -0.5, -0.5, 0.5)) * size_a[:, :1]  # [P, 4] corners of a, counter-clockwise
    across = size_a.new_tensor((0.5, 0.5, -0.5, -0.5)) * size_a[:, 1:]  # [P, 4]
    x = center_x[:, None] + cos[:, None] * along - sin[:, None] * across  # [P, 4]
    y = center_y[:, None] + sin[:, None] * along + cos[:, None] * across  # [P, 4]
    half_length, half_width = size_b[:, :1] / 2, size_b[:, 1:] / 2  # [P, 1]

    # Each edge's part between x = -L and x = L, as parameters t0 <= t1 of the edge.
    dx, dy = x.roll(-1, dims=1) - x, y.roll(-1, dims=1) - y  # [P, 4]
    t_low, t_high = _crossing(-half_length - x, dx), _crossing(half_length - x, dx)
    t0, t1 = torch.minimum(t_low, t_high), torch.maximum(t_low, t_high)
    x0 = torch.minimum(torch.maximum(x + t0 * dx, -half_length), half_length)
    x1 = torch.minimum(torch.maximum(x + t1 * dx, -half_length), half_length)
    y0, y1 = y + t0 * dy, y + t1 * dy

    # The integrand clamp(y, -W, W) has a kink where the edge meets y = -W and y = W.
    s_low, s_high = _crossing(-half_width - y0, y1 - y0), _crossing(half_width - y0, y1 - y0)
    zero = torch.zeros_like(x0)
    knots = torch.stack((zero, torch.minimum(s_low, s_high), torch.maximum(s_low, s_high), zero + 1.0))  # [4, P, 4]
    height = y0 + knots * (y1 - y0)
    height = torch.minimum(torch.maximum(height, -half_width), half_width)  # [4, P, 4]
    mean_height = ((knots[1:] - knots[:-1]) * (height[1:] + height[:-1]) / 2).sum(dim=0)  # [P, 4]
    return -(mean_height * (x1 - x0)).sum(dim=1)  # counter-clockwise: area = -integral of y dx


def _crossing(distance: Tensor, change: Tensor) -> Tensor:
    """Place along an edge (0..1, clamped) at which a coordinate that changes by `change` has covered `distance`."""
    # An edge that does not change has no crossing; any parameter then gives the same integral.
    flat = change == 0.0
    return torch.where(flat, 0.0, distance / torch.where(flat, 1.0, change)).clamp(0.0, 1.0)
