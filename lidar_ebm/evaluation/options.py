"""Everything that may be asked of a scoring beside labels and results, in one piece that is passed on whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.limits import Difficulty, Overlaps

if TYPE_CHECKING:
    from lidar_ebm.evaluation.protocol import ScoringProtocol
    from lidar_ebm.geometry.camera import Camera

PathLike: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True)
class ScoringOptions:
    """Options of a scoring; None is what the protocol does by itself.

    Raises:
        InputError: a text where several names are expected, or nothing is named at all.
    """

    protocol: str | ScoringProtocol | None = (
        None  # "kitti", "distance", "nuscenes" or an object; None: what the input fits
    )
    classes: Sequence[str] | None = None  # compared without case; None: the protocol's, or all that are labelled
    iou: Overlaps | None = None  # that a match exceeds: for all, by class, or by class and metric; several are fine
    center_distances: Sequence[float] | None = None  # m, that the centres of a match are apart at most, by the centre
    metrics: Sequence[str] | None = None
    difficulties: Sequence[Difficulty] | None = None
    distances: Sequence[float] = ()  # limits of distance bands to score apart too, m: 0, 20, 40 for two
    split: PathLike | Sequence[str] | None = None  # score these frames; without a result they have no detections
    version: str | None = None  # of the tables that have the split, of a nuScenes database: "v1.0-mini"
    project: bool = False  # objects without a 2-D box get the projection of their 3-D box
    lidar_only: bool = False  # for data without 2-D boxes: difficulty by distance and points in the box
    calib: PathLike | None = None  # folder of calibration files; beside the labels where None
    point_folder: PathLike | None = None  # folder of point clouds; beside the labels where None
    cameras: Sequence[Camera] | None = None  # of boxes in memory, one a frame

    def __post_init__(self) -> None:
        for name in ("classes", "metrics"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise InputError(f"{name}: {value!r} is one text; give a list of names.")
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        if self.classes is not None and not self.classes:
            raise InputError("classes: name one at least.")
