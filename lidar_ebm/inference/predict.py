"""A detector over a whole split, before and after any number of refinement steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
from torch import Tensor

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.samples import Samples
from lidar_ebm.errors import InputError
from lidar_ebm.inference.detection import detect_batch, to_boxes
from lidar_ebm.inference.parts import Parts
from lidar_ebm.runs.model import Model
from lidar_ebm.system.processes import Group
from lidar_ebm.system.progress import progress_bar
from lidar_ebm.types import Batch

# Of each process. So many batches after one has failed, all processes end; so often they wait for the slowest.
BATCHES_BETWEEN_EXCHANGES = 8


@dataclass(frozen=True)
class Predictions:
    """Detections in every frame of a split."""

    names: tuple[str, ...]  # of the frames
    results: Mapping[int, tuple[Boxes, ...]]  # refinement steps T → a frame's boxes, rows alike for every T
    point_counts: tuple[int, ...]  # points of each frame that the detector was shown

    def by_name(self, steps: int) -> dict[str, Boxes]:
        """The boxes after `steps` refinement steps by the frame's name."""
        return dict(zip(self.names, self.results[steps], strict=True))


@dataclass(frozen=True)
class _BatchBoxes:
    """Boxes of a batch, on the CPU."""

    boxes: Tensor  # [S, N, D], after each of S numbers of refinement steps
    scores: Tensor  # [N] 0..1
    class_index: Tensor  # [N] int64, index into config.classes
    batch_index: Tensor  # [N] int64


def predict(
    detector: Model,
    frames: Samples,
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
        frames: a split.
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
    predictions: list[tuple[tuple[Boxes, ...], int]] = []  # and the points, of each frame
    with progress_bar(title, len(frames)) if group.is_first else nullcontext() as bar:
        for first in range(0, len(starts), round_size):
            mine = []
            for start in starts[first : first + round_size][group.rank :: group.size]:
                rows = range(start, min(start + batch_size, len(frames)))
                samples = [frames[i] for i in rows]
                batch = collate(samples)
                tensors, note = None if kept is None else kept.read(batch), "kept from before"
                if tensors is None:
                    tensors, note = vars(_detect(detector, batch, steps)), ""
                    if kept is not None:
                        kept.write(batch, tensors)
                by_frame = _by_frame(_BatchBoxes(**tensors), len(rows), detector.config.class_names)
                mine.append([(boxes, len(sample.points)) for boxes, sample in zip(by_frame, samples, strict=True)])
                if bar is not None:  # the others have come about as far
                    bar.reach(min(start + group.size * batch_size, len(frames)), note=note)
            for turn in zip_longest(*group.gather(mine), fillvalue=()):
                predictions += [frame for of_batch in turn for frame in of_batch]
    return Predictions(
        tuple(frames.name(i) for i in range(len(frames))),
        {count: tuple(boxes[s] for boxes, _ in predictions) for s, count in enumerate(steps)},
        tuple(points for _, points in predictions),
    )


def _detect(detector: Model, batch: Batch, steps: Sequence[int]) -> _BatchBoxes:
    detected = detect_batch(detector, batch.to(next(detector.parameters()).device), max(steps), record=True)
    trajectory, proposals = detected.ascent.trajectory, detected.proposals
    assert trajectory is not None  # it was asked for
    tensors = (trajectory[list(steps)], proposals.scores, proposals.class_index, proposals.batch_index)
    return _BatchBoxes(*(tensor.cpu() for tensor in tensors))


def _by_frame(batch: _BatchBoxes, frames: int, class_names: Sequence[str]) -> list[tuple[Boxes, ...]]:
    """Boxes of each frame, [S]."""
    names = np.array(class_names)
    by_frame = []
    for offset in range(frames):
        mine = batch.batch_index == offset
        types, scores = names[batch.class_index[mine].numpy()], batch.scores[mine]
        by_frame.append(tuple(to_boxes(boxes, types, scores) for boxes in batch.boxes[:, mine]))
    return by_frame
