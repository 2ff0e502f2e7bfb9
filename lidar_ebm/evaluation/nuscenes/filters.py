"""Labels and detections that are scored: by range from the ego vehicle, points, and bike racks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lidar_ebm.evaluation.nuscenes.objects import Objects
from lidar_ebm.evaluation.nuscenes.rules import CLASS_INDEX, RACK_CLASSES, RANGE_OF_CLASS


@dataclass(frozen=True, eq=False)
class Racks:
    """Bike racks of a split, by sample."""

    offsets: np.ndarray  # [S + 1] int64, the racks of each sample
    centers: np.ndarray  # [R, 3] float64, m
    sizes: np.ndarray  # [R, 3] float64 width, length, height, m
    rotations: np.ndarray  # [R, 3, 3] float64, rack → global


def scored_objects(objects: Objects, ego: np.ndarray, racks: Racks) -> Objects:
    """The objects that are scored, in their order.

    Args:
        objects: labels or detections.
        ego: [S, 2] m, place of the ego vehicle in each sample.
        racks: of the samples.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        offset = objects.centers[:, :2] - ego[objects.sample]
        near = np.sqrt(offset[:, 0] ** 2 + offset[:, 1] ** 2) < RANGE_OF_CLASS[objects.class_index]
    kept = near & (objects.points != 0)
    return objects.select(kept & ~_in_racks(objects, kept, racks))


def _in_racks(objects: Objects, asked: np.ndarray, racks: Racks) -> np.ndarray:
    """Bicycles and motorcycles, [K] bool, whose centre is in a rack of their sample, faces included."""
    inside = np.zeros(len(objects), bool)
    counts = np.diff(racks.offsets)
    cycles = np.isin(objects.class_index, [CLASS_INDEX[name] for name in RACK_CLASSES])
    rows = np.flatnonzero(asked & cycles & (counts[objects.sample] > 0))
    # A pair for every such object and every rack of its sample.
    repeats = counts[objects.sample[rows]]
    row = np.repeat(rows, repeats)
    within = np.arange(len(row)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    rack = racks.offsets[objects.sample[row]] + within
    local = np.einsum("pji,pj->pi", racks.rotations[rack], objects.centers[row] - racks.centers[rack])
    inside[row[(np.abs(local) <= racks.sizes[rack][:, [1, 0, 2]] / 2).all(axis=1)]] = True
    return inside
