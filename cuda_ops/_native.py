"""Loads the native libraries and calls them; `native.h` is their whole surface."""

from __future__ import annotations

import ctypes
import os
import warnings
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from cuda_ops.plain import is_plain

_DTYPES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}  # as in native.h
# Levels of instructions as torch names them, from low to high, and how the name of a level's library ends.
_LEVELS = {"DEFAULT": "", "AVX2": "_avx2", "AVX512": "_avx512"}

# OpenMP's threads do not survive a fork, and a parallel region in the child would wait for them for ever.
_in_forked_child = False

SURFACE = 2  # of native.h, as in surface.h

_OFF = os.environ.get("LIDAR_EBM_NATIVE", "1").lower() in ("0", "off", "false", "no")


def serves(device: torch.device) -> bool:
    """Tell if native kernels do the work on this device; otherwise the references do.

    They do not where `LIDAR_EBM_NATIVE=0` or `plain_torch` says so, where the package was installed without them, and
    on devices that are neither a CPU nor a CUDA GPU.

    Raises:
        RuntimeError: a CUDA device, where only the CPU library was built.
    """
    if _OFF or is_plain() or device.type not in ("cpu", "cuda") or not _has_cpu_library():
        return False
    if device.type == "cuda":
        _library("cuda")
    return True


def dtype_code(dtype: torch.dtype) -> int:
    """native.h's number for a floating type."""
    return _DTYPES[dtype]


def call(name: str, device: torch.device, *arguments: Tensor | int | float | None) -> None:
    """Call `lidar_ebm_<name>` on a device, with as many threads as torch uses, or on its current stream.

    A forked process computes on one thread. Tensors are passed by address, None as a null pointer. The caller keeps
    the tensors alive and has checked shapes, types and devices.

    Raises:
        RuntimeError: the kernel failed; the message is its own.
    """
    library = _library(device.type)
    threads, index, stream = 1 if _in_forked_child else torch.get_num_threads(), 0, None
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        stream = torch.cuda.current_stream(index).cuda_stream
    converted = [_to_c(argument) for argument in arguments]
    run = (ctypes.c_int64(threads), ctypes.c_int64(index), ctypes.c_void_p(stream))
    if getattr(library, f"lidar_ebm_{name}")(*converted, *run):
        raise RuntimeError(f"{name} on {device}: {library.lidar_ebm_error().decode()}")


def _note_fork() -> None:
    global _in_forked_child
    _in_forked_child = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def _to_c(argument: Tensor | int | float | None) -> ctypes.c_void_p | ctypes.c_int64 | ctypes.c_double:
    if isinstance(argument, Tensor):
        return ctypes.c_void_p(argument.data_ptr())
    if argument is None:
        return ctypes.c_void_p(None)
    if isinstance(argument, float):
        return ctypes.c_double(argument)
    return ctypes.c_int64(argument)


@cache
def _library(kind: str) -> ctypes.CDLL:
    """The library for `cpu` or `cuda`."""
    path = _find("lidar_ebm_cuda") if kind == "cuda" else _best_for_this_processor()
    if path is None:
        raise RuntimeError(
            f"the native library for {kind} was not built. Build it with nvcc on the PATH: "
            f"LIDAR_EBM_CUDA=ON pip install . (in the checkout of lidar_ebm), or set LIDAR_EBM_NATIVE=0 to compute "
            f"in plain PyTorch."
        )
    library = ctypes.CDLL(str(path))
    _check_surface(library, path)
    library.lidar_ebm_error.restype = ctypes.c_char_p
    return library


def _check_surface(library: ctypes.CDLL, path: Path) -> None:
    """Refuse a library of another version, which would take arguments for others."""
    number = getattr(library, "lidar_ebm_surface", None)
    if number is not None:
        number.restype = ctypes.c_int64
    built = 1 if number is None else number()
    if built != SURFACE:
        raise RuntimeError(
            f"{path}: is of another version of lidar_ebm (surface {built}, not {SURFACE}). Build it: `make install` "
            "or `pip install .` in the checkout, or set LIDAR_EBM_NATIVE=0 to compute in plain PyTorch."
        )


@cache
def _has_cpu_library() -> bool:
    if _best_for_this_processor() is not None:
        return True
    warnings.warn(
        "lidar_ebm was installed without its native kernels, so it computes in plain PyTorch, which is slower; "
        "`pip install .` in the checkout with a C++ compiler builds them",
        stacklevel=3,
    )
    return False


def _best_for_this_processor() -> Path | None:
    """The library of the highest level that was built, that the processor has, and $LIDAR_EBM_NATIVE_LEVEL allows."""
    suffixes = list(_LEVELS.values())[: min(_rank(torch.backends.cpu.get_cpu_capability()), _highest_allowed()) + 1]
    return next((path for end in reversed(suffixes) if (path := _find(f"lidar_ebm_cpu{end}")) is not None), None)


def _rank(level: str) -> int:
    """Place of a level of torch's among ours; those of other processors have the plain library alone."""
    return list(_LEVELS).index(level) if level in _LEVELS else 0


def _highest_allowed() -> int:
    given = os.environ.get("LIDAR_EBM_NATIVE_LEVEL", "AVX512").upper()
    if given not in _LEVELS:
        raise RuntimeError(
            f"LIDAR_EBM_NATIVE_LEVEL={given}: not a level of instructions; give one of {', '.join(_LEVELS)}, or unset "
            "it for the highest that this processor has."
        )
    return _rank(given)


def _find(name: str) -> Path | None:
    """The library in $LIDAR_EBM_NATIVE_DIR (for whoever builds with CMake alone), else in this package."""
    import cuda_ops

    given = os.environ.get("LIDAR_EBM_NATIVE_DIR")
    # An editable package has two folders, the checkout's and the installed one.
    folders = [Path(given)] if given else [Path(folder) / "lib" for folder in cuda_ops.__path__]
    candidates = [folder / f"{name}.so" for folder in folders]
    return next((path for path in candidates if path.is_file()), None)
