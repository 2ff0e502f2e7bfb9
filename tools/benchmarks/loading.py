"""Loading of training frames with full augmentation: frames a second, and memory as the epoch goes on.

Memory is that of this process and its workers; what they share is counted once (proportional set size). "written" is
what is theirs alone or shared between them and no file: pages of the data set that the system keeps do not count.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from pathlib import Path

import torch
from training_data import add_arguments, prepared_data

from lidar_ebm.config.loading import load_config
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.datasets.preparation.label_database import LabelDatabase
from lidar_ebm.training.loader import TrainingLoader

PLACES = (0.1, 0.25, 0.5, 0.75, 1.0)  # of the epoch, at which memory is read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser, 200)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # as in a worker, so that no workers is one core's work
    with prepared_data(arguments.data, arguments.frames) as (folder, database):
        print(f"{os.cpu_count()} processors\n")
        marks = " | ".join(f"at {place:.0%}" for place in PLACES)
        print(f"| workers | epoch | frames | frames/s | first batch | MB {marks} |\n|{' --- |' * (5 + len(PLACES))}")
        for workers in arguments.workers:
            overrides = [*arguments.overrides, f"training.workers={workers}"]
            measure(folder, database, arguments.config, overrides, arguments.epochs)


def measure(folder: Path, database: LabelDatabase, name: str, overrides: list[str], epochs: int) -> None:
    """One row of the table for each epoch."""
    config = load_config(name, overrides)
    frames = open_samples(folder, "train", config, cropped=False)
    batch_size = config.training.detector.batch_size
    loader = TrainingLoader(frames, config, batch_size=batch_size, stage="detector", database=database)
    if config.training.workers == 0:
        next(loader.epoch(epochs))  # kernels are compiled or loaded
    marks = [max(round(place * loader.steps), 1) for place in PLACES]
    for epoch in range(epochs):
        memory, began, first, reading = {}, time.perf_counter(), 0.0, 0.0
        for step, _ in enumerate(loader.epoch(epoch), start=1):
            if step == 1:
                first = time.perf_counter() - began
            if step in marks:
                paused = time.perf_counter()
                memory[step] = written_megabytes()
                reading += time.perf_counter() - paused
        count = (loader.steps - 1) * batch_size
        rate = count / (time.perf_counter() - began - first - reading) if count else float("nan")
        figures = " | ".join(f"{memory[step]:.0f}" for step in marks)
        print(f"| {config.training.workers} | {epoch} | {count} | {rate:.1f} | {first:.2f} s | {figures} |", flush=True)
    loader.close()


def written_megabytes() -> float:
    """Memory that this process and its children have written to, in MB; NaN where the system does not say."""
    total = 0.0
    for pid in (os.getpid(), *(child.pid for child in multiprocessing.active_children())):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            return float("nan")
        sizes = {line.split(":")[0]: float(line.split()[1]) for line in lines[1:]}
        total += sizes["Pss_Anon"] + sizes["Pss_Shmem"]
    return total / 1024


if __name__ == "__main__":
    main()
