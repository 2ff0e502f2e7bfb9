"""Files of any tool: boxes in and out, one module a format. Needs no torch."""

from __future__ import annotations

from lidar_ebm.formats.box_format import Context, box_formats, find_format
from lidar_ebm.formats.reading import read_boxes, read_frames, write_boxes

__all__ = ["Context", "box_formats", "find_format", "read_boxes", "read_frames", "write_boxes"]
