"""Finding, choosing and calling the native libraries."""

from __future__ import annotations

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
from cuda_ops.box_sampling.op import sample_boxes
from cuda_ops.plain import plain_torch
from tests.cuda_ops.devices import DEVICES, needs_native

ROOT = Path(__file__).resolve().parents[2]
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
@pytest.mark.parametrize("device", DEVICES)
def test_every_declared_function_is_exported(device: str) -> None:
    header = (ROOT / "cuda_ops" / "native.h").read_text()
    declared = re.findall(rf"^LIDAR_EBM(?:_{device.upper()})?_API [^;(]*\b(lidar_ebm_\w+)\(", header, re.MULTILINE)
    assert len(declared) > 5
    library = _native._library(device)
    assert [name for name in declared if not hasattr(library, name)] == []


@needs_native
@pytest.mark.parametrize("level", LEVELS)
def test_each_processor_level_has_its_library(level: str, monkeypatch: pytest.MonkeyPatch, fresh_choice: None) -> None:
    """Same results from that library too, on a processor that has the instructions."""
    real = torch.backends.cpu.get_cpu_capability()
    if real not in LEVELS or LEVELS.index(real) < LEVELS.index(level):
        pytest.skip(f"this processor has {real} only")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: level)
    monkeypatch.delenv("LIDAR_EBM_NATIVE_LEVEL", raising=False)
    suffix = "" if level == "DEFAULT" else f"_{level.lower()}"
    assert Path(_native._library("cpu")._name).name == f"lidar_ebm_cpu{suffix}.so"
    boxes = random_boxes(50)
    torch.testing.assert_close(op.box_iou_3d(boxes, boxes), reference.box_iou_3d(boxes, boxes))


@needs_native
@pytest.mark.parametrize("level", LEVELS)
def test_a_lower_level_can_be_asked_for(level: str, monkeypatch: pytest.MonkeyPatch, fresh_choice: None) -> None:
    """And a level that the processor lacks is not loaded, whatever is asked for."""
    real = torch.backends.cpu.get_cpu_capability()
    monkeypatch.setenv("LIDAR_EBM_NATIVE_LEVEL", level.lower())
    expected = LEVELS[min(LEVELS.index(level), LEVELS.index(real) if real in LEVELS else 0)]
    suffix = "" if expected == "DEFAULT" else f"_{expected.lower()}"
    assert Path(_native._library("cpu")._name).name == f"lidar_ebm_cpu{suffix}.so"


def test_a_level_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, fresh_choice: None) -> None:
    monkeypatch.setenv("LIDAR_EBM_NATIVE_LEVEL", "AVX3")
    with pytest.raises(RuntimeError, match=r"LIDAR_EBM_NATIVE_LEVEL=AVX3.*DEFAULT, AVX2, AVX512"):
        _native._library("cpu")


@needs_native
def test_a_failing_kernel_says_why() -> None:
    boxes = random_boxes(2)
    with pytest.raises(RuntimeError, match="box_iou on cpu: dtype code 9"):
        _native.call("box_iou", boxes.device, boxes, boxes, 9, 2, 2, 0, 0, boxes)


FORK = """
import multiprocessing, torch
from cuda_ops.box_overlap import op
torch.set_num_threads(2)
boxes = torch.ones(600, 7)
if LOADED:
    op.box_iou_bev(boxes, boxes)
torch.ones(1000, 1000).sum()  # torch's threads run, which are ours too

def overlap(queue):
    torch.set_num_threads(2)
    queue.put(op.box_iou_bev(boxes, boxes)[0].tolist())  # torch itself would wait for ever in a parallel sum here

context = multiprocessing.get_context("fork")
queue = context.Queue()
context.Process(target=overlap, args=(queue,), daemon=True).start()
print(queue.get(timeout=60) == [1.0] * 600)
"""


@needs_native
@pytest.mark.parametrize("loaded", [True, False])
def test_works_in_a_forked_process(loaded: bool) -> None:
    """A parent that has run threads, which a fork does not copy, with the library loaded before the fork or after."""
    result = run_python(FORK.replace("LOADED", str(loaded)))
    assert result.stdout.strip() == "True", result.stderr


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


def test_plain_torch_is_asked_for_by_the_region() -> None:
    cpu = torch.device("cpu")
    before = _native.serves(cpu)
    with plain_torch():
        assert not _native.serves(cpu)
        with plain_torch():
            pass
        assert not _native.serves(cpu)
    assert _native.serves(cpu) == before
    with pytest.raises(KeyError), plain_torch():
        raise KeyError
    assert _native.serves(cpu) == before


def test_plain_torch_can_be_differentiated_twice() -> None:
    """Derivatives asked for within the region or after it."""
    bev = torch.rand(1, 3, 9, 9, dtype=torch.float64)
    boxes = (random_boxes(4) * 0.1).double().requires_grad_()
    with plain_torch():
        values = sample_boxes(bev, boxes, torch.zeros(4, dtype=torch.int64), origin=(-4.0, -4.0), cell_size=(1.0, 1.0))
    (slope,) = torch.autograd.grad(values.square().sum(), boxes, create_graph=True)
    (second,) = torch.autograd.grad(slope.sum(), boxes)
    assert second.isfinite().all()
    assert second.any()


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


def test_the_surface_has_one_number() -> None:
    header = (ROOT / "cuda_ops" / "surface.h").read_text()
    assert re.search(r"#define LIDAR_EBM_SURFACE (\d+)", header)[1] == str(_native.SURFACE)


@needs_native
def test_a_library_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch, fresh_choice: None) -> None:
    boxes = random_boxes(3)
    monkeypatch.setattr(_native, "SURFACE", _native.SURFACE + 1)
    with pytest.raises(RuntimeError, match=r"another version of lidar_ebm.*make install"):
        op.box_iou_bev(boxes, boxes)
