"""The pillar encoder: sorting into pillars, features against plain code, and what it does not hang on."""

from __future__ import annotations

import torch

from lidar_ebm.config.config import Config
from lidar_ebm.detector.pillars import PillarEncoder, make_pillars
from lidar_ebm.detector.voxelize import voxelize

SETTINGS = Config.model_validate(
    {
        "encoder": "pillars",
        "points": {"channels": ("reflectance", "time_lag")},
        "voxels": {"range": (-4.0, -2.0, -3.0, 4.0, 2.0, 1.0), "size": (0.5, 0.5, 4.0), "max_voxels": 20},
        "pillars": {"channels": (6, 5)},
        "point_head": {"enabled": False},
    }
).detector_settings


def some_points(count: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    points = torch.rand(count, 5) * torch.tensor([9.0, 5.0, 5.0, 1.0, 0.5]) - torch.tensor([4.5, 2.5, 3.5, 0.0, 0.0])
    points[3, 0] = torch.nan
    return points, torch.randint(0, 2, (count,))


def test_features_are_those_of_plain_code() -> None:
    points, frame = some_points()
    encoder = PillarEncoder(SETTINGS).eval()
    output = encoder(make_pillars(points, frame, 3, SETTINGS.voxels))
    assert output.dense.shape == (3, 5, 8, 16)
    assert output.stages == ()
    for batch in range(3):
        for y in range(8):
            for x in range(16):
                low = torch.tensor([-4.0 + 0.5 * x, -2.0 + 0.5 * y, -3.0])
                inside = ((points[:, :3] >= low) & (points[:, :3] < low + torch.tensor([0.5, 0.5, 4.0]))).all(1)
                own = points[inside & (frame == batch)]
                assert bool(output.occupied[batch, y, x]) == (len(own) > 0)
                if len(own) == 0:
                    assert not output.dense[batch, :, y, x].any()
                    continue
                features = torch.cat((own, own[:, :3] - own[:, :3].mean(0), own[:, :2] - low[:2] - 0.25), dim=1)
                for layer, norm in zip(encoder.layers, encoder.norms, strict=True):
                    features = (layer(features) / (1 + norm.eps) ** 0.5).relu()
                torch.testing.assert_close(output.dense[batch, :, y, x], features.amax(0), atol=1e-5, rtol=1e-4)


def test_the_order_of_points_changes_nothing() -> None:
    points, frame = some_points()
    encoder = PillarEncoder(SETTINGS).eval()
    order = torch.randperm(len(points))
    here = encoder(make_pillars(points, frame, 2, SETTINGS.voxels)).dense
    there = encoder(make_pillars(points[order], frame[order], 2, SETTINGS.voxels)).dense
    torch.testing.assert_close(here, there)


def test_pillars_left_out_take_their_points_with_them() -> None:
    points, frame = some_points()
    pillars = make_pillars(points, frame, 2, SETTINGS.voxels, limited=True)
    assert torch.bincount(pillars.voxels.indices[:, 0]).tolist() == [20, 20]
    assert int(pillars.counts.sum()) == len(pillars.points)
    assert (pillars.counts > 0).all()
    means = torch.segment_reduce(pillars.points, "mean", lengths=pillars.counts)
    torch.testing.assert_close(means, pillars.voxels.features)
    every = make_pillars(points, frame, 2, SETTINGS.voxels)
    assert torch.equal(every.voxels.indices, voxelize(points, frame, 2, SETTINGS.voxels).indices)
    assert len(every.points) > len(pillars.points)


def test_gradients_reach_every_layer() -> None:
    points, frame = some_points()
    encoder = PillarEncoder(SETTINGS)
    encoder(make_pillars(points, frame, 2, SETTINGS.voxels)).dense.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in encoder.parameters())


def test_no_point_at_all_gives_an_empty_map() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    output = PillarEncoder(SETTINGS)(make_pillars(torch.zeros(0, 5), nothing, 2, SETTINGS.voxels, limited=True))
    assert output.dense.shape == (2, 5, 8, 16)
    assert not output.dense.any()
    assert not output.occupied.any()
