"""The sparse backbone: its layers, its grids, and the two backends against each other."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lidar_ebm.config.config import Config
from lidar_ebm.config.detector import BackboneConfig, StageConfig, VoxelConfig
from lidar_ebm.detector import sparse_ops
from lidar_ebm.detector.sparse_backbone import BackboneOutput, RowNorm, SparseBackbone, see_from_above
from lidar_ebm.detector.sparse_ops import BackendName, Kernel, plan_sparse_conv
from lidar_ebm.detector.voxelize import voxelize
from lidar_ebm.errors import InputError
from lidar_ebm.types import SparseFeatures, Voxels

BACKENDS = [
    "builtin",
    pytest.param("spconv", marks=pytest.mark.skipif(importlib.util.find_spec("spconv") is None, reason="no spconv")),
]


def small_config(backend: BackendName = "builtin") -> Config:
    return Config(
        voxels=VoxelConfig(range=(0, -2, -1, 4, 2, 1), size=(0.25, 0.25, 0.25)),
        backbone=BackboneConfig(
            backend=backend,
            stem_channels=6,
            stem_layers=2,
            stages=(StageConfig(channels=8, layers=1), StageConfig(channels=10, layers=0, stride=(2, 1, 1))),
            out_channels=12,
        ),
    )


def random_voxels(config: Config, batch_size: int, count: int) -> Voxels:
    """Voxels of random points in all frames but the last."""
    low, high = torch.tensor(config.voxels.range[:3]), torch.tensor(config.voxels.range[3:])
    points = torch.cat([torch.rand(count, 3) * (high - low) + low, torch.rand(count, 1)], dim=1)
    return voxelize(points, torch.randint(0, max(batch_size - 1, 1), (count,)), batch_size, config.voxels)


def real_voxels(kitti_frames: Path, frame: str, config: Config) -> Voxels:
    raw = np.fromfile(kitti_frames / "training" / "velodyne" / f"{frame}.bin", dtype=np.float32).reshape(-1, 4)
    return voxelize(torch.from_numpy(raw), torch.zeros(raw.shape[0], dtype=torch.int64), 1, config.voxels)


def run(backbone: SparseBackbone, voxels: Voxels, direction: Tensor) -> tuple[BackboneOutput, dict[str, Tensor]]:
    """One forward pass, and the gradients of a fixed random function of its output for the input and every weight."""
    features = voxels.features.clone().requires_grad_()
    output = backbone(Voxels(features, voxels.indices, voxels.spatial_shape, voxels.batch_size))
    names, weights = zip(*backbone.named_parameters(), strict=True)
    gradients = torch.autograd.grad((output.dense * direction).sum(), [features, *weights])
    return output, dict(zip(["input", *names], gradients, strict=True))


def relative_difference(actual: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest magnitude."""
    return float((actual - expected).detach().abs().max() / expected.detach().abs().max())


def test_layers_are_the_published_ones() -> None:
    with torch.device("meta"):
        backbone = SparseBackbone(Config())
    shapes = [tuple(weight.shape) for weight in backbone.parameters() if weight.dim() == 5]
    widths = [(16, 4), (16, 16), (32, 16), (32, 32), (32, 32), (64, 32), *[(64, 64)] * 7]
    assert shapes == [*((out, 3, 3, 3, into) for out, into in widths), (64, 1, 1, 1, 64)]
    norms = [module for module in backbone.modules() if isinstance(module, RowNorm)]
    assert [(norm.eps, norm.momentum) for norm in norms] == [(1e-3, 0.01)] * len(shapes)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("training", [True, False])
def test_outputs_have_the_grids_of_the_configuration(backend: BackendName, training: bool) -> None:
    config = small_config(backend)
    voxels = random_voxels(config, 3, 300)
    output = SparseBackbone(config).train(training)(voxels)
    depth, height, width = config.bev_shape
    assert output.dense.shape == (3, 12 * depth, height, width)
    assert output.occupied.shape == (3, height, width)
    assert not output.occupied[-1].any()
    assert not output.dense[-1].any()
    assert (output.dense.abs().sum(1) > 0).sum() <= output.occupied.sum()
    assert not output.dense.abs().sum(1)[~output.occupied].any()
    assert [stage.features.shape[1] for stage in output.stages] == [8, 10]
    assert [stage.voxel_size for stage in output.stages] == [(0.5, 0.5, 0.5), (0.5, 0.5, 1.0)]
    assert output.stages[-1].spatial_shape == config.bev_shape
    for stage in output.stages:
        centers = stage.centers()
        assert (centers > torch.tensor(config.voxels.range[:3])).all()
        assert (centers < torch.tensor(config.voxels.range[3:])).all()
    # The map's cells are where the configuration says the last stage's voxels are.
    cells = output.occupied.nonzero()
    x = config.bev_grid.origin[0] + config.bev_grid.cell_size[0] * cells[:, 2]
    assert set(x.tolist()) == set(output.stages[-1].centers()[:, 0].tolist())


