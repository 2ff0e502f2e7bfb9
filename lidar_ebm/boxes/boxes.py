"""`Boxes`: objects of one frame, with their class names, scores and any of the declared columns.

NumPy alone: scoring and converting load no torch. Tensors of any device are welcome and become arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from lidar_ebm.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    Values: TypeAlias = Sequence[Any] | np.ndarray | Tensor

BOX_SIZE = 7  # x, y, z, l, w, h, yaw


def _column(shape: tuple[int | None, ...], missing: Any) -> Any:
    """A declared column: the shape of a row (None: any length), and the value of a row that has none."""
    return field(default=None, metadata={"shape": shape, "missing": missing})


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of one frame: labels where `scores` is None, detections otherwise.

    Every column has N rows or is None. What is not given for a single row is NaN (numbers), -1 (`points`), or ""
    (texts). Numbers are kept as float64, so that float32 values and decimal texts alike come back as they were.

    Raises:
        InputError: a column has another length or shape than the boxes, or holds something else than it should; the
            message names the column.
    """

    boxes: np.ndarray  # [N, 7] x, y, z (geometric centre), l, w, h (m), yaw (rad), LiDAR frame
    names: np.ndarray  # [N] str, class names
    scores: np.ndarray | None = None  # [N] higher is better, of any scale
    velocity: np.ndarray | None = _column((2,), np.nan)  # [N, 2] vx, vy, LiDAR frame, m/s
    f: np.ndarray | None = _column((), np.nan)  # [N] energy's value f(x, y); not comparable between objects
    covariance: np.ndarray | None = _column((None, None), np.nan)  # [N, D, D] of p(y | x) around the box, m and rad
    expected_iou: np.ndarray | None = _column((), np.nan)  # [N] mean 3-D IoU of the box with y drawn from p(y | x)
    flip_probability: np.ndarray | None = _column((), np.nan)  # [N] that the object's yaw is the box's + π
    effective_samples: np.ndarray | None = _column((), np.nan)  # [N] independent y that would tell as much
    samples: np.ndarray | None = _column((None, None), np.nan)  # [N, K, D] some y drawn from p(y | x)
    image_rectangle: np.ndarray | None = _column((4,), np.nan)  # [N, 4] x1, y1, x2, y2, pixels
    alpha: np.ndarray | None = _column((), np.nan)  # [N] observation angle in the image, rad
    truncated: np.ndarray | None = _column((), np.nan)  # [N] share of the object outside the image, 0..1
    occluded: np.ndarray | None = _column((), np.nan)  # [N] 0 visible, 1 partly, 2 largely, 3 unknown
    points: np.ndarray | None = _column((), -1)  # [N] int64 LiDAR points in the box
    track: np.ndarray | None = _column((), "")  # [N] str, the same in every frame of one object
    attribute: np.ndarray | None = _column((), "")  # [N] str, state of the object, such as vehicle.parked
    difficulty: np.ndarray | None = _column((), "")  # [N] str, a protocol's or the data set's own word

    if TYPE_CHECKING:

        def __init__(
            self,
            boxes: Values,
            names: Sequence[str] | np.ndarray,
            scores: Values | None = None,
            **columns: Values | None,
        ) -> None: ...

    def __post_init__(self) -> None:
        boxes = _as_array(self.boxes, "boxes", np.float64)
        boxes = boxes.reshape(0, BOX_SIZE) if boxes.size == 0 else boxes
        if boxes.ndim != 2 or boxes.shape[1] != BOX_SIZE:
            raise InputError(
                f"boxes: expected an array [N, 7] (x, y, z, l, w, h, yaw), got shape {list(boxes.shape)}; "
                "velocities go to `velocity`."
            )
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "names", _as_texts(self.names, "names", len(boxes)))
        if self.scores is not None:
            object.__setattr__(self, "scores", _as_rows(self.scores, "scores", (), np.float64, len(boxes)))
        for column in _declared():
            value = getattr(self, column.name)
            if value is None:
                continue
            shape, missing = column.metadata["shape"], column.metadata["missing"]
            if isinstance(missing, str):
                rows = _as_texts(value, column.name, len(boxes))
            else:
                kind = np.int64 if isinstance(missing, int) else np.float64
                rows = _as_rows(value, column.name, shape, kind, len(boxes))
            object.__setattr__(self, column.name, rows)

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{np.count_nonzero(self.names == name)} {name}" for name in sorted(set(self.names.tolist()))
        )
        return f"Boxes({counts or 'none'}; columns: {', '.join(self.columns()) or 'none'})"

    def columns(self) -> dict[str, np.ndarray]:
        """Every column but boxes and names that is there, by name, `scores` among them."""
        named = ((item.name, getattr(self, item.name)) for item in fields(self) if item.name not in ("boxes", "names"))
        return {name: value for name, value in named if value is not None}

    def select(self, index: Any) -> Boxes:
        """The rows that `index` (a mask, indices or a slice) names, with all columns.

        Raises:
            InputError: the index does not fit.
        """
        chosen = (
            np.asarray(index.detach().cpu() if hasattr(index, "detach") else index)
            if not isinstance(index, slice)
            else index
        )
        if not isinstance(chosen, slice) and chosen.size == 0:
            chosen = np.zeros(0, np.int64)
        try:
            return Boxes(
                self.boxes[chosen],
                self.names[chosen],
                **{name: value[chosen] for name, value in self.columns().items()},
            )
        except IndexError as error:
            raise InputError(f"index: does not fit {len(self)} boxes ({error}).") from error

    def of_class(self, *names: str) -> Boxes:
        """The boxes of these classes, with all columns."""
        return self.select(np.isin(self.names, names))

    def with_columns(self, **columns: Any) -> Boxes:
        """The same boxes with columns set or, by None, removed.

        Raises:
            InputError: a column does not fit, or there is none of this name.
        """
        column_names = [item.name for item in fields(self)]
        for name in columns:
            if name not in column_names:
                raise InputError(f"{name!r} is no column of Boxes; there are {', '.join(column_names)}.")
        return replace(self, **columns)

    @classmethod
    def empty(cls, *, scores: bool = False) -> Boxes:
        """No box at all; with `scores` those of a detector that found nothing."""
        return cls(np.zeros((0, BOX_SIZE)), np.zeros(0, np.str_), np.zeros(0) if scores else None)

    @classmethod
    def concatenate(cls, parts: Sequence[Boxes]) -> Boxes:
        """All boxes of `parts`, in order; a column that some of them lack has its missing value there.

        Raises:
            InputError: some have scores and others, not empty, have none; or rows of a column differ in shape.
        """
        filled = [part for part in parts if len(part)]
        if not filled:
            return cls.empty(scores=any(part.scores is not None for part in parts))
        scored = [part.scores is not None for part in filled]
        if any(scored) and not all(scored):
            raise InputError("scores: some of the boxes to put together have scores and others none.")
        columns: dict[str, Any] = {}
        if all(scored):
            columns["scores"] = np.concatenate([part.scores for part in filled])
        for column in _declared():
            values = [getattr(part, column.name) for part in filled]
            there = next((value for value in values if value is not None), None)
            if there is None:
                continue
            missing = column.metadata["missing"]
            try:
                columns[column.name] = np.concatenate(
                    [
                        np.full((len(part), *there.shape[1:]), missing, there.dtype if missing != "" else np.str_)
                        if value is None
                        else value
                        for part, value in zip(filled, values, strict=True)
                    ]
                )
            except ValueError as error:
                raise InputError(
                    f"{column.name}: rows of different shapes cannot be put together ({error})."
                ) from error
        return cls(
            np.concatenate([part.boxes for part in filled]), np.concatenate([part.names for part in filled]), **columns
        )

    @classmethod
    def column_names(cls) -> tuple[str, ...]:
        """Names of all declared columns, `scores` and `velocity` among them."""
        return tuple(item.name for item in fields(cls) if item.name not in ("boxes", "names"))

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """Each box as a mapping: `box` [7], `name`, and every column that is there."""
        columns = self.columns()
        for index in range(len(self)):
            yield {
                "box": self.boxes[index],
                "name": str(self.names[index]),
                **{name: value[index] for name, value in columns.items()},
            }


