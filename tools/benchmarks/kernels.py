"""Every kernel's benchmark, one after another, and their table as a file (`results/kernels_*.md`)."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from pathlib import Path

import box_overlap
import box_sampling
import nce_step
import point_nearest
import point_ops
import refinement
import sparse_conv
import torch
import wide_linear
from harness import HEAD, Comparison, Settings, line, where

BENCHMARKS = (box_sampling, refinement, nce_step, wide_linear, point_ops, point_nearest, box_overlap, sparse_conv)


def processor() -> str:
    """The processor's name, where the system tells it."""
    path = Path("/proc/cpuinfo")
    names = [row.split(":")[1].strip() for row in path.read_text().splitlines() if row.startswith("model name")]
    return f"{len(os.sched_getaffinity(0))} cores of {names[0]}" if names else platform.processor()


def table(device: torch.device, rows: list[Comparison], command: str) -> str:
    """The results as Markdown."""
    today = datetime.date.today().isoformat()
    machine = f"{processor()}, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    aims = [row for row in rows if row.aim is not None]
    met = sum(row.ratio >= row.aim for row in aims if row.aim is not None)
    head = f"# Kernels on {where(device)}\n\n`{command}`, {today}. Machine: {machine}, torch {torch.__version__}.\n"
    note = (
        "Medians of rounds that run both sides in turn. Ratio: the other side's time over ours; "
        f"{met} of {len(aims)} reach what was asked for.\n"
    )
    return "\n".join([head, note, HEAD, *map(line, rows)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--repeats", type=int, default=20, help="rounds, each of which runs both sides once")
    parser.add_argument("--out", type=Path, default=None, help="Markdown file to write")
    arguments = parser.parse_args()
    rows: list[Comparison] = []
    print(f"{where(arguments.device)}\n\n{HEAD}", flush=True)
    command = f"python tools/benchmarks/kernels.py --device {arguments.device} --repeats {arguments.repeats}"
    for benchmark in BENCHMARKS:
        rows += benchmark.measure(Settings(arguments.device, arguments.repeats))
        if arguments.out is not None:  # after each, so that a failure costs no row that was measured
            arguments.out.write_text(table(arguments.device, rows, command))


if __name__ == "__main__":
    main()
