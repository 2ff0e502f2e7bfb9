"""Settings of what training does to frames at random."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
)

from lidar_ebm.config.base import (
    Count,
    NonNegative,
    Positive,
    Settings,
)


def _low_before_high(scaling: tuple[float, float]) -> tuple[float, float]:
    if scaling[0] > scaling[1]:
        raise ValueError(f"scaling goes from low to high, not from {scaling[0]} to {scaling[1]}")
    return scaling


Scaling = Annotated[tuple[Positive, Positive], AfterValidator(_low_before_high)]
Difficulties = tuple[str, ...]
OBJECTS_A_CLASS = 15  # that a frame is filled up to where nobody says how many


class SamplingConfig(Settings):
    """Label-database sampling: objects of other training frames are put into a frame."""

    enabled: bool = True
    # class → objects that a frame is filled up to; null: 15 of every class
    counts: dict[str, Annotated[int, Field(ge=0)]] | None = None
    min_points: Count = 5  # objects with fewer are not taken
    # Words of the data set for how hard an object is to see, of those that are taken; none: all but what is beyond its
    # last limit.
    difficulties: Difficulties = ()

    def count_of(self, name: str) -> int:
        """Objects of a class that a frame is filled up to."""
        return OBJECTS_A_CLASS if self.counts is None else self.counts.get(name, 0)


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
    flip_x: bool = False  # x -> -x, too, in half of the frames, where nothing is ahead
    rotation: NonNegative = 0.7853981633974483  # about z, uniform in ± this, rad
    scaling: Scaling = (0.95, 1.05)  # uniform, low to high


class SamplingChanges(Settings):
    """Settings of `augmentation.sampling` that a stage has otherwise; null: as there."""

    enabled: bool | None = None
    min_points: Count | None = None
    difficulties: Difficulties | None = None


class ObjectNoiseChanges(Settings):
    """Settings of `augmentation.object_noise` that a stage has otherwise; null: as there."""

    enabled: bool | None = None
    rotation: NonNegative | None = None
    center_std: tuple[NonNegative, NonNegative, NonNegative] | None = None
    attempts: Count | None = None


class AugmentationChanges(Settings):
    """Settings of `augmentation` that a stage has otherwise; null: as there."""

    sampling: SamplingChanges = SamplingChanges()
    object_noise: ObjectNoiseChanges = ObjectNoiseChanges()
    flip: bool | None = None
    flip_x: bool | None = None
    rotation: NonNegative | None = None
    scaling: Scaling | None = None

    def of(self, common: AugmentationConfig) -> AugmentationConfig:
        """The common settings with these changes."""
        sampling, noise = _given(self.sampling), _given(self.object_noise)
        own = {name: value for name, value in _given(self).items() if name not in ("sampling", "object_noise")}
        return common.model_copy(
            update={
                "sampling": common.sampling.model_copy(update=sampling),
                "object_noise": common.object_noise.model_copy(update=noise),
                **own,
            }
        )


def _given(changes: Settings) -> dict[str, Any]:
    return {name: getattr(changes, name) for name in type(changes).model_fields if getattr(changes, name) is not None}
