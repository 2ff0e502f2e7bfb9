"""Settings of the detector: classes and anchors, voxels, networks, and what becomes a detection."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    model_validator,
)

from lidar_ebm.config.base import (
    Count,
    NonNegative,
    Positive,
    Settings,
    Share,
    Size,
    box_dimensions,
)
from lidar_ebm.types import REFLECTANCE, BevGrid


class ClassConfig(Settings):
    """One class to detect, and its anchors."""

    name: Annotated[str, Field(min_length=1)] = "Car"  # as the labels spell it, whatever the case
    merge: tuple[str, ...] = ()  # further names of labels that count as this class in training
    anchor_size: Size = (3.9, 1.6, 1.56)  # l, w, h, m
    anchor_center_z: float = -1.0  # geometric centre, LiDAR frame, m
    anchor_yaws: Annotated[tuple[float, ...], Field(min_length=1)] = (0.0, 1.5707963267948966)  # rad
    positive_iou: Share = 0.6  # nearest axis-aligned BEV IoU at which an anchor becomes positive
    negative_iou: Share = 0.45  # and below which it is background


class PointsConfig(Settings):
    """Points that the network is shown."""

    # Beside x, y, z. time_lag: seconds before the key sweep, of data sets with sweeps; 0 elsewhere.
    channels: tuple[str, ...] = ("reflectance",)
    sweeps: Count = 1  # the key sweep and those before it, of data sets that have them
    minimum_per_label: Annotated[int, Field(ge=0)] = 0  # labels with fewer points in them are not learnt from

    @model_validator(mode="after")
    def _reflectance_first(self) -> PointsConfig:
        if self.channels[:1] != (REFLECTANCE,) or len(set(self.channels)) != len(self.channels):
            raise ValueError(f"points.channels begins with {REFLECTANCE}, and names each channel once")
        return self


class VoxelConfig(Settings):
    """Division of points into voxels."""

    range: tuple[float, float, float, float, float, float] = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)  # low x y z, high, m
    size: Size = (0.05, 0.05, 0.1)  # dx, dy, dz, m
    # Of runs of version 0.1: a voxel is the mean of its first so many points in the order of their file. None: of all.
    max_points_per_voxel: Count | None = None
    max_voxels: Count = 20_000  # a frame, in training alone

    @property
    def grid_shape(self) -> tuple[int, int, int]:
        """Voxels along (z, y, x)."""
        low, high = self.range[:3], self.range[3:]
        x, y, z = (round((b - a) / s) for a, b, s in zip(low, high, self.size, strict=True))
        return z, y, x

    @model_validator(mode="after")
    def _whole_cells(self) -> VoxelConfig:
        for axis, low, high, size in zip("xyz", self.range[:3], self.range[3:], self.size, strict=True):
            cells = (high - low) / size
            if cells < 1 or abs(cells - round(cells)) > 1e-4:
                raise ValueError(f"range along {axis}, {low} to {high}, is not a whole number of voxels of {size} m")
        return self


class StageConfig(Settings):
    """A strided sparse convolution (kernel 3, padding 1) and the sub-manifold convolutions after it."""

    channels: Count
    layers: Annotated[int, Field(ge=0)]
    stride: tuple[Count, Count, Count] = (2, 2, 2)  # z, y, x


class BackboneConfig(Settings):
    """The sparse 3-D backbone."""

    # `spconv` on a CPU means its index pairs alone: its convolution is wrong there on more than one thread. `auto`
    # takes spconv on a GPU where it is installed, and the built-in convolution elsewhere.
    backend: Literal["auto", "spconv", "builtin"] = "auto"
    stem_channels: Count = 16
    stem_layers: Count = 2
    stages: Annotated[tuple[StageConfig, ...], Field(min_length=1)] = (
        StageConfig(channels=32, layers=2),
        StageConfig(channels=64, layers=3),
        StageConfig(channels=64, layers=3),
    )
    out_channels: Count = 64


class PillarConfig(Settings):
    """The pillar encoder, which takes the backbone's place with `encoder: pillars`."""

    channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (64,)  # of the layers that the points go through


class ScaleConfig(Settings):
    """One scale of the bird's-eye-view network: a strided 3×3 convolution, more of them, and the way to the map."""

    channels: Count
    layers: Annotated[int, Field(ge=0)]  # after the strided one
    stride: Count = 2  # of the map of the scale before it
    up_channels: Count = 128  # that it brings to the shared map


class BevConfig(Settings):
    """The bird's-eye-view network; its last 3×3 convolution gives the shared feature map."""

    channels: Count = 256
    layers: Count = 7  # 3×3 convolutions; not with scales
    # Strided blocks, fine to coarse, brought to one resolution and put side by side, as in SECOND and PointPillars.
    # None: a single scale, as published for SA-SSD.
    scales: tuple[ScaleConfig, ...] = ()
    map_stride: Count = 1  # with scales: cells of the encoder's output along a cell of the maps


class PointHeadConfig(Settings):
    """The auxiliary point head (training only)."""

    enabled: bool = True
    channels: Count = 64
    weight: NonNegative = 1.0


class AnchorHeadConfig(Settings):
    """Weights of the anchor head's losses."""

    class_weight: NonNegative = 1.0
    box_weight: NonNegative = 2.0
    direction_weight: NonNegative = 0.2
    focal_alpha: Share = 0.25
    focal_gamma: NonNegative = 2.0


