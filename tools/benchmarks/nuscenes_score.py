"""Time and memory of scoring by nuScenes' rules.

    python tools/benchmarks/nuscenes_score.py ROOT VERSION SPLIT RESULTS

Each run is a process of its own: the command from start to table, and the library stage by stage. Processor time is
that of all threads; memory is the most that was resident at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MEBI = 1024.0  # KiB
STAGES = ("import", "labels", "results", "figures")


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("version")
    parser.add_argument("split")
    parser.add_argument("results", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--stages", action="store_true", help="measure the stages in this process, and print JSON")
    arguments = parser.parse_args()
    if arguments.stages:
        sys.stdout.write(json.dumps(stages(arguments.root, arguments.version, arguments.split, arguments.results)))
        return
    own = [str(arguments.root), arguments.version, arguments.split, str(arguments.results)]
    runs = [run_stages(own) for _ in range(arguments.runs)]
    lines = ["| stage | processor time (s) | wall (s) | resident so far (MiB) |", "| --- | --- | --- | --- |"]
    for stage in STAGES:
        lines.append(row(stage, [run[stage] for run in runs]))
    commands = [run_command(*own) for _ in range(arguments.runs)]
    lines.append(row("the command `score`, all in all", commands))
    sys.stdout.write("\n".join(lines) + "\n")


def row(name: str, measured: list[list[float]]) -> str:
    """Medians of processor time, wall time and memory as a row."""
    processor, wall, memory = (statistics.median(values) for values in zip(*measured, strict=True))
    return f"| {name} | {processor:.2f} | {wall:.2f} | {memory:.0f} |"


def run_stages(arguments: list[str]) -> dict[str, list[float]]:
    """The stages, measured in a fresh process."""
    command = [sys.executable, __file__, *arguments, "--stages"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: dict[str, list[float]] = json.loads(done.stdout)
    return measured


def stages(root: Path, version: str, split: str, results: Path) -> dict[str, list[float]]:
    """Processor time and wall time of each stage, and the most memory up to its end."""
    measured: dict[str, list[float]] = {}
    start = [time.process_time(), time.perf_counter()]

    def done(stage: str) -> None:
        now = [time.process_time(), time.perf_counter()]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEBI
        measured[stage] = [now[0] - start[0], now[1] - start[1], memory]
        start[:] = now

    from lidar_ebm.evaluation.nuscenes.detections import read_detections
    from lidar_ebm.evaluation.nuscenes.evaluation import compute_figures
    from lidar_ebm.evaluation.nuscenes.labels import read_labels

    done("import")
    labels = read_labels(root, version, split)
    done("labels")
    detections, _ = read_detections(results, labels)
    done("results")
    compute_figures(labels, detections)
    done("figures")
    return measured


def run_command(root: str, version: str, split: str, results: str) -> list[float]:
    """Processor time, wall time and memory of the command, with its JSON file."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "lidar_ebm.cli", "score", root, results, "--protocol", "nuscenes"]
        command += ["--version", version, "--split", split, "--json", str(Path(folder) / "out.json")]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{' '.join(command)}: ended with {process.returncode}")
    return [usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss / MEBI]


if __name__ == "__main__":
    main()
