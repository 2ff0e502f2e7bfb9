"""Refinement of boxes with velocities: energies in R^9 and R^7 against the detector that they refine, by NDS.

For each seed the detector of `nuscenes_small` is trained on simulated scenes, then two energies on it: over nine
numbers, and over seven, which leaves the head's velocity as it is. Differences come with intervals of a paired
bootstrap over scenes.

    lidar-ebm simulate data/nuscenes_simulated --layout nuscenes --scenes 60 --samples-per-scene 20 --azimuth-steps 300
    lidar-ebm prepare data/nuscenes_simulated
    python tools/studies/nuscenes_energy.py --data data/nuscenes_simulated
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from study import Row, Study, parser
from study import run as run_study

from lidar_ebm.config.loading import load_config
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.figures import ALL_CLASSES, FigureComparison
from lidar_ebm.evaluation.options import ScoringOptions
from lidar_ebm.evaluation.protocol import Draws
from lidar_ebm.evaluation.protocols import protocols
from lidar_ebm.workflows.evaluate import evaluate_run
from lidar_ebm.workflows.train import train

SEEDS = (0, 1)
SPLIT = "val"
# Both energies learn from labels with points enough to tell something, the detector from all that have any.
ENERGY = ("points.minimum_per_label=5",)
ENERGIES = {"R^9": (), "R^7": ("energy.velocity=false",)}
SUMMARIES = ("NDS", "mAP", "mATE", "mASE", "mAOE", "mAVE", "mAAE")


def train_and_judge(data: Path, runs: Path, overrides: tuple[str, ...], seed: int, resamples: int) -> Row:
    """Train a detector and both energies, detect on the val split, and compare.

    Returns:
        Minutes of training, figures of the detector and of each energy, and the differences with their intervals.
    """
    common = [*overrides, f"seed={seed}"]
    detector = runs / f"seed{seed}_detector"
    minutes = {"detector": _train([*common, "training.energy.epochs=0"], data, detector, None)}
    results = {}
    for number, (name, own) in zip((9, 7), ENERGIES.items(), strict=True):
        folder = runs / f"seed{seed}_r{number}"
        minutes[name] = _train([*common, *ENERGY, *own], data, folder, detector)
        evaluate_run(folder, data, split=SPLIT)
        results[name] = _result_file(folder, "after")
        results.setdefault("detector", _result_file(folder, "before"))
    pairs = [("detector", "R^9"), ("detector", "R^7"), ("R^7", "R^9")]
    rows = {f"{a} → {b}": _differences(data, results[a], results[b], (a, b), resamples) for a, b in pairs}
    return {"minutes": minutes, "differences": rows}


def _train(overrides: Sequence[str], data: Path, run: Path, detector: Path | None) -> float:
    """Train, or go on training; returns the minutes that it took, none of a run that was finished before."""
    began = time.perf_counter()
    train(load_config("nuscenes_small", list(overrides)), data, run, resume=True, detector_run=detector)
    return (time.perf_counter() - began) / 60


def _result_file(run: Path, when: str) -> Path:
    """The result file that evaluating a run left."""
    (path,) = sorted((run / "evaluation" / SPLIT / f"results_{when}").rglob("*.json"))
    return path


def _differences(data: Path, a: Path, b: Path, names: tuple[str, str], resamples: int) -> list[dict[str, Any]]:
    """Every figure of two result files and its difference's interval, in JSON's types."""
    options = ScoringOptions(protocol="nuscenes", split=SPLIT)
    comparison = protocols()["nuscenes"].compare(data, a, b, options, Draws(resamples), names)
    assert isinstance(comparison, FigureComparison)
    return [
        {
            "class": change.figure.class_name,
            "figure": change.figure.name,
            "unit": change.figure.unit,
            **{name: _plain(getattr(change, name)) for name in ("a", "b", "low", "high")},
        }
        for change in comparison.changes
    ]


def _plain(value: float) -> float | None:
    """A number as JSON has it: None for NaN."""
    return None if math.isnan(value) else float(value)


def study(arguments: argparse.Namespace) -> None:
    """Train and judge what is missing, then write the page."""
    if not arguments.data.is_dir():
        raise InputError(f"{arguments.data}: is not there. Make it by the commands above, and name its folder.")
    quick = ("training.detector.epochs=1", "training.energy.epochs=1") if arguments.quick else ()
    overrides = (*quick, *arguments.set)
    seeds = SEEDS[:1] if arguments.quick else SEEDS
    settings = {"data": str(arguments.data), "overrides": list(overrides), "resamples": arguments.resamples}
    page = Study("Energies of boxes with velocities", arguments.out, settings, processes=arguments.processes)
    runs = arguments.out / "runs"
    rows = page.rows(
        {
            f"seed={seed}": partial(train_and_judge, arguments.data, runs, overrides, seed, arguments.resamples)
            for seed in seeds
        }
    )
    page.text(
        "a → b, and the interval of 95 % of b less a, val scenes drawn anew. NDS and mAP in percent, errors "
        "in their own units: lower is better. R^9 is the energy over boxes with velocity; R^7 leaves the head's "
        "velocity as it is, and sees points moved by it."
    )
    for pair in next(iter(rows.values()))["differences"]:
        lines = []
        for name in SUMMARIES:
            cells = []
            for seed in seeds:
                row = next(
                    each
                    for each in rows[f"seed={seed}"]["differences"][pair]
                    if (each["class"], each["figure"]) == (ALL_CLASSES, name)
                )
                cells.append(_cell(row))
            lines.append([name, *cells])
        page.table(pair, ["figure", *(f"seed {seed}" for seed in seeds)], lines)
    page.write(arguments.results / "nuscenes_energy.md")


def _cell(row: dict[str, Any]) -> str:
    low, high = row["low"], row["high"]
    interval = "" if low is None else f" ({low:+.3f} to {high:+.3f}{'*' if low > 0 or high < 0 else ''})"
    return f"{row['a']:.3f} → {row['b']:.3f}{interval}"


def main() -> None:
    """Run the study."""
    options = parser(__doc__, "nuscenes_energy")
    options.add_argument("--data", type=Path, default=Path("data/nuscenes_simulated"), help="(default %(default)s)")
    options.add_argument("--set", nargs="*", default=[], help="settings in which the runs differ from the preset")
    options.add_argument("--resamples", type=int, default=1000, help="of the bootstrap (default %(default)s)")
    run_study(options, study)


if __name__ == "__main__":
    main()
