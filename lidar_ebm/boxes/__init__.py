"""Boxes with their class names, scores and further columns: what passes between all rooms of the program."""

from __future__ import annotations

from lidar_ebm.boxes.boxes import Boxes

__all__ = ["Boxes"]
