"""The temperature that calibration found for a run, in RUN/temperature.json, and which weights it is of."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import nn

from lidar_ebm.config.energy import UncertaintyConfig
from lidar_ebm.errors import InputError
from lidar_ebm.runs.model import name_in_file
from lidar_ebm.system.files import atomic_write

FILE_NAME = "temperature.json"
FINISHED_WEIGHTS = "model.safetensors"  # of a run, the ones that the file is of


def weights_digest(model: nn.Module) -> str:
    """Digest that tells a model's weights from others: 64 hexadecimal digits."""
    weights = {name_in_file(name): value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    return hashlib.sha256(safetensors.torch.save(weights)).hexdigest()


def write_temperature(run: str | Path, model: nn.Module, temperature: float, facts: Mapping[str, Any]) -> Path:
    """Keep a temperature for these weights, with what else is worth knowing about it.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(run) / FILE_NAME
    content = {"temperature": temperature, "weights_sha256": weights_digest(model), **facts}
    with atomic_write(path, "w") as file:
        json.dump(content, file, indent=1)
        file.write("\n")
    return path


def read_temperature(run: str | Path, model: nn.Module) -> float | None:
    """The temperature found for these weights; None if there is none, with a warning if there is one of others.

    Raises:
        InputError: the file is damaged.
    """
    path = Path(run) / FILE_NAME
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        temperature, digest = float(content["temperature"]), content["weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: is no file of a temperature ({error!r}). Delete it, or calibrate the run anew."
        ) from error
    if not 0 < temperature < math.inf:
        raise InputError(f"{path}: the temperature {temperature} is no positive number. Calibrate the run anew.")
    if digest != weights_digest(model):
        warnings.warn(
            f"{path}: was found for other weights than the run has now, and is passed over. Calibrate the run anew.",
            stacklevel=2,
        )
        return None
    return temperature


def temperature_of(run: str | Path, model: nn.Module, settings: UncertaintyConfig) -> float:
    """The configured temperature, or what calibration found; 1 where it found none, with a warning.

    Raises:
        InputError: the run's file is damaged.
    """
    if settings.temperature != "run":
        return settings.temperature
    temperature = read_temperature(run, model)
    if temperature is None:
        warnings.warn(
            f"{run}: how sure the energy is was never compared with labels, so its boxes' uncertainty may be too small "
            f"or too large (temperature 1). Run `lidar-ebm calibrate {run} --data DATA` to find its temperature.",
            stacklevel=2,
        )
        return 1.0
    return temperature
