"""The devices that the operations are tested on, as a parameter of the tests."""

from __future__ import annotations

import pytest
import torch

from cuda_ops import _native

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
needs_native = pytest.mark.skipif(
    not _native.serves(torch.device("cpu")), reason="native kernels are off or were not built"
)
