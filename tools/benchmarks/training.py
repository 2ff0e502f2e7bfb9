"""Time of a training step, for each stage: loading to optimiser, in ms, and the memory that it takes.

Everything happens one after another here, on one process; in training, workers load and augment meanwhile. The first
steps do not count.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import where
from torch import Tensor
from training_data import add_arguments, prepared_data

from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import load_config
from lidar_ebm.config.training import StageTrainingConfig
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.datasets.preparation.label_database import LabelDatabase
from lidar_ebm.datasets.samples import crop_to_range
from lidar_ebm.detector.voxelize import voxelize
from lidar_ebm.runs.model import Model
from lidar_ebm.training.augmentation.augment import augment
from lidar_ebm.training.schedule import make_optimizer
from lidar_ebm.training.stages import DetectorStage, EnergyStage, Stage
from lidar_ebm.types import Batch, FrameFeatures

PARTS = (
    "load",
    "augment",
    "transfer",
    "voxelize",
    "backbone",
    "map network",
    "heads",
    "energy",
    "backward",
    "optimiser",
)
WARM_UP = 2
MEGABYTE = 2**20


class Watch:
    """Adds up the time of each part of a step."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        self._wait()
        began = time.perf_counter()
        yield
        self._wait()
        self.seconds[part] += time.perf_counter() - began

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class Steps:
    """Training steps of one stage, part by part, on a detector of the configuration."""

    def __init__(self, name: str, config: Config, folder: Path, database: LabelDatabase, device: torch.device) -> None:
        self.config, self.database, self.device = config, database, device
        self.settings: StageTrainingConfig = getattr(config.training, name)
        self.frames = open_samples(folder, "train", config, cropped=False)
        torch.manual_seed(config.seed)
        detector = Model(config).to(device)
        joint = config.training.mode == "joint"
        self.stage: Stage = DetectorStage(detector, joint) if name == "detector" else EnergyStage(detector)
        self.with_detector, self.with_energy = name == "detector", name == "energy" or joint
        parameters = list(self.stage.trained())
        self.stage.requires_grad_(False)
        for parameter in parameters:
            parameter.requires_grad_(True)
        self.parameters = parameters
        self.optimizer = make_optimizer(parameters, self.settings, fused=device.type == "cuda")
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.training.precision == "16-mixed")
        self.stage.train()

    def take(self, step: int, watch: Watch) -> None:
        """Load a batch and take a step on it."""
        batch = self._load(step, watch)
        with watch("transfer"):
            batch = batch.to(self.device)
        with self._precision():
            losses = self._losses(batch, watch)
        with watch("backward"):
            self.scaler.scale(torch.stack(list(losses.values())).sum()).backward()
        with watch("optimiser"):
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_clip)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()

    def _load(self, step: int, watch: Watch) -> Batch:
        first = step * self.settings.batch_size
        indices = [index % len(self.frames) for index in range(first, first + self.settings.batch_size)]
        with watch("load"):
            frames = [self.frames[index] for index in indices]
        with watch("augment"):
            changed = []
            for frame, index in zip(frames, indices, strict=True):
                rng = np.random.default_rng((step, index))
                frame = augment(frame, rng, self.config.augmentation, self.database, self.config.classes)
                changed.append(crop_to_range(frame, self.config.voxels.range))
            return collate(changed)

    def _losses(self, batch: Batch, watch: Watch) -> dict[str, Tensor]:
        """Losses of the stage's `forward`, computed part by part."""
        detector, losses = self.stage.model, {}
        bev = None
        if self.with_detector or detector.energy.needs_bev:
            with nullcontext() if self.with_detector else torch.no_grad():
                with watch("voxelize"):
                    voxels = voxelize(batch.points, batch.point_batch_index, batch.batch_size, self.config.voxels)
                with watch("backbone"):
                    volume = detector.detector.backbone(voxels)
                with watch("map network"):
                    bev = detector.detector.bev(volume.dense, volume.occupied)
            if self.with_detector:
                with watch("heads"):
                    losses = detector.detector.losses(batch, FrameFeatures(voxels, volume.stages, bev))
        if self.with_energy:
            with watch("energy"):
                losses["energy"] = detector.energy.loss(batch, bev)
        return losses

    def _precision(self) -> AbstractContextManager[Any]:
        lower = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(self.config.training.precision)
        return nullcontext() if lower is None else torch.autocast(self.device.type, lower)


def kept_for_backward(steps: Steps, step: int) -> float:
    """MB of intermediate results that a step keeps until its backward pass, weights not among them."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in steps.stage.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        steps.take(step, Watch(steps.device))
    return sum(kept.values()) / MEGABYTE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser, 8)
    parser.add_argument("--stages", nargs="+", choices=("detector", "energy"), default=["detector", "energy"])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; torch's own choice by default")
    arguments = parser.parse_args()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    config = load_config(arguments.config, arguments.overrides)
    with prepared_data(arguments.data, arguments.frames) as (folder, database):
        print(f"{arguments.config}, {where(arguments.device)}, torch {torch.__version__}\n")
        for name in arguments.stages:
            steps = Steps(name, config, folder, database, arguments.device)
            report(name, steps, arguments.steps)


def report(name: str, steps: Steps, count: int) -> None:
    """Measure a stage and print its table."""
    for step in range(WARM_UP):
        steps.take(step, Watch(steps.device))
    kept = kept_for_backward(steps, WARM_UP)
    watch, began = Watch(steps.device), time.perf_counter()
    for step in range(count):
        steps.take(step, watch)
    total = time.perf_counter() - began
    frames = count * steps.settings.batch_size
    print(f"| {name}, {steps.settings.batch_size} frames a step | ms a step | share |\n| --- | --- | --- |")
    for part in PARTS:
        if part in watch.seconds:
            print(f"| {part} | {1e3 * watch.seconds[part] / count:.1f} | {watch.seconds[part] / total:.1%} |")
    print(f"| all | {1e3 * total / count:.1f} | {frames / total:.2f} frames/s |\n")
    if steps.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(steps.device) / MEGABYTE
        torch.cuda.reset_peak_memory_stats(steps.device)
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"kept for the backward pass: {kept:,.0f} MB; at most in use so far: {peak:,.0f} MB\n", flush=True)


if __name__ == "__main__":
    main()
