"""Time and memory of scoring a result set of KITTI's size (`python tools/benchmarks/kitti_score.py --help`).

A seeded set in KITTI's layout (labels in KITTI's shares, detections with noise, and false alarms) is written to files,
then scored by the command, from start to table, and by the library, from arrays in memory. The other side is the
literal reference of the tests, on a part of the frames.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np

from lidar_ebm.evaluation.kitti.objects import pack_objects
from lidar_ebm.evaluation.scoring import evaluate
from lidar_ebm.formats.kitti.files import read_labels
from lidar_ebm.formats.kitti.label import Label
from lidar_ebm.system.files import atomic_write

ROOT = Path(__file__).resolve().parents[2]
VAL_FRAMES = 3769
CLASSES = {"Car": 0.7, "Pedestrian": 0.5, "Cyclist": 0.5}  # with the overlap that a match exceeds
METRICS = ("2d", "aos", "bev", "3d")
DIFFICULTIES = ("easy", "moderate", "hard")

# ------------------------------------------------------------------------------------------------------- the set

RECIPE = 1  # a folder that another one filled is not used again
LABELS_PER_FRAME, DETECTIONS_PER_FRAME = 6.8, 9.0
KINDS = {  # how many there are in KITTI's training set; height, width, length in m; what a detector calls them
    "Car": (28742, (1.53, 1.63, 3.88), "Car"),
    "Van": (2914, (2.21, 1.90, 5.08), "Car"),
    "Truck": (1094, (3.25, 2.59, 10.11), None),
    "Pedestrian": (4487, (1.76, 0.66, 0.84), "Pedestrian"),
    "Person_sitting": (222, (1.27, 0.59, 0.80), "Pedestrian"),
    "Cyclist": (1627, (1.74, 0.60, 1.76), "Cyclist"),
    "Tram": (511, (3.53, 2.54, 16.09), None),
    "Misc": (973, (1.91, 1.51, 3.58), None),
    "DontCare": (11295, (1.0, 1.0, 1.0), None),
}
NAMES = tuple(KINDS)
SIZES = np.array([size for _, size, _ in KINDS.values()])
DETECTED_AS = np.array([-1 if name is None else NAMES.index(name) for _, _, name in KINDS.values()])
FOCAL, CENTER_U, CENTER_V = 721.5, 609.6, 172.9  # KITTI's left colour camera, pixels
IMAGE = np.array((1241.0, 374.0))


@dataclass(frozen=True)
class Boxes:
    """Objects of all frames, camera frame."""

    frame: np.ndarray  # [N] int64
    kind: np.ndarray  # [N] int64, index into NAMES
    place: np.ndarray  # [N, 3] x, y, z of the bottom face's centre, m
    size: np.ndarray  # [N, 3] height, width, length, m
    turn: np.ndarray  # [N] rotation_y, rad

    def __getitem__(self, rows: np.ndarray) -> Boxes:
        return Boxes(self.frame[rows], self.kind[rows], self.place[rows], self.size[rows], self.turn[rows])


def random_frames(generator: np.random.Generator, frames: int, count: int) -> np.ndarray:
    """Frame [count] of each of so many objects, rising: some streets are empty, some are full."""
    weight = generator.gamma(3.0, 1.0, frames)
    return np.repeat(np.arange(frames), generator.multinomial(count, weight / weight.sum()))


def random_boxes(generator: np.random.Generator, frame: np.ndarray, kind: np.ndarray) -> Boxes:
    """Objects on the road before the camera, most of them along it."""
    count = len(frame)
    depth = 5.0 + 65.0 * generator.beta(1.2, 2.5, count)
    side = np.clip(generator.normal(0.0, 8.0, count), -0.8 * depth, 0.8 * depth)
    place = np.stack((side, generator.normal(1.65, 0.15, count), depth), axis=1)
    along = generator.choice((-0.5, 0.5), count) * math.pi + generator.normal(0.0, 0.08, count)
    turn = np.where(generator.random(count) < 0.75, along, generator.uniform(-math.pi, math.pi, count))
    return Boxes(frame, kind, place, SIZES[kind] * np.exp(generator.normal(0.0, 0.07, (count, 3))), turn)


def observed_angles(boxes: Boxes) -> np.ndarray:
    """KITTI's alpha [N]: the heading as the camera sees it."""
    alpha = boxes.turn - np.arctan2(boxes.place[:, 0], boxes.place[:, 2])
    return (alpha + math.pi) % (2 * math.pi) - math.pi


