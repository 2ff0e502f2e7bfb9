"""Settings of the stages of training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
)

from lidar_ebm.config.augmentation import AugmentationChanges
from lidar_ebm.config.base import (
    Count,
    NonNegative,
    Positive,
    Settings,
)


class StageTrainingConfig(Settings):
    """One stage of training: Adam with a one-cycle schedule."""

    epochs: Annotated[int, Field(ge=0)] = 80
    batch_size: Count = 2  # frames of one optimiser step, over all processes
    # Passes, one after another, that each process' share of a step's batch is divided into: less memory for the same
    # step (BatchNorm's statistics are then those of a pass). What losses are divided by is counted beforehand: for that
    # the detector's stage runs the network once more.
    accumulation: Count = 1
    learning_rate: Positive = 3e-3
    weight_decay: NonNegative = 0.01
    gradient_clip: Positive = 10.0
    augmentation: AugmentationChanges = AugmentationChanges()


class CheckpointsConfig(Settings):
    """Times at which all that training needs to go on is written to RUN/checkpoints, and how much of it stays there."""

    keep: Count = 2  # of the newest; the best by validation stays beside them
    every_epochs: Annotated[int, Field(ge=0)] = 1  # at their ends; 0: none there
    every_steps: Annotated[int, Field(ge=0)] = 0  # 0: not by steps
    every_minutes: NonNegative = 10.0  # 0: not by time


class TrainingConfig(Settings):
    """Stages that run, their order, and what they leave behind."""

    mode: Literal["two_stage", "joint"] = "two_stage"  # joint trains the energy head with the detector, in its stage
    detector: StageTrainingConfig = StageTrainingConfig()
    energy: StageTrainingConfig = StageTrainingConfig()
    energy_weight: NonNegative = 1.0  # of the energy's loss in joint training
    # Factors on the learning rate of parts of the model by their names, such as backbone, bev, anchor_head, energy or
    # energy.points; of those that fit the longest counts, and 1 of parts without one. For fine-tuning; with 0 a part's
    # weights stay as they are.
    rates: dict[str, NonNegative] = Field(default={})
    # Share of a new batch in the running statistics of BatchNorm. They follow over some 1 / momentum steps, so a short
    # training wants a larger share than the published one.
    norm_momentum: Annotated[float, Field(gt=0, le=1)] = 0.01
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    # Of the exponential moving average of the weights, which is then what is evaluated, kept and handed to the next
    # stage. 0: none, as published.
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    # Frames with objects of rare classes come several times in an epoch, so that each class is in about as many (CBGS).
    class_balanced: bool = False
    workers: Annotated[int, Field(ge=0)] = 2
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    validate_every: Annotated[int, Field(ge=0)] = 0  # epochs between AP on the `val` split; 0: never
    log_every: Count = 10  # steps that a row of metrics.csv averages over
