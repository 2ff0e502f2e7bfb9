"""The published sparse backbone on one KITTI frame: forward, and a training step, against spconv and against torch.

A pass is every rulebook and every layer up to the last sparse features; the dense map after them is left out on each
side. spconv's own network is compared on one thread, as is ours: with more its CPU convolution is wrong. The frame is
KITTI's 000003 where it is to be had ($LIDAR_EBM_KITTI, or shared/kitti in or beside the checkout), otherwise a
simulated one; the table says which. `python tools/benchmarks/sparse_conv.py --help`
"""

from __future__ import annotations

import copy
import importlib.util
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Comparison, Settings, compare, run
from torch import Tensor, nn

from cuda_ops.sparse_conv import output_shape, reference
from lidar_ebm.config.loading import load_config
from lidar_ebm.detector.sparse_backbone import POINTWISE, SUBMANIFOLD, SparseBackbone
from lidar_ebm.detector.sparse_ops import Kernel, SparsePlan, plan_sparse_conv
from lidar_ebm.detector.voxelize import voxelize
from lidar_ebm.formats.kitti.calibration import SIMULATED_CAMERA
from lidar_ebm.simulation.simulator import SimulationSettings, simulate_frame
from lidar_ebm.types import Voxels

ROOT = Path(__file__).resolve().parents[2]
# Finds the pairs of a convolution: indices [V, 4], shape of their grid, batch size, kernel.
Planner = Callable[[Tensor, tuple[int, int, int], int, Kernel], SparsePlan]


def read_points() -> tuple[str, np.ndarray]:
    """A name and the points [N, 4] of a frame."""
    folders = [ROOT / "shared" / "kitti", ROOT.parent / "shared" / "kitti", ROOT / "data" / "kitti"]
    if "LIDAR_EBM_KITTI" in os.environ:
        folders.insert(0, Path(os.environ["LIDAR_EBM_KITTI"]))
    for folder in folders:
        path = folder / "training" / "velodyne" / "000003.bin"
        if path.exists():
            return "frame 000003", np.fromfile(path, dtype=np.float32).reshape(-1, 4)
    return "a simulated frame", simulate_frame(SimulationSettings(seed=0, camera=SIMULATED_CAMERA), 0).points


def plan_with_reference(indices: Tensor, shape: tuple[int, int, int], batch_size: int, kernel: Kernel) -> SparsePlan:
    rulebook = reference.build_rulebook(
        indices,
        shape,
        batch_size,
        kernel_size=kernel.size,
        stride=kernel.stride,
        padding=kernel.padding,
        submanifold=kernel.submanifold,
    )
    return SparsePlan(rulebook.indices, rulebook.spatial_shape, partial(reference.sparse_conv, rulebook=rulebook))