def image_boxes(boxes: Boxes) -> tuple[np.ndarray, np.ndarray]:
    """2-D boxes [N, 4] cut to the image, and the share [N] of each that was cut off."""
    height, width, length = boxes.size.T[:, :, None]
    along, across = np.array((0.5, 0.5, -0.5, -0.5)) * length, np.array((0.5, -0.5, -0.5, 0.5)) * width  # [N, 4]
    cos, sin = np.cos(boxes.turn)[:, None], np.sin(boxes.turn)[:, None]
    x, y, z = boxes.place.T[:, :, None]
    depth = np.maximum(z - sin * along + cos * across, 1.0)
    u = CENTER_U + FOCAL * (x + cos * along + sin * across) / depth
    top, bottom = CENTER_V + FOCAL * (y - height) / depth, CENTER_V + FOCAL * y / depth
    whole = np.stack((u.min(axis=1), top.min(axis=1), u.max(axis=1), bottom.max(axis=1)), axis=1)
    cut = np.clip(whole, 0.0, np.tile(IMAGE, 2))
    areas = [np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (cut, whole)]
    return cut, 1.0 - areas[0] / areas[1]


def make_labels(generator: np.random.Generator, frames: int) -> tuple[Boxes, list[str]]:
    """Labels in the frames' order, and their lines."""
    shares = np.array([count for count, _, _ in KINDS.values()], dtype=np.float64)
    frame = random_frames(generator, frames, round(LABELS_PER_FRAME * frames))
    boxes = random_boxes(generator, frame, generator.choice(len(NAMES), len(frame), p=shares / shares.sum()))
    bbox, truncated = image_boxes(boxes)
    occluded = generator.choice(4, len(frame), p=(0.5, 0.25, 0.2, 0.05))
    numbers = np.column_stack((observed_angles(boxes), bbox, boxes.size, boxes.place, boxes.turn))
    # What nobody looked at: small things at the horizon, without a 3-D box.
    region = boxes.kind == NAMES.index("DontCare")
    corner = generator.uniform((0.0, 160.0), (1150.0, 185.0), (region.sum(), 2))
    far = corner + generator.uniform((15.0, 12.0), (90.0, 50.0), (region.sum(), 2))
    numbers[region] = (-10.0, 0.0, 0.0, 0.0, 0.0, -1.0, -1.0, -1.0, -1000.0, -1000.0, -1000.0, -10.0)
    numbers[region, 1:5] = np.column_stack((corner, far))
    pattern = "{} {:.2f} {} " + " ".join(["{:.2f}"] * 12) + "\n"
    lines = [
        pattern.format(NAMES[kind], *((-1, -1) if NAMES[kind] == "DontCare" else (cut, hidden)), *row)
        for kind, cut, hidden, row in zip(
            boxes.kind.tolist(), truncated.tolist(), occluded.tolist(), numbers.tolist(), strict=True
        )
    ]
    return boxes, lines


