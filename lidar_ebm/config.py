"""The configuration: typed, validated, complete. The defaults are the published SA-SSD + EBM car settings.

A configuration is read from YAML, changed by dotted overrides (`training.detector.epochs=5`), and checked as a whole:
an unknown key or a value that makes no sense is an `InputError` that names it. Whatever follows from other settings
(grid shapes, channel counts, the published energy head's 7,168 inputs) is derived where it is needed and never written.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from yaml import YAMLError

from lidar_ebm.errors import InputError
from lidar_ebm.files import atomic_write
from lidar_ebm.types import KITTI_TYPES, BevGrid

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Triple = tuple[float, float, float]
Size = tuple[Positive, Positive, Positive]
Difficulty = Literal["easy", "moderate", "hard", "beyond"]  # the label database numbers them in this order


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


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ClassConfig(_Settings):
    """One class to detect, and its anchors."""

    name: str = "Car"  # one of KITTI's types, as every label type here
    merge: tuple[str, ...] = ()  # label types that count as this class in training
    anchor_size: Size = (3.9, 1.6, 1.56)  # l, w, h, m
    anchor_center_z: float = -1.0  # geometric centre, LiDAR frame, m
    anchor_yaws: Annotated[tuple[float, ...], Field(min_length=1)] = (0.0, 1.5707963267948966)  # rad
    positive_iou: Share = 0.6  # nearest axis-aligned BEV IoU at which an anchor becomes positive
    negative_iou: Share = 0.45  # and below which it is background


class VoxelConfig(_Settings):
    """How points become voxels."""

    range: tuple[float, float, float, float, float, float] = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)  # low x y z, high, m
    size: Size = (0.05, 0.05, 0.1)  # dx, dy, dz, m
    max_points_per_voxel: Count = 5
    max_voxels: Count = 20_000  # a frame

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


class StageConfig(_Settings):
    """A strided sparse convolution (kernel 3, padding 1) and the sub-manifold convolutions after it."""

    channels: Count
    layers: Annotated[int, Field(ge=0)]
    stride: tuple[Count, Count, Count] = (2, 2, 2)  # z, y, x


class BackboneConfig(_Settings):
    """The sparse 3-D backbone."""

    backend: Literal["auto", "spconv", "builtin"] = "auto"
    stem_channels: Count = 16
    stem_layers: Count = 2
    stages: Annotated[tuple[StageConfig, ...], Field(min_length=1)] = (
        StageConfig(channels=32, layers=2),
        StageConfig(channels=64, layers=3),
        StageConfig(channels=64, layers=3),
    )
    out_channels: Count = 64


class BevConfig(_Settings):
    """The bird's-eye-view network; its last 3×3 convolution gives the shared feature map."""

    channels: Count = 256
    layers: Count = 7


class PointHeadConfig(_Settings):
    """The auxiliary point head (training only)."""

    enabled: bool = True
    channels: Count = 64
    weight: NonNegative = 1.0


class AnchorHeadConfig(_Settings):
    """Weights of the anchor head's losses."""

    class_weight: NonNegative = 1.0
    box_weight: NonNegative = 2.0
    direction_weight: NonNegative = 0.2
    focal_alpha: Share = 0.25
    focal_gamma: NonNegative = 2.0


class PartScoreConfig(_Settings):
    """The part-sensitive score."""

    enabled: bool = True
    grid: tuple[Count, Count] = (4, 7)  # points across the width, along the length
    score_threshold: Share = 0.1  # boxes that the anchor head scores above this are trained on, and scored in use
    positive_iou: Share = 0.7  # rotated 3-D IoU
    weight: NonNegative = 1.0
    max_training_boxes: Count = 512  # a frame


class BevEnergyConfig(_Settings):
    """The published energy head: the shared map at each box's grid, with branches for z and h."""

    grid: tuple[Annotated[int, Field(ge=2)], Annotated[int, Field(ge=2)]] = (4, 7)
    branch_channels: Count = 16
    hidden: Count = 1024


