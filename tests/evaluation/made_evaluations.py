"""Evaluations made without matching anything: detections are drawn as true or false, and counted score by score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lidar_ebm.evaluation.kitti.matching import recall_thresholds
from lidar_ebm.evaluation.kitti.protocol import PROTOCOL as KITTI
from lidar_ebm.evaluation.paired_result import PairedComparison, PairedDifference
from lidar_ebm.evaluation.result import RECALLS, Curve, Evaluation, OperatingPoint

LABELS = {"Car": 3000, "Pedestrian": 500, "Cyclist": 160}
SHARES = {"easy": 0.25, "moderate": 0.75, "hard": 1.0}  # of the labels that count
LOSSES = {"2d": 0.06, "aos": 0.06, "bev": 0.14, "3d": 0.22}  # share of the labels not found at an overlap of 0.5
NAN = float("nan")


def made_evaluation(
    seed: int = 0,
    *,
    classes: Sequence[str] = ("Car", "Pedestrian", "Cyclist"),
    metrics: Sequence[str] = ("2d", "aos", "bev", "3d"),
    difficulties: Sequence[str] = ("easy", "moderate", "hard"),
    ious: Sequence[float] | None = None,
    bands: Sequence[tuple[float, float]] = (),
    notes: tuple[str, ...] = (),
) -> Evaluation:
    """Curves in the order of `Evaluation`; None as overlaps: KITTI's own."""
    generator = np.random.default_rng(seed)
    keys = [
        (name, metric, iou, difficulty)
        for name in classes
        for metric in metrics
        for iou in (ious or ((0.7,) if name == "Car" else (0.5,)))
        for difficulty in difficulties
    ]
    return Evaluation(
        curves=tuple(made_curve(generator, *key) for key in keys),
        frame_count=3769,
        bands=tuple(made_curve(generator, *key, distance=band) for key in keys for band in bands),
        notes=notes,
        protocol=KITTI.facts,
        difficulties=tuple(difficulties),
    )


def made_comparison(seed: int = 0, names: tuple[str, str] = ("runs/before", "runs/after")) -> PairedComparison:
    """Every figure of an evaluation and one a little better; the fewer labels a class has, the wider its intervals."""
    generator = np.random.default_rng(seed)
    differences = []
    for curve in made_evaluation(seed).curves:
        for recall in RECALLS:
            gain = generator.normal(0.4, 0.6)
            a, reach = curve.ap(recall), generator.uniform(0.3, 1.2) * (3000 / LABELS[curve.class_name]) ** 0.4
            key = (curve.class_name, curve.metric, curve.iou, curve.difficulty, recall)
            differences.append(PairedDifference(*key, a, a + gain, gain - reach, gain + reach))
    return PairedComparison(tuple(differences), 3769, 1000, 0.95, names)


def made_curve(
    generator: np.random.Generator,
    class_name: str,
    metric: str,
    iou: float,
    difficulty: str,
    distance: tuple[float, float] | None = None,
    label_count: int | None = None,
) -> Curve:
    """The curve of a detector that is worse at stricter overlaps, at harder labels, and farther away."""
    if label_count is None:
        part = 1.0 if distance is None else 20.0 / (20.0 + distance[0])
        label_count = round(LABELS.get(class_name, 300) * SHARES.get(difficulty, 1.0) * part)
    near = 0.0 if distance is None else distance[0] / 200
    lost = LOSSES[metric] + 1.2 * max(iou - 0.5, 0.0) ** 1.5 + near + 0.15 * SHARES.get(difficulty, 1.0)
    if class_name != "Car":
        lost += 0.2
    true = np.sort(generator.normal(1.5, 1.2, round(label_count * max(1.0 - lost, 0.0))))[::-1]
    false = generator.normal(-1.0, 1.0, round(label_count * lost * 2))
    thresholds = recall_thresholds(true, label_count)
    counts = np.array([[(true >= t).sum(), (false >= t).sum()] for t in thresholds], dtype=np.int64).reshape(-1, 2)
    raw = np.zeros(41)
    raw[: len(thresholds)] = counts[:, 0] / np.maximum(counts.sum(axis=1), 1)
    if metric == "aos":
        raw *= np.linspace(0.99, 0.95, 41)
    return Curve(
        class_name=class_name,
        metric=metric,
        iou=iou,
        difficulty=difficulty,
        precision=np.maximum.accumulate(raw[::-1])[::-1],
        thresholds=thresholds,
        true_positives=counts[:, 0],
        false_positives=counts[:, 1],
        false_negatives=label_count - counts[:, 0],
        label_count=label_count,
        best=_best(thresholds, counts, label_count, generator),
        distance=distance,
        headline=difficulty == "moderate",
    )


def _best(
    thresholds: np.ndarray, counts: np.ndarray, label_count: int, generator: np.random.Generator
) -> OperatingPoint | None:
    if len(thresholds) == 0:
        return None
    row = int(np.argmax(counts[:, 0] / (counts.sum(axis=1) + label_count)))  # F1 = 2 TP / (TP + FP + labels)
    true, false = map(int, counts[row])
    errors = generator.uniform((0.75, 0.1, 0.05, 0.02, 0.0), (0.9, 0.3, 0.2, 0.1, 0.1)).tolist()
    return OperatingPoint(float(thresholds[row]), true, false, label_count - true, *errors)
