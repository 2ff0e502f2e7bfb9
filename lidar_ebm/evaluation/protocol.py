"""Scoring protocols: what rules of a benchmark have to say, so that curves and comparisons can be made by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from lidar_ebm.evaluation.limits import Difficulty
from lidar_ebm.evaluation.options import PathLike, ScoringOptions
from lidar_ebm.evaluation.result import ProtocolFacts

if TYPE_CHECKING:
    from lidar_ebm.boxes import Boxes
    from lidar_ebm.evaluation.kitti.objects import Objects
    from lidar_ebm.evaluation.kitti.passes import Passes

# A file or folder, or frames in memory: `Boxes` by name or in order, or what else a protocol takes.
Source: TypeAlias = "PathLike | Mapping[str, Boxes] | Sequence[Any] | Objects"


@dataclass(frozen=True, eq=False)
class Loaded:
    """Labels and detections of the same frames, with all that the options left open filled in."""

    labels: Objects
    detections: Objects
    options: ScoringOptions
    classes: tuple[str, ...]
    metrics: tuple[str, ...]
    difficulties: tuple[Difficulty, ...]
    notes: tuple[str, ...]  # what departs from the protocol's rules, and what was passed over
    frames: tuple[str, ...] | None = None  # their names; None in memory


class ScoringProtocol(Protocol):
    """Rules by which detections are matched to labels and counted."""

    @property
    def facts(self) -> ProtocolFacts:
        """Its name, and the names of its difficulties."""

    def load(self, labels: Source, results: Source, options: ScoringOptions) -> Loaded:
        """Read or pack labels and results.

        Raises:
            InputError: they cannot be used, or do not fit each other or the options.
        """

    def run_passes(self, loaded: Loaded, difficulties: Sequence[Difficulty]) -> Iterator[Passes]:
        """Match every class in every metric and overlap that it is scored in, at these difficulties.

        Raises:
            InputError: an unknown metric, or a bad overlap.
        """

    def list_notes(self, loaded: Loaded) -> tuple[str, ...]:
        """Notes on what departs from the rules, what they do not score, and what looks like a mistake."""