def plan_with_pairs(indices: Tensor, shape: tuple[int, int, int], batch_size: int, kernel: Kernel) -> SparsePlan:
    """spconv's pairs, and a convolution of torch's own operations; the gradients are autograd's."""
    from spconv.pytorch import ConvAlgo, ops

    padding = tuple(k // 2 for k in kernel.size) if kernel.submanifold else kernel.padding
    geometry = (list(kernel.size), list(kernel.stride), list(padding), [1, 1, 1], [0, 0, 0])
    # pairs [2, K, V]: input and output rows of each offset, then -1; a submanifold kernel's counts are of half of them
    cells, pairs, _ = ops.get_indice_pairs(
        indices, batch_size, list(shape), ConvAlgo.Native, *geometry, kernel.submanifold
    )
    counts = (pairs[0] >= 0).sum(1).tolist()
    lists = [(pairs[0, k, :n].long(), pairs[1, k, :n].long()) for k, n in enumerate(counts)]

    def convolve(features: Tensor, weight: Tensor) -> Tensor:
        output = features.new_zeros(cells.shape[0], weight.shape[0])
        for (in_rows, out_rows), matrix in zip(lists, weight.flatten(1, 3).permute(1, 2, 0), strict=True):
            output = output.index_add(0, out_rows, features[in_rows].mm(matrix))
        return output

    new_shape = shape if kernel.submanifold else output_shape(shape, kernel.size, kernel.stride, kernel.padding)
    return SparsePlan(cells, new_shape, convolve)


def run_layers(backbone: SparseBackbone, voxels: Voxels, plan: Planner) -> tuple[Tensor, Tensor]:
    """The last sparse features [V', C] and their cells [V', 4], with the pairs and convolutions of `plan`."""
    features, indices, shape = voxels.features, voxels.indices, voxels.spatial_shape
    stages: Any = backbone.stages  # a ModuleList does not say what it holds
    groups: list[tuple[Kernel, list[nn.Module]]] = [(SUBMANIFOLD, list(backbone.stem.layers))]
    for stage in stages:
        groups += [(stage.down.kernel, [stage.down]), (SUBMANIFOLD, list(stage.submanifold.layers))]
    groups.append((POINTWISE, [backbone.output]))
    for kernel, layers in groups:
        planned = plan(indices, shape, voxels.batch_size, kernel)
        for layer in layers:
            features = layer(features, planned)
        indices, shape = planned.indices, planned.spatial_shape
    return features, indices


def spconv_network(backbone: SparseBackbone, device: torch.device) -> nn.Module:
    """The same layers with the same weights as a network of spconv's modules."""
    import spconv.pytorch as spconv

    # On a CPU it has this algorithm alone; on a GPU it chooses its fastest itself.
    options: dict[str, Any] = {"bias": False, "algo": spconv.ConvAlgo.Native if device.type == "cpu" else None}
    modules: list[nn.Module] = []
    stages: Any = backbone.stages

    def add(layer: Any, convolution: Any) -> None:
        pointwise = convolution.weight[0, ..., 0].numel() == 1  # which spconv reads as [Cin, Cout]
        convolution.weight.data.copy_(layer.weight.data.transpose(0, 4) if pointwise else layer.weight.data)
        norm = nn.BatchNorm1d(convolution.out_channels, eps=layer.norm.eps, momentum=layer.norm.momentum)
        norm.load_state_dict(layer.norm.state_dict())
        modules.extend((convolution, norm, nn.ReLU()))

    def add_submanifold(layers: Any, key: str) -> None:
        for layer in layers:
            out_channels, *_, in_channels = layer.weight.shape
            add(layer, spconv.SubMConv3d(in_channels, out_channels, 3, padding=1, indice_key=key, **options))

    add_submanifold(backbone.stem.layers, "stem")
    for number, stage in enumerate(stages):
        out_channels, *_, in_channels = stage.down.weight.shape
        stride = stage.down.kernel.stride
        add(stage.down, spconv.SparseConv3d(in_channels, out_channels, 3, stride=stride, padding=1, **options))
        add_submanifold(stage.submanifold.layers, f"stage{number}")
    out_channels, *_, in_channels = backbone.output.weight.shape
    add(backbone.output, spconv.SubMConv3d(in_channels, out_channels, 1, **options))
    network: nn.Module = spconv.SparseSequential(*modules)
    return network.to(device).eval()


def run_spconv(network: nn.Module, voxels: Voxels) -> tuple[Tensor, Tensor]:
    """As `run_layers`."""
    import spconv.pytorch as spconv

    shape = list(voxels.spatial_shape)
    output = network(spconv.SparseConvTensor(voxels.features, voxels.indices, shape, voxels.batch_size))
    return output.features, output.indices


def training_step(backbone: SparseBackbone, voxels: Voxels, plan: Planner) -> list[Tensor]:
    """The gradients of every weight for a function of the features that no order of the cells changes."""
    features, _ = run_layers(backbone, voxels, plan)
    return list(torch.autograd.grad(0.5 * features.square().sum(), list(backbone.parameters())))


def check_same(actual: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    """The same features at the same cells, in whatever order; against the largest of all."""
    sides = []
    for features, indices in (actual, expected):
        cells, order = torch.unique(indices.long(), dim=0, return_inverse=True)
        sides.append((cells, torch.empty_like(features).index_copy_(0, order, features)))
    assert torch.equal(sides[0][0], sides[1][0])
    torch.testing.assert_close(sides[0][1], sides[1][1], rtol=0, atol=1e-4 * float(expected[0].abs().max()))


def check_gradients(backbone: SparseBackbone, voxels: Voxels, plan: Planner, other: Planner) -> None:
    """Both sides' gradients in float64: in float32 a value near zero may pass the ReLU on one side alone."""
    exact = copy.deepcopy(backbone).double()
    inputs = replace(voxels, features=voxels.features.double())
    for a, b in zip(training_step(exact, inputs, plan), training_step(exact, inputs, other), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-7 * float(b.abs().max()))


def measure(settings: Settings) -> list[Comparison]:
    torch.manual_seed(0)
    device = settings.device
    config = load_config(ROOT / "configs" / "sassd_ebm_car.yaml", [])
    name, points = read_points()
    frame = torch.zeros(len(points), dtype=torch.int64)
    voxels = voxelize(torch.from_numpy(points), frame, 1, config.voxels)
    voxels = replace(voxels, features=voxels.features.to(device), indices=voxels.indices.to(device))
    backbone = SparseBackbone(config.detector_settings).to(device)
    own: Planner = partial(plan_sparse_conv, backend="builtin")
    forward_work, step_work = f"sparse backbone, {name}: forward", f"sparse backbone, {name}: forward and backward"
    rows = []

    def forward(function: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return function()

    def compare_forward(
        other: Callable[[], tuple[Tensor, Tensor]], against: str, aim: float | None, work: str = forward_work
    ) -> None:
        ours = partial(forward, partial(run_layers, backbone, voxels, own))
        rows.append(compare(settings, work, ours, partial(forward, other), against=against, aim=aim))

    def compare_step(plan: Planner, against: str, aim: float | None) -> None:
        ours, other = (partial(training_step, backbone, voxels, side) for side in (own, plan))
        check_gradients(backbone, voxels, own, plan)
        rows.append(compare(settings, step_work, ours, other, against=against, aim=aim))

    backbone.eval()
    expected = forward(partial(run_layers, backbone, voxels, plan_with_reference))
    check_same(forward(partial(run_layers, backbone, voxels, own)), expected)
    has_spconv = device.type == "cpu" and importlib.util.find_spec("spconv") is not None  # its CPU build
    if has_spconv:
        network = spconv_network(backbone, device)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # both sides: with more, spconv 2.3.8 on a CPU loses additions, and is wrong
        check_same(forward(partial(run_spconv, network, voxels)), expected)
        compare_forward(partial(run_spconv, network, voxels), "spconv's own network", 2.5, f"{forward_work}, 1 thread")
        torch.set_num_threads(threads)
    compare_forward(partial(run_layers, backbone, voxels, plan_with_reference), "the reference on torch's BLAS", None)

    backbone.train()
    if has_spconv:
        compare_step(plan_with_pairs, "spconv's pairs, torch's gather, mm and index_add", 1.5)
    compare_step(plan_with_reference, "the reference on torch's BLAS", None)
    return rows


if __name__ == "__main__":
    run(measure, __doc__ or "")
