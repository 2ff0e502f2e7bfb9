"""KITTI's protocol: average precision and orientation similarity by the benchmark's own rules, on the CPU.

The rules, quirks included, are those of the benchmark's C++ program with its 3-D overlaps of 0.7 (Car) and 0.5
(Pedestrian, Cyclist); `rules.py` decides what counts, `overlaps.py` measures, `matching.py` assigns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.evaluation.curve_protocol import CurveProtocol
from lidar_ebm.evaluation.kitti.boxes import has_rectangle
from lidar_ebm.evaluation.kitti.passes import Passes, run_passes
from lidar_ebm.evaluation.kitti.rules import DIFFICULTIES, OFFICIAL_OVERLAPS, list_rule_notes
from lidar_ebm.evaluation.kitti.sources import load
from lidar_ebm.evaluation.kitti.submission import KittiSubmission
from lidar_ebm.evaluation.limits import Difficulty
from lidar_ebm.evaluation.loaded import Loaded
from lidar_ebm.evaluation.options import ScoringOptions
from lidar_ebm.evaluation.result import ProtocolFacts


class KittiProtocol(CurveProtocol):
    """The rules of this package."""

    facts = ProtocolFacts("kitti", tuple(each.name for each in DIFFICULTIES), "moderate", OFFICIAL_OVERLAPS)
    submission = KittiSubmission()

    def load(self, labels: Any, results: Any, options: ScoringOptions) -> Loaded:
        """Read or pack labels and results.

        Raises:
            InputError: they cannot be used, or do not fit each other or the options.
        """
        return load(labels, results, options)

    def run_passes(self, loaded: Loaded, difficulties: Sequence[Difficulty]) -> Iterator[Passes]:
        """Match every class in every metric that it is scored in.

        Raises:
            InputError: an unknown metric, a bad overlap, or a difficulty that asks for points that were not counted.
        """
        return run_passes(
            loaded.labels,
            loaded.detections,
            classes=loaded.classes,
            iou=loaded.options.iou,
            metrics=loaded.metrics,
            difficulties=difficulties,
        )

    def list_notes(self, loaded: Loaded) -> tuple[str, ...]:
        """Notes on what departs from the rules, what they do not score, and what looks like a mistake."""
        return list_rule_notes(loaded)


PROTOCOL = KittiProtocol()


def suits_kitti(labels: Any, options: ScoringOptions) -> bool:
    """Tell if labels in memory say what this benchmark asks for: they are none of `Boxes`, or have cameras and, half of
    them at least, rectangles in the image."""
    frames = list(labels.values()) if isinstance(labels, Mapping) else labels
    boxes = [frame for frame in frames if isinstance(frame, Boxes)] if isinstance(frames, Sequence) else []
    if not boxes:
        return True
    in_space = sum(int(np.isfinite(frame.boxes).all(axis=1).sum()) for frame in boxes)
    seen = sum(int((has_rectangle(frame) & np.isfinite(frame.boxes).all(axis=1)).sum()) for frame in boxes)
    return options.cameras is not None and 2 * seen >= in_space
