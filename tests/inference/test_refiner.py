"""Boxes to better boxes: what f sees is computed once, and parts of the boxes fare as they do among all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lidar_ebm.config.config import Config
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.energy.energy_head import EnergyHead
from lidar_ebm.inference.detection import detect_batch
from lidar_ebm.inference.refiner import Refiner
from lidar_ebm.runs.model import Model
from lidar_ebm.types import Batch

STEPS = 3


@pytest.fixture
def model(eager_config: Config) -> Model:
    torch.manual_seed(0)
    return Model(eager_config).eval()


@pytest.fixture
def batch(eager_config: Config, simulated: Path) -> Batch:
    samples = open_samples(simulated, "val", eager_config)
    return collate([samples[0], samples[1]])


@pytest.fixture
def refiner(model: Model, batch: Batch) -> Refiner:
    with torch.no_grad():
        return detect_batch(model, batch, 0).refiner


@torch.no_grad()
def test_the_context_is_computed_once_whatever_is_asked(
    model: Model, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    context = EnergyHead.context

    def counted(energy: EnergyHead, *arguments: object, **options: object) -> object:
        calls.append(1)
        return context(energy, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(EnergyHead, "context", counted)
    detected = detect_batch(model, batch, STEPS, record=True)
    detected.uncertainty(1.0)
    detected.refiner.f(detected.ascent.y.unsqueeze(1))
    detected.refiner.select(torch.tensor([0])).refine(STEPS)
    detected.before(), detected.after()
    assert len(calls) == 1


@torch.no_grad()
def test_selected_boxes_fare_as_among_all(refiner: Refiner) -> None:
    count = len(refiner.boxes)
    assert count > 6
    rows = torch.tensor([count - 1, 0, 4, 2])
    part = refiner.select(rows)
    assert torch.equal(part.boxes, refiner.boxes[rows])
    candidates = refiner.boxes.unsqueeze(1) + 0.1 * torch.randn(count, 5, 7, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(part.f(candidates[rows]), refiner.f(candidates)[rows], atol=1e-5, rtol=1e-5)
    whole, alone = refiner.refine(STEPS), part.refine(STEPS)
    torch.testing.assert_close(alone.y, whole.y[rows], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(alone.f, whole.f[rows], atol=1e-4, rtol=1e-4)
    assert bool((whole.f >= whole.f0).all())
    torch.testing.assert_close(whole.f, refiner.f(whole.y.unsqueeze(1)).squeeze(1), atol=1e-4, rtol=1e-4)
    nothing = refiner.select(rows[:0])
    assert nothing.refine(STEPS).y.shape == (0, 7)
    assert nothing.f(candidates[:0]).shape == (0, 5)


@torch.no_grad()
def test_uncertainty_hangs_on_the_seed_alone(refiner: Refiner) -> None:
    def covariance(seed: int, skipped: int) -> torch.Tensor:
        torch.manual_seed(skipped)  # the state of torch's own generator
        again = Refiner(refiner.energy, refiner.boxes, refiner.context, seed)
        return again.uncertainty(refiner.boxes, 1.0).covariance

    assert torch.equal(covariance(0, 1), covariance(0, 2))
    assert not torch.equal(covariance(0, 1), covariance(1, 1))


@torch.no_grad()
def test_boxes_of_any_origin_are_refined_without_the_detectors_maps(eager_config: Config, batch: Batch) -> None:
    energy = eager_config.energy.model_copy(update={"features": ("points",)})
    alone = Model(eager_config.model_copy(update={"energy": energy})).eval()
    labels = batch.boxes
    ascent = Refiner.around(alone.energy, batch, None, labels.boxes, labels.batch_index).refine(STEPS)
    assert ascent.y.shape == labels.boxes.shape
    assert bool((ascent.f >= ascent.f0).all())
    with pytest.raises(ValueError, match="reads the shared map"):
        Refiner.around(Model(eager_config).energy, batch, None, labels.boxes, labels.batch_index)