class CenterHeadConfig(Settings):
    """The center head: objects at the peaks of heatmaps."""

    # Classes that share branches, and of which one box suppresses another, by name. None: a single group of all.
    groups: tuple[Annotated[tuple[str, ...], Field(min_length=1)], ...] | None = None
    channels: Count = 64  # of the convolution that all groups share, and of each branch's hidden one
    minimum_overlap: Annotated[float, Field(gt=0, lt=1)] = 0.1  # that a box moved by a target's radius still has
    minimum_radius: Count = 2  # of a target's Gaussian, cells
    heat_weight: NonNegative = 1.0
    offset_weight: NonNegative = 1.0  # of each number's absolute error: cells
    height_weight: NonNegative = 1.0  # m
    size_weight: NonNegative = 1.0  # logarithms
    yaw_weight: NonNegative = 1.0  # sine and cosine
    velocity_weight: NonNegative = 0.2  # m/s
    iou_score: bool = False  # learn the IoU of each box with its label beside the heatmap
    iou_weight: NonNegative = 1.0
    # a in score^(1 - a) · iou^a, which boxes are ranked by, with iou_score; one number, or one of each class.
    rectification: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.5,)


class PartScoreConfig(Settings):
    """The part-sensitive score."""

    enabled: bool = True
    grid: tuple[Count, Count] = (4, 7)  # points across the width, along the length
    score_threshold: Share = 0.1  # boxes that the head scores above this are trained on, and scored in use
    positive_iou: Share = 0.7  # rotated 3-D IoU
    weight: NonNegative = 1.0
    max_training_boxes: Count = 512  # a frame


class DetectionConfig(Settings):
    """From the head's scores to detections."""

    score_threshold: Share = 0.3
    # Of two boxes of a class (with the center head: of a group) the lower one goes. rotated: where they overlap by more
    # than nms_iou. circle: where their centres are nearer than the radius of the lower one's class.
    nms: Literal["rotated", "circle"] = "rotated"
    nms_iou: Share = 0.1  # rotated BEV
    nms_radii: dict[str, Positive] = Field(default={})  # circle: of each class by its name, m
    # Mirrored frames that are detected in as well, and whose predictions are averaged: mirrored x, y, or each and both
    # together. Each costs a pass of the network. Center head alone.
    flips: Literal["none", "x", "y", "both"] = "none"
    # Of runs of version 0.1: a frame's candidates of all classes together that come to NMS. None: max_candidates alone.
    max_proposals: Count | None = None
    max_candidates: Count = 1000  # a frame and class, that come to NMS
    max_detections: Count = 500  # a frame and class, of those that it keeps


EncoderKind = Literal["voxels", "pillars"]
HeadKind = Literal["anchor", "center"]


class DetectorSettings(Settings):
    """All that the detector has to know of a configuration."""

    encoder: EncoderKind
    head: HeadKind
    classes: tuple[ClassConfig, ...]
    points: PointsConfig
    velocity: bool
    voxels: VoxelConfig
    backbone: BackboneConfig
    pillars: PillarConfig
    bev: BevConfig
    point_head: PointHeadConfig
    anchor_head: AnchorHeadConfig
    center_head: CenterHeadConfig
    part_score: PartScoreConfig
    detection: DetectionConfig

    @property
    def box_dimensions(self) -> int:
        """Numbers of a box: 7, or 9 with a velocity."""
        return box_dimensions(self.velocity)

    @property
    def bev_shape(self) -> tuple[int, int, int]:
        """(D, H, W) of the encoder's output: every stage of the backbone is a convolution of kernel 3, padding 1."""
        shape = self.voxels.grid_shape
        for stage in self._stages:
            shape = tuple((n - 1) // s + 1 for n, s in zip(shape, stage.stride, strict=True))  # type: ignore[assignment]
        return shape

    @property
    def encoder_channels(self) -> int:
        """Channels of the encoder's output seen from above, heights beside one another."""
        if self.encoder == "pillars":
            return self.pillars.channels[-1]
        return self.backbone.out_channels * self.bev_shape[0]

    @property
    def bev_grid(self) -> BevGrid:
        """Grid of the cells of the bird's-eye-view maps."""
        _, height, width = self.bev_shape
        stride_y = stride_x = self.bev.map_stride
        height, width = ((n - 1) // self.bev.map_stride + 1 for n in (height, width))
        for stage in self._stages:
            stride_y, stride_x = stride_y * stage.stride[1], stride_x * stage.stride[2]
        cell = (self.voxels.size[0] * stride_x, self.voxels.size[1] * stride_y)
        origin = (self.voxels.range[0] + cell[0] / 2, self.voxels.range[1] + cell[1] / 2)
        return BevGrid(origin, cell, (height, width))

    @property
    def _stages(self) -> tuple[StageConfig, ...]:
        return () if self.encoder == "pillars" else self.backbone.stages

    @property
    def class_groups(self) -> tuple[tuple[int, ...], ...]:
        """Indices of the classes of each group whose boxes suppress one another: each alone, with anchors."""
        if self.head == "anchor":
            return tuple((index,) for index in range(len(self.classes)))
        names = self.class_names
        groups = (names,) if self.center_head.groups is None else self.center_head.groups
        return tuple(tuple(names.index(name) for name in group) for group in groups)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their indices."""
        return tuple(item.name for item in self.classes)