def make_results(generator: np.random.Generator, frames: int, labels: Boxes) -> tuple[Boxes, list[list[str]]]:
    """Detections, frame by frame with falling scores, and their lines in two sets: B is nearer to the truth than A."""
    depth = labels.place[:, 2]
    seen = (DETECTED_AS[labels.kind] >= 0) & (generator.random(len(depth)) < 1.1 - 0.8 * depth / 70.0)
    # False alarms: half of them in the open, half of them somewhere about an object.
    alarms = max(round(DETECTIONS_PER_FRAME * frames) - int(seen.sum()), 0)
    near_alarms = labels[generator.choice(len(depth), alarms // 2)]
    frame = random_frames(generator, frames, alarms - alarms // 2)
    kinds = [NAMES.index(name) for name in CLASSES]
    open_alarms = random_boxes(generator, frame, generator.choice(kinds, len(frame), p=(0.6, 0.27, 0.13)))
    parts = (labels[np.flatnonzero(seen)], near_alarms, open_alarms)
    truth = Boxes(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("frame", "kind", "place", "size", "turn")
        )
    )
    count = len(truth.frame)
    false = np.arange(count) >= seen.sum()
    kind = np.where(DETECTED_AS[truth.kind] >= 0, DETECTED_AS[truth.kind], NAMES.index("Car"))
    score = generator.normal(np.where(false, -1.5, 2.5 - truth.place[:, 2] / 25.0), 1.0)
    order = np.lexsort((-score, truth.frame))

    far_off = np.where(false, 8.0, 1.0 + truth.place[:, 2] / 35.0)[:, None]
    moved = generator.normal(0.0, (0.05, 0.04, 0.07), (count, 3)) * far_off
    grown = generator.normal(0.0, 0.04, (count, 3))
    turned = generator.normal(0.0, 0.06, count)
    flipped = math.pi * (generator.random(count) < 0.04)
    sets = []
    for noise in (1.0, 0.98):
        size, turn = truth.size * np.exp(noise * grown), truth.turn + noise * turned + flipped
        boxes = Boxes(truth.frame, kind, truth.place + noise * moved, size, turn)[order]
        bbox, _ = image_boxes(boxes)
        numbers = np.column_stack((observed_angles(boxes), bbox, boxes.size, boxes.place, boxes.turn))
        pattern = "{} -1 -1 " + " ".join(["{:.2f}"] * 12) + " {:.4f}\n"
        chances = (1.0 / (1.0 + np.exp(-score[order]))).tolist()
        rows = zip(boxes.kind.tolist(), numbers.tolist(), chances, strict=True)
        sets.append([pattern.format(NAMES[kind], *row, chance) for kind, row, chance in rows])
    return boxes, sets


def make_set(folder: Path, frames: int, seed: int) -> None:
    """Write `label_2`, `a/data` and `b/data`, unless the folder holds just that already."""
    recipe = json.dumps({"recipe": RECIPE, "frames": frames, "seed": seed})
    written = folder / "recipe.json"
    if written.exists() and written.read_text() == recipe:
        return
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder}: holds something else than this set; give an empty folder, or a new one.")
    generator = np.random.default_rng(seed)
    labels, label_lines = make_labels(generator, frames)
    results, (a_lines, b_lines) = make_results(generator, frames, labels)
    for place, boxes, lines in (
        ("label_2", labels, label_lines),
        ("a/data", results, a_lines),
        ("b/data", results, b_lines),
    ):
        (folder / place).mkdir(parents=True)
        ends = np.searchsorted(boxes.frame, np.arange(frames), side="right").tolist()
        for index, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            (folder / place / f"{index:06d}.txt").write_text("".join(lines[begin:end]))
    written.write_text(recipe)


# --------------------------------------------------------------------------------------------------- measurements

# A small process starts the command: a child's peak memory never is less than its parent's.
LAUNCHER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[2:], stdout=open(sys.argv[1], "wb"), stderr=subprocess.STDOUT)
_, status, usage = os.wait4(process.pid, 0)
taken = time.perf_counter() - began
print(json.dumps([os.waitstatus_to_exitcode(status), taken, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]))
"""


@dataclass(frozen=True)
class Run:
    """One run of a command as a process of its own."""

    status: int
    seconds: float
    cpu_seconds: float
    peak_mib: float
    output: str


def run_command(arguments: Sequence[str], cache: Path) -> Run:
    """Run `lidar-ebm` with numba's compiled code kept in `cache`."""
    with tempfile.NamedTemporaryFile() as output:
        command = [sys.executable, "-m", "lidar_ebm.cli.command", *arguments]
        launched = subprocess.run(
            [sys.executable, "-c", LAUNCHER, output.name, *command],
            env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
        )
        status, seconds, cpu_seconds, peak_mib = json.loads(launched.stdout)
        return Run(status, seconds, cpu_seconds, peak_mib, Path(output.name).read_text())


def median_seconds(function: Callable[[], object], runs: int) -> float:
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        function()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def measure_command(folder: Path, runs: int, cache: Path) -> list[list[str]]:
    """The verb `score`, start to table, first with nothing compiled."""
    for path in folder.rglob("*.txt"):  # into the system's cache
        path.read_bytes()
    measured = []
    for _ in range(runs + 1):
        measured.append(run_command(["score", str(folder / "label_2"), str(folder / "a")], cache))
        if measured[-1].status != 0:
            raise SystemExit(f"lidar-ebm score failed:\n{measured[-1].output}")
    print(measured[-1].output, flush=True)
    first, second, *_ = measured
    later = measured[1:]
    seconds = statistics.median(run.seconds for run in later)
    used = statistics.median(run.cpu_seconds for run in later)
    return [
        ["`lidar-ebm score`, first run (nothing compiled)", f"{first.seconds:.2f} s", ""],
        ["`lidar-ebm score`, second run", f"{second.seconds:.2f} s", "time"],
        [f"`lidar-ebm score`, median of {runs} runs from then on", f"{seconds:.2f} s ({used:.2f} s of CPU)", "time"],
        ["its peak memory, first run", f"{first.peak_mib:.0f} MiB", "memory"],
        ["its peak memory, the most later", f"{max(run.peak_mib for run in later):.0f} MiB", "memory"],
    ]


def measure_compare(folder: Path, cache: Path) -> list[list[str]]:
    """The verb `compare`: 1,000 resamples of the frames."""
    arguments = ["compare", *(str(folder / name) for name in ("label_2", "a", "b"))]
    first, second = (run_command(arguments, cache) for _ in range(2))
    if second.status != 0:
        return [["`lidar-ebm compare`", f"failed: {second.output.strip().splitlines()[-1]}", "compare"]]
    print(second.output, flush=True)
    return [
        ["`lidar-ebm compare`, 1,000 resamples, first run", f"{first.seconds:.2f} s", ""],
        [
            "`lidar-ebm compare`, 1,000 resamples, second run",
            f"{second.seconds:.2f} s ({second.cpu_seconds:.2f} s of CPU, {second.peak_mib:.0f} MiB)",
            "compare",
        ],
    ]


