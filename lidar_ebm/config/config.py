"""The configuration: typed, validated, complete. The defaults are the published SA-SSD + EBM car settings.

A configuration is read from YAML, changed by dotted overrides (`training.detector.epochs=5`), and checked as a whole:
an unknown key or a value that makes no sense is an `InputError` that names it. Whatever follows from other settings
(grid shapes, channel counts, the published energy head's 7,168 inputs) is derived where it is needed and never written.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    Field,
    model_validator,
)

from lidar_ebm.config.augmentation import AugmentationConfig
from lidar_ebm.config.base import (
    Settings,
)
from lidar_ebm.config.detector import (
    AnchorHeadConfig,
    BackboneConfig,
    BevConfig,
    ClassConfig,
    DetectionConfig,
    PartScoreConfig,
    PointHeadConfig,
    VoxelConfig,
)
from lidar_ebm.config.energy import EnergyConfig, RefinementConfig, UncertaintyConfig
from lidar_ebm.config.training import TrainingConfig
from lidar_ebm.formats.kitti.label import KITTI_TYPES
from lidar_ebm.types import BevGrid

# Training fixes the neighbourhood at a proposal-like box: the label with noise of these stds on
# (x, y, z) in m, on the logarithms of (l, w, h), and on yaw in rad. Around the label itself the choice of
# points would give the label away.


class Config(Settings):
    """Everything that a run is made of."""

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    classes: Annotated[tuple[ClassConfig, ...], Field(min_length=1)] = (ClassConfig(merge=("Van",)),)
    voxels: VoxelConfig = VoxelConfig()
    backbone: BackboneConfig = BackboneConfig()
    bev: BevConfig = BevConfig()
    point_head: PointHeadConfig = PointHeadConfig()
    anchor_head: AnchorHeadConfig = AnchorHeadConfig()
    part_score: PartScoreConfig = PartScoreConfig()
    energy: EnergyConfig = EnergyConfig()
    refinement: RefinementConfig = RefinementConfig()
    uncertainty: UncertaintyConfig = UncertaintyConfig()
    detection: DetectionConfig = DetectionConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _each_type_once(self) -> Config:
        claimed = [name for item in self.classes for name in (item.name, *item.merge)]
        for name in claimed:
            if name not in KITTI_TYPES[:-1]:
                raise ValueError(f"class {name!r} is none of KITTI's types: {', '.join(KITTI_TYPES[:-1])}")
            if claimed.count(name) > 1:
                raise ValueError(f"label type {name!r} belongs to two classes; let one of them name or merge it")
        return self

    def stage_augmentation(self, stage: str) -> AugmentationConfig:
        """Augmentation in a stage of training, "detector" or "energy": the common one with the stage's changes."""
        settings = self.training.detector if stage == "detector" else self.training.energy
        return settings.augmentation.of(self.augmentation)

    @property
    def bev_shape(self) -> tuple[int, int, int]:
        """(D, H, W) of the backbone's last grid: every stage is a convolution of kernel 3, padding 1."""
        shape = self.voxels.grid_shape
        for stage in self.backbone.stages:
            shape = tuple((n - 1) // s + 1 for n, s in zip(shape, stage.stride, strict=True))  # type: ignore[assignment]
        return shape

    @property
    def bev_grid(self) -> BevGrid:
        """Where the cells of the bird's-eye-view maps lie."""
        _, height, width = self.bev_shape
        stride_y = stride_x = 1
        for stage in self.backbone.stages:
            stride_y, stride_x = stride_y * stage.stride[1], stride_x * stage.stride[2]
        cell = (self.voxels.size[0] * stride_x, self.voxels.size[1] * stride_y)
        origin = (self.voxels.range[0] + cell[0] / 2, self.voxels.range[1] + cell[1] / 2)
        return BevGrid(origin, cell, (height, width))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their indices."""
        return tuple(item.name for item in self.classes)
