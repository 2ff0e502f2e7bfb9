"""The optimiser and its schedule: Adam with decoupled weight decay, one cycle of learning rate and momentum."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from lidar_ebm.config.training import StageTrainingConfig

# The one cycle of SA-SSD's training: the rate rises to its maximum over the first 40 % of the steps while Adam's first
# beta falls from 0.95 to 0.85, then both go back.
RISING_SHARE = 0.4
MOMENTA = (0.85, 0.95)
START_DIVISOR = 10.0


def make_optimizer(
    parameters: Iterable[nn.Parameter], settings: StageTrainingConfig, *, fused: bool = False
) -> Optimizer:
    """Adam for one stage of training; `fused` in one kernel, which can leave a step out without the host knowing."""
    return AdamW(
        parameters,
        lr=settings.learning_rate,
        betas=(MOMENTA[1], 0.99),
        weight_decay=settings.weight_decay,
        fused=fused or None,
    )


def make_schedule(
    optimizer: Optimizer, settings: StageTrainingConfig, total_steps: int, *, done: int = 0
) -> OneCycleLR:
    """One cycle over `total_steps` steps, of which `done` were taken before (a resumed run).

    Rates and momenta of a resumed optimiser come with its own state; here only the counter moves on.
    """
    group = {key: optimizer.param_groups[0][key] for key in ("lr", "betas")}
    schedule = OneCycleLR(
        optimizer,
        max_lr=settings.learning_rate,
        total_steps=max(total_steps, 3),  # torch divides by the length of either phase
        pct_start=RISING_SHARE,
        base_momentum=MOMENTA[0],
        max_momentum=MOMENTA[1],
        div_factor=START_DIVISOR,
    )
    if done:
        schedule.last_epoch = done
        optimizer.param_groups[0].update(group)
    return schedule
