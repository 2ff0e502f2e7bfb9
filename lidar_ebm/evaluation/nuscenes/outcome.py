"""Outcome of a scoring by nuScenes' rules: its table, its files with the benchmark's own names, and its curves."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import RenderableType

from lidar_ebm.evaluation.figures import ALL_CLASSES, Figure, FigureEvaluation, Line, Panel
from lidar_ebm.evaluation.nuscenes.bootstrap import ap_name
from lidar_ebm.evaluation.nuscenes.evaluation import Figures
from lidar_ebm.evaluation.nuscenes.rules import (
    DISTANCES,
    ERROR_DISTANCE,
    ERROR_NAMES,
    ERROR_UNITS,
    ERRORS,
    FIRST_STEP,
    RECALLS,
)
from lidar_ebm.evaluation.nuscenes.walks import Walk
from lidar_ebm.evaluation.table import figure_text, plain_table, write_csv_records
from lidar_ebm.system.files import atomic_write
from lidar_ebm.system.words import count_of

_COLUMNS = ("class", "figure", "unit", "better", "value")
_SHORT = {"construction_vehicle": "constr. vehicle"}  # so that a table fits 80 columns


@dataclass(frozen=True, eq=False)
class NuscenesEvaluation(FigureEvaluation):
    """All figures of one set of results."""

    details: Figures = None  # type: ignore[assignment]  # always given: fields before it have defaults
    walks: tuple[Walk, ...] = ()
    scenes: np.ndarray = None  # type: ignore[assignment]  # [S] int32, scene of each sample

    @property
    def nd_score(self) -> float:
        """nuScenes detection score, 0..1."""
        return self.details.nd_score

    @property
    def mean_ap(self) -> float:
        """mAP, 0..1."""
        return self.details.mean_ap

    def tables(self, recall: str = "R40") -> list[RenderableType]:
        """One table: AP by class and distance, the errors, and their means; there is one kind of recall here."""
        details = self.details
        table = plain_table(
            f"nuScenes: NDS {100 * details.nd_score:.2f} %, mAP {100 * details.mean_ap:.2f} %, "
            f"{count_of(self.frame_count, 'sample')}",
            ("Class",),
            ("Labels", "AP", *(f"{distance:g} m" for distance in DISTANCES), *(_short(name) for name in ERRORS)),
            (
                "AP in percent, the mean of those at 0.5, 1, 2 and 4 m; errors of the matches at 2 m: ATE in m, ASE "
                "1 - IoU, AOE in rad, AVE in m/s, AAE 1 - accuracy.",
                *(f"Note: {note}" for note in self.notes),
            ),
        )
        for name, aps in details.label_aps.items():
            table.add_row(
                _SHORT.get(name, name),
                str(details.curves[name, ERROR_DISTANCE].label_count),
                f"{100 * details.mean_dist_aps[name]:.1f}",
                *(f"{100 * ap:.1f}" for ap in aps.values()),
                *(figure_text(details.label_tp_errors[name][error]) for error in ERRORS),
            )
        by_distance = [np.mean([aps[distance] for aps in details.label_aps.values()]) for distance in DISTANCES]
        table.add_section()
        table.add_row(
            "mean",
            str(sum(details.curves[name, ERROR_DISTANCE].label_count for name in details.label_aps)),
            f"{100 * details.mean_ap:.1f}",
            *(f"{100 * ap:.1f}" for ap in by_distance),
            *(figure_text(details.tp_errors[error]) for error in ERRORS),
        )
        return [table]

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write every figure and curve with the names of the benchmark's own metrics_summary.json and, under `curves`,
        metrics_details.json. As there, a figure that means nothing is the bare word NaN.

        Raises:
            OutputError: the file cannot be written.
        """
        text = json.dumps(summary_record(self), indent=1)
        curves = json.dumps(curve_records(self.details))
        with atomic_write(Path(path), "w") as file:
            file.write(f'{text.rstrip()[:-1].rstrip()},\n "curves": {curves}\n}}\n')

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write every figure as a line: class, figure, unit, better (higher or lower), value.

        Raises:
            OutputError: the file cannot be written.
        """
        records = [
            {
                "class": each.class_name,
                "figure": each.name,
                "unit": each.unit,
                "better": "higher" if each.higher_is_better else "lower",
                "value": "" if np.isnan(each.value) else repr(each.value),
            }
            for each in self.figures
        ]
        write_csv_records(path, _COLUMNS, records)

    def pictures(self) -> dict[str, tuple[Panel, ...]]:
        """Precision against recall, and the errors at 2 m, a panel for each class."""
        names = list(self.details.label_aps)
        precision = tuple(
            Panel(
                f"{name}: AP {100 * self.details.mean_dist_aps[name]:.1f} %",
                "recall",
                "precision",
                tuple(Line(f"{d:g} m", RECALLS, self.details.curves[name, d].precision) for d in DISTANCES),
            )
            for name in names
        )
        errors = tuple(
            Panel(f"{name}: errors at {ERROR_DISTANCE:g} m", "recall", "error", tuple(self._error_lines(name)))
            for name in names
        )
        return {"precision_recall": precision, "errors": errors}

    def _error_lines(self, name: str) -> Iterator[Line]:
        curve = self.details.curves[name, ERROR_DISTANCE]
        reached = np.flatnonzero(curve.confidence)
        last = int(reached[-1]) if len(reached) else 0
        for error in ERRORS:
            if not np.isnan(self.details.label_tp_errors[name][error]) and last >= FIRST_STEP:
                steps = slice(FIRST_STEP, last + 1)
                yield Line(f"{_short(error)} ({ERROR_UNITS[error]})", RECALLS[steps], curve.errors[error][steps])


def list_figures(details: Figures) -> tuple[Figure, ...]:
    """Every figure: NDS, mAP and the mean errors first, then class by class."""
    figures = [
        Figure(ALL_CLASSES, "NDS", 100 * details.nd_score, "%", True, True),
        Figure(ALL_CLASSES, "mAP", 100 * details.mean_ap, "%", True, True),
    ]
    figures += [
        Figure(ALL_CLASSES, ERROR_NAMES[error], value, ERROR_UNITS[error], False, True)
        for error, value in details.tp_errors.items()
    ]
    for name, aps in details.label_aps.items():
        figures.append(Figure(name, "AP", 100 * details.mean_dist_aps[name], "%", True))
        figures += [Figure(name, ap_name(distance), 100 * ap, "%", True) for distance, ap in aps.items()]
        figures += [
            Figure(name, _short(error), value, ERROR_UNITS[error], False)
            for error, value in details.label_tp_errors[name].items()
        ]
    return tuple(figures)


def figure_keys() -> dict[str, tuple[str, float]]:
    """Names of figures in the bootstrap by the names for people, with what a value is multiplied by."""
    keys: dict[str, tuple[str, float]] = {"NDS": ("NDS", 100.0), "mAP": ("mAP", 100.0), "AP": ("AP", 100.0)}
    keys |= {ap_name(distance): (ap_name(distance), 100.0) for distance in DISTANCES}
    for error in ERRORS:
        keys[ERROR_NAMES[error]] = keys[_short(error)] = (error, 1.0)
    return keys


def summary_record(evaluation: NuscenesEvaluation) -> dict[str, Any]:
    """Everything but the curves, with the benchmark's own keys."""
    details = evaluation.details
    return {
        "mean_ap": details.mean_ap,
        "nd_score": details.nd_score,
        "mean_dist_aps": details.mean_dist_aps,
        "label_aps": {name: {str(d): ap for d, ap in aps.items()} for name, aps in details.label_aps.items()},
        "tp_errors": details.tp_errors,
        "tp_scores": details.tp_scores,
        "label_tp_errors": details.label_tp_errors,
        "label_counts": {name: details.curves[name, ERROR_DISTANCE].label_count for name in details.label_aps},
        "samples": evaluation.frame_count,
        "notes": list(evaluation.notes),
    }


def curve_records(details: Figures) -> Mapping[str, Any]:
    """The curves by "class:distance", 101 numbers each, with the benchmark's own names."""
    return {
        f"{name}:{distance}": {
            "recall": curve.recall.tolist(),
            "precision": curve.precision.tolist(),
            "confidence": curve.confidence.tolist(),
            **{error: values.tolist() for error, values in curve.errors.items()},
        }
        for (name, distance), curve in details.curves.items()
    }


def _short(error: str) -> str:
    """Name of an error of one class."""
    return ERROR_NAMES[error].removeprefix("m")
