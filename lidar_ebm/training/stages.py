"""The stages of training: what each computes, and which of the detector's weights it changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from lidar_ebm.detector.detector import OWN_COUNTS
from lidar_ebm.runs.model import Model, name_in_file
from lidar_ebm.types import Batch, LossCounts


class Work:
    """A batch, a seed for each of its frames, and what sums over it are divided by; on the device.

    No dataclass: Fabric would look into one, and make half-precision numbers of the points' positions.
    """

    def __init__(self, batch: Batch, seeds: Sequence[int], counts: LossCounts = OWN_COUNTS) -> None:
        self.batch, self.seeds, self.counts = batch, seeds, counts


class Stage(nn.Module):
    """Part of a detector in training; `forward` gives weighted losses by name."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def trains(self, name: str) -> bool:
        """Tell if this stage changes the detector's parameter or buffer of that name."""
        raise NotImplementedError

    def counts(self, work: Work) -> LossCounts:
        """Counts that the losses of this work are divided by where it is all of a step; it changes nothing."""
        raise NotImplementedError

    def label_count(self, batch: Batch) -> int:
        """Labels of a batch that the energy is trained on."""
        return int(self.model.energy.trained_on(batch.boxes.boxes).sum())

    def trained(self) -> Iterator[nn.Parameter]:
        """The parameters that this stage changes."""
        return (parameter for _, parameter in self.named_trained())

    def named_trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The same, with the names that they have in files."""
        named = self.model.named_parameters()
        return ((name_in_file(name), parameter) for name, parameter in named if self.trains(name))

    def trained_state(self) -> dict[str, Tensor]:
        """State that this stage changes, buffers too, by the names that the detector's weights have in files."""
        state = self.model.state_dict()
        return {name_in_file(name): value for name, value in state.items() if self.trains(name)}


class DetectorStage(Stage):
    """Trains the detector and, in joint training, the energy head with it."""

    def __init__(self, model: Model, joint: bool) -> None:
        super().__init__(model)
        self.joint = joint
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = model.config.training.norm_momentum

    def trains(self, name: str) -> bool:
        """Everything but the energy head; that too in joint training."""
        return self.joint or not name.startswith("energy.")

    @torch.no_grad()
    def counts(self, work: Work) -> LossCounts:
        """Of all losses. The part score's depends on what is proposed, so the network runs, as it will in `forward`."""
        before = [buffer.clone() for buffer in self.buffers()]
        counts = self.model.detector.loss_counts(work.batch, self.model.detector.encode(work.batch))
        for buffer, old in zip(self.buffers(), before, strict=True):  # running statistics follow once a pass
            buffer.copy_(old)
        return replace(counts, labels=self.label_count(work.batch))

    def forward(self, work: Work) -> dict[str, Tensor]:
        """Weighted losses by name."""
        features = self.model.detector.encode(work.batch)
        losses = self.model.detector.losses(work.batch, features, work.counts)
        if self.joint:
            energy = self.model.energy.loss(work.batch, features.bev, seeds=work.seeds, count=work.counts.labels)
            losses["energy"] = self.model.config.training.energy_weight * energy
        return losses


class EnergyStage(Stage):
    """Trains the energy head on a frozen detector, which stays in evaluation mode throughout."""

    def train(self, mode: bool = True) -> EnergyStage:
        """Only the energy head ever enters training mode: a frozen BatchNorm must not go on moving its statistics."""
        super().train(False)
        self.model.energy.train(mode)
        self.training = mode
        return self

    def trains(self, name: str) -> bool:
        """The energy head alone."""
        return name.startswith("energy.")

    def counts(self, work: Work) -> LossCounts:
        """Of the labels alone."""
        return LossCounts(labels=self.label_count(work.batch))

    def forward(self, work: Work) -> dict[str, Tensor]:
        """The energy's loss."""
        bev = None
        if self.model.energy.needs_bev:
            with torch.no_grad():
                bev = self.model.detector.encode(work.batch).bev
        return {"energy": self.model.energy.loss(work.batch, bev, seeds=work.seeds, count=work.counts.labels)}
