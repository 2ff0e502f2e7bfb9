"""Weights and training state on disk: safetensors files, written atomically, read without ever unpickling."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from lidar_ebm.config import Config, load_config
from lidar_ebm.errors import InputError
from lidar_ebm.files import atomic_write
from lidar_ebm.model.detector import Detector

# What a model's shapes and meaning follow from; the rest of a configuration may differ between a run and its use.
MODEL_SETTINGS = ("classes", "voxels", "backbone", "bev", "point_head", "anchor_head", "part_score", "energy")
NOT_IN_WEIGHTS = {"backbone.backend"}


@dataclass(frozen=True)
class TrainingState:
    """Where training stands, beside the weights."""

    stage: str  # name of the stage that the counters belong to
    epoch: int  # epochs finished in it
    step: int  # optimiser steps taken in it
    total_step: int  # and in all stages
    optimizer: dict[str, Any] = field(default_factory=dict)  # an optimiser's state_dict, empty between stages


def flat_settings(config: Config) -> dict[str, Any]:
    """A configuration as dotted key → value."""
    flat: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                walk(f"{prefix}.{key}" if prefix else key, item)
        else:
            flat[prefix] = value

    walk("", config.model_dump(mode="json"))
    return flat


def model_settings(config: Config) -> dict[str, Any]:
    """The part of `flat_settings` that weights depend on."""
    flat = flat_settings(config)
    return {k: v for k, v in flat.items() if k.split(".")[0] in MODEL_SETTINGS and k not in NOT_IN_WEIGHTS}


def describe_difference(there: dict[str, Any], here: dict[str, Any]) -> str | None:
    """The first setting in which two flat configurations differ, in words; None if there is none."""
    for key in sorted(there.keys() | here.keys()):
        if there.get(key) != here.get(key):
            return f"{key} is {there.get(key)!r} there and {here.get(key)!r} here"
    return None


def save_weights(model: nn.Module, config: Config, path: str | Path) -> None:
    """Write a model's weights and the settings they were made with."""
    _write(
        path, {f"model.{k}": v for k, v in model.state_dict().items()}, {"config": json.dumps(model_settings(config))}
    )


def load_weights(model: nn.Module, config: Config, path: str | Path, *, parts: tuple[str, ...] | None = None) -> None:
    """Read weights into a model.

    Args:
        parts: names of the configuration's sections that have to agree and whose modules are read; None for all.

    Raises:
        InputError: the file is missing or damaged, or was written with another configuration.
    """
    _load_model(model, config, path, *_read(path), parts)


def load_run_config(run: str | Path) -> Config:
    """The configuration of a run folder.

    Raises:
        InputError: the folder holds no run.
    """
    if not (Path(run) / "config.yaml").is_file():
        raise InputError(f"{run}: holds no run (no config.yaml). Name a folder that `lidar-ebm train` has written.")
    return load_config(Path(run) / "config.yaml")


def load_run(run: str | Path, device: torch.device | str = "cpu") -> Detector:
    """The trained detector of a run folder, in evaluation mode.

    Raises:
        InputError: the folder holds no finished run, or its weights do not fit its configuration.
    """
    config = load_run_config(run)
    model = Detector(config)
    load_weights(model, config, Path(run) / "model.safetensors")
    try:
        return model.to(device).eval()
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device {device!r}: cannot be used here ({reason}). Choose cpu, or a device there is."
        ) from error


def save_checkpoint(model: nn.Module, config: Config, state: TrainingState, path: str | Path) -> None:
    """Write everything that training needs to go on."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    numbers: dict[str, Any] = {}
    for index, values in state.optimizer.get("state", {}).items():
        for name, value in values.items():
            tensors[f"optimizer.{index}.{name}"] = value
    numbers["param_groups"] = state.optimizer.get("param_groups", [])
    numbers |= {"stage": state.stage, "epoch": state.epoch, "step": state.step, "total_step": state.total_step}
    _write(path, tensors, {"config": json.dumps(model_settings(config)), "training": json.dumps(numbers)})


def load_checkpoint(model: nn.Module, config: Config, path: str | Path) -> TrainingState:
    """Read a checkpoint into a model and return where training stood.

    Raises:
        InputError: the file is missing or damaged, or was written with another configuration.
    """
    tensors, metadata = _read(path)
    _load_model(model, config, path, tensors, metadata, None)
    if "training" not in metadata:
        raise InputError(f"{path}: holds weights but no state of training. Resume from a run's checkpoint.safetensors.")
    numbers = json.loads(metadata["training"])
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            states.setdefault(int(index), {})[name] = value
    optimizer = {"state": dict(sorted(states.items())), "param_groups": numbers.pop("param_groups")} if states else {}
    return TrainingState(**numbers, optimizer=optimizer)


def restore_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load an optimiser's state as `load_checkpoint` returned it; an empty one leaves the optimiser as it is."""
    if state:
        groups = [dict(group) for group in state["param_groups"]]
        for group in groups:
            if "betas" in group:  # JSON knows no tuples
                group["betas"] = tuple(group["betas"])
        optimizer.load_state_dict({"state": state["state"], "param_groups": groups})


def _write(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    data = save({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, metadata)
    with atomic_write(path) as file:
        file.write(data)


def _read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file. Name a run folder that `lidar-ebm train` has finished or begun.")
    try:
        with safe_open(str(path), framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: is damaged or no safetensors file ({error}). Train again or copy it again."
        ) from error


def _load_model(
    model: nn.Module,
    config: Config,
    path: str | Path,
    tensors: dict[str, Tensor],
    metadata: dict[str, str],
    parts: tuple[str, ...] | None,
) -> None:
    _check_settings(path, metadata, config, parts)
    state = {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")}
    if parts is not None:
        state = {key: value for key, value in state.items() if key.split(".")[0] in parts}
    own = {key: value for key, value in model.state_dict().items() if parts is None or key.split(".")[0] in parts}
    for key in sorted(own.keys() | state.keys()):
        if key not in own or key not in state or own[key].shape != state[key].shape:
            raise InputError(
                f"{path}: does not fit this version of the model (at {key}). Train again, or use the version of "
                "lidar_ebm that wrote it."
            )
    model.load_state_dict(state, strict=False)


def _check_settings(path: str | Path, metadata: dict[str, str], config: Config, parts: tuple[str, ...] | None) -> None:
    if "config" not in metadata:
        raise InputError(f"{path}: was not written by lidar_ebm (no configuration in its header).")
    sections = MODEL_SETTINGS if parts is None else (*parts, "classes", "voxels")
    saved, wanted = (
        {key: value for key, value in settings.items() if key.split(".")[0] in sections}
        for settings in (json.loads(metadata["config"]), model_settings(config))
    )
    difference = describe_difference(saved, wanted)
    if difference is not None:
        raise InputError(
            f"{path}: is a checkpoint of another configuration: {difference}. Use the config.yaml of its run, or train "
            "anew."
        )
