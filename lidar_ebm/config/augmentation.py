"""Settings of what training does to frames at random."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    Field,
    model_validator,
)

from lidar_ebm.config.base import (
    Count,
    NonNegative,
    Positive,
    Settings,
)


class SamplingConfig(Settings):
    """Label-database sampling: objects of other training frames are put into a frame."""

    enabled: bool = True
    # class → objects that a frame is filled up to
    counts: dict[str, Annotated[int, Field(ge=0)]] = Field(default={"Car": 15})
    min_points: Count = 5  # objects with fewer are not taken
    # Words of the data set for how hard an object is to see, of those that are taken; none: all but what is beyond its
    # last limit.
    difficulties: tuple[str, ...] = ()


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
