"""Suppression against brute force."""

from __future__ import annotations

import pytest
import torch

from lidar_ebm.config.config import Config
from lidar_ebm.detector.suppression import nms_circle, suppress
from lidar_ebm.types import Proposals


def greedy(centers: torch.Tensor, scores: torch.Tensor, radii: torch.Tensor, key: torch.Tensor) -> list[int]:
    kept: list[int] = []
    for row in sorted(range(len(scores)), key=lambda index: (-float(scores[index]), index)):
        near = any(key[row] == key[other] and (centers[row] - centers[other]).norm() <= radii[row] for other in kept)
        if not near:
            kept.append(row)
    return kept


@pytest.mark.parametrize("count", [0, 1, 60, 300])
def test_circles_are_suppressed_greedily(count: int) -> None:
    centers = torch.rand(count, 2, dtype=torch.float64) * 20
    scores = torch.randint(0, 40, (count,)).double() / 40  # many are equal
    radii = torch.rand(count, dtype=torch.float64) * 3
    group, frame = torch.randint(0, 3, (count,)), torch.randint(0, 2, (count,))
    kept = nms_circle(centers, scores, radii, group, frame)
    assert kept.tolist() == greedy(centers, scores, radii, frame * 3 + group)


def make_config(nms: str, head: str) -> Config:
    detection = {"nms": nms, "nms_radii": {"car": 2.0, "van": 2.0, "person": 0.3}, "max_detections": 2}
    groups = {"groups": (("car", "van"), ("person",))}
    classes = tuple({"name": name} for name in ("car", "van", "person"))
    return Config.model_validate({"classes": classes, "head": head, "detection": detection, "center_head": groups})


@pytest.mark.parametrize("nms", ["rotated", "circle"])
@pytest.mark.parametrize(("head", "expected"), [("center", [0, 2, 3]), ("anchor", [0, 1, 2, 3])])
def test_boxes_of_a_group_suppress_one_another(nms: str, head: str, expected: list[int]) -> None:
    box = [5.0, 1.0, -1.0, 4.0, 1.8, 1.5, 0.3, 1.0, 2.0]
    proposals = Proposals(
        boxes=torch.tensor([box] * 5),
        scores=torch.tensor([0.9, 0.8, 0.7, 0.9, 0.6]),
        class_index=torch.tensor([0, 1, 2, 1, 1]),
        batch_index=torch.tensor([0, 0, 0, 1, 1]),
        batch_size=2,
    )
    kept = suppress(proposals, make_config(nms, head).detector_settings)
    assert kept.scores.tolist() == pytest.approx([float(proposals.scores[row]) for row in expected])
    assert kept.batch_index.tolist() == [int(proposals.batch_index[row]) for row in expected]
    assert kept.boxes.shape[1] == 9


def test_each_class_has_its_limit() -> None:
    boxes = torch.zeros(12, 7)
    boxes[:, 0] = torch.arange(12) * 10.0
    boxes[:, 3:6] = 1.0
    proposals = Proposals(
        boxes, torch.linspace(0.9, 0.1, 12), torch.arange(12) % 3, torch.zeros(12, dtype=torch.int64), 1
    )
    kept = suppress(proposals, make_config("rotated", "center").detector_settings)
    assert kept.boxes[:, 0].tolist() == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
