"""Training, in one command: the detector, then the frozen detector's energy head; or both at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.markup import escape

from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import save_config
from lidar_ebm.datasets.balanced import balanced_frames
from lidar_ebm.datasets.data_set import DataSet
from lidar_ebm.datasets.opening import open_data_set, open_samples
from lidar_ebm.datasets.samples import Samples
from lidar_ebm.errors import InputError
from lidar_ebm.runs.initial import take_weights
from lidar_ebm.runs.model import Model, name_in_file
from lidar_ebm.runs.run import describe_difference, flat_settings, load_run_config, load_weights, save_weights
from lidar_ebm.system.terminal import print_line
from lidar_ebm.system.words import count_of
from lidar_ebm.training.augmentation.stages import describe_stages, open_label_database, with_all_counts
from lidar_ebm.training.census import check_points, take_census
from lidar_ebm.training.checkpoints import Checkpoints
from lidar_ebm.training.failures import NonFinite
from lidar_ebm.training.metrics import MetricsLog
from lidar_ebm.training.processes import Processes, launch
from lidar_ebm.training.random_states import restore_random_states
from lidar_ebm.training.schedule import check_rates
from lidar_ebm.training.signals import StopSignals
from lidar_ebm.training.stage_run import Run, StageRun
from lidar_ebm.training.stages import DetectorStage, EnergyStage
from lidar_ebm.training.state import Position, TrainingState
from lidar_ebm.workflows.validate import Validation

DETECTOR_PARTS = ("backbone", "pillars", "bev", "point_head", "anchor_head", "center_head", "part_score")
INSPECTED_FRAMES = 10  # for points in the range
# Settings that a resumed run may have otherwise: they change nothing that is learnt.
FREE_SETTINGS = ("training.workers", "training.checkpoints.", "training.log_every")


def train(
    config: Config,
    data: str | Path | DataSet,
    run: str | Path,
    *,
    resume: bool = False,
    detector_run: str | Path | None = None,
    init: str | Path | None = None,
    accelerator: str = "auto",
    devices: int | None = None,
    num_nodes: int | None = None,
    skip_nonfinite: bool = False,
    prepared: str | Path | None = None,
    model_of: Callable[[Config], Model] = Model,
) -> None:
    """Train a detector and its energy head on a data set's `train` split.

    The run folder then holds config.yaml, model.safetensors, metrics.csv and TensorBoard's logs: all that evaluation
    and detection need; and in checkpoints/ the newest few and, by validation, the best. A finished run is left as it is
    when it is resumed. Started by torchrun, every process calls this, and all see the same folders. SIGTERM and Ctrl-C
    end it after the step in hand, with that step saved.

    Args:
        resume: go on from the run's newest whole checkpoint; without one, begin.
        detector_run: take the detector of this run as it is and train only an energy head on it.
        init: a run, or a file of weights, to begin with instead of random numbers, as far as its weights' names and
            shapes fit; what begins anew is printed. A run that has begun goes on from its own checkpoints instead.
        accelerator: Lightning Fabric's name of what to train on.
        devices: processes on each machine; None for torchrun's, or one.
        num_nodes: machines; None for torchrun's, or one.
        model_of: makes the model of a configuration, one of your own for instance.
        prepared: where `prepare` left its files; within the data set where None.
        skip_nonfinite: leave out steps in which a loss or the gradient is not finite, and count them.

    Raises:
        InputError: the data set cannot be used, the run exists and `resume` is not given, its checkpoints do not fit, a
            loss is not finite, or the GPU's memory is too small.
        KeyboardInterrupt: Ctrl-C.
        SystemExit: SIGTERM; with status 143.
    """
    run = Path(run)
    if detector_run is not None and config.training.mode == "joint":
        raise InputError(
            f"{detector_run}: only an energy head is trained on its detector. Set training.mode=two_stage."
        )
    fabric = launch(accelerator, devices, num_nodes, config.training.precision)
    processes = Processes(fabric)
    with processes.failing_together():
        _check_folder(run, config, resume)
        _check_shares(config, processes)
        if resume and (run / "model.safetensors").exists():
            load_weights(model_of(config), config, run / "model.safetensors")
            _say(
                processes,
                [
                    f"{run}: is finished already, and left as it is. To train on from its weights, begin another run "
                    "in another folder, with this one as its --init.",
                    *([] if init is None else [f"{init}: not read, for {run} is finished."]),
                ],
            )
            return
        fabric.seed_everything(config.seed, verbose=False)
        data_set = open_data_set(data, prepared) if isinstance(data, str | Path) else data
        frames = open_samples(data_set, "train", config, cache=config.training.workers == 0, cropped=False)
        validate = Validation(open_samples(data_set, "val", config)) if config.training.validate_every else None
        database = open_label_database(data_set, config)
        order = balanced_frames(frames, config.seed) if config.training.class_balanced else None
        detector = model_of(config)
        check_rates(config.training.rates, detector)
        checkpoints = Checkpoints(run / "checkpoints", config)
        state = _starting_point(detector, checkpoints, frames, detector_run, processes) if resume else None
        if state is None:
            if processes.first:
                _say_what_there_is(frames, config)
                if order is not None:
                    _say(processes, [f"{len(order)} frames in an epoch, {len(set(order))} of {len(frames)}, by class"])
                _say(processes, describe_stages(config, database))
            if init is not None:
                _say(processes, take_weights(detector, config, init).lines())
            state = _beginning(detector, frames, detector_run)
        elif init is not None:
            _say(processes, [f"{init}: not read, for {run} has begun and goes on from its own checkpoint."])
    # Nobody writes what another still reads: all have come here.
    position = state.position
    with ExitStack() as stack:
        log = None
        if processes.first:
            save_config(config, run / "config.yaml")
            checkpoints.tidy(position.total_step)
            if init is not None and not checkpoints.newest_first():
                checkpoints.save(detector, state)  # whoever resumes need not name the weights again
            log = MetricsLog(run, position)
            stack.callback(log.close)
        together = Run(
            config=config,
            fabric=fabric,
            processes=processes,
            detector=detector,
            frames=frames,
            validate=validate,
            database=database,
            order=order,
            checkpoints=checkpoints,
            log=log,
            nonfinite=NonFinite(run, processes, skip=skip_nonfinite, count=position.skipped),
            signals=stack.enter_context(StopSignals()),
            skip_nonfinite=skip_nonfinite,
        )
        if position.stage == "detector":
            stage = DetectorStage(detector, joint=config.training.mode == "joint")
            position = StageRun(together, stage, config.training.detector, state).to_the_end()
            state = TrainingState(replace(position, stage="energy", step=0, validated=0, averaged=0))
        if config.training.mode == "two_stage":
            StageRun(together, EnergyStage(detector), config.training.energy, state).to_the_end()
    if processes.first:
        save_weights(detector, config, run / "model.safetensors")
    processes.wait_for_all()  # whoever returns finds the run finished


def _check_folder(run: Path, config: Config, resume: bool) -> None:
    if not (run / "config.yaml").exists():
        return
    if not resume:
        raise InputError(f"{run}: a run is there already. Give --resume to go on with it, or another folder.")
    there, here = (
        {key: value for key, value in flat_settings(item).items() if not key.startswith(FREE_SETTINGS)}
        for item in map(with_all_counts, (load_run_config(run), config))
    )
    difference = describe_difference(there, here)
    if difference is not None:
        raise InputError(
            f"{run}: the run there has another configuration: {difference}. Resume with {run / 'config.yaml'}, or "
            "choose another folder."
        )
    if (run / "checkpoint.safetensors").exists():
        raise InputError(
            f"{run / 'checkpoint.safetensors'}: was written by an earlier version of lidar_ebm. Finish the run with "
            "that version, or train anew in another folder."
        )


def _say(processes: Processes, lines: list[str]) -> None:
    if processes.first:
        for line in lines:
            print_line(escape(line))


def _say_what_there_is(frames: Samples, config: Config) -> None:
    """Print how many objects there are to learn from, and refuse data without any."""
    labels = [frames.labelled_boxes(index) for index in range(len(frames))]
    seen = [boxes.select(frames.content.is_seen(boxes)) for boxes in labels]
    census = take_census(((each.boxes, each.names.tolist()) for each in seen), config.classes, config.voxels.range)
    census.check(frames.split_path)
    unseen = sum(map(len, labels)) - sum(map(len, seen))
    if unseen:
        fewest = config.points.minimum_per_label
        print_line(f"{count_of(unseen, 'label')} with fewer than {count_of(fewest, 'point')} left out")
    some = np.unique(np.linspace(0, len(frames) - 1, INSPECTED_FRAMES).astype(int))
    check_points((frames[int(index)].points for index in some), config.voxels.range, frames.split_path)
    for line in census.lines():
        print_line(escape(line))


def _check_shares(config: Config, processes: Processes) -> None:
    """Every pass of every process needs a frame, and all of them as many: then the sum of all is the one batch."""
    stages = {"detector": config.training.detector}
    if config.training.mode == "two_stage":
        stages["energy"] = config.training.energy
    for name, settings in stages.items():
        if settings.batch_size % (processes.size * settings.accumulation):
            raise InputError(
                f"training.{name}.batch_size={settings.batch_size}: is not a multiple of {processes.size} processes × "
                f"{settings.accumulation} passes (training.{name}.accumulation). Set one that is."
            )


def _starting_point(
    detector: Model,
    checkpoints: Checkpoints,
    frames: Samples,
    detector_run: str | Path | None,
    processes: Processes,
) -> TrainingState | None:
    """State of the run's newest whole checkpoint; None where there is none."""
    state = checkpoints.load_newest(detector, warn=processes.first)
    if state is None:
        return None
    if state.position.frames != len(frames):
        raise InputError(
            f"{frames.split_path}: names {len(frames)} frames, and the run began with {state.position.frames}. Restore "
            "the split, or train anew in another folder."
        )
    if state.position.data not in ("", frames.digest()):
        raise InputError(
            f"{frames.split_path}: the run in {checkpoints.folder.parent} began with other frames (other names, or "
            "point clouds of other sizes). Resume on the data set that it began with, or train anew elsewhere."
        )
    if detector_run is not None and state.position.stage == "detector":
        raise InputError(
            f"{checkpoints.folder}: the run there trains a detector of its own. Resume it without one, or choose "
            "another folder."
        )
    if processes.rank < len(state.random):
        restore_random_states(state.random[processes.rank])
    return state


def _beginning(detector: Model, frames: Samples, detector_run: str | Path | None) -> TrainingState:
    if detector_run is None:
        return TrainingState(Position(frames=len(frames), data=frames.digest()))
    weights = {name_in_file(name).split(".")[0] for name in detector.state_dict()}
    parts = tuple(part for part in DETECTOR_PARTS if part in weights)
    load_weights(detector, detector.config, Path(detector_run) / "model.safetensors", parts=parts)
    return TrainingState(Position(stage="energy", frames=len(frames), data=frames.digest()))
