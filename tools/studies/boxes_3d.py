"""Energies of 3-D boxes on one frozen detector: how to train them, what they see, and how to ascend them.

Simulated frames in KITTI's layout, a detector trained on them, and many energy heads on it, each trained for the same
processor time. A head is judged by average precision at four overlaps after refinement, and by how well the density
that it stands for is calibrated.

    python tools/studies/boxes_3d.py --run runs/demo --data data/demo_seed0
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure
from study import Row, Study, parser
from study import run as run_study
from torch import nn
from voxel_energy import voxel_model

from lidar_ebm.config.config import Config
from lidar_ebm.config.energy import NoiseConfig
from lidar_ebm.config.loading import load_config
from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.datasets.samples import Samples
from lidar_ebm.detector.detector import Detector
from lidar_ebm.errors import InputError
from lidar_ebm.inference.box_calibration import calibrate
from lidar_ebm.inference.predict import predict
from lidar_ebm.runs.model import Model
from lidar_ebm.runs.run import load_run_config, load_weights, model_tensors
from lidar_ebm.runs.tensor_file import read_tensors, write_tensors
from lidar_ebm.training.loader import TrainingLoader
from lidar_ebm.training.schedule import make_optimizer, make_schedule
from lidar_ebm.training.stages import EnergyStage, Work
from lidar_ebm.training.step import frame_seeds
from lidar_ebm.types import Batch, FrameFeatures, MirroredFeatures, Proposals
from lidar_ebm.visualization.palette import CYCLE, LABEL_SIZE, new_figure, style_axes
from lidar_ebm.workflows.scoring import SplitScoring
from lidar_ebm.workflows.train import DETECTOR_PARTS

OVERLAPS = (0.70, 0.75, 0.80, 0.85)
SEEDS = (0, 1)
CALIBRATION_FRAMES = 40  # of each split
STEPS = (0, 1, 2, 4, 6, 8, 10, 16)  # T
TICKS = 10_000  # of the learning rate's one cycle, however many steps the time allows


@dataclass(frozen=True)
class Place:
    """Place at which heads are trained and judged."""

    run: Path  # of the detector
    data: Path
    heads: Path  # trained ones
    seconds: float  # of processor time that each may train


@dataclass(frozen=True)
class Head:
    """An energy head: in what its settings differ from those of the detector's run, and a seed."""

    kind: ClassVar[tuple[str, ...]] = ()  # beside the settings, what tells its weights' file from others
    overrides: tuple[str, ...] = ()
    seed: int = 0

    def config(self, place: Place, prediction: Sequence[str] = ()) -> Config:
        """All settings; `prediction` are further ones that training does not depend on."""
        return load_config(place.run / "config.yaml", [*self.overrides, *prediction, f"seed={self.seed}"])

    def detector(self, config: Config, *, remembering: bool) -> Model:
        """A detector with this head; one that remembers what it has seen will do for a head that sees no voxels."""
        detector = RememberingDetector(config.detector_settings) if remembering else None
        return Model(config, detector=detector)

    def path(self, place: Place) -> Path:
        """File that keeps its weights."""
        name = " ".join((*self.kind, *self.overrides, f"seed={self.seed}"))
        return place.heads / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.safetensors"


class RememberingDetector(Detector):
    """A detector that looks at a batch of frames once, whatever head ascends from there."""

    remembered: ClassVar[dict[tuple[str, ...], tuple[FrameFeatures, Proposals]]] = {}

    def encode(self, batch: Batch) -> FrameFeatures:
        """Features of the frames, without the voxels: no head sees those."""
        if batch.frame_ids not in self.remembered:
            features = super().encode(batch)
            self.remembered[batch.frame_ids] = replace(features, stages=()), super().propose(features)
        return self.remembered[batch.frame_ids][0]

    def propose(self, features: FrameFeatures, mirrored: Sequence[MirroredFeatures] = ()) -> Proposals:
        """The proposals that belong to these features."""
        return next(proposals for kept, proposals in self.remembered.values() if kept is features)


@dataclass(frozen=True)
class VoxelHead(Head):
    """A head that sees voxels."""

    kind = ("voxels",)

    def detector(self, config: Config, *, remembering: bool) -> Model:
        """A detector with this head; the voxels of many frames would not fit into memory."""
        return voxel_model(config, with_points=False)


