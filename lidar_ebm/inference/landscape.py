"""f around one detection: over (x, y), (l, w), (z, h), (vx, vy) if it has them, and over yaw, the rest held at the
refined box.

detector = load_detector("runs/a")
plot_landscape(landscape(detector, points, box=0, labels=labels), "landscape.png")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from cuda_ops.box_overlap.op import box_iou_3d
from lidar_ebm.ebm.chunks import value_in_chunks
from lidar_ebm.energy.box_space import BOX_NAMES
from lidar_ebm.energy.landscape import YAW, Landscape, Plane, Slice, planes_of
from lidar_ebm.errors import InputError
from lidar_ebm.geometry.arrays import as_tensor
from lidar_ebm.geometry.boxes import wrap_angle
from lidar_ebm.inference.detection import LoadedDetector, check_steps, detect_batch
from lidar_ebm.types import Batch

RESOLUTION = 61  # values of an axis
MIN_REACH, MAX_REACH = 0.25, 2.0  # m that a plane reaches from the refined box, whatever is there to be shown
MIN_TURN, MAX_TURN = np.radians(8.0), np.radians(60.0)  # the same of the curve over yaw
_TURN = np.radians(np.linspace(-90.0, 270.0, 181))  # a whole turn, so that the box and its flip stand well inside
_ROOM = 1.25  # times the distance of what is to be shown
_DENSER, _BUMP = 6.0, 0.07  # how much closer an axis's values lie near the refined box and the peak; how far that goes
_UNITS = {"yaw": 0.5, "vx": 4.0, "vy": 4.0}  # rad and m/s that a plane reaches for each metre that it would otherwise
_EDGE_MASS = 1e-3  # more of the density than this at the edge of a slice, and the slice is drawn wider
_PROBE = 21  # values of an axis that this is found out with
_CHUNK = 512  # candidates at a time: on a CPU the layers' values then stay in its caches


def landscape(
    detector: LoadedDetector,
    points: ArrayLike,
    box: int = 0,
    *,
    labels: ArrayLike | None = None,
    steps: int | None = None,
    resolution: int = RESOLUTION,
    planes: Sequence[Plane] | None = None,
) -> Landscape:
    """f around the `box`-th detection of a frame; arguments as for `landscapes`."""
    return landscapes(detector, points, [box], labels=labels, steps=steps, resolution=resolution, planes=planes)[0]


@torch.inference_mode(False)  # an ascent needs gradients, and a caller's inference mode would forbid them
@torch.no_grad()
def landscapes(
    detector: LoadedDetector,
    points: ArrayLike,
    boxes: Sequence[int] | None = None,
    *,
    labels: ArrayLike | None = None,
    steps: int | None = None,
    resolution: int = RESOLUTION,
    planes: Sequence[Plane] | None = None,
) -> list[Landscape]:
    """f around several detections of one frame, which is looked at once.

    Args:
        detector: a trained run.
        points: [N, 3 + C] x, y, z (LiDAR frame, m), reflectance 0..1, …: what `detector.detect` would be given.
        boxes: rows of the detections, which come by falling score; None for all of them.
        labels: [L, 7] boxes that are known to be there, if any; or [L, 9] with vx, vy (m/s).
        steps: refinement steps T; the configuration's where None.
        resolution: grid points of an axis, 9 or more.
        planes: pairs of the names of a box's numbers that f is shown over, such as ("x", "vx"); None for the usual.

    Raises:
        ValueError: the resolution is too low, or a plane names no two numbers that f is over.
        InputError: the points have another shape or are not finite, `steps` is negative, or a box is not there.
    """
    if resolution < 9:
        raise ValueError(f"resolution: {resolution} values of an axis show nothing; give 9 or more")
    check_steps(steps)
    dimensions = detector.config.energy_dimensions
    planes = planes_of(dimensions) if planes is None else tuple(planes)
    for names in planes:
        if len(set(names)) != 2 or not set(names) <= set(BOX_NAMES[:dimensions]):
            raise ValueError(f"planes: {names}; name two of {', '.join(BOX_NAMES[:dimensions])}")
    model, batch = detector.model, detector.to_batch(points)
    detected = detect_batch(model, batch, steps, record=True)
    proposals, trajectory = detected.proposals, detected.ascent.trajectory
    assert trajectory is not None
    count = len(proposals.boxes)
    chosen = list(range(count)) if boxes is None else list(boxes)
    for row in chosen:
        if not 0 <= row < count:
            have = f"its boxes are 0 to {count - 1}, by falling score" if count else "nothing was detected in it"
            raise InputError(f"box {row}: the frame has no such detection; {have}.")
    label_boxes = _label_rows(labels, detector.config.box_dimensions)
    results = []
    for row in chosen:
        one = proposals.select(torch.tensor([row], device=proposals.boxes.device))
        refiner = detected.refiner.select(torch.tensor([row], device=proposals.boxes.device))
        energy = _energy_of_arrays(refiner.f, one.boxes)
        path = trajectory[:, row].cpu().double().numpy()  # [1 + T, D]
        label, overlaps = _find_label(path, label_boxes)
        results.append(
            Landscape(
                index=row,
                class_name=detector.config.class_names[int(one.class_index[0])],
                score=float(one.scores[0]),
                temperature=detector.temperature,
                box=path[-1],
                proposal=path[0],
                path=path,
                path_f=energy(path),
                label=label,
                overlaps=overlaps,
                planes=tuple(
                    _plane(
                        energy, names, path, label, detector.temperature, detector.config.energy.min_size, resolution
                    )
                    for names in planes
                ),
                yaw=_yaw_curve(energy, path, label, detector.temperature, resolution),
                turn=_slice(energy, path[-1], ("yaw",), (path[-1, YAW] + _TURN,)),
                points=_points_near(batch, path[-1]),
            )
        )
    return results


def boxes_of(box: np.ndarray, names: Sequence[str], axes: Sequence[np.ndarray]) -> np.ndarray:
    """The boxes [A, D] or [A, B, D] that a slice's grid points stand for: `box` [D] with the named numbers replaced."""
    grid = np.meshgrid(*axes, indexing="ij")
    boxes = np.broadcast_to(box, (*grid[0].shape, len(box))).copy()
    for name, values in zip(names, grid, strict=True):
        boxes[..., BOX_NAMES.index(name)] = values
    boxes[..., YAW] = wrap_angle(boxes[..., YAW])
    return boxes


