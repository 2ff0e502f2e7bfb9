from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cuda_ops.box_overlap.op import box_iou_bev
from lidar_ebm.boxes import Boxes
from lidar_ebm.config.config import Config
from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.inference.detection import detect_batch
from lidar_ebm.runs.model import Model
from lidar_ebm.types import Batch


def empty_frame() -> Sample:
    return Sample("empty", np.zeros((0, 4), np.float32), np.zeros((0, 7), np.float32), np.zeros(0, np.int64))


def batch_of(simulated: Path, config: Config, indices: tuple[int | None, ...]) -> Batch:
    """Frames of the training split, None for one without points."""
    frames = open_samples(simulated, "train", config)
    return collate([empty_frame() if index is None else frames[index] for index in indices])


def detect(config: Config, batch: Batch, steps: int | None = None) -> list[Boxes]:
    torch.manual_seed(0)
    return detect_batch(Model(config).eval(), batch, steps).after()


def test_each_class_has_its_own_limit_after_suppression(simulated: Path, eager_config: Config) -> None:
    classes = (*eager_config.classes, ClassConfig(name="Pedestrian", anchor_size=(0.8, 0.6, 1.7)))
    config = eager_config.model_copy(update={"classes": classes})
    batch = batch_of(simulated, config, (0, 1))
    torch.manual_seed(0)
    detector = Model(config).eval()
    with torch.no_grad():
        features = detector.detector.encode(batch)
        every = detector.detector.propose(features)
        assert bool((torch.bincount(every.class_index) > 20).all())
        few = config.detection.model_copy(update={"max_detections": 5})
        limited = config.model_copy(update={"detection": few})
        detector.detector.settings = limited.detector_settings
        kept = detector.detector.propose(features)
    for frame in range(2):
        for label in range(2):
            whole, part = (
                each.select((each.batch_index == frame) & (each.class_index == label)) for each in (every, kept)
            )
            assert torch.equal(part.boxes, whole.boxes[:5])


@pytest.mark.parametrize("indices", [(None,), (0, None), (None, 0), (None, None)])
def test_empty_frames_have_no_detections_wherever_they_stand(
    simulated: Path, eager_config: Config, indices: tuple[int | None, ...]
) -> None:
    found = detect(eager_config, batch_of(simulated, eager_config, indices))
    assert [len(item.boxes) > 0 for item in found] == [index is not None for index in indices]


def test_a_frame_is_detected_alike_alone_and_in_a_batch(simulated: Path, eager_config: Config) -> None:
    together = detect(eager_config, batch_of(simulated, eager_config, (0, 1, 2)))
    for index, found in enumerate(together):
        alone = detect(eager_config, batch_of(simulated, eager_config, (index,)))[0]
        np.testing.assert_allclose(found.boxes, alone.boxes, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.f, alone.f, rtol=1e-4, atol=1e-5)


def test_the_same_points_in_any_order_give_the_same_boxes(simulated: Path, eager_config: Config) -> None:
    """More voxels than training's limit, and more points near a box than the energy looks at."""
    voxels = eager_config.voxels.model_copy(update={"max_voxels": 50})
    refinement = eager_config.refinement.model_copy(update={"step_length": 1e-3, "steps": 3})
    config = eager_config.model_copy(update={"voxels": voxels, "refinement": refinement})
    batch = batch_of(simulated, config, (0, 1))
    (first, second) = detect(config, batch)
    for seed in range(3):
        order = torch.randperm(len(batch.points), generator=torch.Generator().manual_seed(seed))
        mixed = replace(batch, points=batch.points[order], point_batch_index=batch.point_batch_index[order])
        for one, other in zip((first, second), detect(config, mixed), strict=True):
            torch.testing.assert_close(other.boxes, one.boxes, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(other.f, one.f, rtol=1e-4, atol=1e-4)


def test_no_steps_are_the_proposals_and_steps_never_lower_f(simulated: Path, eager_config: Config) -> None:
    batch = batch_of(simulated, eager_config, (0, 1))
    torch.manual_seed(0)
    detector = Model(eager_config).eval()
    with torch.no_grad():
        proposals = detector.detector.propose(detector.detector.encode(batch))
    before, after = (detect_batch(detector, batch, steps).after() for steps in (0, 4))
    assert np.array_equal(np.concatenate([item.boxes for item in before]), proposals.boxes.numpy())
    for first, last in zip(before, after, strict=True):
        assert bool((last.f >= first.f).all())
        assert np.array_equal(first.scores, last.scores)


def test_several_starts_leave_rows_and_first_values_as_they_are(simulated: Path, eager_config: Config) -> None:
    batch = batch_of(simulated, eager_config, (0, None, 1))
    several = eager_config.refinement.model_copy(update={"starts": 4, "rule": "adam", "step_length": (0.01,) * 7})
    config = eager_config.model_copy(update={"refinement": several})
    torch.manual_seed(0)
    detected = detect_batch(Model(config).eval(), batch)
    for first, last, alone in zip(detected.before(), detected.after(), detect(eager_config, batch, 0), strict=True):
        assert np.array_equal(first.boxes, alone.boxes)
        np.testing.assert_allclose(first.f, alone.f, rtol=1e-5, atol=1e-5)
        assert np.array_equal(first.scores, last.scores)
        assert bool((last.f >= first.f).all())


def test_kept_boxes_do_not_overlap_within_a_frame(simulated: Path, eager_config: Config) -> None:
    for found in detect(eager_config, batch_of(simulated, eager_config, (0, 1)), 0):
        boxes = torch.from_numpy(found.boxes).float()
        overlaps = box_iou_bev(boxes, boxes).fill_diagonal_(0.0)
        assert float(overlaps.max()) <= eager_config.detection.nms_iou + 1e-5
        assert bool((np.diff(found.scores) <= 0).all())


@pytest.mark.parametrize("parts", [{"part_score": False}, {"point_head": False}, {}])
def test_every_part_gets_a_gradient(simulated: Path, tiny_config: Config, parts: dict[str, bool]) -> None:
    config = tiny_config.model_copy(
        update={name: getattr(tiny_config, name).model_copy(update={"enabled": on}) for name, on in parts.items()}
    )
    detector = Model(config).train()
    batch = batch_of(simulated, config, (0, 1, 2, 3))
    features = detector.detector.encode(batch)
    losses = detector.detector.losses(batch, features)
    assert ("part_score" in losses) == parts.get("part_score", True)
    assert ("point_offset" in losses) == parts.get("point_head", True)
    losses["energy"] = detector.energy.loss(batch, features.bev)
    torch.stack(list(losses.values())).sum().backward()
    without = [name for name, parameter in detector.named_parameters() if parameter.grad is None]
    assert without == []


def test_several_classes_train_and_detect(simulated: Path, eager_config: Config) -> None:
    person = ClassConfig(
        name="Pedestrian",
        merge=("Person_sitting",),
        anchor_size=(0.8, 0.6, 1.73),
        anchor_center_z=-0.8,
        positive_iou=0.5,
        negative_iou=0.35,
    )
    config = eager_config.model_copy(update={"classes": (*eager_config.classes, person)})
    batch = batch_of(simulated, config, (0, 1, 2, 3))
    assert set(batch.boxes.class_index.tolist()) == {0, 1}
    detector = Model(config)
    losses = detector.detector.losses(batch, detector.detector.encode(batch))
    assert all(bool(torch.isfinite(value)) for value in losses.values())
    names = np.concatenate([item.names for item in detect(config, batch)])
    assert set(names.tolist()) == set(config.class_names)
