"""Evaluations as tables for people (Rich) and for programs (JSON, CSV)."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from lidar_ebm.evaluation.kitti.matching import RECALL_STEPS
from lidar_ebm.evaluation.result import RECALLS, Curve, Evaluation, OperatingPoint
from lidar_ebm.system.files import atomic_write
from lidar_ebm.system.words import count_of

NOTHING = "–"  # in place of a figure that is not there
FEW_LABELS = RECALL_STEPS + 1  # of fewer not even perfect results have an AP of 100
FEW_MARK = "†"
FEW_REMARK = f"{FEW_MARK} fewer than {FEW_LABELS} labels: AP cannot reach 100 there."
CAPTION_WIDTH = 60  # columns that a table takes at least, so that what stands below it is not broken into snippets

_METRIC_NAMES = {"2d": "2-D", "aos": "AOS", "bev": "BEV", "3d": "3-D", "center": "Centre"}
_UNKNOWN = float("nan")
_CSV_COLUMNS = ("class", "metric", "iou", "difficulty", "recall", "ap", "from", "to")


def metric_name(metric: str) -> str:
    """A metric's name for people."""
    return _METRIC_NAMES[metric]


def figure_text(value: float, form: str = ".2f") -> str:
    """A figure for people: NaN as a dash."""
    return NOTHING if math.isnan(value) else format(value, form)


def overlap_text(iou: float, metric: str = "3d") -> str:
    """A required overlap for people: two decimals, more where it has more; by the centre a distance in metres."""
    if metric == "center":
        return f"{iou:g} m"
    text = f"{iou:.2f}"
    return text if float(text) == iou else f"{iou:g}"


def has_few_labels(curve: Curve) -> bool:
    """Tell if KITTI's way to read a curve keeps AP from reaching 100.

    It takes the i-th threshold for recall i/40; N labels make N thresholds at most, perfect results an AP R40 of
    (N - 1) / 40.
    """
    return curve.label_count < FEW_LABELS


def band_name(distance: tuple[float, float]) -> str:
    """A distance band for people."""
    low, high = distance
    return f"from {low:g} m" if math.isinf(high) else f"{low:g}–{high:g} m"


def shown_difficulty(curves: Sequence[Curve]) -> str:
    """The difficulty that stands for all where there is room for one: the protocol's own choice, else the last."""
    return next((curve.difficulty for curve in curves if curve.headline), curves[-1].difficulty)


def score_table(evaluation: Evaluation, recall: str = "R40") -> Table:
    """Average precision in percent: a row for each class, metric and overlap, a column for each difficulty.

    Args:
        evaluation: of one set of results.
        recall: "R40", "R11" or "mean41".
    """
    difficulties = list(dict.fromkeys(curve.difficulty for curve in evaluation.curves))
    table = plain_table(
        f"Average precision in percent, {recall}, {count_of(evaluation.frame_count, 'frame')}",
        ("Class", "Metric", "IoU"),
        # A name that the user has given stays as it is.
        [name.capitalize() if name in evaluation.protocol.difficulties else name for name in difficulties],
        [*_few_remark(evaluation.curves), *(f"Note: {note}" for note in evaluation.notes)],
    )
    pad = any(map(has_few_labels, evaluation.curves))
    nothing = NOTHING + " " * pad
    rows: dict[tuple[str, str, float], dict[str, str]] = {}
    for curve in evaluation.curves:
        row_cells = rows.setdefault((curve.class_name, curve.metric, curve.iou), {})
        row_cells[curve.difficulty] = _ap_text(curve, recall, pad=pad)
    add_class_rows(
        table,
        (
            (
                name,
                metric_name(metric),
                overlap_text(iou, metric),
                *(row_cells.get(item, nothing) for item in difficulties),
            )
            for (name, metric, iou), row_cells in rows.items()
        ),
    )
    return table


def distance_table(evaluation: Evaluation, recall: str = "R40") -> Table | None:
    """Average precision in percent by distance, at one difficulty (see `shown_difficulty`), above it the numbers of
    labels: a row for each class, metric and overlap, a column for each band. A band without labels has no figure.

    Args:
        evaluation: of one set of results.
        recall: "R40", "R11" or "mean41".

    Returns:
        None where nothing was scored by distance.
    """
    if not evaluation.bands:
        return None
    difficulty = shown_difficulty(evaluation.bands)
    curves = [curve for curve in evaluation.bands if curve.difficulty == difficulty]
    bands = sorted({curve.distance for curve in curves if curve.distance is not None})
    labels: dict[str, dict[tuple[float, float] | None, int]] = {}
    rows: dict[tuple[str, str, float], dict[tuple[float, float] | None, str]] = {}
    pad = any(curve.label_count and has_few_labels(curve) for curve in curves)
    for curve in curves:
        labels.setdefault(curve.class_name, {})[curve.distance] = curve.label_count
        row_cells = rows.setdefault((curve.class_name, curve.metric, curve.iou), {})
        if curve.label_count:
            row_cells[curve.distance] = _ap_text(curve, recall, pad=pad)
    table = plain_table(
        f"Average precision in percent by distance, {recall}, {difficulty}",
        ("Class", "Metric", "IoU"),
        [band_name(band) for band in bands],
        _few_remark(curve for curve in curves if curve.label_count),
    )
    nothing = NOTHING + " " * pad
    for class_name, counts in labels.items():
        cells = [("labels", "", *(str(counts.get(band, 0)) + " " * pad for band in bands))]
        cells += [
            (metric_name(metric), overlap_text(iou, metric), *(row_cells.get(band, nothing) for band in bands))
            for (name, metric, iou), row_cells in rows.items()
            if name == class_name
        ]
        add_class_rows(table, ((class_name, *row) for row in cells))
        table.add_section()
    return table