@dataclass(frozen=True)
class VoxelAndPointHead(Head):
    """A head that sees voxels and points."""

    kind = ("voxels and points",)

    def detector(self, config: Config, *, remembering: bool) -> Model:
        """A detector with this head."""
        return voxel_model(config, with_points=True)


@cache
def _frames(data: Path, run: Path, split: str, *, cropped: bool = True) -> Samples:
    return open_samples(data, split, load_run_config(run), cache=True, cropped=cropped)


def train_head(place: Place, head: Head) -> Row:
    """Train a head for the time that all have, loading of frames apart, and keep it."""
    config = head.config(place)
    settings = config.training.energy
    torch.manual_seed(head.seed)
    stage = EnergyStage(_with_detector(head.detector(config, remembering=False), place))
    parameters = list(stage.trained())
    stage.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    stage.train()
    optimizer = make_optimizer(parameters, settings)
    schedule = make_schedule(optimizer, settings, TICKS)
    loader = TrainingLoader(
        _frames(place.data, place.run, "train", cropped=False), config, batch_size=settings.batch_size, stage="energy"
    )
    used, steps, tick = 0.0, 0, 0
    for batch in itertools.chain.from_iterable(loader.epoch(epoch) for epoch in itertools.count()):
        began = time.process_time()
        loss = stage(Work(batch, frame_seeds(head.seed, steps, 0, batch.batch_size)))["energy"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, settings.gradient_clip, error_if_nonfinite=True)
        optimizer.step()
        used, steps = used + time.process_time() - began, steps + 1
        if used >= place.seconds:
            break
        while tick < min(int(used / place.seconds * TICKS), TICKS - 1):
            schedule.step()
            tick += 1
    loader.close()
    weights = {key: value for key, value in model_tensors(stage.model).items() if key.startswith("model.energy.")}
    write_tensors(head.path(place), weights, {})
    return {"steps": steps, "seconds": used, "loss": float(loss.detach())}


def judge(place: Place, head: Head, prediction: Sequence[str] = ()) -> Row:
    """Judge a trained head.

    Returns:
        Moderate 3-D AP in percent after every number of steps of `STEPS`, at every overlap; and, for the head as it is
        configured, the temperature, the joint coverage of regions of 90 % and the NLL at that temperature in nats.
    """
    config = head.config(place, prediction)
    detector = _with_detector(head.detector(config, remembering=True), place)
    weights, _ = read_tensors(head.path(place))
    detector.load_state_dict({key.removeprefix("model."): value for key, value in weights.items()}, strict=False)
    frames = _frames(place.data, place.run, "val")
    predictions = predict(detector.eval(), frames, steps=STEPS, title="Judging")
    name, *_ = config.class_names
    assert isinstance(frames.frames, Frames)
    scoring = SplitScoring.of(frames.frames, [name])
    ap = {}
    for steps in STEPS:
        scored = scoring.score(predictions.by_name(steps), iou=OVERLAPS, metrics=("3d",))
        figures = [scored.ap(name, "3d", scoring.facts.headline, iou, "R40") for iou in OVERLAPS]
        ap[str(steps)] = [float(np.nan_to_num(figure)) for figure in figures]  # nothing found is 0
    if prediction:
        return {"ap": ap}
    try:
        calibration = calibrate(
            detector, _frames(place.data, place.run, "train"), frames, max_frames=CALIBRATION_FRAMES
        )
    except InputError as error:
        return {"ap": ap, "calibration": None, "reason": str(error)}
    return {"ap": ap, "calibration": calibration.as_dict()}


def _with_detector(detector: Model, place: Place) -> Model:
    parts = tuple(part for part in DETECTOR_PARTS if getattr(detector, part) is not None)
    load_weights(detector, detector.config, place.run / "model.safetensors", parts=parts)
    return detector


def noise_of_width(factor: float) -> str:
    """The configured noise, all of its stds times a factor."""
    stds = [[factor * std for std in row] for row in NoiseConfig().stds]
    return f"energy.noise.stds={stds}"