class PointEnergyConfig(_Settings):
    """The point energy: raw points near the box, written in the box's own frame."""

    max_points: Count = 96
    margin: Size = (1.0, 0.8, 0.6)  # added on either side of length, width and height, m
    channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (64, 64)  # shared MLP over the points
    hidden: Count = 64
    neighbourhood_jitter: tuple[NonNegative, NonNegative, NonNegative] = (0.2, 0.05, 0.05)
    # Training fixes the neighbourhood at a proposal-like box: the label with noise of these stds on
    # (x, y, z) in m, on the logarithms of (l, w, h), and on yaw in rad. Around the label itself the choice of
    # points would give the label away.


class NoiseConfig(_Settings):
    """Where the samples come from that f is learnt against: around each label, an equal-weight Gaussian mixture."""

    stds: Annotated[tuple[tuple[Positive, ...], ...], Field(min_length=1), AfterValidator(_rows_of_one_each)] = (
        (0.0625, 0.0625, 0.03125, 0.03125, 0.03125, 0.03125, 0.015625),
        (0.125, 0.125, 0.0625, 0.0625, 0.0625, 0.0625, 0.03125),
        (0.25, 0.25, 0.125, 0.125, 0.125, 0.125, 0.0625),
    )  # of each component: one row of stds (x, y, z, l, w, h, yaw), m, rad
    # At the least size, and where yaw wraps around. exact: the density is truncated and wrapped. clamped: f is shown
    # each draw brought into the space, with the density of the draw itself, as published.
    boundary: Literal["exact", "clamped"] = "clamped"
    flip_share: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of the samples lies around the label turned by half a turn


class EnergyTrainingConfig(_Settings):
    """What makes f a log-density. Every method but sm and dsm takes `energy.samples` samples a label."""

    # nce: telling the label from samples around it (published). nce+: the same for labels that are inexact themselves.
    # ml-is, kld-is: likelihood, or divergence from a Gaussian around the label, with Z by importance sampling.
    # ml-mcmc: likelihood with samples from f by Langevin steps. sm, dsm: score matching, plain and denoising, with
    # gradients alone. learned-nce, learned-ml-is: the samples come from a density q(y | x) that is learnt beside f.
    method: Literal["nce", "nce+", "ml-is", "kld-is", "ml-mcmc", "sm", "dsm", "learned-nce", "learned-ml-is"] = "nce"
    label_noise: Positive = 0.025  # nce+: β, the labels' own noise is the samples' with β times its stds
    # kld-is, dsm: of the Gaussian around the label (x, y, z, l, w, h, yaw), m, rad. What is learnt is wider by it.
    label_stds: SevenPositive = (0.0625, 0.0625, 0.03125, 0.03125, 0.03125, 0.03125, 0.015625)
    langevin_steps: Count = 16  # ml-mcmc: L, from the label; each costs as much as the loss of another method
    # ml-mcmc: α in y + α² / 2 ∇f + α ε, one number or seven (x, y, z, l, w, h, yaw), m, rad
    langevin_step_length: OneOrSevenPositive = (0.02, 0.02, 0.01, 0.01, 0.01, 0.01, 0.005)
    proposal_components: Count = 4  # learned-nce, learned-ml-is: Gaussians that q(y | x) is a mixture of
    proposal_hidden: Count = 64  # learned-nce, learned-ml-is: units of each of its two hidden layers


class EnergyConfig(_Settings):
    """The energy-based model f(x, y) over boxes."""

    features: Annotated[tuple[Literal["bev", "points"], ...], Field(min_length=1)] = ("bev",)
    bev: BevEnergyConfig = BevEnergyConfig()
    points: PointEnergyConfig = PointEnergyConfig()
    # silu is smooth. sm needs that, and dsm is better with it: slopes of relu layers do not see their biases.
    activation: Literal["relu", "silu"] = "relu"
    noise: NoiseConfig = NoiseConfig()
    training: EnergyTrainingConfig = EnergyTrainingConfig()
    samples: Count = 128  # M
    min_size: Positive = 0.05  # m

    @model_validator(mode="after")
    def _smooth_for_score_matching(self) -> EnergyConfig:
        if self.training.method == "sm" and self.activation == "relu":
            raise ValueError(
                "score matching (energy.training.method=sm) looks at the curvature of f, and straight pieces (relu) "
                "have none: f would become flat. Set energy.activation=silu"
            )
        return self


