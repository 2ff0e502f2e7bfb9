"""Training, in one command: the detector, then the frozen detector's energy head; or both at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lidar_ebm.config import Config, StageTrainingConfig, save_config
from lidar_ebm.data.augment import augment
from lidar_ebm.data.batch import collate
from lidar_ebm.data.dataset import KittiDataset, crop_to_range
from lidar_ebm.errors import InputError
from lidar_ebm.model.detector import Detector
from lidar_ebm.progress import progress_bar
from lidar_ebm.training.checkpoint import (
    TrainingState,
    describe_difference,
    flat_settings,
    load_checkpoint,
    load_run_config,
    load_weights,
    restore_optimizer,
    save_checkpoint,
    save_weights,
)
from lidar_ebm.training.metrics import MetricsLog
from lidar_ebm.training.schedule import make_optimizer, make_schedule
from lidar_ebm.types import Batch, Frame

DETECTOR_PARTS = ("backbone", "bev", "point_head", "anchor_head", "part_score")
STAGES = ("detector", "energy")
STEPS_BETWEEN_ROWS = 10


class DetectorStage(nn.Module):
    """Trains the detector and, in joint training, the energy head with it."""

    def __init__(self, detector: Detector, joint: bool) -> None:
        super().__init__()
        self.detector = detector
        self.joint = joint
        for module in detector.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = detector.config.training.norm_momentum

    def trained(self) -> Iterator[nn.Parameter]:
        """The parameters that this stage changes."""
        for name, parameter in self.detector.named_parameters():
            if self.joint or not name.startswith("energy."):
                yield parameter

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Weighted losses by name."""
        features = self.detector.encode(batch)
        losses = self.detector.detector_losses(batch, features)
        if self.joint:
            weight = self.detector.config.training.energy_weight
            losses["energy"] = weight * self.detector.energy.loss(batch, features.bev, generator=generator)
        return losses


class EnergyStage(nn.Module):
    """Trains the energy head on a frozen detector, which stays in evaluation mode throughout."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def train(self, mode: bool = True) -> EnergyStage:
        """Only the energy head ever enters training mode: a frozen BatchNorm must not go on moving its statistics."""
        super().train(False)
        self.detector.energy.train(mode)
        self.training = mode
        return self

    def trained(self) -> Iterator[nn.Parameter]:
        """The parameters that this stage changes."""
        return self.detector.energy.parameters()

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The energy's loss."""
        bev = None
        if self.detector.energy.needs_bev:
            with torch.no_grad():
                bev = self.detector.encode(batch).bev
        return {"energy": self.detector.energy.loss(batch, bev, generator=generator)}


class AugmentedEpoch(Dataset[Frame | InputError]):
    """The training frames as one epoch sees them: what happens to a frame depends on seed, pass and index alone."""

    def __init__(self, frames: KittiDataset, config: Config, seed: tuple[int, ...]) -> None:
        self.frames, self.config, self.seed = frames, config, seed

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Frame | InputError:
        rng = np.random.default_rng((*self.seed, index))
        try:
            frame = augment(self.frames[index], rng, self.config.augmentation)
        except InputError as error:
            return error  # raised in a loader's worker, its message would come wrapped in a traceback
        return crop_to_range(frame, self.config.voxels.range)


def epoch_batches(frames: KittiDataset, config: Config, batch_size: int, stage: str, epoch: int) -> Iterator[Batch]:
    """The batches of one epoch, in an order that depends on seed, stage and epoch alone.

    Raises:
        InputError: a frame's file cannot be used.
    """
    seed = (config.seed, STAGES.index(stage), epoch)
    loader: DataLoader[Any] = DataLoader(
        AugmentedEpoch(frames, config, seed),
        batch_size=batch_size,
        shuffle=True,
        collate_fn=_collate_or_error,
        num_workers=config.training.workers,
        generator=torch.Generator().manual_seed(int(np.random.default_rng(seed).integers(2**62))),
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch


def _collate_or_error(frames: list[Frame | InputError]) -> Batch | InputError:
    error = next((frame for frame in frames if isinstance(frame, InputError)), None)
    return error or collate([frame for frame in frames if isinstance(frame, Frame)])


def train(
    config: Config,
    data: str | Path,
    run: str | Path,
    *,
    resume: bool = False,
    detector_run: str | Path | None = None,
    accelerator: str = "auto",
) -> None:
    """Train a detector and its energy head on a KITTI-layout data set's `train` split.

    The run folder then holds config.yaml, model.safetensors, metrics.csv and TensorBoard's logs: all that evaluation
    and detection need. A finished run is left as it is when it is resumed.

    Args:
        resume: go on from the run's checkpoint; without one, begin.
        detector_run: take the detector of this run as it is and train only an energy head on it.
        accelerator: Lightning Fabric's name of what to train on.

    Raises:
        InputError: the data set cannot be used, the run exists and `resume` is not given, or its checkpoint does not
            fit.
    """
    run = Path(run)
    if detector_run is not None and config.training.mode == "joint":
        raise InputError(
            f"{detector_run}: only an energy head is trained on its detector. Set training.mode=two_stage."
        )
    checkpoint = run / "checkpoint.safetensors"
    if (run / "config.yaml").exists():
        if not resume:
            raise InputError(f"{run}: a run is there already. Give --resume to go on with it, or another folder.")
        difference = describe_difference(flat_settings(load_run_config(run)), flat_settings(config))
        if difference is not None:
            raise InputError(
                f"{run}: the run there has another configuration: {difference}. Resume with {run / 'config.yaml'}, or "
                "choose another folder."
            )
    if resume and (run / "model.safetensors").exists():
        load_weights(Detector(config), config, run / "model.safetensors")
        return
    try:
        fabric = Fabric(accelerator=accelerator, devices=1, precision=config.training.precision)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"accelerator {accelerator!r}: cannot be used here ({error}). Choose cpu, or auto.") from error
    fabric.seed_everything(config.seed, verbose=False)
    frames = KittiDataset(data, "train", config, cache=config.training.workers == 0, cropped=False)
    detector = Detector(config)
    state = TrainingState(stage="detector", epoch=0, step=0, total_step=0)
    if resume and checkpoint.exists():
        state = load_checkpoint(detector, config, checkpoint)
    elif detector_run is not None:
        parts = tuple(part for part in DETECTOR_PARTS if getattr(detector, part) is not None)
        load_weights(detector, config, Path(detector_run) / "model.safetensors", parts=parts)
        state = TrainingState(stage="energy", epoch=0, step=0, total_step=0)
    save_config(config, run / "config.yaml")
    log = MetricsLog(run, state.total_step)
    try:
        if state.stage == "detector":
            stage = DetectorStage(detector, joint=config.training.mode == "joint")
            state = _run_stage(fabric, stage, frames, config, config.training.detector, state, log, checkpoint)
            state = TrainingState(stage="energy", epoch=0, step=0, total_step=state.total_step)
        if config.training.mode == "two_stage":
            _run_stage(fabric, EnergyStage(detector), frames, config, config.training.energy, state, log, checkpoint)
    finally:
        log.close()
    save_weights(detector, config, run / "model.safetensors")
    checkpoint.unlink(missing_ok=True)


