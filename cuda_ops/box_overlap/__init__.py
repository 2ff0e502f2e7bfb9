"""Overlap of rotated boxes seen from above and in 3-D, and the non-maximum suppression that rests on it."""

from __future__ import annotations

from cuda_ops.box_overlap.op import box_iou_3d, box_iou_bev, nms_bev

__all__ = ["box_iou_3d", "box_iou_bev", "nms_bev"]
