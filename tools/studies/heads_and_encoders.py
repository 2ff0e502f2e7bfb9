"""Detectors with either head on either encoder, without and with an energy, each trained for the same processor time.

Simulated frames in KITTI's layout, those of `make demo`. A detector learns for the time given, then an energy of the
points on it. They are judged by average precision at four overlaps, before and after refinement.

    python tools/studies/heads_and_encoders.py --data data/demo_seed0
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from study import Row, Study, parser
from study import run as run_study
from torch import nn

from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import load_config
from lidar_ebm.config.training import StageTrainingConfig
from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.datasets.samples import Samples
from lidar_ebm.errors import InputError
from lidar_ebm.inference.predict import predict
from lidar_ebm.runs.model import Model
from lidar_ebm.training.loader import TrainingLoader
from lidar_ebm.training.schedule import make_optimizer, make_schedule
from lidar_ebm.training.stages import DetectorStage, EnergyStage, Stage, Work
from lidar_ebm.training.step import frame_seeds
from lidar_ebm.workflows.scoring import SplitScoring

OVERLAPS = (0.70, 0.75, 0.80, 0.85)
SEEDS = (0, 1)
TICKS = 10_000  # of the learning rate's one cycle, however many steps the time allows
# In what each differs from the demo's settings. The anchors' scores come from the parts, the heatmaps' from the IoU.
HEADS = {
    "anchor": (),
    "center": ("head=center", "part_score.enabled=false", "center_head.channels=32", "center_head.iou_score=true"),
}
ENCODERS = {
    "voxels": (),
    "pillars": (
        "encoder=pillars",
        "voxels.size=[0.2,0.2,4.0]",
        "pillars.channels=[32]",
        "bev.map_stride=2",
        "bev.scales=[{channels: 32, layers: 1, up_channels: 32}, {channels: 48, layers: 2, up_channels: 32}, "
        "{channels: 64, layers: 2, up_channels: 32}]",
    ),
}


@dataclass(frozen=True)
class Place:
    """Frames, and the processor time that each stage may train, s."""

    data: Path
    seconds: float
    energy_seconds: float


def configuration(head: str, encoder: str, seed: int) -> Config:
    """The demo's settings with that head and encoder."""
    return load_config("demo", [*HEADS[head], *ENCODERS[encoder], f"seed={seed}"])


def train_and_judge(place: Place, head: str, encoder: str, seed: int) -> Row:
    """Train a detector and its energy, and judge them.

    Returns:
        Steps of each stage, ms of processor time of a step's frame, ms a val frame to detect in, and moderate 3-D AP in
        percent at every overlap, before and after refinement.
    """
    config = configuration(head, encoder, seed)
    torch.manual_seed(seed)
    model = Model(config)
    frames = open_samples(place.data, "train", config, cache=True, cropped=False)
    steps, batch_size = {}, config.training.detector.batch_size
    for name, stage, seconds in (
        ("detector", DetectorStage(model, joint=False), place.seconds),
        ("energy", EnergyStage(model), place.energy_seconds),
    ):
        settings = config.training.detector if name == "detector" else config.training.energy
        steps[name] = train_stage(stage, name, settings, frames, config, seconds)
    val = open_samples(place.data, "val", config, cache=True)
    began = time.process_time()
    after_steps = config.refinement.steps
    predictions = predict(model.eval(), val, steps=(0, after_steps), title=f"Judging {head}, {encoder}")
    judging = time.process_time() - began
    (name, *_), source = config.class_names, val.frames
    assert isinstance(source, Frames)
    scoring = SplitScoring.of(source, [name])
    ap = {}
    for when, count in (("before", 0), ("after", after_steps)):
        scored = scoring.score(predictions.by_name(count), iou=OVERLAPS, metrics=("3d",))
        figures = [scored.ap(name, "3d", scoring.facts.headline, iou, "R40") for iou in OVERLAPS]
        ap[when] = [float(np.nan_to_num(figure)) for figure in figures]  # nothing found is 0
    return {
        "steps": steps,
        "step_ms": 1e3 * place.seconds / steps["detector"] / batch_size,
        "frame_ms": 1e3 * judging / len(val),
        "parameters": sum(parameter.numel() for parameter in model.detector.parameters()),
        "ap": ap,
    }


