"""The optimiser and its schedule: Adam with decoupled weight decay, one cycle of learning rate and momentum."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from lidar_ebm.config.training import StageTrainingConfig
from lidar_ebm.errors import InputError
from lidar_ebm.runs.model import name_in_file

# The one cycle of SA-SSD's training: the rate rises to its maximum over the first 40 % of the steps while Adam's first
# beta falls from 0.95 to 0.85, then both go back.
RISING_SHARE = 0.4
MOMENTA = (0.85, 0.95)
START_DIVISOR = 10.0


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that learn at the same rate."""

    parameters: tuple[nn.Parameter, ...]
    factor: float  # on the stage's learning rate


def group_parameters(
    parameters: Iterable[tuple[str, nn.Parameter]], rates: Mapping[str, float]
) -> tuple[ParameterGroup, ...]:
    """Parameters by the factors that `training.rates` names, those without one first.

    Args:
        parameters: names within the model, and parameters.
        rates: module name → factor; of several that a parameter lies in the longest counts.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in parameters:
        parts = [part for part in rates if name == part or name.startswith(f"{part}.")]
        groups.setdefault(rates[max(parts, key=len)] if parts else 1.0, []).append(parameter)
    order = sorted(groups, key=lambda factor: (factor != 1.0, factor))
    return tuple(ParameterGroup(tuple(groups[factor]), factor) for factor in order)


def check_rates(rates: Mapping[str, float], model: nn.Module) -> None:
    """Refuse names in `training.rates` that are none of the model's modules.

    Raises:
        InputError: one is; it names the closest.
    """
    modules = [name for name, module in model.named_modules() if any(True for _ in module.parameters())]
    names = [name_in_file(name) for name in modules if name not in ("", "detector")]
    for part in rates:
        if part not in names:
            close = difflib.get_close_matches(part, names, n=1)
            hint = (
                f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(n for n in names if '.' not in n)}."
            )
            raise InputError(f"training.rates: {part!r} is no part of this model. {hint}")


def make_optimizer(
    parameters: Iterable[nn.Parameter] | Sequence[ParameterGroup],
    settings: StageTrainingConfig,
    *,
    fused: bool = False,
) -> Optimizer:
    """Adam for one stage of training; `fused` in one kernel, which can leave a step out without the host knowing.

    Parameters may come in groups with a factor on the learning rate each.
    """
    given: Any = list(parameters)
    if given and isinstance(given[0], ParameterGroup):
        given = [{"params": list(group.parameters), "factor": group.factor} for group in given]
    return AdamW(
        given,
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
    before = [{key: group[key] for key in ("lr", "betas")} for group in optimizer.param_groups]
    schedule = OneCycleLR(
        optimizer,
        max_lr=[settings.learning_rate * group.get("factor", 1.0) for group in optimizer.param_groups],
        total_steps=max(total_steps, 3),  # torch divides by the length of either phase
        pct_start=RISING_SHARE,
        base_momentum=MOMENTA[0],
        max_momentum=MOMENTA[1],
        div_factor=START_DIVISOR,
    )
    if done:
        schedule.last_epoch = done
        for group, values in zip(optimizer.param_groups, before, strict=True):
            group.update(values)
    return schedule
