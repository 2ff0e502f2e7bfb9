"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import load_config
from lidar_ebm.workflows.simulate import simulate
from tests.nuscenes_material import public_a, public_b

__all__ = ["public_a", "public_b"]

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers that each start a thread a core wait for one another most of the time.
    torch.set_num_threads(1)


def find_kitti_frames() -> Path | None:
    """The folder of real KITTI frames: $LIDAR_EBM_KITTI, or shared/kitti in or beside the checkout."""
    root = Path(__file__).resolve().parents[1]
    candidates = [root / "shared" / "kitti", root.parent / "shared" / "kitti", root / "data" / "kitti"]
    if "LIDAR_EBM_KITTI" in os.environ:
        candidates.insert(0, Path(os.environ["LIDAR_EBM_KITTI"]))
    return next((path for path in candidates if (path / "training" / "velodyne" / "000003.bin").exists()), None)


@pytest.fixture(scope="session")
def kitti_frames() -> Path:
    """A folder in KITTI's layout that holds the benchmark's training frames 000000 to 000004 and 000008."""
    path = find_kitti_frames()
    if path is None:
        pytest.skip("no real KITTI frames here (set LIDAR_EBM_KITTI to a folder in KITTI's layout)")
    return path


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated data set of six frames in KITTI's layout, four of them for training."""
    root = tmp_path_factory.mktemp("simulated")
    simulate(root, frames=6, seed=1, workers=1)
    return root


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    """The whole model at the minimum size that still has every part."""
    return load_config(
        None,
        [
            "voxels.range=[0.0,-20.0,-3.0,40.0,20.0,1.0]",
            "voxels.size=[0.4,0.4,0.5]",
            "backbone.stem_channels=4",
            "backbone.stem_layers=1",
            "backbone.stages=[{channels: 8, layers: 1}, {channels: 8, layers: 1, stride: [2, 1, 1]}]",
            "backbone.out_channels=8",
            "bev.channels=8",
            "bev.layers=2",
            "point_head.channels=8",
            "part_score.max_training_boxes=16",
            "energy.features=[bev,points]",
            "energy.samples=8",
            "energy.bev.hidden=16",
            "energy.points.channels=[8]",
            "energy.points.hidden=8",
            "energy.points.max_points=16",
            "augmentation.sampling.enabled=false",
            "training.workers=0",
            "training.detector.epochs=2",
            "training.energy.epochs=2",
        ],
    )


@pytest.fixture
def eager_config(tiny_config: Config) -> Config:
    """Every score is high enough, so that an untrained detector finds plenty."""
    return tiny_config.model_copy(
        update={
            "detection": tiny_config.detection.model_copy(update={"score_threshold": 0.0, "max_candidates": 100}),
            "part_score": tiny_config.part_score.model_copy(update={"score_threshold": 0.0}),
        }
    )
