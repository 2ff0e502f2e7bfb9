"""State of training: all that it needs to go on exactly, and its form in a checkpoint's file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from lidar_ebm.errors import InputError


@dataclass(frozen=True)
class Position:
    """Progress of a training."""

    stage: str = "detector"  # name of the stage that the counters belong to
    step: int = 0  # optimiser steps done in it: with the frames, this says the epoch and the loader's place in it
    total_step: int = 0  # and in all stages
    frames: int = 0  # in the training split; another number would make other steps of an epoch
    validated: int = 0  # epochs of the stage whose AP is known
    best_ap: float = -1.0  # by which the best checkpoint was chosen
    skipped: int = 0  # steps left out because something was not finite
    averaged: int = 0  # updates of the averaged weights in this stage
    data: str = ""  # digest of the training split, by which a resume knows it again; none in checkpoints of before


@dataclass(frozen=True)
class TrainingState:
    """A position, and everything beside the model's own weights that goes on from there."""

    position: Position
    optimizer: Mapping[str, Any] = field(default_factory=dict)  # its state_dict; rates and momenta of the schedule too
    ema: Mapping[str, Tensor] = field(default_factory=dict)  # averaged weights by the model's names; empty without
    scaler: Mapping[str, Any] = field(default_factory=dict)  # the gradient scaler's state_dict; empty without
    random: tuple[Mapping[str, Tensor], ...] = ()  # the generators of every process, by rank

    def tensors(self) -> dict[str, Tensor]:
        """The tensors in it, by names for a file."""
        named = {f"ema.{name}": value for name, value in self.ema.items()}
        for index, values in self.optimizer.get("state", {}).items():
            named |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
        for rank, states in enumerate(self.random):
            named |= {f"random.{rank}.{name}": value for name, value in states.items()}
        return named

    def text(self) -> str:
        """The rest of it, as JSON."""
        groups = self.optimizer.get("param_groups", [])
        return json.dumps({"position": asdict(self.position), "param_groups": groups, "scaler": dict(self.scaler)})


def parse_state(path: object, tensors: Mapping[str, Tensor], text: str | None) -> TrainingState:
    """The state that a file holds; `path` names it in errors.

    Raises:
        InputError: there is none, or it is one of another version.
    """
    if text is None:
        raise InputError(f"{path}: holds weights but no state of training. Resume from a run's checkpoints.")
    try:
        values = json.loads(text)
        position, scaler, groups = Position(**values["position"]), values["scaler"], values["param_groups"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: was written by another version of lidar_ebm. Finish the run with that version, or train anew in "
            "another folder."
        ) from error
    states: dict[int, dict[str, Tensor]] = {}
    random: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, _, name = key.partition(".")
        if kind in ("optimizer", "random"):
            index, _, name = name.partition(".")
            (states if kind == "optimizer" else random).setdefault(int(index), {})[name] = value
    optimizer = {"state": dict(sorted(states.items())), "param_groups": groups} if groups else {}
    ema = {key.removeprefix("ema."): value for key, value in tensors.items() if key.startswith("ema.")}
    return TrainingState(position, optimizer, ema, scaler, tuple(random[rank] for rank in sorted(random)))


def restore_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Load an optimiser's state as `parse_state` returned it; an empty one leaves the optimiser as it is."""
    if state:
        groups = [dict(group) for group in state["param_groups"]]
        for group in groups:
            if "betas" in group:  # JSON knows no tuples
                group["betas"] = tuple(group["betas"])
        optimizer.load_state_dict({"state": state["state"], "param_groups": groups})