def _energy_of_arrays(energy: Callable[[Tensor], Tensor], like: Tensor) -> Callable[[np.ndarray], np.ndarray]:
    """f [...] float64 of boxes [..., D] around one proposal, from an energy of tensors [1, S, D]."""

    def evaluate(boxes: np.ndarray) -> np.ndarray:
        candidates = torch.as_tensor(boxes.reshape(1, -1, boxes.shape[-1]), dtype=like.dtype, device=like.device)
        return value_in_chunks(energy, candidates, _CHUNK)[0].cpu().double().numpy().reshape(boxes.shape[:-1])

    return evaluate


def _slice(
    energy: Callable[[np.ndarray], np.ndarray], box: np.ndarray, names: tuple[str, ...], axes: tuple[np.ndarray, ...]
) -> Slice:
    return Slice(names, axes, energy(boxes_of(box, names, axes)))


def _plane(
    energy: Callable[[np.ndarray], np.ndarray],
    names: tuple[str, str],
    path: np.ndarray,
    label: np.ndarray | None,
    temperature: float,
    min_size: float,
    resolution: int,
) -> Slice:
    """A plane that holds the path, the label and the credible region, as far as the farthest reach allows."""
    columns, box = [BOX_NAMES.index(name) for name in names], path[-1]
    shown = path if label is None else np.concatenate([path, label[None]])
    units = np.array([_UNITS.get(name, 1.0) for name in names])

    def draw(reach: float, peak: Sequence[float], count: int) -> Slice:
        axes = []
        for name, k, other, unit in zip(names, columns, peak, units, strict=True):
            high = float(reach * unit)
            low = min(high, max(box[k] - min_size, 0.01)) if name in ("l", "w", "h") else high
            axes.append(_axis(box[k], box[k] - low, box[k] + high, other, count))
        return _slice(energy, box, names, tuple(axes))

    away = np.abs(shown - box)
    away[:, YAW] = np.abs(wrap_angle(shown[:, YAW] - box[YAW]))
    farthest = float(np.nanmax(away[:, columns] / units))  # a label's velocity may be unknown
    return _draw_wide_enough(draw, box[columns], farthest, MIN_REACH, MAX_REACH, temperature, resolution)


