"""Scoring by distance and points in the box, all around the sensor, for any class names.

Difficulties are limits on the horizontal distance from the LiDAR and on the points in the box; labels beyond them are
ignored, as is a detection that takes one, and detections beyond the distance are no false positives. Matches are made
by BEV and 3-D IoU, with KITTI's two passes, and by the distance of the centres on the ground (0.5, 1, 2 and 4 m), with
nuScenes' greedy matching. Average precision is read at 40 recalls (R40: 1/40, 2/40 … 1, precision interpolated to the
best at that recall or beyond) in all of them; nuScenes itself reads 101 recalls and leaves out those below 0.1, so that
figures by the centre are not its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lidar_ebm.boxes.difficulty import LIMITS
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.box_files import align_frames
from lidar_ebm.evaluation.class_notes import check_classes, count_names, list_class_notes
from lidar_ebm.evaluation.curve_protocol import CurveProtocol
from lidar_ebm.evaluation.distance.centers import find_near_pairs, match_centers
from lidar_ebm.evaluation.distance.packing import pack_upright
from lidar_ebm.evaluation.kitti.matching import ABSENT, IGNORED, VALID
from lidar_ebm.evaluation.kitti.objects import Objects
from lidar_ebm.evaluation.kitti.overlaps import GEOMETRIES, find_pairs
from lidar_ebm.evaluation.kitti.passes import Passes, match_pairs
from lidar_ebm.evaluation.kitti.rules import is_beyond, required_overlaps
from lidar_ebm.evaluation.limits import Difficulty
from lidar_ebm.evaluation.loaded import Loaded
from lidar_ebm.evaluation.options import ScoringOptions
from lidar_ebm.evaluation.result import ProtocolFacts

METRICS = ("center", "bev", "3d")
DIFFICULTIES = tuple(Difficulty(name, max_distance=below, min_points=points) for name, below, points in LIMITS)
CENTER_DISTANCES = (0.5, 1.0, 2.0, 4.0)  # m
OVERLAP = 0.5  # that a match exceeds where none is asked for


class DistanceProtocol(CurveProtocol):
    """The rules of this module.

    Args:
        name: that `--protocol` takes.
        difficulties: limits of distance and points, from the easiest on, where none are asked for.
        headline: the difficulty that tables show first.
        overlap: that a match exceeds where none is asked for.
    """

    def __init__(
        self,
        name: str = "distance",
        difficulties: Sequence[Difficulty] = DIFFICULTIES,
        headline: str = "middle",
        overlap: float = OVERLAP,
    ) -> None:
        self.difficulties, self.overlap = tuple(difficulties), overlap
        self.facts = ProtocolFacts(name, tuple(each.name for each in difficulties), headline, {}, overlap)

    def load(self, labels: Any, results: Any, options: ScoringOptions) -> Loaded:
        """Bring labels and results of any kind into one form.

        Raises:
            InputError: they cannot be used, do not fit each other, or an option is not for this protocol.
        """
        for name in ("project", "lidar_only", "point_folder"):
            if getattr(options, name):
                raise InputError(
                    f"{name}: is not for scoring by distance, which looks at no image or point cloud, as the number of "
                    "points comes from the labels (column `points`); leave it out."
                )
        frames = align_frames(labels, results, options)
        packed = pack_upright(frames.labels, need_scores=False, names=frames.names)
        detections = pack_upright(frames.results, need_scores=True, names=frames.names)
        spelling = {str(name).lower(): str(name) for boxes in frames.labels for name in boxes.names}
        classes = tuple(spelling[name] for name in packed.type_names) if options.classes is None else options.classes
        if not classes:
            raise InputError("labels: there is no object at all to score by; give labels, or name classes.")
        check_classes(classes, packed, detections)
        difficulties, notes = self._difficulties(packed, options)
        return Loaded(
            packed,
            detections,
            options,
            tuple(dict.fromkeys(classes)),
            METRICS if options.metrics is None else tuple(options.metrics),
            difficulties,
            (*frames.notes, *notes, *list_class_notes(classes, packed, detections)),
            frames.names,
        )

    def _difficulties(self, labels: Objects, options: ScoringOptions) -> tuple[tuple[Difficulty, ...], tuple[str, ...]]:
        chosen = self.difficulties if options.difficulties is None else tuple(options.difficulties)
        for each in chosen:
            if each.min_height > 0 or each.max_occluded < math.inf or each.max_truncated < math.inf:
                raise InputError(
                    f"difficulty {each}: give limits of distance and points alone, as nothing else is known"
                )
        if labels.points is None and options.difficulties is None:
            chosen = tuple(replace(each, min_points=0) for each in chosen)
            how = "distance alone, as the labels do not say how many points are in their boxes"
        elif labels.points is None and any(each.min_points > 0 for each in chosen):
            raise InputError("difficulty: asks for points, but the labels do not say them; give limits without points.")
        else:
            how = "distance and points in the box"
        limits = "; ".join(map(str, chosen))
        return chosen, (f"scored by distance, all around the sensor: difficulty by {how} ({limits})",)

    def run_passes(self, loaded: Loaded, difficulties: Sequence[Difficulty]) -> Iterator[Passes]:
        """Match every class in every metric, overlap and distance at these difficulties.

        Raises:
            InputError: an unknown metric, or a bad overlap or distance.
        """
        labels, detections, options = loaded.labels, loaded.detections, loaded.options
        for metric in loaded.metrics:
            if metric not in METRICS:
                raise InputError(f"metric {metric!r}: choose among {', '.join(METRICS)}")
        order = np.argsort(-detections.scores, kind="stable")
        for name in loaded.classes:
            if not detections.is_type(name).any():
                continue
            states = [(each, *_states(labels, detections, name, each)) for each in difficulties]
            for metric in loaded.metrics:
                if metric == "center":
                    maxima = _center_distances(options.center_distances)
                    near = find_near_pairs(labels, detections, name, max(maxima))
                    for maximum in maxima:
                        for each, label_state, detection_state, excused in states:
                            yield match_centers(
                                detections,
                                order,
                                near,
                                class_name=name,
                                maximum=maximum,
                                difficulty=each,
                                label_state=label_state,
                                detection_state=detection_state,
                                excused=excused,
                            )
                    continue
                overlaps = required_overlaps(self.overlap if options.iou is None else options.iou, name, metric)
                pairs = find_pairs(labels, detections, GEOMETRIES[metric], min(overlaps))
                for each, label_state, detection_state, excused in states:
                    for iou in overlaps:
                        yield match_pairs(
                            labels,
                            detections,
                            order,
                            name,
                            (metric,),
                            iou,
                            each,
                            label_state,
                            detection_state,
                            excused,
                            pairs,
                        )

    def list_notes(self, loaded: Loaded) -> tuple[str, ...]:
        """Notes on what was not scored, and on what looks like a mistake."""
        notes = []
        if not np.isnan(loaded.labels.scores).all():
            notes.append("some labels have a score: are the labels in their place, and not results?")
        counts = count_names(loaded.labels)
        for name in loaded.classes:
            if not loaded.detections.is_type(name).any():
                notes.append(f"{name} is not scored: there are no results of this class")
            states = [_states(loaded.labels, loaded.detections, name, each)[0] for each in loaded.difficulties]
            if counts.get(name.lower()) and not any((state == VALID).any() for state in states):
                notes.append(
                    f"no {name} label (of {counts[name.lower()]}) is within the limits of any difficulty, so all "
                    "figures of it are 0"
                )
        return tuple(notes)


PROTOCOL = DistanceProtocol()


def _states(
    labels: Objects, detections: Objects, class_name: str, difficulty: Difficulty
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """State of each label [L] and detection [D], int8, and which detections are excused, [D] bool."""
    outside = is_beyond(labels, difficulty)
    if difficulty.min_points > 0 and labels.points is not None:
        outside |= labels.points < difficulty.min_points
    label_state = np.where(labels.is_type(class_name), np.where(outside, IGNORED, VALID), ABSENT).astype(np.int8)
    detection_state = np.where(detections.is_type(class_name), VALID, ABSENT).astype(np.int8)
    return label_state, detection_state, is_beyond(detections, difficulty)


def _center_distances(given: Sequence[float] | None) -> tuple[float, ...]:
    values = CENTER_DISTANCES if given is None else tuple(float(value) for value in given)
    if not values or not all(0.0 < value < math.inf for value in values):
        raise InputError(f"center_distances {values}: give one or more distances above 0, in metres.")
    return tuple(sorted(set(values)))
