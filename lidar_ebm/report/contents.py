"""All that the page says of a run, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lidar_ebm.evaluation.curves import Comparison
from lidar_ebm.evaluation.figures import FigureComparison
from lidar_ebm.evaluation.paired_result import PairedComparison
from lidar_ebm.report.frames import ViewedFrame
from lidar_ebm.report.pictures import Picture


@dataclass(frozen=True, eq=False)
class Contents:
    """Everything that the page says; a picture or a table that cannot be made is left out, and `missing` says why."""

    name: str
    split: str
    config: str  # YAML
    environment: dict[str, str]
    about: dict[str, Any]  # of the evaluation; empty where none was recorded
    training: dict[str, str]  # facts
    comparisons: tuple[Comparison, ...] = ()
    changes: FigureComparison | None = None  # before → after, of protocols that are told in figures
    paired: PairedComparison | None = None
    pictures: dict[str, list[Picture]] = field(default_factory=dict)  # by section
    improved: list[Picture] = field(default_factory=list)
    worst: list[Picture] = field(default_factory=list)
    frames: list[ViewedFrame] = field(default_factory=list)
    class_names: tuple[str, ...] = ()  # of the run
    missing: list[str] = field(default_factory=list)
