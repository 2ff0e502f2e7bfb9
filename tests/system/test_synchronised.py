"""Two processes that each take a part of a batch compute what one process computes on the whole."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from lidar_ebm.config.config import Config
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.detector.sparse_backbone import RowNorm
from lidar_ebm.runs.model import Model
from lidar_ebm.system.synchronised import SynchronisedNorm, process_count, shared_count, synchronise_norms
from lidar_ebm.types import Batch, LabelBatch

PROCESSES = 2
STEPS = 2
SEEDS = (11, 12, 13, 14)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
# Which rows of the whole each process has; none, and too few for a variance, too.
ROW_CASES = {"even": (4, 4), "uneven": (7, 1), "none here": (0, 8), "one in all": (1, 0), "none at all": (0, 0)}
BATCH_CASES = ("usual", "empty on one", "empty on both")
ENERGY_METHODS = ("kld-is", "ml-mcmc", "dsm", "learned-nce")  # beside nce, which all else here is trained by


def blank(batch: Batch, frames: tuple[int, ...]) -> Batch:
    """The batch without the points and labels of some frames."""
    points = ~torch.isin(batch.point_batch_index, torch.tensor(frames))
    rows = ~torch.isin(batch.boxes.batch_index, torch.tensor(frames))
    boxes = LabelBatch(
        *(values[rows] for values in (batch.boxes.boxes, batch.boxes.class_index, batch.boxes.batch_index)), 4
    )
    return replace(batch, points=batch.points[points], point_batch_index=batch.point_batch_index[points], boxes=boxes)


def part_of(batch: Batch, rank: int, size: int) -> Batch:
    """This process' frames of the whole batch."""
    share = batch.batch_size // size
    first = rank * share

    def own(values: Tensor, frame: Tensor) -> Tensor:
        return values[(frame >= first) & (frame < first + share)]

    frame, label_frame = batch.point_batch_index, batch.boxes.batch_index
    boxes = LabelBatch(
        own(batch.boxes.boxes, label_frame),
        own(batch.boxes.class_index, label_frame),
        own(label_frame, label_frame) - first,
        share,
    )
    names = batch.frame_ids[first : first + share]
    return Batch(names, own(batch.points, frame), own(frame, frame) - first, boxes, share)


def in_precision(batch: Batch, dtype: torch.dtype) -> Batch:
    return replace(batch, points=batch.points.to(dtype), boxes=replace(batch.boxes, boxes=batch.boxes.boxes.to(dtype)))


def with_method(config: Config, method: str) -> Config:
    """The energy trained another way, with few samples."""
    objective = config.energy.objective.model_copy(update={"method": method, "langevin_steps": 2})
    energy = config.energy.model_copy(update={"objective": objective, "samples": 8})
    return config.model_copy(update={"energy": energy})


def train(config: Config, batch: Batch, dtype: torch.dtype, steps: int) -> dict[str, Any]:
    """Some steps of plain gradient descent on all losses: mean losses and gradients of each, and the last state."""
    torch.manual_seed(0)
    detector = synchronise_norms(Model(config).to(dtype))
    rank, size = (dist.get_rank(), process_count()) if process_count() > 1 else (0, 1)
    share = batch.batch_size // size
    batch = part_of(in_precision(batch, dtype), rank, size)
    losses, gradients = [], []
    for _ in range(steps):
        features = detector.detector.encode(batch)
        terms = detector.detector.losses(batch, features)
        terms["energy"] = detector.energy.loss(batch, features.bev, seeds=SEEDS[rank * share :][:share])
        detector.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        losses.append({name: mean_of_all(term.detach()) for name, term in terms.items()})
        gradient = {}
        for name, parameter in detector.named_parameters():
            assert parameter.grad is not None, f"{name}: whoever waits for its gradient would wait for ever"
            gradient[name] = mean_of_all(parameter.grad.clone())
            with torch.no_grad():
                parameter -= 0.01 * gradient[name]
        gradients.append(gradient)
    return {"losses": losses, "gradients": gradients, "state": detector.state_dict()}


def mean_of_all(value: Tensor) -> Tensor:
    if process_count() > 1:
        dist.all_reduce(value)
    return value / process_count()


