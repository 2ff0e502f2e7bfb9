"""Parts of a long detection, kept on disk batch by batch, so that an interruption costs one batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

import cuda_ops
import lidar_ebm
from lidar_ebm.runs.model import Model
from lidar_ebm.system.files import atomic_write
from lidar_ebm.types import Batch


class Parts:
    """The tensors found for each batch, in files whose names say what they were computed from.

    That is the program's own text, the configuration, the weights, the steps, the kind of device and torch's version,
    and the points of the batch: where any of it changes, the batch is computed anew. Numbers are kept as they are, so
    what is read is what would be computed.

    Args:
        folder: of the files; it is made when there is one to write.
        detector: on the device where it computes.
        steps: numbers of refinement steps.
    """

    def __init__(self, folder: Path, detector: Model, steps: Sequence[int]) -> None:
        self.folder = folder
        weights = {name: value.detach().cpu().contiguous() for name, value in detector.state_dict().items()}
        device = next(detector.parameters()).device.type
        self._made_with = hashlib.sha256(f"{list(steps)} {device} {torch.__version__}\n".encode())
        self._made_with.update(detector.config.model_dump_json().encode())
        self._made_with.update(safetensors.torch.save(weights))
        for package in (lidar_ebm, cuda_ops):
            for path in sorted(path for root in package.__path__ for path in Path(root).rglob("*.py")):
                self._made_with.update(path.read_bytes())

    def read(self, batch: Batch) -> dict[str, Tensor] | None:
        """Results of the batch; None if it was not looked at yet, or its file is damaged."""
        try:
            return safetensors.torch.load(self._path(batch).read_bytes())
        except (OSError, SafetensorError):
            return None

    def write(self, batch: Batch, tensors: dict[str, Tensor]) -> None:
        """Keep what was found for the batch.

        Raises:
            OutputError: the file cannot be written.
        """
        data = safetensors.torch.save({name: value.contiguous() for name, value in tensors.items()})
        with atomic_write(self._path(batch)) as file:
            file.write(data)

    def _path(self, batch: Batch) -> Path:
        name = self._made_with.copy()
        for tensor in (batch.points, batch.point_batch_index, torch.tensor(batch.batch_size)):
            name.update(tensor.cpu().contiguous().numpy().tobytes())
        return self.folder / f"{name.hexdigest()[:32]}.safetensors"