def _yaw_curve(
    energy: Callable[[np.ndarray], np.ndarray],
    path: np.ndarray,
    label: np.ndarray | None,
    temperature: float,
    resolution: int,
) -> Slice:
    """f over yaw with the path and the credible region; also the label, unless it faces elsewhere altogether."""
    box = path[-1]

    def draw(reach: float, peak: Sequence[float], count: int) -> Slice:
        axis = _axis(box[YAW], box[YAW] - reach, box[YAW] + reach, peak[0], 2 * count)
        return _slice(energy, box, ("yaw",), (axis,))

    yaws = path[:, YAW] if label is None else np.append(path[:, YAW], label[YAW])
    distances = np.abs(wrap_angle(yaws - box[YAW]))
    farthest = float(distances[distances <= MAX_TURN].max())  # the refined box's own is 0
    return _draw_wide_enough(draw, box[[YAW]], farthest, MIN_TURN, MAX_TURN, temperature, resolution)


def _draw_wide_enough(
    draw: Callable[[float, Sequence[float], int], Slice],
    center: np.ndarray,
    farthest: float,
    min_reach: float,
    max_reach: float,
    temperature: float,
    resolution: int,
) -> Slice:
    """A slice that holds what is `farthest` from its center and the credible region, and is fine where f is highest.

    Args:
        draw: makes a slice of its reach, the place of its peak, and the number of values of an axis.
        center: [1 or 2] numbers of the refined box.
        farthest: distance of what is to be shown, m or rad.
        min_reach: bound of the reach.
        max_reach: bound of the reach.
        temperature: that f is divided by.
        resolution: values of an axis.
    """
    reach = float(np.clip(_ROOM * farthest, min_reach, max_reach))
    while True:
        rough = draw(reach, center.tolist(), _PROBE)
        inside = rough.density(temperature)[(slice(1, -1),) * rough.f.ndim].sum()
        if 1.0 - inside < _EDGE_MASS or reach >= max_reach:
            break
        reach = min(1.5 * reach, max_reach)
    highest = np.unravel_index(int(rough.f.argmax()), rough.f.shape)
    return draw(reach, [float(axis[k]) for axis, k in zip(rough.axes, highest, strict=True)], resolution)


def _axis(value: float, low: float, high: float, peak: float, count: int) -> np.ndarray:
    """`count` rising values from `low` to `high`, close together around `value`, which is one of them, and `peak`."""
    fine = np.linspace(low, high, 40 * count)
    near = [np.exp(-(((fine - center) / (_BUMP * (high - low))) ** 2)) for center in (value, peak)]
    share = np.cumsum(1.0 + _DENSER * np.maximum(*near))
    axis = np.interp(np.linspace(share[0], share[-1], count), share, fine)
    axis[np.abs(axis - value).argmin()] = value
    return axis


def _label_rows(labels: ArrayLike | None, dimensions: int) -> np.ndarray:
    """Labels [L, D] of labels [L, 7] or [L, 9], velocities NaN where they lack."""
    if labels is None or not np.size(labels):
        return np.zeros((0, dimensions))
    rows = np.asarray(labels, np.float64)
    rows = rows.reshape(-1, rows.shape[-1])[:, :dimensions]
    return np.concatenate([rows, np.full((len(rows), dimensions - rows.shape[1]), np.nan)], axis=1)


def _find_label(path: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray | None, tuple[float, float] | None]:
    """The label that the refined box, or else the proposal, overlaps most, and the overlaps of both with it."""
    if not len(labels):
        return None, None
    overlap = box_iou_3d(as_tensor(path[[0, -1], : YAW + 1]), as_tensor(labels[:, : YAW + 1])).numpy()  # [2, L]
    best = int(np.argmax(overlap[1] if overlap[1].any() else overlap[0]))
    if not overlap[:, best].any():
        return None, None
    return labels[best], (float(overlap[0, best]), float(overlap[1, best]))


def _points_near(batch: Batch, box: np.ndarray) -> np.ndarray:
    points = batch.points.cpu().numpy()
    reach = float(np.hypot(box[3], box[4])) / 2 + 3.0
    return points[(np.abs(points[:, :2] - box[:2]) <= reach).all(axis=1)]
