from __future__ import annotations

import csv
from pathlib import Path

import torch

from lidar_ebm.training.metrics import COLUMNS, MetricsLog, memory_mb
from lidar_ebm.training.state import Position


def steps(run: Path) -> list[tuple[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        reader = csv.DictReader(file)
        rows = [(row["step"], "ap" if row["ap_after"] else "loss") for row in reader]
    assert tuple(reader.fieldnames or ()) == COLUMNS
    return rows


def test_what_lies_past_the_resumed_position_goes(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, Position())
    for epoch, step in enumerate((4, 8, 12)):
        log.write(step, epoch, "detector", {"loss": 1 / 3})
        log.write(step, epoch, "detector", {"ap_before": 50.0, "ap_after": 51.0})
    log.close()
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("13,2,det")  # killed in the midst of a line
    first = [("4", "loss"), ("4", "ap"), ("8", "loss")]
    MetricsLog(tmp_path, Position("detector", 8, 8, validated=2)).close()
    assert steps(tmp_path) == [*first, ("8", "ap")]
    # The same step, saved before its AP was known.
    MetricsLog(tmp_path, Position("detector", 8, 8, validated=1)).close()
    assert steps(tmp_path) == first
    MetricsLog(tmp_path, Position("energy", 0, 8)).close()
    assert steps(tmp_path) == first


def test_memory_is_what_the_process_holds() -> None:
    before = memory_mb(torch.device("cpu"))
    held = torch.ones(64 * 2**20 // 4 + int(before) * 2**18)  # more than ever before
    assert memory_mb(torch.device("cpu")) > before
    assert len(held) > 0
