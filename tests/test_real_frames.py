"""The whole program on real KITTI frames; skipped where there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import lidar_ebm
from cuda_ops.box_overlap.op import box_iou_3d
from lidar_ebm.boxes import Boxes
from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import load_config
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.formats.kitti.conversion import labels_to_boxes
from lidar_ebm.formats.kitti.files import read_calibration, read_labels, write_split
from lidar_ebm.inference.detection import detect_batch
from lidar_ebm.inference.predict import predict
from lidar_ebm.runs.model import Model
from lidar_ebm.runs.run import load_run
from lidar_ebm.training.schedule import make_optimizer
from lidar_ebm.workflows.detect import detect_files
from lidar_ebm.workflows.train import train

FRAMES = ("000003", "000008")


@pytest.fixture(scope="module")
def two_frames(kitti_frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of frames 000003 and 000008, which lie where they lay."""
    root = tmp_path_factory.mktemp("kitti")
    (root / "training").symlink_to(kitti_frames.resolve() / "training")
    for split in ("train", "val"):
        write_split(root / "ImageSets" / f"{split}.txt", FRAMES)
    return root


@pytest.fixture(scope="module")
def overfitted(two_frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the small configuration, trained on the two frames alone."""
    run = tmp_path_factory.mktemp("runs") / "overfitted"
    settings = ["augmentation.flip=false", "augmentation.rotation=0", "augmentation.scaling=[1.0,1.0]"]
    settings += ["training.detector.epochs=70", "training.detector.batch_size=2", "training.energy.epochs=500"]
    settings += ["training.norm_momentum=0.1", "bev.channels=48"]
    train(load_config("demo", settings), two_frames, run)
    return run


def wanted_cars(labels: Boxes) -> torch.Tensor:
    """Boxes [M, 7] of the cars that are neither truncated nor hidden."""
    assert labels.truncated is not None and labels.occluded is not None
    return torch.from_numpy(
        labels.select((labels.names == "Car") & (labels.truncated < 0.15) & (labels.occluded <= 1)).boxes
    )


def test_an_overfitted_model_finds_the_cars_before_and_after_refinement(two_frames: Path, overfitted: Path) -> None:
    detector = load_run(overfitted)
    dataset = open_samples(two_frames, "val", detector.config)
    frames = dataset.frames
    assert isinstance(frames, Frames)
    steps = detector.config.refinement.steps
    predictions = predict(detector, dataset, steps=(0, steps))
    ious = {}
    for count in (0, steps):
        best = []
        for index, found in enumerate(predictions.results[count]):
            cars = wanted_cars(frames.labels(index))
            best.append(box_iou_3d(cars, torch.from_numpy(found.boxes)).amax(dim=1))
        ious[count] = torch.cat(best)
    assert len(ious[0]) == 5
    # So short a training ends elsewhere with every seed and after any change of rounding (another processor is enough).
    # Before refinement, with seeds 0 to 3, the worst car lay at 0.49 to 0.92 and the middle one at 0.64 to 0.95; with
    # version 0.1 at 0.50 to 0.90 and at 0.93 to 0.96.
    assert ious[0].min() >= 0.3
    assert ious[0].median() >= 0.5
    assert ious[steps].median() >= 0.7
    assert ious[steps].mean() >= ious[0].mean() - 0.02  # there is little left to gain


def test_files_and_python_find_the_same(kitti_frames: Path, overfitted: Path, tmp_path: Path) -> None:
    paths = sorted((kitti_frames / "training" / "velodyne").glob("*.bin"))
    written = detect_files(overfitted, paths, tmp_path).written
    assert [path.stem for path in written] == [path.stem for path in paths]
    for path in written:
        assert all(label.score is not None for label in read_labels(path, require_score=True))
        assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    detector = lidar_ebm.load_detector(overfitted)
    dataset = open_samples(kitti_frames, "all", detector.config)
    for index in range(len(dataset)):
        found = detector.detect(dataset[index].points)
        labels = read_labels(tmp_path / f"{dataset.name(index)}.txt")
        calibration = read_calibration(kitti_frames / "training" / "calib" / f"{dataset.name(index)}.txt")
        boxes = labels_to_boxes(labels, calibration)
        # The result file's two decimals are all that may differ.
        np.testing.assert_allclose(boxes, found.boxes.reshape(-1, 7), atol=0.011)


def test_the_published_size_trains_a_step_and_detects(kitti_frames: Path) -> None:
    config = load_config("sassd_ebm_car")
    published = Config()
    assert (config.voxels, config.backbone, config.bev, config.energy) == (
        published.voxels,
        published.backbone,
        published.bev,
        published.energy,
    )
    detector = Model(config).train()
    dataset = open_samples(kitti_frames, "all", config)
    batch = collate([dataset[3]])
    assert batch.frame_ids == ("000003",)
    optimizer = make_optimizer(detector.parameters(), config.training.detector)
    features = detector.detector.encode(batch)
    assert features.bev.shared.shape == (1, 256, 200, 176)
    losses = detector.detector.losses(batch, features)
    losses["energy"] = detector.energy.loss(batch, features.bev)
    before = [parameter.detach().clone() for parameter in detector.parameters()]
    torch.stack(list(losses.values())).sum().backward()
    optimizer.step()
    assert all(torch.isfinite(value) for value in losses.values())
    changed = [not torch.equal(old, new) for old, new in zip(before, detector.parameters(), strict=True)]
    assert sum(changed) > 0.9 * len(changed)
    found = detect_batch(detector.eval(), batch).after()
    assert len(found) == 1
    assert np.isfinite(found[0].boxes).all()
