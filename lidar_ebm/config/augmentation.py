"""Settings of what training does to frames at random."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from lidar_ebm.config.base import (
    Count,
    NonNegative,
    Positive,
    Settings,
)
from lidar_ebm.formats.kitti.label import KITTI_TYPES

Difficulty = Literal["easy", "moderate", "hard", "beyond"]  # the label database numbers them in this order


class SamplingConfig(Settings):
    """Label-database sampling: objects of other training frames are put into a frame."""

    enabled: bool = True
    # class → objects that a frame is filled up to
    counts: dict[str, Annotated[int, Field(ge=0)]] = Field(default={"Car": 15})
    min_points: Count = 5  # objects with fewer are not taken
    # By KITTI's rules; "beyond" is what is too small, hidden or cut off for all three.
    difficulties: Annotated[tuple[Difficulty, ...], Field(min_length=1)] = ("easy", "moderate", "hard")

    @field_validator("counts")
    @classmethod
    def _known_types(cls, counts: dict[str, int]) -> dict[str, int]:
        for name in counts:
            if name not in KITTI_TYPES[:-1]:
                raise ValueError(f"{name!r} is none of KITTI's types: {', '.join(KITTI_TYPES[:-1])}")
        return counts


class ObjectNoiseConfig(Settings):
    """Each object of a frame moves by itself."""

    enabled: bool = True
    rotation: NonNegative = 0.7853981633974483  # about z, uniform in ± this, rad
    center_std: tuple[NonNegative, NonNegative, NonNegative] = (1.0, 1.0, 0.5)  # x, y, z, m
    attempts: Count = 100  # an object that collides with another in all of them stays where it is


class AugmentationConfig(Settings):
    """Random changes of a training frame, points and labels together, in this order."""

    sampling: SamplingConfig = SamplingConfig()
    object_noise: ObjectNoiseConfig = ObjectNoiseConfig()
    flip: bool = True  # y -> -y in half of the frames
    rotation: NonNegative = 0.7853981633974483  # about z, uniform in ± this, rad
    scaling: tuple[Positive, Positive] = (0.95, 1.05)  # uniform, low to high

    @model_validator(mode="after")
    def _low_before_high(self) -> AugmentationConfig:
        if self.scaling[0] > self.scaling[1]:
            raise ValueError(f"scaling goes from low to high, not from {self.scaling[0]} to {self.scaling[1]}")
        return self
