"""From frames to a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lidar_ebm.datasets.sample import Sample
from lidar_ebm.errors import InputError
from lidar_ebm.types import Batch, LabelBatch


def collate(frames: Sequence[Sample]) -> Batch:
    """Put frames together, in their order. Any of them, the last one too, may have no points or no boxes.

    Raises:
        InputError: there is no frame at all.
    """
    if not frames:
        raise InputError("a batch needs at least one frame; check the batch size and the split.")
    boxes = LabelBatch(
        boxes=torch.from_numpy(np.concatenate([frame.boxes for frame in frames]).astype(np.float32, copy=False)),
        class_index=torch.from_numpy(
            np.concatenate([frame.class_index for frame in frames]).astype(np.int64, copy=False)
        ),
        batch_index=_batch_index([len(frame.boxes) for frame in frames]),
        batch_size=len(frames),
    )
    return Batch(
        frame_ids=tuple(frame.frame_id for frame in frames),
        points=torch.from_numpy(np.concatenate([frame.points for frame in frames]).astype(np.float32, copy=False)),
        point_batch_index=_batch_index([len(frame.points) for frame in frames]),
        boxes=boxes,
        batch_size=len(frames),
    )


def _batch_index(counts: Sequence[int]) -> torch.Tensor:
    """0 `counts[0]` times, 1 `counts[1]` times, …: [sum of counts] int64."""
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts, dtype=torch.int64))
