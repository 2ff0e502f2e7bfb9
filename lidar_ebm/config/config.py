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
    box_dimensions,
)
from lidar_ebm.config.detector import (
    AnchorHeadConfig,
    BackboneConfig,
    BevConfig,
    CenterHeadConfig,
    ClassConfig,
    DetectionConfig,
    DetectorSettings,
    EncoderKind,
    HeadKind,
    PartScoreConfig,
    PillarConfig,
    PointHeadConfig,
    PointsConfig,
    VoxelConfig,
)
from lidar_ebm.config.detector_checks import check_detector
from lidar_ebm.config.energy import EnergyConfig, EnergySettings, RefinementConfig, UncertaintyConfig
from lidar_ebm.config.training import TrainingConfig
from lidar_ebm.types import TIME_LAG, BevGrid

# Training fixes the neighbourhood at a proposal-like box: the label with noise of these stds on
# (x, y, z) in m, on the logarithms of (l, w, h), and on yaw in rad. Around the label itself the choice of
# points would give the label away.

# The default of earlier versions, which stands in the config.yaml of their runs whatever the classes are.
_FORMER_COUNTS = {"Car": 15}


class Config(Settings):
    """Everything that a run is made of."""

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    classes: Annotated[tuple[ClassConfig, ...], Field(min_length=1)] = (ClassConfig(merge=("Van",)),)
    # voxels: sparse 3-D convolutions. pillars: voxels as tall as the range, and no convolution before the map's.
    encoder: EncoderKind = "voxels"
    # anchor: classified anchors with residuals. center: peaks of heatmaps with regressions, velocity among them.
    head: HeadKind = "anchor"
    points: PointsConfig = PointsConfig()
    velocity: bool = False  # boxes have one, vx and vy over ground: y has nine numbers
    voxels: VoxelConfig = VoxelConfig()
    backbone: BackboneConfig = BackboneConfig()
    pillars: PillarConfig = PillarConfig()
    bev: BevConfig = BevConfig()
    point_head: PointHeadConfig = PointHeadConfig()
    anchor_head: AnchorHeadConfig = AnchorHeadConfig()
    center_head: CenterHeadConfig = CenterHeadConfig()
    part_score: PartScoreConfig = PartScoreConfig()
    energy: EnergyConfig = EnergyConfig()
    refinement: RefinementConfig = RefinementConfig()
    uncertainty: UncertaintyConfig = UncertaintyConfig()
    detection: DetectionConfig = DetectionConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _each_type_once(self) -> Config:
        claimed: dict[str, str] = {}
        for name in (name for item in self.classes for name in (item.name, *item.merge)):
            if name.lower() in claimed:
                raise ValueError(
                    f"label type {claimed[name.lower()]!r} belongs to two classes; let one of them name or merge it"
                )
            claimed[name.lower()] = name
        return self

    @model_validator(mode="after")
    def _lag_for_velocity(self) -> Config:
        if self.velocity and self.points.channels[-1] != TIME_LAG:
            raise ValueError(
                f"velocity: true needs the points' lag: set points.channels=[reflectance, {TIME_LAG}], the lag last"
            )
        return self

    @model_validator(mode="after")
    def _inputs_there_are(self) -> Config:
        if self.energy.points.velocity_input and not self.velocity:
            raise ValueError("energy.points.velocity_input: boxes have no velocity; set velocity: true")
        if self.refinement.minimum_points and "points" not in self.energy.features:
            raise ValueError("refinement.minimum_points counts points near a box: add points to energy.features")
        return self

    @model_validator(mode="after")
    def _counts_of_own_classes(self) -> Config:
        counts = self.augmentation.sampling.counts or {}
        unknown = [name for name in counts if name not in self.class_names]
        if unknown and counts != _FORMER_COUNTS:
            raise ValueError(
                f"augmentation.sampling.counts: {unknown[0]!r} is no class here; there are "
                f"{', '.join(self.class_names)}"
            )
        return self

    @model_validator(mode="after")
    def _parts_of_the_detector_fit(self) -> Config:
        check_detector(self.detector_settings)
        return self

    @model_validator(mode="after")
    def _dimensions_there_are(self) -> Config:
        energy = self.energy
        settings = {
            "energy.noise.stds": energy.noise.stds,
            "energy.objective.label_stds": (energy.objective.label_stds,),
            "energy.objective.langevin_step_length": (energy.objective.langevin_step_length,),
            "refinement.step_length": (self.refinement.step_length,),
            "refinement.start_stds": (self.refinement.start_stds,),
            "uncertainty.stds": self.uncertainty.stds,
        }
        for name, rows in settings.items():
            if not self.velocity and any(isinstance(row, tuple) and len(row) == 9 for row in rows):
                raise ValueError(
                    f"{name}: nine numbers, but boxes have seven here; leave out vx and vy, or set velocity: true"
                )
        return self

    def stage_augmentation(self, stage: str) -> AugmentationConfig:
        """Augmentation in a stage of training, "detector" or "energy": the common one with the stage's changes."""
        settings = self.training.detector if stage == "detector" else self.training.energy
        return settings.augmentation.of(self.augmentation)

    @property
    def detector_settings(self) -> DetectorSettings:
        """The part of the configuration that the detector has to know."""
        return DetectorSettings(**{name: getattr(self, name) for name in DetectorSettings.model_fields})

    @property
    def energy_settings(self) -> EnergySettings:
        """The part of the configuration that the energy has to know."""
        return EnergySettings(**{name: getattr(self, name) for name in EnergySettings.model_fields})

    @property
    def box_dimensions(self) -> int:
        """Numbers of a box: 7, or 9 with a velocity."""
        return box_dimensions(self.velocity)

    @property
    def energy_dimensions(self) -> int:
        """Numbers of a box that f is over: 7, or 9 with a velocity."""
        return self.energy_settings.energy_dimensions

    @property
    def bev_grid(self) -> BevGrid:
        """Grid of the cells of the bird's-eye-view maps."""
        return self.detector_settings.bev_grid

    @property
    def bev_shape(self) -> tuple[int, int, int]:
        """(D, H, W) of the backbone's last grid."""
        return self.detector_settings.bev_shape

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their indices."""
        return tuple(item.name for item in self.classes)
