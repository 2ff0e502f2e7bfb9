from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lidar_ebm.config.config import Config
from lidar_ebm.errors import OutputError
from lidar_ebm.inference.parts import Parts
from lidar_ebm.runs.model import Model
from lidar_ebm.types import Batch, LabelBatch


def make_batch(points: torch.Tensor, batch_index: torch.Tensor, size: int = 2) -> Batch:
    no_boxes = LabelBatch(torch.zeros(0, 7), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), size)
    return Batch(tuple("ab"), points, batch_index, no_boxes, size)


@pytest.fixture
def batch() -> Batch:
    return make_batch(torch.rand(5, 4), torch.tensor([0, 0, 1, 1, 1]))


@pytest.fixture
def detector(tiny_config: Config) -> Model:
    return Model(tiny_config)


def test_what_was_written_is_read_bit_by_bit(detector: Model, batch: Batch, tmp_path: Path) -> None:
    found = {
        "boxes": torch.randn(3, 7, 4).transpose(1, 2) / 3,  # not contiguous
        "labels": torch.tensor([1, 0, 2]),
        "nothing": torch.zeros(3, 0, 7),
    }
    found["boxes"][0, 0, 0] = float("nan")
    parts = Parts(tmp_path / "new", detector, (0, 2))
    assert parts.read(batch) is None
    parts.write(batch, found)
    again = Parts(tmp_path / "new", detector, [0, 2]).read(batch)
    assert again is not None
    assert again.keys() == found.keys()
    for name, tensor in found.items():
        assert again[name].dtype == tensor.dtype
        torch.testing.assert_close(again[name], tensor, rtol=0, atol=0, equal_nan=True)


def test_other_points_and_another_model_have_other_parts(detector: Model, batch: Batch, tmp_path: Path) -> None:
    parts = Parts(tmp_path, detector, (0, 2))
    parts.write(batch, {"labels": torch.zeros(1)})
    moved = replace(batch, points=batch.points + torch.eye(5, 4) * 1e-6)
    assert parts.read(moved) is None
    assert parts.read(make_batch(batch.points, torch.tensor([0, 0, 0, 1, 1]))) is None
    assert parts.read(make_batch(batch.points, batch.point_batch_index, 3)) is None
    assert parts.read(make_batch(batch.points[:0], batch.point_batch_index[:0])) is None

    assert Parts(tmp_path, detector, (0, 3)).read(batch) is None
    config = detector.config
    stricter = replace_detection(config, config.detection.nms_iou / 2)
    detector.config = stricter
    assert Parts(tmp_path, detector, (0, 2)).read(batch) is None
    detector.config = config
    assert Parts(tmp_path, detector, (0, 2)).read(batch) is not None
    with torch.no_grad():
        next(detector.parameters()).view(-1)[0] += 1e-6
    assert Parts(tmp_path, detector, (0, 2)).read(batch) is None


def replace_detection(config: Config, nms_iou: float) -> Config:
    return config.model_copy(update={"detection": config.detection.model_copy(update={"nms_iou": nms_iou})})


def test_a_damaged_part_counts_as_none(detector: Model, batch: Batch, tmp_path: Path) -> None:
    parts = Parts(tmp_path, detector, (0,))
    parts.write(batch, {"labels": torch.arange(100)})
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    for damaged in (b"", content[:-8], content[:10], b"\xff" * 200):
        path.write_bytes(damaged)
        assert parts.read(batch) is None


def test_a_part_that_cannot_be_written_says_where(detector: Model, batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=str(tmp_path / "file")):
        Parts(tmp_path / "file" / "partial", detector, (0,)).write(batch, {"labels": torch.zeros(1)})
