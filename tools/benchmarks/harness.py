"""Parts that the kernels' benchmarks share: fair timing of several sides in one process, and their table."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

HEAD = "| work | other side | ours | other | ratio | asked for |\n| --- | --- | --- | --- | --- | --- |"


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement."""

    device: torch.device
    repeats: int


@dataclass(frozen=True)
class Comparison:
    """Medians of one piece of work on two sides."""

    work: str
    other: str  # what it is compared with
    ours_ms: float
    other_ms: float
    aim: float | None  # the ratio that was asked for

    @property
    def ratio(self) -> float:
        return self.other_ms / self.ours_ms


def compare(
    settings: Settings,
    work: str,
    ours: Callable[[], object],
    other: Callable[[], object],
    *,
    against: str,
    aim: float | None = None,
    repeats: int | None = None,
) -> Comparison:
    """Run both sides in turn, after two rounds that do not count, and print and return their medians.

    Args:
        settings: device, and how many rounds.
        work: what is measured.
        ours, other: each does the whole work once.
        against: what `other` is.
        aim: the ratio other / ours that was asked for.
        repeats: instead of the settings', for a side that takes seconds (at least 20 is the rule).
    """
    sides = (ours, other)
    for side in (*sides, *sides):
        side()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(settings.repeats if repeats is None else repeats):
        for side, taken in zip(sides, times, strict=True):
            taken.append(_milliseconds(side, settings.device))
    comparison = Comparison(work, against, statistics.median(times[0]), statistics.median(times[1]), aim)
    print(line(comparison), flush=True)
    return comparison


def _milliseconds(function: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(device)
        begin.record()
        function()
        end.record()
        torch.cuda.synchronize(device)
        return begin.elapsed_time(end)
    began = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - began)


def where(device: torch.device) -> str:
    """The processor that the work runs on."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"


def line(item: Comparison) -> str:
    """A comparison as a row of the table."""
    aim = "" if item.aim is None else f"{item.aim:g}×"
    ours, other, ratio = (_three_digits(value) for value in (item.ours_ms, item.other_ms, item.ratio))
    return f"| {item.work} | {item.other} | {ours} ms | {other} ms | {ratio}× | {aim} |"


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def run(measure: Callable[[Settings], Sequence[Comparison]], description: str) -> None:
    """The command line of a benchmark: print its table."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--repeats", type=int, default=20, help="rounds, each of which runs both sides once")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; torch's own choice by default")
    arguments = parser.parse_args()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    print(f"{where(arguments.device)}, torch {torch.__version__}\n\n{HEAD}", flush=True)
    measure(Settings(arguments.device, arguments.repeats))
