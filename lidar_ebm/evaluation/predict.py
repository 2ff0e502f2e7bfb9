"""A detector over a whole split: result files as KITTI wants them, before and after any number of refinement steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from lidar_ebm.data.batch import collate
from lidar_ebm.data.dataset import KittiDataset
from lidar_ebm.data.kitti_files import write_labels
from lidar_ebm.errors import InputError
from lidar_ebm.geometry.frames import boxes_to_labels
from lidar_ebm.model.detector import Detector
from lidar_ebm.progress import progress_bar
from lidar_ebm.types import Label


@dataclass(frozen=True)
class Predictions:
    """What a detector says of a split."""

    frame_ids: tuple[str, ...]
    labels: tuple[list[Label], ...]  # a frame's label file, all of it
    results: Mapping[int, tuple[list[Label], ...]]  # refinement steps T → a frame's results, rows alike for every T


def predict(
    detector: Detector, frames: KittiDataset, *, steps: Sequence[int], batch_size: int = 4, title: str = "Detecting"
) -> Predictions:
    """Detect on every frame and refine once, keeping the boxes as they stood after each of `steps` steps.

    Args:
        detector: in evaluation mode; frames are moved to its device.
        frames: a split with labels.
        steps: numbers of refinement steps T; 0 is the detector alone.

    Raises:
        InputError: no number of steps is given, or one is negative.
    """
    if not steps or min(steps) < 0:
        raise InputError(f"steps: {list(steps)}; give one or more numbers of refinement steps, each 0 or more.")
    device = next(detector.parameters()).device
    results: dict[int, list[list[Label]]] = {count: [] for count in steps}
    detector.eval()
    with progress_bar(title, len(frames)) as bar, torch.no_grad():
        for start in range(0, len(frames), batch_size):
            rows = range(start, min(start + batch_size, len(frames)))
            batch = collate([frames[i] for i in rows]).to(device)
            features = detector.encode(batch)
            proposals = detector.propose(features)
            ascent = detector.refine(batch, features, proposals, max(steps), record=True)
            assert ascent.trajectory is not None  # it was asked for
            for offset, index in enumerate(rows):
                mine = proposals.batch_index == offset
                calibration, image_size = frames.calibration(index), frames.image_size(index)
                types = [detector.config.class_names[k] for k in proposals.labels[mine].tolist()]
                for count in steps:
                    boxes = ascent.trajectory[count][mine]  # [M, 7]
                    scores = proposals.scores[mine]
                    found = boxes_to_labels(boxes, calibration, types=types, scores=scores, image_size=image_size)
                    results[count].append(found)
            bar.advance(len(rows))
    return Predictions(
        tuple(frames.frame_id(i) for i in range(len(frames))),
        tuple(frames.labels(i) for i in range(len(frames))),
        {count: tuple(items) for count, items in results.items()},
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
