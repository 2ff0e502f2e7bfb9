"""Weights on disk, and the settings that they belong to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import load_config
from lidar_ebm.config.migration import is_retired
from lidar_ebm.errors import InputError
from lidar_ebm.runs.model import Model, name_in_file, name_in_model
from lidar_ebm.runs.tensor_file import read_tensors, write_tensors

# What a model's shapes and meaning follow from; the rest of a configuration may differ between a run and its use.
MODEL_SETTINGS = (
    *("classes", "encoder", "head", "points", "velocity", "voxels", "backbone", "pillars", "bev", "point_head"),
    *("anchor_head", "center_head", "part_score", "energy"),
)
# How f was trained: where that adds weights (a learnt proposal), their names tell.
NOT_IN_WEIGHTS = (
    "points.sweeps",
    "energy.points.order",
    "voxels.max_points_per_voxel",
    "backbone.backend",
    "voxels.max_voxels",
    "center_head.rectification",
    "energy.objective.",
    "energy.noise.",
    "energy.samples",
    "points.minimum_per_label",
)


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
    return {k: v for k, v in flat.items() if k.split(".")[0] in MODEL_SETTINGS and not k.startswith(NOT_IN_WEIGHTS)}


def describe_difference(there: dict[str, Any], here: dict[str, Any]) -> str | None:
    """The first setting in which two flat configurations differ, in words; None if there is none."""
    for key in sorted(there.keys() | here.keys()):
        if there.get(key) != here.get(key):
            return f"{key} is {there.get(key)!r} there and {here.get(key)!r} here"
    return None


def save_weights(model: nn.Module, config: Config, path: str | Path) -> None:
    """Write a model's weights and the settings they were made with."""
    write_tensors(path, model_tensors(model), {"config": json.dumps(model_settings(config))})


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """A model's weights under the names that they have in a file."""
    return {f"model.{name_in_file(key)}": value for key, value in model.state_dict().items()}


def load_weights(model: nn.Module, config: Config, path: str | Path, *, parts: tuple[str, ...] | None = None) -> None:
    """Read weights into a model; of a checkpoint with averaged weights, these.

    Args:
        parts: names of the configuration's sections that have to agree and whose modules are read; None for all.

    Raises:
        InputError: the file is missing or damaged, or was written with another configuration.
    """
    tensors, metadata = read_tensors(path)
    tensors |= {f"model.{key.removeprefix('ema.')}": value for key, value in tensors.items() if key.startswith("ema.")}
    read_model(model, config, path, tensors, metadata, parts)


def load_run_config(run: str | Path) -> Config:
    """The configuration of a run folder.

    Raises:
        InputError: the folder holds no run.
    """
    if not (Path(run) / "config.yaml").is_file():
        raise InputError(f"{run}: holds no run (no config.yaml). Name a folder that `lidar-ebm train` has written.")
    return load_config(Path(run) / "config.yaml")


def load_run(
    run: str | Path,
    device: torch.device | str = "cpu",
    *,
    weights: str = "model.safetensors",
    model_of: Callable[[Config], Model] = Model,
) -> Model:
    """The trained detector of a run folder, in evaluation mode.

    Args:
        weights: which of the folder's files: the finished run's, or a checkpoint (`checkpoints/best.safetensors`).
        model_of: makes the model of a configuration, as in training.

    Raises:
        InputError: the folder holds no finished run, or its weights do not fit its configuration.
    """
    config = load_run_config(run)
    model = model_of(config)
    load_weights(model, config, Path(run) / weights)
    try:
        return model.to(device).eval()
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device {device!r}: cannot be used here ({reason}). Choose cpu, or a device there is."
        ) from error


def read_model(
    model: nn.Module,
    config: Config,
    path: str | Path,
    tensors: dict[str, Tensor],
    metadata: dict[str, str],
    parts: tuple[str, ...] | None = None,
) -> None:
    """`load_weights` from what `read_tensors` returned for `path`; tensors of other things are passed over."""
    _check_settings(path, metadata, config, parts)
    state = {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")}
    if parts is not None:
        state = {key: value for key, value in state.items() if key.split(".")[0] in parts}
    own = {name_in_file(key): value for key, value in model.state_dict().items()}
    own = {key: value for key, value in own.items() if parts is None or key.split(".")[0] in parts}
    for key in sorted(own.keys() | state.keys()):
        if key not in own or key not in state or own[key].shape != state[key].shape:
            raise InputError(
                f"{path}: does not fit this version of the model (at {key}). Train again, or use the version of "
                "lidar_ebm that wrote it."
            )
    model.load_state_dict({name_in_model(key): value for key, value in state.items()}, strict=False)


def _check_settings(path: str | Path, metadata: dict[str, str], config: Config, parts: tuple[str, ...] | None) -> None:
    if "config" not in metadata:
        raise InputError(f"{path}: was not written by lidar_ebm (no configuration in its header).")
    sections = (
        MODEL_SETTINGS if parts is None else (*parts, "classes", "encoder", "head", "points", "velocity", "voxels")
    )
    saved, wanted = (
        {
            k: v
            for k, v in settings.items()
            if k.split(".")[0] in sections and not k.startswith(NOT_IN_WEIGHTS) and not is_retired(k)
        }
        # A setting that did not exist yet is what it is by default: that is how new ones come in.
        for settings in (model_settings(Config()) | json.loads(metadata["config"]), model_settings(config))
    )
    difference = describe_difference(saved, wanted)
    if difference is not None:
        raise InputError(
            f"{path}: is a checkpoint of another configuration: {difference}. Use the config.yaml of its run, or train "
            "anew."
        )