class RefinementConfig(_Settings):
    """Gradient ascent on f."""

    steps: Annotated[int, Field(ge=0)] = 10  # T
    # halving: a step that lowers f is taken back, and halves that box's step length (published). momentum, adam: steps
    # by these rules, and the best box that was passed.
    rule: Literal["halving", "momentum", "adam"] = "halving"
    # λ, one number for every coordinate or seven (x, y, z, l, w, h, yaw). halving, momentum: times the gradient;
    # adam: about how far a step goes, m, rad.
    step_length: OneOrSevenNonNegative = 2e-4
    starts: Count = 1  # that a box is climbed from, itself and draws around it; the one that f likes best is kept
    start_stds: SevenNonNegative = (0.125, 0.125, 0.0625, 0.0625, 0.0625, 0.0625, 0.03125)  # of those draws, m, rad


class UncertaintyConfig(_Settings):
    """How sure of its boxes the energy is: weighted samples of p(y | x), proportional to exp(f(x, y) / temperature)."""

    enabled: bool = False  # in every detection; `detect --uncertainty` turns it on for a call
    samples: Count = 128  # a box, in each round
    # After the first round; each draws from what was fitted to the rounds before. With 0, and these stds, one or two of
    # a thousand draws carry all of the weight, for a car's length may be known ten times worse than its height.
    rounds: Annotated[int, Field(ge=0)] = 10
    # Of the first round's draws around the box, of each component of a mixture: one row of stds (x, y, z, l, w, h, yaw)
    # each, m, rad.
    stds: Annotated[tuple[tuple[Positive, ...], ...], Field(min_length=1), AfterValidator(_rows_of_one_each)] = (
        (0.125, 0.125, 0.0625, 0.0625, 0.0625, 0.0625, 0.03125),
        (0.25, 0.25, 0.0625, 0.375, 0.125, 0.125, 0.0625),
    )
    # run: what `calibrate` found and left in the run folder; 1 where it did not. Above 1: wider than exp f says.
    temperature: Literal["run"] | Positive = "run"


class DetectionConfig(_Settings):
    """From anchor scores to detections."""

    score_threshold: Share = 0.3
    nms_iou: Share = 0.1  # rotated BEV
    max_proposals: Count = 100  # a frame, before NMS


class SamplingConfig(_Settings):
    """Label-database sampling: objects of other training frames are put into a frame."""

    enabled: bool = True
    counts: dict[str, Annotated[int, Field(ge=0)]] = {"Car": 15}  # class → objects that a frame is filled up to
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


class ObjectNoiseConfig(_Settings):
    """Each object of a frame moves by itself."""

    enabled: bool = True
    rotation: NonNegative = 0.7853981633974483  # about z, uniform in ± this, rad
    center_std: tuple[NonNegative, NonNegative, NonNegative] = (1.0, 1.0, 0.5)  # x, y, z, m
    attempts: Count = 100  # an object that collides with another in all of them stays where it is


class AugmentationConfig(_Settings):
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


class StageTrainingConfig(_Settings):
    """One stage of training: Adam with a one-cycle schedule."""

    epochs: Annotated[int, Field(ge=0)] = 80
    batch_size: Count = 2  # frames of one optimiser step, over all processes
    # Passes, one after another, that each process' share of a step's batch is divided into: less memory for the same
    # step (BatchNorm's statistics are then those of a pass).
    accumulation: Count = 1
    learning_rate: Positive = 3e-3
    weight_decay: NonNegative = 0.01
    gradient_clip: Positive = 10.0


class CheckpointsConfig(_Settings):
    """When all that training needs to go on is written to RUN/checkpoints, and how much of it stays there."""

    keep: Count = 2  # of the newest; the best by validation stays beside them
    every_epochs: Annotated[int, Field(ge=0)] = 1  # at their ends; 0: none there
    every_steps: Annotated[int, Field(ge=0)] = 0  # 0: not by steps
    every_minutes: NonNegative = 10.0  # 0: not by time


