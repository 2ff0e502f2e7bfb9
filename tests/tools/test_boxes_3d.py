"""The study on boxes: its settings are ones that load, and its voxel energy reads what it should."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "studies"))

from boxes_3d import GROUPS, Head, Place, RememberingDetector
from voxel_energy import BEYOND, dense, places, sample, voxel_model

from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import load_config
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.geometry.boxes import corners_3d
from lidar_ebm.inference.detection import detect_batch
from lidar_ebm.runs.model import Model
from lidar_ebm.types import SparseFeatures

KEEPING = ["detection.score_threshold=0", "part_score.score_threshold=0", "detection.max_candidates=8"]


def test_every_line_is_a_configuration_of_its_own(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path, tmp_path, 1.0)
    (tmp_path / "config.yaml").write_text("energy: {features: [points], samples: 48}\n")
    lines = [line for group in GROUPS.values() for line in group.values()]
    heads = {head for head, _ in lines}
    assert len({head.path(place) for head in heads}) == len(heads)
    for head, prediction in lines:
        config = head.config(place, prediction)
        assert isinstance(config, Config)
        plain = (config.energy, config.refinement) == (Head().config(place).energy, Head().config(place).refinement)
        assert plain == (not head.overrides and not prediction)


def test_places_fill_the_box_and_a_little_more() -> None:
    box = torch.tensor([[[10.0, -3.0, -0.5, 4.0, 1.6, 1.5, 0.7]]])
    larger = box.clone()
    larger[..., 3:6] *= BEYOND
    found = places(box)[0, 0]
    corners = corners_3d(larger[0])[0]
    assert (corners[:, None] - found).norm(dim=-1).amin(dim=1).max() < 1e-5  # each corner is a place
    torch.testing.assert_close(found.mean(dim=0), box[0, 0, :3], atol=1e-5, rtol=0)


def test_a_stage_is_read_at_the_places_given() -> None:
    """A feature that is linear in place is read exactly between the cells' centres, in each frame its own."""
    torch.manual_seed(0)
    shape = (5, 6, 7)  # D, H, W
    cells = torch.cartesian_prod(torch.arange(2), *(torch.arange(size) for size in shape)).int()
    stage = SparseFeatures(torch.zeros(len(cells), 1), cells, shape, 2, (0.4, 0.5, 0.6), (1.0, -2.0, -3.0))
    slope = torch.tensor([[1.0, -2.0, 0.5], [3.0, 0.0, -1.0]])
    features = (stage.centers() * slope[cells[:, 0].long()]).sum(dim=1, keepdim=True)
    stage = SparseFeatures(features, cells, shape, 2, stage.voxel_size, stage.origin)
    low, high = stage.centers().amin(0), stage.centers().amax(0)
    frame = torch.tensor([1, 0, 1])
    where = low + torch.rand(3, 4, 2, 3) * (high - low)  # [N, S, P, 3]
    found = sample(dense(stage), stage, where, frame)
    torch.testing.assert_close(found, (where * slope[frame][:, None, None]).sum(dim=-1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("with_points", [False, True])
def test_boxes_are_refined_on_voxels(simulated: Path, with_points: bool) -> None:
    config = load_config("demo", KEEPING)
    frames = open_samples(simulated, "train", config)
    torch.manual_seed(0)
    detector = voxel_model(config, with_points=with_points).eval()
    torch.nn.init.normal_(detector.energy.voxels[-1].weight)
    detected = detect_batch(detector, collate([frames[0], frames[1]]), steps=3)
    for start, end in zip(detected.before(), detected.after(), strict=True):
        assert len(start.boxes) > 0 and (end.f >= start.f).all()
        assert not np.array_equal(start.boxes, end.boxes)


def test_what_was_looked_at_is_remembered(simulated: Path) -> None:
    config = load_config("demo", KEEPING)
    frames = open_samples(simulated, "train", config)
    torch.manual_seed(0)
    detector = Model(config, detector=RememberingDetector(config.detector_settings)).eval()
    batches = [collate([frames[0]]), collate([frames[1]])]
    first = [detect_batch(detector, batch).after()[0] for batch in batches]
    before = dict(RememberingDetector.remembered)
    again = [detect_batch(detector, batch).after()[0] for batch in batches]
    assert RememberingDetector.remembered == before and len(before) == 2
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
    RememberingDetector.remembered.clear()