def _declared() -> Iterator[Any]:
    return (item for item in fields(Boxes) if item.metadata)


def _as_array(value: Any, name: str, kind: type) -> np.ndarray:
    """Numbers of any kind as an array."""
    try:
        return np.array(value.detach().cpu().numpy() if hasattr(value, "detach") else value, dtype=kind)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: holds something that is no number ({error}).") from error


def _as_rows(value: Any, name: str, shape: tuple[int | None, ...], kind: type, count: int) -> np.ndarray:
    array = _as_array(value, name, kind)
    if array.size == 0 and count == 0 and array.ndim != 1 + len(shape):
        return array.reshape((0, *(length or 0 for length in shape)))
    fits = len(array.shape) == 1 + len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, array.shape[1:], strict=True)
    )
    if not fits or len(array) != count:
        wanted_shape = [count, *("any" if length is None else length for length in shape)]
        raise InputError(f"{name}: expected shape {wanted_shape}, a row for each box, got {list(array.shape)}.")
    return array


def _as_texts(value: Any, name: str, count: int) -> np.ndarray:
    array = np.asarray([str(item) for item in value], dtype=np.str_) if len(value) else np.zeros(0, np.str_)
    if array.shape != (count,):
        raise InputError(f"{name}: {len(array)} for {count} boxes; give one for each.")
    return array
