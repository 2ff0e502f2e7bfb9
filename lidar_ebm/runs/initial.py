"""Weights to begin with: those of another run, by name, as far as they fit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from lidar_ebm.config.config import Config
from lidar_ebm.config.migration import is_retired
from lidar_ebm.errors import InputError
from lidar_ebm.runs.model import name_in_file, name_in_model
from lidar_ebm.runs.run import model_settings
from lidar_ebm.runs.tensor_file import read_tensors

LISTED = 12  # layers and settings that a message names


@dataclass(frozen=True)
class TakenWeights:
    """Outcome of taking another run's weights for a model."""

    path: Path
    taken: dict[str, int]  # numbers by the weight's name
    anew: dict[str, int]
    reasons: dict[str, str]  # of those that begin anew
    settings: tuple[str, ...]  # in which the two models differ

    def lines(self) -> list[str]:
        """Lines for whoever fine-tunes."""
        layers: dict[str, tuple[int, str]] = {}
        for name, count in self.anew.items():
            layer = name.rpartition(".")[0] or name
            layers[layer] = (layers.get(layer, (0, ""))[0] + count, self.reasons[name])
        lines = [
            f"{self.path}: {sum(self.taken.values()):,} parameters taken, {sum(self.anew.values()):,} begin anew"
            + (":" if layers else ".")
        ]
        lines += [f"  {layer}: {count:,} ({why})" for layer, (count, why) in list(layers.items())[:LISTED]]
        if len(layers) > LISTED:
            lines.append(f"  and {len(layers) - LISTED} more layers")
        if self.settings:
            shown = "; ".join(self.settings[:LISTED]) + ("; …" if len(self.settings) > LISTED else "")
            lines.append(f"  Settings that differ: {shown}.")
        return lines


def weights_file(source: str | Path) -> Path:
    """The file of weights that a run folder, or the file itself, names.

    Raises:
        InputError: there is none.
    """
    path = Path(source)
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise InputError(f"{path}: no such weights. Name the folder of a finished run, or a .safetensors file of one.")
    return path


def take_weights(model: nn.Module, config: Config, source: str | Path) -> TakenWeights:
    """Read weights of another run into a model by their names; of averaged weights, these.

    Weights that are missing there or have another shape stay as they are in the model. So another configuration, with
    other classes, say, is no error: what differs is in the result.

    Args:
        model: begins where the other run ended.
        config: the model's.
        source: a run folder, or a file of weights: a run's, or one of its checkpoints.

    Raises:
        InputError: the file is missing or damaged, holds no weights of lidar_ebm, or none that fits.
    """
    path = weights_file(source)
    tensors, metadata = read_tensors(path)
    there = {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")}
    there |= {key.removeprefix("ema."): value for key, value in tensors.items() if key.startswith("ema.")}
    if not there or "config" not in metadata:
        raise InputError(f"{path}: holds no weights that lidar_ebm wrote. Name a run folder, or its model.safetensors.")
    fitting: dict[str, Tensor] = {}
    anew: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for name, own in ((name_in_file(key), value) for key, value in model.state_dict().items()):
        other = there.get(name)
        if other is not None and other.shape == own.shape:
            fitting[name] = other
            continue
        anew[name] = own.numel()
        reasons[name] = "not there" if other is None else f"{_shape(other)} there, {_shape(own)} here"
    if not fitting:
        raise InputError(f"{path}: none of its weights fits this model. Use the configuration of its run, or leave it.")
    model.load_state_dict({name_in_model(name): value for name, value in fitting.items()}, strict=False)
    taken = {name: value.numel() for name, value in fitting.items()}
    return TakenWeights(path, taken, anew, reasons, _differences(json.loads(metadata["config"]), config))


def _differences(saved: dict[str, object], config: Config) -> tuple[str, ...]:
    there, here = model_settings(Config()) | saved, model_settings(config)
    keys = [key for key in here if there.get(key) != here[key] and not is_retired(key)]
    return tuple(
        "other classes or anchors" if key == "classes" else f"{key} is {there.get(key)} there and {here[key]} here"
        for key in keys
    )


def _shape(value: Tensor) -> str:
    return "×".join(map(str, value.shape)) or "one number"