METHOD = "energy.objective.method="
SMOOTH = "energy.activation=silu"  # what learns from slopes needs them to be smooth
# What is compared: title → name of the line → (the head, settings of prediction).
Lines = Mapping[str, tuple[Head, tuple[str, ...]]]
GROUPS: Mapping[str, Lines] = {
    "Training method": {
        "nce": (Head(), ()),
    }
    | {
        method: (Head((METHOD + method, SMOOTH) if method in ("sm", "dsm") else (METHOD + method,)), ())
        for method in ("nce+", "ml-is", "kld-is", "ml-mcmc", "sm", "dsm", "learned-nce", "learned-ml-is")
    },
    "Box features": {
        "points": (Head(), ()),
        "map": (Head(("energy.features=[bev]", "energy.bev.hidden=256")), ()),
        "voxels": (VoxelHead(), ()),
        "voxels and points": (VoxelAndPointHead(), ()),
        "map and points": (Head(("energy.features=[bev,points]", "energy.bev.hidden=256")), ()),
    },
    "Noise": {
        "published widths": (Head(), ()),
        "half as wide": (Head((noise_of_width(0.5),)), ()),
        "twice as wide": (Head((noise_of_width(2.0),)), ()),
    },
    "Samples M": {
        "8": (Head(("energy.samples=8",)), ()),
        "48": (Head(), ()),
        "192": (Head(("energy.samples=192",)), ()),
    },
    "Prediction": {
        "λ = 2e-4 (published)": (Head(), ()),
        "λ = 5e-5": (Head(), ("refinement.step_length=5e-5",)),
        "λ = 8e-4": (Head(), ("refinement.step_length=8e-4",)),
        "λ by dimension": (Head(), (f"refinement.step_length={[4e-4] * 2 + [2e-4] * 4 + [1e-4]}",)),
        "momentum": (Head(), ("refinement.rule=momentum",)),
        "Adam": (Head(), ("refinement.rule=adam", f"refinement.step_length={[0.02] * 2 + [0.01] * 4 + [0.005]}")),
        "4 starts": (Head(), ("refinement.starts=4",)),
    },
}


def study(arguments: argparse.Namespace) -> None:
    """Train and judge what is missing, then write the page."""
    for path, maker in ((arguments.run / "model.safetensors", "train"), (arguments.data / "ImageSets", "simulate")):
        if not path.exists():
            raise InputError(f"{path}: is not there. Run `make demo`, or `lidar-ebm {maker}` and name its folder.")
    seconds = 5.0 if arguments.quick else arguments.seconds
    seeds = SEEDS[:1] if arguments.quick else SEEDS
    groups = {title: GROUPS[title] for title in ("Box features",)} if arguments.quick else GROUPS
    heads = arguments.out / "heads"
    heads.mkdir(parents=True, exist_ok=True)
    place = Place(arguments.run, arguments.data, heads, seconds)
    settings = {"seconds": seconds, "run": str(arguments.run), "data": str(arguments.data), "seeds": len(seeds)}
    page = Study("Energies of 3-D boxes", arguments.out, settings, processes=arguments.processes)
    lines = [line for group in groups.values() for line in group.values()]
    chosen = [replace(head, seed=seed) for head, _ in lines for seed in seeds]
    trained = page.rows({f"train {head}": partial(train_head, place, head) for head in chosen})
    judged = page.rows(
        {
            _judgement(replace(head, seed=seed), prediction): partial(
                judge, place, replace(head, seed=seed), prediction
            )
            for head, prediction in lines
            for seed in seeds
        }
    )
    page.text(
        f"One frozen detector, trained on simulated frames; every head has {seconds:g} s of one processor core for its "
        "training, the reading of frames apart and the frozen detector included where it reads the map. AP: Car, "
        "moderate, 3-D, R40, in percent on the val split after 10 steps of refinement, the mean over "
        f"{len(seeds)} seeds of the head (± half their range where there are two). 90 %: share of the labels within "
        "the joint region of highest density of that probability, in percent, without → with the temperature fitted on "
        f"the train split, with {CALIBRATION_FRAMES} frames of each. NLL: nats a box at that temperature. "
        "ml-mcmc climbs chains and dsm takes gradients of gradients, so they get few steps in that time; M = 192 and "
        "what reads the map or the voxels get few, too."
    )
    for title, group in groups.items():
        columns = [title.lower(), "steps", *(f"AP at {iou:.2f}" for iou in OVERLAPS), "mean AP", "90 %", "NLL"]
        table = []
        for name, (head, prediction) in group.items():
            own = [replace(head, seed=seed) for seed in seeds]
            figures = [judged[_judgement(each, prediction)] for each in own]
            ap = np.array([figure["ap"]["10"] for figure in figures])  # [seeds, overlaps]
            steps = round(np.mean([trained[f"train {each}"]["steps"] for each in own]))
            table.append([name, str(steps), *_spreads(ap), *_calibrated(figures)])
        page.table(title, columns, table)
    before = np.mean([row["ap"]["0"] for row in judged.values()], axis=0)
    shown = (f"{ap:.1f} at {iou:.2f}" for ap, iou in zip(before, OVERLAPS, strict=True))
    page.text(f"Without refinement: {', '.join(shown)}.")
    if not arguments.quick:
        page.text(_best(judged, groups, seeds))
    picture = draw(judged, groups, seeds)
    page.picture(picture, arguments.results / "boxes_3d.png", "Mean AP over the four overlaps against the steps T.")
    page.write(arguments.results / "boxes_3d.md")