def train_stage(
    stage: Stage, name: str, settings: StageTrainingConfig, frames: Samples, config: Config, seconds: float
) -> int:
    """Train a stage for so much processor time, loading of frames apart; the number of its steps."""
    parameters = list(stage.trained())
    stage.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    stage.train()
    optimizer = make_optimizer(parameters, settings)
    schedule = make_schedule(optimizer, settings, TICKS)
    loader = TrainingLoader(frames, config, batch_size=settings.batch_size, stage=name)
    used, steps, tick = 0.0, 0, 0
    for batch in itertools.chain.from_iterable(loader.epoch(epoch) for epoch in itertools.count()):
        began = time.process_time()
        losses = stage(Work(batch, frame_seeds(config.seed, steps, 0, batch.batch_size)))
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(parameters, settings.gradient_clip, error_if_nonfinite=True)
        optimizer.step()
        used, steps = used + time.process_time() - began, steps + 1
        if used >= seconds:
            break
        while tick < min(int(used / seconds * TICKS), TICKS - 1):
            schedule.step()
            tick += 1
    loader.close()
    return steps


def study(arguments: argparse.Namespace) -> None:
    """Train and judge what is missing, then write the page."""
    if not (arguments.data / "ImageSets").exists():
        raise InputError(
            f"{arguments.data}: is not there. Run `make demo`, or `lidar-ebm simulate` and name its folder."
        )
    seconds, energy_seconds = (5.0, 3.0) if arguments.quick else (arguments.seconds, arguments.energy_seconds)
    seeds = SEEDS[:1] if arguments.quick else SEEDS
    place = Place(arguments.data, seconds, energy_seconds)
    settings = {"data": str(arguments.data), "seconds": seconds, "energy_seconds": energy_seconds}
    page = Study("Heads and encoders", arguments.out, settings, processes=arguments.processes)
    pairs = list(itertools.product(HEADS, ENCODERS))
    rows = page.rows(
        {
            _key(head, encoder, seed): partial(train_and_judge, place, head, encoder, seed)
            for head, encoder in pairs
            for seed in seeds
        }
    )
    page.text(
        f"Every detector has {seconds:g} s of one processor core for its training and its energy {energy_seconds:g} s, "
        "the reading of frames apart. AP: Car, moderate, 3-D, R40, in percent on the val split, without → with "
        f"refinement; the mean over {len(seeds)} seeds."
    )
    lines = []
    for head, encoder in pairs:
        own = [rows[_key(head, encoder, seed)] for seed in seeds]
        before, after = (np.mean([row["ap"][when] for row in own], axis=0) for when in ("before", "after"))
        gains = [np.mean(row["ap"]["after"]) - np.mean(row["ap"]["before"]) for row in own]
        figures = [f"{a:.1f} → {b:.1f}" for a, b in zip([*before, before.mean()], [*after, after.mean()], strict=True)]
        gain = f"{np.mean(gains):+.1f}" + (f" ({min(gains):+.1f} to {max(gains):+.1f})" if len(gains) > 1 else "")
        steps = round(np.mean([row["steps"]["detector"] for row in own]))
        times = [float(np.mean([row[name] for row in own])) for name in ("step_ms", "frame_ms")]
        lines.append([head, encoder, f"{own[0]['parameters']:,}", str(steps), *times, *figures, gain])
    columns = ["head", "encoder", "parameters", "steps", "ms a frame, training", "ms a frame, detection"]
    columns += [*(f"AP at {iou:.2f}" for iou in OVERLAPS), "mean AP", "gain"]
    page.table("Heads and encoders at equal training time", columns, lines)
    page.write(arguments.results / "heads_and_encoders.md")


def _key(head: str, encoder: str, seed: int) -> str:
    return f"{head} {encoder} seed={seed}"


def main() -> None:
    """Run the study."""
    options = parser(__doc__, "heads_and_encoders")
    options.add_argument(
        "--data", type=Path, default=Path("data/demo_seed0"), help="in KITTI's layout (default %(default)s)"
    )
    options.add_argument(
        "--seconds", type=float, default=240.0, help="of processor time to train each detector (default %(default)s)"
    )
    options.add_argument("--energy-seconds", type=float, default=60.0, help="and each energy (default %(default)s)")
    run_study(options, study)


if __name__ == "__main__":
    main()