def matches_table(evaluation: Evaluation) -> Group | None:
    """Tables of the matches at the score with the best F1, and their fit, at one difficulty (see `shown_difficulty`).

    Two tables below one another: counts, then mean errors of the true matches. AOS is left out, its matches are those
    of 2-D.

    Returns:
        None where no metric but AOS was scored.
    """
    curves = _matched(evaluation)
    if not curves:
        return None
    difficulty = shown_difficulty(curves)
    of_aos = "; AOS has the matches of 2-D" if any(curve.metric == "aos" for curve in evaluation.curves) else ""
    counts = plain_table(
        f"Matches at the score with the best F1, {difficulty}",
        ("Class", "Metric", "IoU"),
        ("Score", "True", "False", "Missed", "Precision", "Recall", "F1"),
        (f"Looked at are the detections with this score or a higher one{of_aos}.",),
    )
    errors = plain_table(
        f"Mean errors of the true matches, {difficulty}",
        ("Class", "Metric", "IoU"),
        ("Mean IoU", "Centre m", "Size m", "Yaw °", "Flipped %"),
        (
            "Centre: distance of the 3-D centres. Size: of length, width and height. Yaw: to the nearer of the two "
            "headings along the box; flipped: the share that heads the other way.",
        ),
    )
    points = [(curve, operating_point(curve)) for curve in curves if curve.difficulty == difficulty]
    add_class_rows(
        counts,
        (
            (
                *_row_start(curve),
                figure_text(point.score, ".3f"),
                str(point.true_positives),
                str(point.false_positives),
                str(point.false_negatives),
                *(f"{share:.3f}" for share in (point.precision, point.recall, point.f1)),
            )
            for curve, point in points
        ),
    )
    add_class_rows(
        errors,
        (
            (
                *_row_start(curve),
                figure_text(point.overlap, ".3f"),
                figure_text(point.center_error, ".3f"),
                figure_text(point.size_error, ".3f"),
                figure_text(math.degrees(point.yaw_error), ".2f"),
                figure_text(100.0 * point.flipped, ".1f"),
            )
            for curve, point in points
        ),
    )
    return Group(counts, "", errors)


def operating_point(curve: Curve) -> OperatingPoint:
    """The curve's point of best F1; where no detection is counted at any score, no positive, each label unmatched."""
    if curve.best is not None:
        return curve.best
    return OperatingPoint(_UNKNOWN, 0, 0, curve.label_count, *(_UNKNOWN,) * 5)


def plain_table(title: str, words: Sequence[str], figures: Sequence[str], remarks: Sequence[str] = ()) -> Table:
    """An empty table that fits 80 columns: headings of words and then of figures, remarks below it line by line."""
    table = Table(
        # Text, here and below, for in a plain string Rich reads brackets, such as those of a user's name, as markup.
        title=Text(title, style="table.title"),
        box=SIMPLE_HEAD,  # no rules between the columns: they take room
        padding=(0, 1, 0, 0) if len(words) + len(figures) < 9 else 0,
        pad_edge=False,
        caption=Text("\n".join(remarks)) if remarks else None,
        caption_justify="left",
        min_width=CAPTION_WIDTH,
    )
    for heading in words:
        table.add_column(Text(heading), no_wrap=True)
    for heading in figures:
        table.add_column(Text(heading), justify="right", no_wrap=True)
    return table


def add_class_rows(table: Table, rows: Iterable[Sequence[str]]) -> None:
    """Add rows whose first cell is a class: named in its first row alone, and set apart from the class before."""
    previous = None
    for class_name, *cells in rows:
        if previous not in (None, class_name):
            table.add_section()
        table.add_row(*map(Text, (class_name if class_name != previous else "", *cells)))
        previous = class_name


