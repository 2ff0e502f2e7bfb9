"""The folder RUN/checkpoints: the newest few, the best, and which of them a resumed run goes on from."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from torch import nn

from lidar_ebm.config.config import Config
from lidar_ebm.errors import InputError
from lidar_ebm.runs.run import model_settings, model_tensors, read_model
from lidar_ebm.runs.tensor_file import DamagedFileError, read_tensors, write_tensors
from lidar_ebm.system.files import atomic_write
from lidar_ebm.training.state import TrainingState, parse_state

BEST = "best.safetensors"


class Checkpoints:
    """Files step_0000000042.safetensors, named by the steps done in all stages, and best.safetensors."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder, self._config = folder, config

    def save(self, model: nn.Module, state: TrainingState, *, best: bool = False) -> None:
        """Write a checkpoint, `best` also as the best one, then remove those that are too many.

        Raises:
            OutputError: it cannot be written; those before are as they were.
        """
        path = self.folder / _name(state.position.total_step)
        metadata = {"config": json.dumps(model_settings(self._config)), "training": state.text()}
        write_tensors(path, model_tensors(model) | state.tensors(), metadata)
        if best:
            with atomic_write(self.folder / BEST) as file:
                file.write(path.read_bytes())
        for old in self.newest_first()[self._config.training.checkpoints.keep :]:
            old.unlink(missing_ok=True)

    def newest_first(self) -> list[Path]:
        """The checkpoints that are there, without the best."""
        return sorted(self.folder.glob("step_*.safetensors"), reverse=True)

    def load_newest(self, model: nn.Module, *, warn: bool = True) -> TrainingState | None:
        """Read the newest checkpoint that is whole into a model, and warn of damaged ones; None where there is none.

        Raises:
            InputError: all of them are damaged, or the newest whole one is of another configuration or version.
        """
        paths = self.newest_first()
        for path in paths:
            try:
                tensors, metadata = read_tensors(path)
            except DamagedFileError as error:
                if warn and path is not paths[-1]:
                    warnings.warn(f"{error} Going on from the checkpoint before.", stacklevel=2)
                continue
            read_model(model, self._config, path, tensors, metadata)
            return parse_state(path, tensors, metadata.get("training"))
        if paths:
            raise InputError(
                f"{self.folder}: none of the checkpoints there can be read ({', '.join(path.name for path in paths)}). "
                "Train anew in another folder."
            )
        return None

    def tidy(self, total_step: int) -> None:
        """Remove what a killed process left half-written, and what lies past the step that training goes on from."""
        for path in self.folder.glob(".*.safetensors.*"):
            path.unlink(missing_ok=True)
        for path in self.newest_first():
            if path.name > _name(total_step):  # damaged, or it would have been gone on from
                path.unlink(missing_ok=True)


def _name(total_step: int) -> str:
    return f"step_{total_step:010d}.safetensors"
