"""The whole detector with each head and encoder: that it learns a scene, takes empty frames, and mirrors well."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lidar_ebm.config.config import Config
from lidar_ebm.detector.detector import Detector
from lidar_ebm.types import Batch, LabelBatch

PILLARS = {"encoder": "pillars", "point_head": {"enabled": False}, "pillars": {"channels": (16,)}}
SCALES = {
    "channels": 24,
    "scales": (
        {"channels": 16, "layers": 1, "stride": 1, "up_channels": 16},
        {"channels": 24, "layers": 1, "stride": 2, "up_channels": 16},
    ),
}
CLASSES = (
    {"name": "Car"},
    {"name": "Pedestrian", "anchor_size": (0.8, 0.6, 1.7), "positive_iou": 0.5, "negative_iou": 0.35},
)


def make_config(head: str, encoder: str, **further: Any) -> Config:
    """A small detector of ±9.6 m without a part score; of velocities, where the head tells them."""
    values: dict[str, Any] = {
        "classes": CLASSES,
        "head": head,
        "velocity": head == "center",
        "points": {"channels": ("reflectance", "time_lag")},
        "voxels": {
            "range": (-9.6, -9.6, -3.0, 9.6, 9.6, 1.0),
            "size": (0.4, 0.4, 4.0 if encoder == "pillars" else 0.5),
        },
        "center_head": {"channels": 32, "velocity_weight": 1.0},
        "backbone": {
            "stem_channels": 8,
            "stem_layers": 1,
            "stages": ({"channels": 16, "layers": 1, "stride": (2, 1, 1)},),
            "out_channels": 8,
        },
        "bev": {"channels": 24, "layers": 2} if encoder == "voxels" else SCALES,
        "point_head": {"enabled": False},
        "part_score": {"enabled": False},
        "anchor_head": {"box_weight": 2.0},
    }
    if encoder == "pillars":
        values |= PILLARS
    return Config.model_validate(values | further)


def scene(dimensions: int) -> Batch:
    """Two frames of three cars, one of them moving, and a pedestrian: points on their surfaces, over some ground."""
    random = torch.Generator().manual_seed(3)
    boxes = torch.tensor(
        [
            [4.1, -3.0, -0.95, 4.1, 1.7, 1.5, 0.3, 3.0, 1.0],
            [-3.3, 4.2, -1.05, 3.7, 1.6, 1.4, 2.0, math.nan, math.nan],
            [2.1, 4.3, -0.85, 0.8, 0.7, 1.8, 1.2, 0.0, -1.0],
            [-3.9, -4.5, -0.9, 4.3, 1.8, 1.6, -2.6, 0.0, 0.0],
        ]
    )
    frame = torch.tensor([0, 0, 0, 1])
    points, frames = [], []
    for box, index in zip(boxes, frame, strict=True):
        unit = torch.rand(300, 3, generator=random) - 0.5
        side = torch.randint(0, 3, (300,), generator=random)
        unit[torch.arange(300), side] = unit[torch.arange(300), side].sign() / 2
        x, y, z = (unit * box[3:6]).unbind(1)
        sine, cosine = box[6].sin(), box[6].cos()
        lag = torch.randint(0, 3, (300,), generator=random) * 0.1
        place = torch.stack((x * cosine - y * sine, x * sine + y * cosine, z), dim=1) + box[:3]
        place[:, :2] -= box[7:].nan_to_num() * lag[:, None]
        points.append(torch.cat((place, torch.rand(300, 1, generator=random), lag[:, None]), dim=1))
        frames.append(torch.full((300,), int(index)))
    ground = torch.rand(600, 5, generator=random) * torch.tensor([19.0, 19.0, 0.05, 0.3, 0.0])
    points.append(ground - torch.tensor([9.5, 9.5, 1.75, 0.0, 0.0]))
    frames.append(torch.arange(600) % 2)
    labels = LabelBatch(boxes[:, :dimensions], torch.tensor([0, 0, 1, 0]), frame, 2)
    return Batch(("a", "b"), torch.cat(points), torch.cat(frames), labels, 2)


def learn(detector: Detector, batch: Batch, steps: int) -> dict[str, Tensor]:
    optimizer = torch.optim.Adam(detector.parameters(), lr=3e-3)
    detector.train()
    for module in detector.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.2
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / steps)
        losses = detector.losses(batch, detector.encode(batch))
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        optimizer.step()
    detector.eval()
    return losses


@pytest.mark.parametrize("encoder", ["voxels", "pillars"])
@pytest.mark.parametrize("head", ["anchor", "center"])
def test_a_scene_is_learnt_by_heart(head: str, encoder: str) -> None:
    torch.manual_seed(0)
    config = make_config(head, encoder)
    batch = scene(config.box_dimensions)
    detector = Detector(config.detector_settings)
    losses = learn(detector, batch, 250)
    assert all(loss.isfinite() for loss in losses.values())
    with torch.no_grad():
        found = detector.propose(detector.encode(batch))
    assert found.boxes.shape[1] == config.box_dimensions
    for row in range(len(batch.boxes.boxes)):
        label = batch.boxes.boxes[row]
        same = (found.batch_index == batch.boxes.batch_index[row]) & (found.class_index == batch.boxes.class_index[row])
        distance = (found.boxes[same, :2] - label[:2]).norm(dim=1)
        assert len(distance), (head, encoder, row)
        nearest = found.boxes[same][distance.argmin()]
        assert distance.min() < 0.3
        torch.testing.assert_close(nearest[2:6], label[2:6], atol=0.35, rtol=0)
        assert (nearest[6] - label[6]).cos() > 0.9
        if head == "center" and label[7:].isfinite().all():
            torch.testing.assert_close(nearest[7:], label[7:], atol=0.7, rtol=0)
    assert len(found.boxes) == len(batch.boxes.boxes)


@pytest.mark.parametrize("encoder", ["voxels", "pillars"])
@pytest.mark.parametrize("head", ["anchor", "center"])
@pytest.mark.parametrize("training", [True, False])
def test_empty_frames_have_losses_and_no_boxes(head: str, encoder: str, training: bool) -> None:
    config = make_config(head, encoder)
    detector = Detector(config.detector_settings).train(training)
    nothing = torch.zeros(0, dtype=torch.int64)
    labels = LabelBatch(torch.zeros(0, config.box_dimensions), nothing, nothing, 2)
    batch = Batch(("a", "b"), torch.zeros(0, 5), nothing, labels, 2)
    features = detector.encode(batch)
    losses = detector.losses(batch, features)
    assert all(loss.isfinite() for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    proposals = detector.propose(features)
    assert proposals.batch_size == 2
    assert proposals.boxes.shape[1] == config.box_dimensions


def mirror(boxes: Tensor, axes: str) -> Tensor:
    """Boxes of the mirrored frame."""
    mirrored = boxes.clone()
    if "x" in axes:
        mirrored[:, [0, 7]] *= -1
        mirrored[:, 6] = math.pi - mirrored[:, 6]
    if "y" in axes:
        mirrored[:, [1, 6, 8]] *= -1
    return mirrored


@pytest.mark.parametrize(("flips", "axes"), [("x", "x"), ("y", "y"), ("both", "x"), ("both", "y"), ("both", "xy")])
def test_with_flips_a_mirrored_frame_has_mirrored_boxes(flips: str, axes: str) -> None:
    # 0.0 m is a border of cells, and none of the points lies on one.
    detection = {"flips": flips, "score_threshold": 0.0, "max_candidates": 20}
    config = make_config("center", "pillars", detection=detection, bev={"channels": 24, "layers": 2})
    detector = Detector(config.detector_settings).eval()
    batch = scene(9)
    signs = torch.tensor([-1.0 if "x" in axes else 1.0, -1.0 if "y" in axes else 1.0, 1.0, 1.0, 1.0])
    mirrored = Batch(batch.frame_ids, batch.points * signs, batch.point_batch_index, batch.boxes, 2)
    found = []
    with torch.no_grad():
        for each in (batch, mirrored):
            features = detector.encode(each)
            found.append(detector.propose(features, detector.encode_mirrored(each)))
    assert len(found[0].boxes) > 10
    expected = mirror(found[0].boxes, axes)
    for row, box in enumerate(expected):
        same = found[1].batch_index == found[0].batch_index[row]
        own = found[1].select(same & (found[1].class_index == found[0].class_index[row]))
        place = (own.boxes[:, :2] - box[:2]).norm(dim=1).argmin()
        difference = own.boxes[place] - box
        difference[6] = difference[6].sin() + 1 - difference[6].cos()
        assert difference.abs().max() < 1e-3
        assert abs(float(own.scores[place] - found[0].scores[row])) < 1e-5


def test_without_flips_nothing_is_mirrored() -> None:
    config = make_config("center", "pillars")
    assert Detector(config.detector_settings).encode_mirrored(scene(9)) == []


def test_the_anchor_head_s_boxes_are_at_rest() -> None:
    config = make_config("anchor", "pillars", velocity=True, detection={"score_threshold": 0.0})
    detector = Detector(config.detector_settings).eval()
    batch = scene(9)
    assert all(loss.isfinite() for loss in detector.losses(batch, detector.encode(batch)).values())
    boxes = detector.propose(detector.encode(batch)).boxes
    assert boxes.shape[1] == 9
    assert len(boxes) > 0
    assert not boxes[:, 7:].any()
