"""The processes that train together: what they are, and the few small things that they tell one another."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.system.processes import USER_ERROR, Group

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
PATIENCE = timedelta(hours=2)  # one process may be busy for long (a validation, a slow disk) while the others wait


def launch(accelerator: str, devices: int | None, num_nodes: int | None, precision: Precision) -> Fabric:
    """Fabric with its processes running: those that torchrun started, or `devices` of its own on this machine.

    Raises:
        InputError: the accelerator or the number of devices is not to be had here.
    """
    if TorchElasticEnvironment.detect():
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        devices = local if devices is None else devices
        num_nodes = int(os.environ["WORLD_SIZE"]) // local if num_nodes is None else num_nodes
    devices, num_nodes = devices or 1, num_nodes or 1
    strategy: Any = "auto"
    if devices * num_nodes > 1:
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # every process would say that it starts
        # BatchNorm's running statistics follow from statistics of all processes, so they agree without a broadcast.
        parameters = inspect.signature(DistributedDataParallel.__init__).parameters
        options: dict[str, Any] = {
            "forward_sync_buffers" if "forward_sync_buffers" in parameters else "broadcast_buffers": False
        }
        strategy = DDPStrategy(timeout=PATIENCE, **options)
    try:
        fabric = Fabric(
            accelerator=accelerator, devices=devices, num_nodes=num_nodes, strategy=strategy, precision=precision
        )
        fabric.launch()
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"accelerator {accelerator!r} with {devices} devices on {num_nodes} machines: cannot be used here "
            f"({error}). Choose cpu, or auto."
        ) from error
    return fabric


class Processes:
    """This process among those that train together. What they tell one another never waits for a GPU."""

    def __init__(self, fabric: Fabric) -> None:
        self.rank, self.size = fabric.global_rank, fabric.world_size
        self._group = distributed.new_group(backend="gloo", timeout=PATIENCE) if self.size > 1 else None

    @property
    def first(self) -> bool:
        """True in the process that writes."""
        return self.rank == 0

    def largest(self, values: Sequence[float]) -> list[float]:
        """The largest of each value over all processes."""
        return self._reduce(values, distributed.ReduceOp.MAX) if self.size > 1 else list(values)

    def total(self, values: Sequence[float]) -> list[float]:
        """The sum of each value over all processes."""
        return self._reduce(values, distributed.ReduceOp.SUM) if self.size > 1 else list(values)

    def gather(self, value: Any) -> list[Any]:
        """Values of every process, in the order of their ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value, group=self._group)
        return values

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """A user's error that any process meets within ends all: the first with it, the others without a word."""
        error: Exception | None = None
        try:
            yield
        except (InputError, OutputError) as met:
            error = met
        self.fail_together(error)

    def fail_together(self, error: Exception | None) -> None:
        """End all processes if any has an error: the first with the first of them, the others without a word."""
        first = next((each for each in self.gather(error) if each is not None), None)
        if first is None:
            return
        if self.first:
            raise first
        # torchrun ends all processes when it sees one end: let that be the first, which has something to say.
        with suppress(RuntimeError):
            self.wait_for_all()
        raise SystemExit(USER_ERROR)

    def group(self, device: torch.device) -> Group:
        """These processes as those see them that share other work."""
        return Group(self.rank, self.size, str(device))

    def wait_for_all(self) -> None:
        """Go on when all have come here."""
        self.largest([0.0])

    def _reduce(self, values: Sequence[float], operation: Any) -> list[float]:
        tensor = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(tensor, operation, group=self._group)
        return tensor.tolist()
