"""Tensors and text on disk: safetensors files with a checksum, written atomically, read without ever unpickling."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lidar_ebm.errors import InputError
from lidar_ebm.system.files import atomic_write

CHECKSUM = "checksum"


class DamagedFileError(InputError):
    """A file is there, and what it holds is not what was written."""


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors of any device and text beside them: the same bytes for the same content.

    Raises:
        OutputError: the file cannot be written.
    """
    on_cpu = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    data = save(on_cpu, {**metadata, CHECKSUM: _checksum(on_cpu, metadata)})
    header, values = _in_order(data)
    with atomic_write(path) as file:
        file.write(header)
        file.write(values)


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, on the CPU, and the text of a file.

    Raises:
        InputError: there is no such file.
        DamagedFileError: it is truncated, or not all of its bytes are those that were written.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file. Name a run folder that `lidar-ebm train` has finished or begun.")
    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise DamagedFileError(
            f"{path}: is damaged or no safetensors file ({error}). Train again or copy it again."
        ) from error
    expected = metadata.pop(CHECKSUM, None)
    if expected is not None and expected != _checksum(tensors, metadata):
        raise DamagedFileError(f"{path}: is damaged (its checksum is wrong). Train again or copy it again.")
    return tensors, metadata


def _in_order(data: bytes) -> tuple[bytes, memoryview]:
    """A safetensors file's header with its entries sorted, which safetensors leaves to chance; and the rest."""
    end = 8 + int.from_bytes(data[:8], "little")
    text = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, memoryview(data)[end:]


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Of names, types, shapes and values: what a reader can check without knowing how the file lays them out."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
