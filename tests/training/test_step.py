from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from lidar_ebm.config.config import Config
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.runs.model import Model
from lidar_ebm.training.processes import Processes
from lidar_ebm.training.schedule import make_optimizer
from lidar_ebm.training.stages import DetectorStage, EnergyStage, Stage, Work
from lidar_ebm.training.state import Position, TrainingState
from lidar_ebm.training.step import Stepper, frame_seeds, split_batch
from lidar_ebm.types import Batch

SEEDS = [3, 1, 4, 1]


@pytest.fixture
def batch(simulated: Path, tiny_config: Config) -> Batch:
    frames = open_samples(simulated, "train", tiny_config)
    return collate([frames[i] for i in range(4)])


def stepper(
    config: Config, make: Callable[[Model], Stage], *, accumulation: int = 1, keep_buffers: bool = False
) -> Stepper:
    torch.manual_seed(1)
    fabric = Fabric(accelerator="cpu", devices=1, precision=config.training.precision)
    settings = config.training.energy.model_copy(update={"batch_size": 4, "accumulation": accumulation})
    state = TrainingState(Position())
    stage = make(Model(config))
    return Stepper(fabric, Processes(fabric), stage, settings, 10, state, ema_decay=0.0, keep_buffers=keep_buffers)


def weights(taken: Stepper) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in taken.stage.model.state_dict().items()}


def hold_norms(stage: Stage) -> None:
    """Let batch normalisation use its running statistics."""
    for module in stage.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()


@pytest.mark.parametrize(("method", "accumulation"), [("nce", 2), ("nce", 4), ("dsm", 2), ("learned-nce", 4)])
def test_accumulated_passes_make_the_whole_batch_s_energy_step(
    method: str, accumulation: int, tiny_config: Config, batch: Batch
) -> None:
    labels = torch.bincount(batch.boxes.batch_index, minlength=4)
    assert len(set(labels.tolist())) > 1  # or a mean of means would do
    objective = tiny_config.energy.objective.model_copy(update={"method": method})
    config = tiny_config.model_copy(update={"energy": tiny_config.energy.model_copy(update={"objective": objective})})
    whole, parts = (stepper(config, EnergyStage, accumulation=count) for count in (1, accumulation))
    figures = [each.take(batch, SEEDS) for each in (whole, parts)]
    torch.testing.assert_close(figures[1], figures[0], rtol=1e-5, atol=1e-9)
    for one, other in zip(whole.stage.trained(), parts.stage.trained(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("accumulation", [2, 4])
def test_accumulated_passes_make_the_whole_batch_s_detector_step(
    joint: bool, accumulation: int, tiny_config: Config, batch: Batch
) -> None:
    """Term by term, with the norms' statistics held: those of a training step are a pass' own."""
    labels = torch.bincount(batch.boxes.batch_index, minlength=4)
    assert len(set(labels.tolist())) > 1  # or a mean of means would do
    weights = {"energy_weight": 1.0}
    config = tiny_config.model_copy(update={"training": tiny_config.training.model_copy(update=weights)})
    whole, parts = (
        stepper(config, lambda detector: DetectorStage(detector, joint=joint), accumulation=count)
        for count in (1, accumulation)
    )
    for each in (whole, parts):
        hold_norms(each.stage)
    figures = [each.take(batch, SEEDS) for each in (whole, parts)]
    assert whole.terms == parts.terms
    assert len(whole.terms) == 6 + joint
    torch.testing.assert_close(figures[1], figures[0], rtol=1e-5, atol=1e-9)
    for one, other in zip(whole.stage.trained(), parts.stage.trained(), strict=True):
        if one.grad is not None or other.grad is not None:
            assert one.grad is not None
            assert other.grad is not None
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-3, atol=1e-5)


def test_counting_before_the_passes_changes_nothing(tiny_config: Config, batch: Batch) -> None:
    taken = stepper(tiny_config, lambda detector: DetectorStage(detector, joint=True), accumulation=2)
    before = weights(taken)
    counts = taken.stage.counts(Work(batch, SEEDS))
    assert counts.labels == len(batch.boxes.boxes)
    assert min(counts.anchors or 0, counts.points or 0, counts.part_boxes or 0) > 0
    for key, value in weights(taken).items():
        assert torch.equal(value, before[key]), key


def test_one_pass_counts_for_itself(tiny_config: Config, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain step costs no more than its passes."""
    taken = stepper(tiny_config, lambda detector: DetectorStage(detector, joint=True))
    monkeypatch.setattr(DetectorStage, "counts", None)
    assert float(taken.take(batch, SEEDS)[-1]) == 0


def test_a_split_batch_is_the_batch(batch: Batch) -> None:
    for count in (1, 2, 3, 4, 9):
        parts = split_batch(batch, count)
        assert len(parts) == min(count, 4)
        assert sum((part.frame_ids for part in parts), ()) == batch.frame_ids
        assert torch.equal(torch.cat([part.points for part in parts]), batch.points)
        assert torch.equal(torch.cat([part.boxes.boxes for part in parts]), batch.boxes.boxes)
        first = 0
        for part in parts:
            assert part.batch_size == part.boxes.batch_size == len(part.frame_ids)
            frames = torch.bincount(part.point_batch_index, minlength=part.batch_size)
            expected = torch.bincount(batch.point_batch_index, minlength=4)[first : first + part.batch_size]
            assert torch.equal(frames, expected)
            first += part.batch_size


def test_seeds_belong_to_the_place_in_the_whole_batch() -> None:
    whole = frame_seeds(7, 3, 0, 6)
    assert frame_seeds(7, 3, 2, 2) == whole[2:4]
    assert len({*whole, *frame_seeds(7, 4, 0, 6), *frame_seeds(8, 3, 0, 6)}) == 18


@pytest.mark.parametrize("joint", [True, False])
def test_a_step_that_is_not_finite_changes_nothing(joint: bool, tiny_config: Config, batch: Batch) -> None:
    taken = stepper(tiny_config, (lambda d: DetectorStage(d, joint=True)) if joint else EnergyStage, keep_buffers=True)
    assert float(taken.take(batch, SEEDS)[-1]) == 0
    before = weights(taken)
    bad = Batch(batch.frame_ids, batch.points, batch.point_batch_index, batch.boxes, batch.batch_size)
    batch.boxes.boxes[0, 3] = float("nan")
    assert float(taken.take(bad, SEEDS)[-1]) == 1
    for key, value in weights(taken).items():
        assert torch.equal(value, before[key]), key


def test_bf16_trains_with_positions_in_full_precision(tiny_config: Config, batch: Batch) -> None:
    training = tiny_config.training.model_copy(update={"precision": "bf16-mixed"})
    half = tiny_config.model_copy(update={"training": training})
    whole = stepper(tiny_config, lambda detector: DetectorStage(detector, joint=True)).take(batch, SEEDS)
    rough = stepper(half, lambda detector: DetectorStage(detector, joint=True)).take(batch, SEEDS)
    torch.testing.assert_close(rough[:-2], whole[:-2], rtol=0.05, atol=0.02)


def test_a_fused_optimiser_leaves_a_step_out_by_itself(tiny_config: Config) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = make_optimizer([weight], tiny_config.training.energy, fused=True)
    for bad in (0.0, 1.0, 0.0):
        before = weight.detach().clone()
        weight.grad = torch.ones(3)
        optimizer.found_inf = torch.tensor(bad)  # type: ignore[attr-defined]
        optimizer.step()
        assert torch.equal(weight, before) == bool(bad)
    assert optimizer.state[weight]["step"] == 2
