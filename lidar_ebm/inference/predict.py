"""A detector over a whole split: result files as KITTI wants them, before and after any number of refinement steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from torch import Tensor

from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.kitti.dataset import KittiDataset
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti.data_set import LabelsToScore, labels_to_score
from lidar_ebm.formats.kitti.conversion import boxes_to_labels
from lidar_ebm.formats.kitti.files import write_labels
from lidar_ebm.formats.kitti.label import Label
from lidar_ebm.inference.detection import detect_batch
from lidar_ebm.inference.parts import Parts
from lidar_ebm.runs.model import Model
from lidar_ebm.system.processes import Group
from lidar_ebm.system.progress import progress_bar
from lidar_ebm.types import Batch

# Of each process. So many batches after one has failed, all processes end; so often they wait for the slowest.
BATCHES_BETWEEN_EXCHANGES = 8


@dataclass(frozen=True)
class Predictions:
    """What a detector says of a split."""

    frame_ids: tuple[str, ...]
    labels: tuple[list[Label], ...]  # a frame's label file, all of it
    results: Mapping[int, tuple[list[Label], ...]]  # refinement steps T → a frame's results, rows alike for every T


@dataclass(frozen=True)
class _Found:
    """What a detector finds in a batch, on the CPU."""

    boxes: Tensor  # [S, N, 7], after each of S numbers of refinement steps
    scores: Tensor  # [N] 0..1
    labels: Tensor  # [N] int64, index into config.classes
    batch_index: Tensor  # [N] int64


@dataclass(frozen=True)
class _FramePrediction:
    labels: list[Label]
    results: tuple[list[Label], ...]  # [S]


def predict(
    detector: Model,
    frames: KittiDataset,
    *,
    steps: Sequence[int],
    batch_size: int = 4,
    title: str = "Detecting",
    group: Group | None = None,
    parts: Path | None = None,
) -> Predictions:
    """Detect on every frame and refine once, keeping the boxes as they stood after each of `steps` steps.

    Batches are the same however many processes share them, so on a CPU the numbers are too.

    Args:
        detector: in evaluation mode; frames are moved to its device.
        frames: a split with labels.
        steps: numbers of refinement steps T; 0 is the detector alone.
        group: the processes that share the work, all of which call this and get the same; None for this one alone.
        parts: folder where finished batches are kept and looked for, for a call that follows an interrupted one. Each
            process keeps its own, so processes need not see the same disk.

    Raises:
        InputError: no number of steps is given, or one is negative; or a file of a frame cannot be used.
        OutputError: a finished batch cannot be kept.
    """
    if not steps or min(steps) < 0:
        raise InputError(f"steps: {list(steps)}; give one or more numbers of refinement steps, each 0 or more.")
    group = Group() if group is None else group
    detector.eval()
    kept = None if parts is None else Parts(parts, detector, steps)
    starts = range(0, len(frames), batch_size)
    round_size = group.size * BATCHES_BETWEEN_EXCHANGES
    predictions: list[_FramePrediction] = []
    with progress_bar(title, len(frames)) if group.is_first else nullcontext() as bar:
        for first in range(0, len(starts), round_size):
            mine = []
            for start in starts[first : first + round_size][group.rank :: group.size]:
                rows = range(start, min(start + batch_size, len(frames)))
                batch = collate([frames[i] for i in rows])
                found, note = None if kept is None else kept.read(batch), "kept from before"
                if found is None:
                    found, note = vars(_find(detector, batch, steps)), ""
                    if kept is not None:
                        kept.write(batch, found)
                mine.append(_frame_predictions(_Found(**found), frames, rows, detector.config.class_names))
                if bar is not None:  # the others have come about as far
                    bar.reach(min(start + group.size * batch_size, len(frames)), note=note)
            for turn in zip_longest(*group.gather(mine), fillvalue=()):
                predictions += [frame for of_batch in turn for frame in of_batch]
    return Predictions(
        tuple(frames.frame_id(i) for i in range(len(frames))),
        tuple(frame.labels for frame in predictions),
        {count: tuple(frame.results[s] for frame in predictions) for s, count in enumerate(steps)},
    )


def _find(detector: Model, batch: Batch, steps: Sequence[int]) -> _Found:
    detected = detect_batch(detector, batch.to(next(detector.parameters()).device), max(steps), record=True)
    trajectory, proposals = detected.ascent.trajectory, detected.proposals
    assert trajectory is not None  # it was asked for
    tensors = (trajectory[list(steps)], proposals.scores, proposals.labels, proposals.batch_index)
    return _Found(*(tensor.cpu() for tensor in tensors))


def _frame_predictions(
    found: _Found, frames: KittiDataset, rows: range, class_names: Sequence[str]
) -> list[_FramePrediction]:
    predictions = []
    for offset, index in enumerate(rows):
        mine = found.batch_index == offset
        calibration, image_size = frames.calibration(index), frames.image_size(index)
        types = [class_names[k] for k in found.labels[mine].tolist()]
        results = tuple(
            boxes_to_labels(boxes, calibration, types=types, scores=found.scores[mine], image_size=image_size)
            for boxes in found.boxes[:, mine]
        )
        predictions.append(_FramePrediction(frames.labels(index), results))
    return predictions


def predicted_labels(predictions: Predictions, frames: KittiDataset, classes: Sequence[str]) -> LabelsToScore:
    """The labels of the frames that were predicted; where they have no 2-D boxes, with the points in their boxes.

    Raises:
        InputError: a point cloud cannot be read.
    """
    return labels_to_score(
        predictions.labels,
        predictions.frame_ids,
        frames.root / "training",
        classes=classes,
        lidar_only=frames.lidar_only,
    )


def write_results(predictions: Predictions, steps: int, folder: str | Path) -> None:
    """Write the results after `steps` refinement steps as KITTI result files FOLDER/data/FRAME.txt, and only these.

    Raises:
        OutputError: a file cannot be written.
    """
    for old in (Path(folder) / "data").glob("*.txt"):
        if old.stem not in predictions.frame_ids:  # of another data set: it would be scored with these
            old.unlink()
    for frame_id, items in zip(predictions.frame_ids, predictions.results[steps], strict=True):
        write_labels(Path(folder) / "data" / f"{frame_id}.txt", items)