def _run_stage(
    fabric: Fabric,
    stage: DetectorStage | EnergyStage,
    frames: KittiDataset,
    config: Config,
    settings: StageTrainingConfig,
    state: TrainingState,
    log: MetricsLog,
    checkpoint: Path,
) -> TrainingState:
    """Train one stage from where `state` stands to its end."""
    stage.to(fabric.device)
    parameters = list(stage.trained())
    stage.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = make_optimizer(parameters, settings)
    restore_optimizer(optimizer, state.optimizer)
    steps_an_epoch = -(-len(frames) // settings.batch_size)
    schedule = make_schedule(optimizer, settings, settings.epochs * steps_an_epoch, done=state.step)
    module, wrapped = fabric.setup(stage, optimizer)
    module.train()
    step, total_step = state.step, state.total_step
    with progress_bar(f"Training the {state.stage}", settings.epochs * steps_an_epoch, done=step) as bar:
        for epoch in range(state.epoch, settings.epochs):
            sums: dict[str, float] = {}
            taken, began = 0, time.perf_counter()
            for batch in epoch_batches(frames, config, settings.batch_size, state.stage, epoch):
                # Noise samples, too, depend on seed and step alone, so a resumed run draws the same.
                generator = torch.Generator(fabric.device).manual_seed(config.seed * 1_000_003 + total_step)
                losses = module(batch.to(fabric.device), generator)
                loss = torch.stack(list(losses.values())).sum()
                _check_finite(losses, batch, epoch)
                rate = optimizer.param_groups[0]["lr"]
                wrapped.zero_grad()
                fabric.backward(loss)
                norm = fabric.clip_gradients(module, wrapped, max_norm=settings.gradient_clip, error_if_nonfinite=False)
                assert norm is not None  # Fabric returns it wherever a norm is what is clipped
                if config.training.precision != "16-mixed":  # there the scaler leaves such steps out
                    _check_finite({"gradient": norm}, batch, epoch)
                wrapped.step()
                schedule.step()
                step, total_step, taken = step + 1, total_step + 1, taken + 1
                figures = {key: float(value.detach()) for key, value in losses.items()}
                figures |= {"loss": float(loss.detach()), "gradient_norm": float(norm)}
                for key, value in figures.items():
                    sums[key] = sums.get(key, 0.0) + value
                if taken == STEPS_BETWEEN_ROWS or step % steps_an_epoch == 0:
                    means = {key: value / taken for key, value in sums.items()}
                    means |= {"learning_rate": rate, "seconds_per_step": (time.perf_counter() - began) / taken}
                    log.write(total_step, epoch, state.stage, means)
                    sums, taken, began = {}, 0, time.perf_counter()
                bar.advance(note=f"loss {figures['loss']:.3f}")
            if (epoch + 1) % config.training.checkpoint_every == 0 or epoch + 1 == settings.epochs:
                now = TrainingState(state.stage, epoch + 1, step, total_step, optimizer.state_dict())
                save_checkpoint(stage.detector, config, now, checkpoint)
    return TrainingState(state.stage, settings.epochs, step, total_step)


def _check_finite(losses: dict[str, Tensor], batch: Batch, epoch: int) -> None:
    bad = [name for name, value in losses.items() if not bool(torch.isfinite(value))]
    if bad:
        raise InputError(
            f"{', '.join(bad)} is not finite in epoch {epoch} on frames {', '.join(batch.frame_ids)}. Look at these "
            "frames' points and labels and go on with --resume, or train anew with a lower learning rate."
        )