def test_agrees_with_dense_convolutions() -> None:
    config = small_config()
    voxels = random_voxels(config, 2, 200)
    backbone = SparseBackbone(config).double()
    for module in backbone.modules():
        if isinstance(module, RowNorm):
            module.running_mean.uniform_(-0.5, 0.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.5, 0.5)
    backbone.eval()
    sparse = backbone(Voxels(voxels.features.double(), voxels.indices, voxels.spatial_shape, 2))

    batch, z, y, x = voxels.indices.long().T
    dense = torch.zeros(2, 4, *voxels.spatial_shape, dtype=torch.float64)
    dense[batch, :, z, y, x] = voxels.features.double()
    occupied = torch.zeros(2, 1, *voxels.spatial_shape, dtype=torch.float64)
    occupied[batch, 0, z, y, x] = 1
    layers = [(layer, 1, False) for layer in backbone.stem.layers]
    for stage, settings in zip(backbone.stages, config.backbone.stages, strict=True):
        layers += [(stage.down, settings.stride, True), *((layer, 1, False) for layer in stage.submanifold.layers)]
    for layer, stride, spreads in [*layers, (backbone.output, 1, False)]:
        padding = layer.kernel.size[0] // 2
        dense = F.conv3d(dense, layer.weight.permute(0, 4, 1, 2, 3), None, stride, padding)
        if spreads:
            occupied = F.max_pool3d(occupied, 3, stride, 1)
        norm = layer.norm
        dense = F.batch_norm(dense, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        dense = F.relu(dense) * occupied
    torch.testing.assert_close(sparse.dense, dense.flatten(1, 2))
    assert torch.equal(sparse.occupied, occupied.amax((1, 2)).bool())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("count", [0, 1])
def test_a_batch_of_no_or_one_voxel(count: int, training: bool, backend: BackendName) -> None:
    config = small_config(backend)
    voxels = random_voxels(config, 2, count)
    backbone = SparseBackbone(config).train(training)
    statistics = {name: buffer.clone() for name, buffer in backbone.named_buffers() if "stem" in name}
    output = backbone(voxels)
    output.dense.sum().backward()
    assert output.dense.isfinite().all()
    assert output.occupied.any() == (count > 0)
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in backbone.parameters())
    for name, buffer in statistics.items():  # neither has a variance to learn from
        assert torch.equal(dict(backbone.named_buffers())[name], buffer), name


def test_row_norm_is_batch_norm_where_there_is_a_batch() -> None:
    norm, reference = RowNorm(5, eps=1e-3, momentum=0.01), torch.nn.BatchNorm1d(5, eps=1e-3, momentum=0.01)
    rows = torch.randn(20, 5)
    assert torch.equal(norm(rows), reference(rows))
    assert torch.equal(norm.running_var, reference.running_var)
    assert torch.equal(norm.eval()(rows[:1]), reference.eval()(rows[:1]))


def test_seen_from_above_keeps_channels_and_heights_apart() -> None:
    indices = torch.tensor([[0, 0, 1, 2], [0, 2, 1, 2], [1, 1, 0, 0]], dtype=torch.int32)
    features = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    volume = SparseFeatures(features, indices, (3, 2, 5), 2, (1, 1, 1), (0, 0, 0))
    dense, occupied = see_from_above(volume)
    expected = torch.zeros(2, 4, 3, 2, 5, dtype=torch.float64)
    batch, z, y, x = indices.long().T
    expected[batch, :, z, y, x] = features.detach()
    assert torch.equal(dense.detach(), expected.flatten(1, 2))
    assert occupied.nonzero().tolist() == [[0, 1, 2], [1, 0, 0]]
    assert dense.is_contiguous(memory_format=torch.channels_last)
    assert torch.autograd.gradcheck(
        lambda f: see_from_above(SparseFeatures(f, indices, (3, 2, 5), 2, (1, 1, 1), (0, 0, 0)))[0], (features,)
    )


def test_spconv_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_ops, "_has_spconv", lambda: False)
    with pytest.raises(InputError, match=r"spconv is not installed.*builtin"):
        SparseBackbone(small_config("spconv"))
    config = small_config("auto")
    assert SparseBackbone(config)(random_voxels(config, 2, 50)).dense.isfinite().all()


