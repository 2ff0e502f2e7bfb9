"""Two result sets on the same frames: which differences of AP are more than chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.box_files import is_path
from lidar_ebm.evaluation.options import ScoringOptions
from lidar_ebm.evaluation.paired_result import PairedComparison
from lidar_ebm.evaluation.protocol import Draws, Source
from lidar_ebm.evaluation.scoring import choose_protocol, merge_options


def compare_results(
    labels: Source,
    a: Source,
    b: Source,
    options: ScoringOptions | None = None,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    names: tuple[str, str] | None = None,
    **keywords: Any,
) -> PairedComparison:
    """Score two result sets and say how sure the differences of their figures are.

    The interval is that of a paired bootstrap: frames are drawn with replacement, as many as there are, both sets are
    scored on the same draw, and of the differences of all draws the middle 95 % remain. Frames are taken to be
    independent; where they come from few drives, the truth is less sure than the interval says.

    Args:
        labels: as in `evaluate`, with which the figures agree.
        a, b: results, of the same frames.
        options: of the scoring; distance bands are not compared.
        resamples: number of draws.
        confidence: share of the draws within the interval.
        seed: of the draws.
        names: what to call the two; folders' names, or A and B, where None.
        keywords: options in place of `options`, by the names of its fields.

    Returns:
        Every figure that either set has. One that was not scored in a set (no detections of the class, say) is NaN
        there, has no interval, and `notes` name it.

    Raises:
        InputError: the sets hold other frames, or what `evaluate` raises.
    """
    if resamples < 1 or not 0.0 < confidence < 1.0:
        raise InputError(f"resamples {resamples}, confidence {confidence}: give at least 1, and a share from 0 to 1")
    if seed < 0:
        raise InputError(f"seed {seed}: give 0 or more")
    chosen = merge_options(options, keywords)
    protocol = choose_protocol(labels, a, chosen)
    return protocol.compare(labels, a, b, chosen, Draws(resamples, confidence, seed), names or _names(a, b))


def _names(a: Source, b: Source) -> tuple[str, str]:
    if is_path(a) and is_path(b):
        return str(Path(a)), str(Path(b))
    return "A", "B"