class TrainingConfig(_Settings):
    """Which stages run, in which order, and what they leave behind."""

    mode: Literal["two_stage", "joint"] = "two_stage"  # joint trains the energy head with the detector, in its stage
    detector: StageTrainingConfig = StageTrainingConfig()
    energy: StageTrainingConfig = StageTrainingConfig()
    energy_weight: NonNegative = 1.0  # of the energy's loss in joint training
    # Share of a new batch in the running statistics of BatchNorm. They follow over some 1 / momentum steps, so a short
    # training wants a larger share than the published one.
    norm_momentum: Annotated[float, Field(gt=0, le=1)] = 0.01
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    # Of the exponential moving average of the weights, which is then what is evaluated, kept and handed to the next
    # stage. 0: none, as published.
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    workers: Annotated[int, Field(ge=0)] = 2
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    validate_every: Annotated[int, Field(ge=0)] = 0  # epochs between AP on the `val` split; 0: never
    log_every: Count = 10  # steps that a row of metrics.csv averages over


class Config(_Settings):
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


def configuration_folder() -> Path:
    """Where the presets lie: `configs/` of the checkout, or their copy in the installed package."""
    packaged = Path(__file__).resolve().parent / "configs"
    return packaged if packaged.is_dir() else packaged.parents[1] / "configs"


def load_config(source: str | Path | None = None, overrides: list[str] | None = None) -> Config:
    """Read a configuration.

    Args:
        source: path of a YAML file, or the name of a preset in `configs/`; None for the defaults.
        overrides: `dotted.key=value` strings that replace single settings; lists are replaced whole.

    Raises:
        InputError: the file is missing or is no YAML, a key is unknown, or a value is out of its range.
    """
    name = "defaults" if source is None else str(source)
    data: Any = {}
    try:
        if source is not None:
            path = Path(source)
            if not path.is_file():
                path = configuration_folder() / f"{source}.yaml"
            if not path.is_file():
                presets = ", ".join(sorted(item.stem for item in configuration_folder().glob("*.yaml")))
                raise InputError(
                    f"{source}: no such configuration. Give a YAML file, or one of the presets: {presets}."
                )
            data = OmegaConf.load(path)
            if not OmegaConf.is_dict(data):
                raise InputError(f"{path}: holds no settings. Expected `key: value` lines in YAML.")
        for item in overrides or []:
            if "=" not in item:
                raise InputError(f"{item!r}: an override is written key=value, for example training.detector.epochs=5.")
        merged = OmegaConf.merge(data, OmegaConf.from_dotlist(list(overrides or [])))
        values = OmegaConf.to_container(merged, resolve=True)
    except (OmegaConfBaseException, YAMLError, UnicodeDecodeError, TypeError) as error:
        raise InputError(f"{name}: is not a readable configuration: {error}") from error
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise InputError("\n".join(_explain(name, problem) for problem in error.errors())) from error


def _explain(name: str, problem: Any) -> str:
    """One line for one of pydantic's problems."""
    key = ".".join(str(part) for part in problem["loc"] if part not in ("one", "seven"))
    if problem["type"] == "extra_forbidden":
        model: Any = Config
        for part in problem["loc"][:-1]:
            if isinstance(part, int):
                continue
            annotation = model.model_fields[part].annotation
            model = next((a for a in getattr(annotation, "__args__", ()) if hasattr(a, "model_fields")), annotation)
            if hasattr(annotation, "model_fields"):
                model = annotation
        known = list(getattr(model, "model_fields", {}))
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known there: {', '.join(known)}."
        return f"{name}: unknown setting {key!r}; {hint}"
    return f"{name}: {key or 'settings'} = {problem.get('input')!r}: {problem['msg']}."


def save_config(config: Config, path: str | Path) -> None:
    """Write every setting, defaults too, as YAML."""
    with atomic_write(path, "w") as file:
        file.write(OmegaConf.to_yaml(OmegaConf.create(config.model_dump(mode="json"))))