def score_records(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One record for each class, metric, overlap, difficulty and kind of recall; `ap` in percent."""
    return _ap_records(evaluation.curves)


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything there is, ready for `json.dumps`; what is not a finite number is None.

    Returns:
        `ap`: `score_records`. `frames`: their number. `notes`. `distance`: records as in `ap` with `from` and `to` (m)
        and the number of `labels`. `matches`: for each curve but those of AOS what is found at the score with the best
        F1, with mean errors of the true matches (m, rad, shares 0..1). `curves`: precision (for AOS: orientation
        similarity) 0..1 at recall 0, 1/40 ... 1, and counts at each score threshold.
    """
    distance = [
        {**record, **_distance_fields(curve), "labels": curve.label_count}
        for curve in evaluation.bands
        for record in _ap_records([curve])
    ]
    return {
        "ap": score_records(evaluation),
        "frames": evaluation.frame_count,
        "notes": list(evaluation.notes),
        "distance": distance,
        "matches": [_match_record(curve) for curve in _matched(evaluation)],
        "curves": [_curve_record(curve) for curve in evaluation.curves],
    }


def write_scores_json(path: str | os.PathLike[str], evaluation: Evaluation) -> None:
    """Write `to_json`.

    Raises:
        OutputError: the file cannot be written.
    """
    write_json_records(path, to_json(evaluation))


def write_csv(path: str | os.PathLike[str], evaluation: Evaluation) -> None:
    """Write `score_records` with a heading line, then the same by distance band.

    The columns `from` and `to` are the band's limits in metres, empty for all distances; a last band without an upper
    limit has no `to`.

    Raises:
        OutputError: the file cannot be written.
    """
    bands = [{**record, **_distance_fields(curve)} for curve in evaluation.bands for record in _ap_records([curve])]
    write_csv_records(path, _CSV_COLUMNS, score_records(evaluation) + bands)


def write_json_records(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write JSON with a line for each item of the lists in `content`, so that people can read and compare it too.

    Raises:
        OutputError: the file cannot be written.
    """
    parts = []
    for key, value in content.items():
        text = json.dumps(value, allow_nan=False)
        if isinstance(value, list) and value:
            items = ",\n".join(f"    {json.dumps(item, allow_nan=False)}" for item in value)
            text = f"[\n{items}\n  ]"
        parts.append(f"  {json.dumps(key)}: {text}")
    with atomic_write(Path(path), "w") as file:
        file.write("{\n" + ",\n".join(parts) + "\n}\n")


def write_csv_records(
    path: str | os.PathLike[str], columns: Sequence[str], records: Iterable[Mapping[str, Any]]
) -> None:
    """Write records with a heading line; a column that a record lacks stays empty.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(Path(path), "w") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)


def number_or_none(value: float) -> float | None:
    """The number for JSON, which has neither NaN nor infinity."""
    return float(value) if math.isfinite(value) else None


def _matched(evaluation: Evaluation) -> list[Curve]:
    """The curves with matches of their own: AOS has those of 2-D."""
    return [curve for curve in evaluation.curves if curve.metric != "aos"]


def _row_start(curve: Curve) -> tuple[str, str, str]:
    return curve.class_name, metric_name(curve.metric), overlap_text(curve.iou, curve.metric)


def _ap_text(curve: Curve, recall: str, *, pad: bool) -> str:
    """AP with a mark where labels are few; `pad`: with room for the mark where it is not, so that points align."""
    return figure_text(curve.ap(recall)) + (FEW_MARK if has_few_labels(curve) else " " * pad)


def _few_remark(curves: Iterable[Curve]) -> list[str]:
    return [FEW_REMARK] if any(map(has_few_labels, curves)) else []


def _key(curve: Curve) -> dict[str, Any]:
    return {"class": curve.class_name, "metric": curve.metric, "iou": curve.iou, "difficulty": curve.difficulty}


def _ap_records(curves: Iterable[Curve]) -> list[dict[str, Any]]:
    return [{**_key(curve), "recall": recall, "ap": curve.ap(recall)} for curve in curves for recall in RECALLS]


def _distance_fields(curve: Curve) -> dict[str, float | None]:
    low, high = curve.distance or (_UNKNOWN, _UNKNOWN)
    return {"from": number_or_none(low), "to": number_or_none(high)}


def _match_record(curve: Curve) -> dict[str, Any]:
    point = operating_point(curve)
    return {
        **_key(curve),
        "score": number_or_none(point.score),
        "true": point.true_positives,
        "false": point.false_positives,
        "missed": point.false_negatives,
        "precision": point.precision,
        "recall": point.recall,
        "f1": point.f1,
        "mean_iou": number_or_none(point.overlap),
        "center_error": number_or_none(point.center_error),
        "size_error": number_or_none(point.size_error),
        "yaw_error": number_or_none(point.yaw_error),
        "flipped": number_or_none(point.flipped),
    }


def _curve_record(curve: Curve) -> dict[str, Any]:
    return {
        **_key(curve),
        "labels": curve.label_count,
        "precision": curve.precision.tolist(),
        "thresholds": curve.thresholds.tolist(),
        "true": curve.true_positives.tolist(),
        "false": curve.false_positives.tolist(),
        "missed": curve.false_negatives.tolist(),
    }
