"""Counts that losses are divided by."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from lidar_ebm.runs.model import Model
from lidar_ebm.training.stages import DetectorStage, EnergyStage, Work
from tests.energy.moving_scenes import moving_batch, moving_config, moving_labels


@pytest.mark.parametrize(
    ("settings", "counted"), [((), 2), (("energy.velocity=false",), 2), (("energy.features=[bev]",), 3)]
)
def test_labels_that_the_energy_is_not_trained_on_are_not_counted(settings: tuple[str, ...], counted: int) -> None:
    """Every label counts where the velocity does not matter to f."""
    labels = moving_labels(3)
    batch = moving_batch(labels, 30)
    labels = labels.clone()
    labels[1, 8] = math.nan
    batch = replace(batch, boxes=replace(batch.boxes, boxes=labels))
    stage = EnergyStage(Model(moving_config(*settings)))
    assert stage.counts(Work(batch, [1, 2, 3])).labels == counted


def test_the_loss_is_divided_by_what_is_counted() -> None:
    torch.manual_seed(0)
    labels = moving_labels(4)
    batch = moving_batch(labels, 30)
    labels = labels.clone()
    labels[2, 7] = math.nan
    batch = replace(batch, boxes=replace(batch.boxes, boxes=labels))
    stage = EnergyStage(Model(moving_config()))
    work = Work(batch, [1, 2, 3, 4])
    counted = stage(Work(batch, work.seeds, stage.counts(work)))["energy"]
    torch.testing.assert_close(counted, stage.model.energy.loss(batch, None, seeds=work.seeds))
    assert DetectorStage(stage.model, joint=True).label_count(batch) == 3
