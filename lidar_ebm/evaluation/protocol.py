"""Scoring protocols: what rules of a benchmark have to say, so that results can be scored and compared by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from lidar_ebm.evaluation.options import PathLike, ScoringOptions
from lidar_ebm.evaluation.paired_result import PairedComparison
from lidar_ebm.evaluation.refinement import Refinement
from lidar_ebm.evaluation.result import Evaluation, ProtocolFacts
from lidar_ebm.evaluation.submission import Submission

if TYPE_CHECKING:
    from lidar_ebm.boxes import Boxes
    from lidar_ebm.evaluation.kitti.objects import Objects

# A file or folder, or frames in memory: `Boxes` by name or in order, or what else a protocol takes.
Source: TypeAlias = "PathLike | Mapping[str, Boxes] | Sequence[Any] | Objects"


@dataclass(frozen=True)
class Draws:
    """Resamples of a paired bootstrap."""

    resamples: int = 1000
    confidence: float = 0.95  # share of the draws within an interval
    seed: int = 0


@dataclass(frozen=True)
class RefinementRequest:
    """Everything that is asked about the figures of one run without and with refinement."""

    counts: tuple[int, ...]  # numbers of steps T that were run, 0 among them
    chosen: int  # the one that is compared with 0
    classes: tuple[str, ...]
    ious: tuple[float, ...]  # overlaps of the comparison, for protocols that have any
    recall: str = "R40"
    name: str = "refinement"


class ScoringProtocol(Protocol):
    """Rules by which detections are matched to labels and counted."""

    @property
    def facts(self) -> ProtocolFacts:
        """Its name, and the words that it uses."""

    @property
    def submission(self) -> Submission | None:
        """Rules of the benchmark's server; None where there is none."""

    @property
    def comparison_options(self) -> Mapping[str, Any]:
        """Fields of `ScoringOptions` with which results before and after refinement are compared."""

    def evaluate(self, labels: Source, results: Source, options: ScoringOptions) -> Evaluation:
        """Score results against labels.

        Raises:
            InputError: they cannot be used, or do not fit each other or the options.
        """

    def compare(
        self, labels: Source, a: Source, b: Source, options: ScoringOptions, draws: Draws, names: tuple[str, str]
    ) -> PairedComparison:
        """Score two result sets, and draw frames anew to say how sure the differences of their figures are.

        Raises:
            InputError: the sets hold other frames, or what `evaluate` raises.
        """

    def labels_of(self, data_set: Any, names: Sequence[str]) -> Any:
        """Labels of frames of a data set on disk, as `evaluate` takes them.

        Args:
            data_set: a `DataSet` whose protocol this is.
            names: of the frames.

        Raises:
            InputError: a file cannot be used.
        """

    def refinement(self, score: Callable[..., Evaluation], request: RefinementRequest) -> Refinement:
        """Figures of a run without and with refinement.

        Args:
            score: takes a number of steps T, and fields of `ScoringOptions` by name.
            request: of what.
        """

    def summary(self, score: Callable[..., Evaluation], classes: Sequence[str]) -> float:
        """The one figure, 0..100, that stands for all, by which weights are chosen while a model is trained.

        Args:
            score: takes fields of `ScoringOptions` by name.
            classes: of the model.
        """