@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 2, 2), (2, 1, 1)])
@pytest.mark.parametrize("submanifold", [True, False])
def test_backends_find_the_same_cells_in_the_same_order(stride: tuple[int, int, int], submanifold: bool) -> None:
    pytest.importorskip("spconv")
    config = small_config()
    voxels = random_voxels(config, 4, 400)
    kernel = Kernel((3, 3, 3), stride, (1, 1, 1), submanifold)
    builtin, spconv = (
        plan_sparse_conv(voxels.indices, voxels.spatial_shape, 4, kernel, backend) for backend in ("builtin", "spconv")
    )
    assert torch.equal(builtin.indices, spconv.indices)
    assert builtin.spatial_shape == spconv.spatial_shape
    features = torch.randn(voxels.indices.shape[0], 4, dtype=torch.float64)
    weight = torch.randn(5, 3, 3, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(builtin.convolve(features, weight), spconv.convolve(features, weight))


def test_backends_agree_on_a_real_frame_at_the_published_size(kitti_frames: Path) -> None:
    pytest.importorskip("spconv")
    voxels = real_voxels(kitti_frames, "000003", Config())
    results = []
    for backend in ("builtin", "spconv"):
        config = Config(backbone=BackboneConfig(backend=backend))
        torch.manual_seed(0)
        backbone = SparseBackbone(config)
        depth, height, width = config.bev_shape
        direction = torch.randn(1, config.backbone.out_channels * depth, height, width)
        results.append(run(backbone, voxels, direction))
    (builtin, builtin_gradients), (spconv, spconv_gradients) = results
    assert torch.equal(builtin.occupied, spconv.occupied)
    # In float32, as it runs; the largest difference against the tensor's largest value. On a CPU the backends share
    # their arithmetic, so what is compared here is what the two find in the frame: cells, pairs and their order.
    assert relative_difference(spconv.dense, builtin.dense) < 1e-5
    for a, b in zip(spconv.stages, builtin.stages, strict=True):
        assert torch.equal(a.indices, b.indices)
        assert relative_difference(a.features, b.features) < 1e-5
    assert builtin_gradients.keys() == spconv_gradients.keys()
    for name, gradient in builtin_gradients.items():
        assert relative_difference(spconv_gradients[name], gradient) < 1e-5, name


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_the_layout_of_the_weight_is_that_of_spconv() -> None:
    """Pairs alone do not show it: a weight of a strided layer of spconv's own, used by both.

    Its CPU convolution loses additions on several threads. Here is one, and cells lie so far apart that each output is
    a single product, to which nothing is added.
    """
    spconv = pytest.importorskip("spconv.pytorch")
    places = torch.cartesian_prod(*[torch.tensor([0, 5, 11, 16])] * 3)  # odd and even along each axis, far apart
    indices = torch.cat([torch.zeros(len(places), 1), places], dim=1).to(torch.int32)
    features, shape = torch.randn(len(places), 4), (18, 18, 18)
    layer = spconv.SparseConv3d(4, 16, 3, stride=2, padding=1, bias=False, algo=spconv.ConvAlgo.Native)
    with torch.no_grad():
        expected = layer(spconv.SparseConvTensor(features, indices, list(shape), 1))
    plan = plan_sparse_conv(indices, shape, 1, Kernel((3, 3, 3), (2, 2, 2), (1, 1, 1)), "builtin")
    _, z, y, x = expected.indices.long().T
    _, height, width = plan.spatial_shape
    order = torch.argsort((z * height + y) * width + x)
    assert torch.equal(expected.indices[order], plan.indices)
    assert len(order) == (2 * 1 + 2 * 2) ** 3  # an even place has one output along an axis, an odd one two
    torch.testing.assert_close(plan.convolve(features, layer.weight), expected.features[order])


def test_on_a_cpu_no_convolution_of_spconv_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the threads: its index pairs feed the built-in convolution, forward and backward."""
    functional = pytest.importorskip("spconv.pytorch").functional

    def refuse(*_: object) -> None:
        raise AssertionError("spconv convolves on a CPU")

    for name in ("indice_conv", "indice_subm_conv"):
        monkeypatch.setattr(functional, name, refuse)
    backbone = SparseBackbone(small_config("spconv"))
    backbone(random_voxels(small_config(), 2, 200)).dense.sum().backward()
    assert all(weight.grad is not None for weight in backbone.parameters())
