"""Finding, choosing and calling the native libraries."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cuda_ops import _native
from cuda_ops.box_overlap import op, reference

ROOT = Path(__file__).resolve().parents[2]
HAS_NATIVE = _native.serves(torch.device("cpu"))
needs_native = pytest.mark.skipif(not HAS_NATIVE, reason="native kernels are off or were not built")
LEVELS = ["DEFAULT", "AVX2", "AVX512"]


@pytest.fixture
def fresh_choice() -> Iterator[None]:
    """The library is chosen anew in this test, and again after it."""
    _native._library.cache_clear()
    yield
    _native._library.cache_clear()


def random_boxes(count: int) -> torch.Tensor:
    return torch.rand(count, 7) * torch.tensor([20.0, 20.0, 1.0, 4.0, 2.0, 2.0, 6.0])


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


@needs_native
def test_every_declared_function_is_exported() -> None:
    header = (ROOT / "cuda_ops" / "native.h").read_text()
    declared = re.findall(r"^LIDAR_EBM(?:_CPU)?_API [^;(]*\b(lidar_ebm_\w+)\(", header, re.MULTILINE)
    assert len(declared) > 5
    library = _native._library("cpu")
    assert [name for name in declared if not hasattr(library, name)] == []


@needs_native
@pytest.mark.parametrize("level", LEVELS)
def test_each_processor_level_has_its_library(level: str, monkeypatch: pytest.MonkeyPatch, fresh_choice: None) -> None:
    """Where the processor has the instructions, that library also computes the same."""
    real = torch.backends.cpu.get_cpu_capability()
    if real not in LEVELS or LEVELS.index(real) < LEVELS.index(level):
        pytest.skip(f"this processor has {real} only")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: level)
    suffix = "" if level == "DEFAULT" else f"_{level.lower()}"
    assert Path(_native._library("cpu")._name).name == f"lidar_ebm_cpu{suffix}.so"
    boxes = random_boxes(50)
    torch.testing.assert_close(op.box_iou_3d(boxes, boxes), reference.box_iou_3d(boxes, boxes))


@needs_native
def test_a_failing_kernel_says_why() -> None:
    boxes = random_boxes(2)
    with pytest.raises(RuntimeError, match="box_iou on cpu: dtype code 9"):
        _native.call("box_iou", boxes.device, boxes, boxes, 9, 2, 2, 0, 0, boxes)


def _overlap_in_child(queue: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    torch.set_num_threads(2)
    boxes = torch.ones(600, 7)
    queue.put(op.box_iou_bev(boxes, boxes)[0].tolist())  # torch itself would wait for ever in a parallel sum here


def test_works_in_a_forked_process() -> None:
    """After threads have run in the parent, whose thread pool a fork does not copy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        boxes = torch.ones(600, 7)
        assert (op.box_iou_bev(boxes, boxes) == 1).all()
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        child = context.Process(target=_overlap_in_child, args=(queue,), daemon=True)
        child.start()
        assert queue.get(timeout=60) == [1.0] * 600
        child.join(timeout=60)
        assert child.exitcode == 0
    finally:
        torch.set_num_threads(threads)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@needs_native
def test_a_gpu_without_its_library_is_an_error_that_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_choice: None
) -> None:
    monkeypatch.setenv("LIDAR_EBM_NATIVE_DIR", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"LIDAR_EBM_CUDA=ON pip install \."):
        _native.serves(torch.device("cuda"))


def test_devices_without_kernels_are_left_to_the_reference() -> None:
    assert not _native.serves(torch.device("meta"))


CODE = """
import warnings, torch
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from cuda_ops import _native
    from cuda_ops.box_overlap import op
    boxes = torch.ones(3, 7)
    iou = op.box_iou_bev(boxes, boxes)
    op.box_iou_bev(boxes, boxes)
print(_native.serves(boxes.device), float(iou.sum()), sum("native kernels" in str(w.message) for w in caught))
"""


def test_native_code_can_be_switched_off() -> None:
    assert run_python(CODE, LIDAR_EBM_NATIVE="0").stdout.split() == ["False", "9.0", "0"]


def test_an_installation_without_libraries_warns_once_and_works(tmp_path: Path) -> None:
    result = run_python(CODE, LIDAR_EBM_NATIVE="1", LIDAR_EBM_NATIVE_DIR=str(tmp_path))
    assert result.stdout.split() == ["False", "9.0", "1"]
