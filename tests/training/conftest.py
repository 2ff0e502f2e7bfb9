"""Training in processes of its own, which a test may kill."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from lidar_ebm.config.config import Config
from lidar_ebm.workflows.train import train


def train_in_child(environment: Mapping[str, str], arguments: tuple[Any, ...], options: Mapping[str, Any]) -> None:
    """Train, in a child process."""
    os.environ.update(environment)
    torch.set_num_threads(1)
    train(*arguments, **options)


@dataclass(frozen=True)
class Children:
    """Starts processes that train; they come forth from one that has loaded everything."""

    start_process: Callable[..., BaseProcess]

    def start(
        self, config: Config, data: Path, run: Path, *, environment: Mapping[str, str] | None = None, **options: Any
    ) -> BaseProcess:
        """A process that is training."""
        process = self.start_process(
            target=train_in_child,
            args=(dict(environment or {}), (config, data, run), {"accelerator": "cpu", **options}),
            daemon=True,
        )
        process.start()
        return process

    def train(
        self, config: Config, data: Path, run: Path, *, processes: int = 1, succeeds: bool = True, **options: Any
    ) -> list[int | None]:
        """Train to the end, in several processes as torchrun would start them; their exit statuses."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
            "GROUP_RANK": "0",
            "TORCHELASTIC_RUN_ID": "test",
        }
        started = [
            self.start(config, data, run, environment=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, **options)
            for rank in range(processes)
        ]
        for process in started:
            process.join(120)
        statuses = [process.exitcode for process in started]
        assert statuses == [0] * processes or not succeeds
        return statuses


@pytest.fixture(scope="session")
def children() -> Children:
    """Processes that train, one thread each."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.conftest"])
    return Children(context.Process)