def normalise(make: Callable[[], nn.Module], rows: Tensor, rank: int, counts: tuple[int, ...]) -> dict[str, Tensor]:
    """Two training passes through a layer, and one in evaluation; outputs, gradients and running statistics."""
    torch.manual_seed(1)
    norm = make().to(rows.dtype)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.uniform_(0.5, 1.5)
    norm = synchronise_norms(norm)

    def own(rows: Tensor) -> Tensor:
        return rows[sum(counts[:rank]) : sum(counts[: rank + 1])] if process_count() > 1 else rows

    x = own(rows).clone().requires_grad_()
    norm(x)
    y = norm(x)
    cotangent = torch.randn(rows.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(rows)
    (y * own(cotangent)).sum().backward()
    found = {"y": y, "to x": x.grad, **{f"to {name}": p.grad for name, p in norm.named_parameters()}}
    norm.eval()
    found["evaluation"] = norm(x)
    state = {name: value.clone() for name, value in norm.state_dict().items()}
    return {name: value.detach().clone() for name, value in found.items()} | state


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "rows": (lambda: RowNorm(5, eps=1e-3, momentum=0.01), (5,)),
    "maps": (lambda: nn.BatchNorm2d(5, eps=1e-3, momentum=0.1), (5, 3, 2)),
    "plain average": (lambda: nn.BatchNorm1d(5, momentum=None), (5, 4)),
    "no weights": (lambda: nn.BatchNorm1d(5, affine=False), (5,)),
}


def layer_cases() -> list[tuple[str, str]]:
    # Of too few rows only the backbone's own layer makes something alone.
    return [
        (layer, case) for layer in LAYERS for case, counts in ROW_CASES.items() if layer == "rows" or sum(counts) > 1
    ]


def rows_for(layer: str, case: str, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    shape = (sum(ROW_CASES[case]), *LAYERS[layer][1])
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * 3 + 100).to(dtype)  # far from zero


def work(rank: int, folder: Path, config: Config, batches: dict[str, Batch]) -> None:
    """Work of each of the processes."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{folder}/meeting", rank=rank, world_size=PROCESSES, timeout=timedelta(seconds=60)
    )
    found: dict[Any, Any] = {
        (layer, case, dtype): normalise(LAYERS[layer][0], rows_for(layer, case, dtype), rank, ROW_CASES[case])
        for layer, case in layer_cases()
        for dtype in TOLERANCE
    }
    found |= {case: train(config, batch, torch.float64, STEPS) for case, batch in batches.items()}
    found |= {
        method: train(with_method(config, method), batches["empty on one"], torch.float64, 1)
        for method in ENERGY_METHODS
    }
    found["float32"] = train(config, batches["usual"], torch.float32, 1)
    found["counts"] = (float(shared_count(torch.tensor(3 * rank))), float(shared_count(rank)), float(shared_count(0)))
    found["restored"] = restored(config)
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


def restored(config: Config) -> bool:
    """Tell if a synchronised detector takes another's state, copies, and keeps its parameters and their names."""
    plain = Model(config)
    parameters = list(plain.parameters())
    names = list(plain.state_dict())
    other = copy.deepcopy(synchronise_norms(plain))
    other.load_state_dict(Model(config).state_dict())
    kinds = {type(module) for module in other.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)}
    same = all(a is b for a, b in zip(parameters, plain.parameters(), strict=True))
    return same and names == list(other.state_dict()) and kinds == {SynchronisedNorm}


@pytest.fixture(scope="module")
def batches(simulated: Path, tiny_config: Config) -> dict[str, Batch]:
    frames = open_samples(simulated, "trainval", tiny_config)
    usual = collate([frames[index] for index in range(4)])
    return dict(zip(BATCH_CASES, (usual, blank(usual, (2, 3)), blank(usual, (0, 1, 2, 3))), strict=True))


@pytest.fixture(scope="module")
def parts(
    tmp_path_factory: pytest.TempPathFactory, tiny_config: Config, batches: dict[str, Batch]
) -> list[dict[Any, Any]]:
    """Results of two processes."""
    folder = tmp_path_factory.mktemp("processes")
    mp.spawn(work, (folder, tiny_config, batches), nprocs=PROCESSES)
    return [torch.load(folder / f"{rank}.pt") for rank in range(PROCESSES)]