def reference_curves(labels: Sequence[Sequence[Label]], results: Sequence[Sequence[Label]]) -> dict[tuple, dict]:
    """AP by (class, metric, difficulty), by the rules written out word by word."""
    sys.path.append(str(ROOT))
    from tests.evaluation.kitti.brute_force import expected_curve, pair_frames

    frames = pair_frames(labels, results)
    figures = {}
    for name, iou in CLASSES.items():
        for metric in METRICS:
            for difficulty in DIFFICULTIES:
                expected = expected_curve(frames, name, metric, iou, difficulty)
                figures[name, metric, difficulty] = {} if expected is None else expected.ap()
    return figures


def measure_library(folder: Path, frames: int, runs: int, part: int) -> list[list[str]]:
    """`evaluate` of packed objects and of labels in this process, and the other side."""
    labels = [read_labels(folder / "label_2" / f"{index:06d}.txt") for index in range(frames)]
    results = [read_labels(folder / "a" / "data" / f"{index:06d}.txt") for index in range(frames)]
    packed = pack_objects(labels, need_scores=False), pack_objects(results, need_scores=True)
    evaluate(*packed)  # compiles
    arrays = median_seconds(lambda: evaluate(*packed), runs)
    objects = median_seconds(lambda: evaluate(labels, results), runs)

    few = labels[:part], results[:part]
    began = time.perf_counter()
    expected = reference_curves(*few)
    scaled = (time.perf_counter() - began) * frames / len(few[0])
    evaluation = evaluate(*few)
    for (name, metric, difficulty), figures in expected.items():
        if (evaluation.curve(name, metric, difficulty) is None) != (not figures):
            raise SystemExit(f"{name}, {metric}, {difficulty}: scored here or by the reference, but not by both")
        for recall, value in figures.items():
            if not abs(evaluation.ap(name, metric, difficulty, recall=recall) - value) <= 1e-6:
                raise SystemExit(f"{name}, {metric}, {difficulty}, {recall}: {value} by the reference")
    return [
        [f"in memory: arrays, median of {runs}", f"{arrays:.3f} s", "arrays"],
        [f"in memory: `Label` objects, median of {runs}", f"{objects:.3f} s", ""],
        [
            f"in memory: the literal reference, on {len(few[0]):,} frames, as if on {frames:,}",
            f"{scaled:,.1f} s: {scaled / objects:,.0f} × ours on the same objects",
            "",
        ],
    ]


def asked_for(frames: int) -> dict[str, str]:
    """The limits that were set, by what they limit."""
    if frames <= VAL_FRAMES:
        return {"time": "3 s", "memory": "500 MB", "arrays": "0.5 s", "compare": "20 s"}
    return {"memory": "1 GB"} if frames <= 100_000 else {}


def machine() -> str:
    """Machine and versions of the measurement."""
    names = [line.split(":", 1)[1].strip() for line in _lines_of("/proc/cpuinfo") if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    name = names[0] if names else platform.machine()
    return (
        f"{time.strftime('%Y-%m-%d')}. Machine: {len(os.sched_getaffinity(0))} cores of an {name}, {memory:.0f} GiB, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}, "
        f"numba {numba.__version__}"
    )


def _lines_of(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how fast KITTI results are scored.")
    parser.add_argument("--frames", type=int, default=VAL_FRAMES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=7, help="of each side, after the first")
    parser.add_argument("--part", type=int, default=200, help="frames that the reference scores")
    parser.add_argument("--folder", type=Path, help="keep the set here; used again where it is there")
    parser.add_argument("--out", type=Path, help="write the table to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        folder = arguments.folder or temporary / "set"
        make_set(folder, arguments.frames, arguments.seed)
        counts = [
            sum(len(path.read_bytes().splitlines()) for path in (folder / place).iterdir()) / arguments.frames
            for place in ("label_2", "a/data")
        ]
        rows = measure_command(folder, arguments.runs, temporary / "numba")
        rows += measure_compare(folder, temporary / "numba")
        rows += measure_library(folder, arguments.frames, arguments.runs, arguments.part)
    limits = asked_for(arguments.frames)
    command = shlex.join(["python", "tools/benchmarks/kitti_score.py", *sys.argv[1:]])
    text = "\n".join(
        (
            "# Scoring KITTI results\n",
            f"`{command}`, {machine()}.\n",
            f"{arguments.frames:,} generated frames with {counts[0]:.1f} labels and {counts[1]:.1f} detections each; "
            "three classes, four metrics, three difficulties; files in the system's cache.\n",
            "| what | measured | asked for |\n| --- | --- | --- |",
            *(f"| {what} | {measured} | {limits.get(limit, '')} |" for what, measured, limit in rows),
        )
    )
    print(text)
    if arguments.out is not None:
        with atomic_write(arguments.out, "w") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
