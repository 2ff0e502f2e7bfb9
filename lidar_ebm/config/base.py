"""Parts of all settings: numbers within their limits, rows of one number for each coordinate of a box."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
)

Positive = Annotated[float, Field(gt=0)]


NonNegative = Annotated[float, Field(ge=0)]


Share = Annotated[float, Field(ge=0, le=1)]


Count = Annotated[int, Field(ge=1)]


Triple = tuple[float, float, float]


Size = tuple[Positive, Positive, Positive]


def _one_each(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) != 7:
        raise ValueError(f"give 7 values (x, y, z, l, w, h, yaw), not {len(values)}")
    return values


def _rows_of_one_each(rows: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    return tuple(_one_each(row) for row in rows)


def _kind(value: Any) -> str:
    return "seven" if isinstance(value, list | tuple) else "one"


# x, y, z, l, w, h, yaw; or one number for all of them
SevenPositive = Annotated[tuple[Positive, ...], AfterValidator(_one_each)]


SevenNonNegative = Annotated[tuple[NonNegative, ...], AfterValidator(_one_each)]


OneOrSevenPositive = Annotated[
    Annotated[Positive, Tag("one")] | Annotated[SevenPositive, Tag("seven")], Discriminator(_kind)
]


OneOrSevenNonNegative = Annotated[
    Annotated[NonNegative, Tag("one")] | Annotated[SevenNonNegative, Tag("seven")], Discriminator(_kind)
]


def box_dimensions(velocity: bool) -> int:
    """Numbers of a box: x, y, z, l, w, h, yaw, and vx, vy where it has a velocity."""
    return 9 if velocity else 7


class Settings(BaseModel):
    """A section of settings: frozen, of finite numbers and declared keys alone."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