def close(found: Tensor, expected: Tensor, tolerance: float, name: str) -> None:
    """Equal to `tolerance`, relative to the largest value of the tensor."""
    largest = max(expected.abs().max().item(), 1e-4) if expected.numel() else 0.0
    torch.testing.assert_close(
        found, expected, rtol=tolerance, atol=tolerance * largest, msg=lambda text: f"{name}: {text}"
    )


@pytest.mark.parametrize("case", BATCH_CASES)
def test_a_detector_learns_the_same(
    case: str, tiny_config: Config, batches: dict[str, Batch], parts: list[dict[Any, Any]]
) -> None:
    whole = train(tiny_config, batches[case], torch.float64, STEPS)
    for part in parts:
        own = part[case]
        for step in range(STEPS):
            for kind in ("losses", "gradients"):
                assert own[kind][step].keys() == whole[kind][step].keys()
                for name, expected in whole[kind][step].items():
                    close(own[kind][step][name], expected, 1e-10, f"{kind} of step {step}, {name}")
        for name, expected in whole["state"].items():
            close(own["state"][name], expected, 1e-10, name)
    if case == "usual":
        assert all(gradient.abs().max() > 0 for gradient in whole["gradients"][0].values())


@pytest.mark.parametrize("method", ENERGY_METHODS)
def test_an_energy_learns_the_same_by_every_method(
    method: str, tiny_config: Config, batches: dict[str, Batch], parts: list[dict[Any, Any]]
) -> None:
    whole = train(with_method(tiny_config, method), batches["empty on one"], torch.float64, 1)
    for part in parts:
        close(part[method]["losses"][0]["energy"], whole["losses"][0]["energy"], 1e-10, method)
        for name, expected in whole["gradients"][0].items():
            close(part[method]["gradients"][0][name], expected, 1e-9, name)


def test_a_detector_learns_the_same_in_float32(
    tiny_config: Config, batches: dict[str, Batch], parts: list[dict[Any, Any]]
) -> None:
    """Of gradients only the whole is compared: a unit or a proposal at its threshold may fall on the other side by the
    last bit, as it does where one process takes the frames in another order, and all that hangs on it changes with it.
    """
    whole = train(tiny_config, batches["usual"], torch.float32, 1)
    for part in parts:
        for name, expected in whole["losses"][0].items():
            close(part["float32"]["losses"][0][name], expected, 1e-5, name)
        own, expected = (
            torch.cat([g.flatten() for g in run["gradients"][0].values()]) for run in (part["float32"], whole)
        )
        assert (own - expected).norm() < 0.01 * expected.norm()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("layer", "case"), layer_cases())
def test_a_layer_normalises_the_same(layer: str, case: str, dtype: torch.dtype, parts: list[dict[Any, Any]]) -> None:
    whole = normalise(LAYERS[layer][0], rows_for(layer, case, dtype), 0, ())
    own = [part[layer, case, dtype] for part in parts]
    for name, expected in whole.items():
        values = [part[name] for part in own]
        if name in ("y", "to x", "evaluation"):
            together = [torch.cat(values)]
        elif name in ("to weight", "to bias"):
            together = [torch.stack(values).sum(0)]
        else:
            together = values
        for value in together:
            close(value, expected, TOLERANCE[dtype], name)


def test_counts_are_shared(parts: list[dict[Any, Any]]) -> None:
    for part in parts:
        assert part["counts"] == (3 / PROCESSES, 1 / PROCESSES, 1 / PROCESSES)


def test_state_and_parameters_stay_what_they_are(parts: list[dict[Any, Any]]) -> None:
    assert all(part["restored"] for part in parts)


def test_one_process_alone_changes_nothing() -> None:
    layer = nn.Sequential(nn.BatchNorm1d(3))
    assert synchronise_norms(layer) is layer
    assert type(layer[0]) is nn.BatchNorm1d
    assert process_count() == 1
    assert shared_count(0) == 1
    assert shared_count(torch.tensor(5)) == 5


def test_a_layer_without_running_statistics_is_refused() -> None:
    with pytest.raises(ValueError, match="keeps no running statistics"):
        SynchronisedNorm(nn.BatchNorm1d(3, track_running_stats=False))