def _best(judged: Mapping[str, Row], groups: Mapping[str, Lines], seeds: Sequence[int]) -> str:
    """The line of each group whose mean AP is highest after the most steps, in words."""
    sentences = []
    for title, group in groups.items():
        means = {
            name: np.mean([judged[_judgement(replace(h, seed=seed), p)]["ap"][str(STEPS[-1])] for seed in seeds])
            for name, (h, p) in group.items()
        }
        best = max(means, key=lambda name: means[name])
        sentences.append(f"{title.lower()}: {best} ({means[best]:.1f})")
    return f"Highest mean AP after {STEPS[-1]} steps, by group. {'; '.join(sentences)}."


def _judgement(head: Head, prediction: Sequence[str]) -> str:
    return f"judge {head} {' '.join(prediction)}"


def _spreads(ap: np.ndarray) -> list[str]:
    """Cells of AP [seeds, overlaps] and of its mean over the overlaps."""
    values = np.column_stack((ap, ap.mean(axis=1)))
    half = (values.max(axis=0) - values.min(axis=0)) / 2
    shown = zip(values.mean(axis=0), half, strict=True)
    return [f"{mean:.1f} ± {spread:.1f}" if len(ap) > 1 else f"{mean:.1f}" for mean, spread in shown]


def _calibrated(figures: Sequence[Row]) -> list[str | None]:
    calibrations = [figure["calibration"] for figure in figures if figure.get("calibration")]
    if not calibrations:
        return [None, None]
    before, after = (
        100 * np.mean([part[when]["joint"]["coverage"][part[when]["levels"].index(0.9)] for part in calibrations])
        for when in ("before", "after")
    )
    return [f"{before:.0f} → {after:.0f}", f"{np.mean([part['after']['nll'] for part in calibrations]):.2f}"]


def draw(judged: Mapping[str, Row], groups: Mapping[str, Lines], seeds: Sequence[int]) -> Figure:
    """Mean AP over the overlaps against T, a panel for each group."""
    figure = new_figure((360 * len(groups), 600))
    for place, (title, group) in enumerate(groups.items()):
        axes = figure.add_subplot(1, len(groups), place + 1)
        for number, (name, (head, prediction)) in enumerate(group.items()):
            rows = [judged[_judgement(replace(head, seed=seed), prediction)]["ap"] for seed in seeds]
            means = [np.mean([row[str(steps)] for row in rows]) for steps in STEPS]
            style = "-" if number < len(CYCLE) else "--"
            axes.plot(STEPS, means, style, color=CYCLE[number % len(CYCLE)], label=name)
        style_axes(axes, x_label="refinement steps T", y_label="mean AP / %" if place == 0 else "", title=title)
        axes.set_xticks(range(0, STEPS[-1] + 1, 4))
        axes.legend(fontsize=LABEL_SIZE - 2, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
    figure.subplots_adjust(left=0.035, right=0.995, top=0.94, bottom=0.3, wspace=0.16)
    return figure


def main() -> None:
    """Run the study."""
    options = parser(__doc__, "boxes_3d")
    options.add_argument("--run", type=Path, default=Path("runs/demo"), help="of the detector (default %(default)s)")
    options.add_argument(
        "--data", type=Path, default=Path("data/demo_seed0"), help="in KITTI's layout (default %(default)s)"
    )
    options.add_argument(
        "--seconds", type=float, default=60.0, help="of processor time to train each head (default %(default)s)"
    )
    run_study(options, study)


if __name__ == "__main__":
    main()
