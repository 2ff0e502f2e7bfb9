"""The data set of the training benchmarks: a given one, or a simulated one of as many frames as asked for; prepared."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lidar_ebm.datasets.opening import open_data_set
from lidar_ebm.datasets.preparation.label_database import LabelDatabase, load_label_database
from lidar_ebm.datasets.preparation.prepare import prepare
from lidar_ebm.simulation.simulator import simulate


def add_arguments(parser: argparse.ArgumentParser, frames: int) -> None:
    """Add the options that say what to measure on."""
    parser.add_argument("config", nargs="?", default="sassd_ebm_car", help="YAML file or preset (default %(default)s)")
    parser.add_argument("overrides", nargs="*", help="single settings, key=value")
    parser.add_argument("--data", type=Path, help="folder in KITTI's layout; simulated there where there is none")
    parser.add_argument(
        "--frames", type=int, default=frames, help="of a simulated training split (default %(default)s)"
    )


@contextmanager
def prepared_data(data: Path | None, frames: int) -> Iterator[tuple[Path, LabelDatabase]]:
    """A data set and its label database, in `data` or in a folder that goes when the measurement ends."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if data is None else data
        if not (folder / "ImageSets").is_dir():
            began = time.perf_counter()
            simulate(folder, frames=frames, val_fraction=0.0)
            print(f"{frames} frames simulated in {time.perf_counter() - began:.0f} s", flush=True)
        data_set = open_data_set(folder)
        report = prepare(data_set)
        print(f"{report.made} frames prepared, {report.kept} kept, in {report.seconds:.1f} s", flush=True)
        yield folder, load_label_database(data_set)
