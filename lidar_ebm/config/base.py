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
    if len(values) not in (7, 9):
        raise ValueError(f"give 7 values (x, y, z, l, w, h, yaw), or 9 with vx and vy, not {len(values)}")
    return values


def _rows_of_one_each(rows: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    return tuple(_one_each(row) for row in rows)


def _kind(value: Any) -> str:
    return "each" if isinstance(value, list | tuple) else "one"


# x, y, z, l, w, h, yaw, and vx, vy if need be (`one_each`); or one number for all of them
EachPositive = Annotated[tuple[Positive, ...], AfterValidator(_one_each)]


EachNonNegative = Annotated[tuple[NonNegative, ...], AfterValidator(_one_each)]


RowsPositive = Annotated[tuple[tuple[Positive, ...], ...], Field(min_length=1), AfterValidator(_rows_of_one_each)]


OneOrEachPositive = Annotated[
    Annotated[Positive, Tag("one")] | Annotated[EachPositive, Tag("each")], Discriminator(_kind)
]


OneOrEachNonNegative = Annotated[
    Annotated[NonNegative, Tag("one")] | Annotated[EachNonNegative, Tag("each")], Discriminator(_kind)
]


# What is sure of a place to within σ is sure of a velocity to within σ over the time that it was watched for. Of ten
# sweeps of a LiDAR that turns 20 times a second, that is on average so much, s.
WATCHED = 0.25


def one_each(values: tuple[float, ...], dimensions: int, *, power: int = 1) -> tuple[float, ...]:
    """A setting's numbers for a box of 7 or 9 dimensions.

    Args:
        values: seven or nine. Where vx and vy lack, they follow from x and y.
        dimensions: of the box; what it does not have is left out.
        power: of the units that the numbers are in: 1 for lengths, 2 for their squares (a step's length times a
            gradient).
    """
    return (
        (*values, *(value / WATCHED**power for value in values[:2]))[:dimensions]
        if len(values) == 7
        else values[:dimensions]
    )


def box_dimensions(velocity: bool) -> int:
    """Numbers of a box: x, y, z, l, w, h, yaw, and vx, vy where it has a velocity."""
    return 9 if velocity else 7


class Settings(BaseModel):
    """A section of settings: frozen, of finite numbers and declared keys alone."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
