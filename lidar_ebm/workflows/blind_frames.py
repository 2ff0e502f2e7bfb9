"""Frames in which the detector was shown no point, though their files have some."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lidar_ebm.datasets.frames import Frames
from lidar_ebm.training.census import AXES


def blind_frames(frames: Frames, point_counts: Sequence[int], bounds: Sequence[float]) -> tuple[str, ...]:
    """A note of frames without a point in the camera's view, and one of those without a point in the voxel range.

    A file of 0 bytes has no point to lose, and is passed over. Of all frames, only those without a point are read.

    Args:
        frames: of the split.
        point_counts: points of each frame that are in the view and the range.
        bounds: voxel range (low x y z, high x y z; m).

    Raises:
        InputError: a file of such a frame is damaged.
    """
    low, high = np.asarray(bounds[:3], np.float64), np.asarray(bounds[3:], np.float64)
    unseen, beyond, sizes = [], [], frames.cloud_sizes()
    beside, lowest, highest = np.zeros(3, np.int64), np.full(3, np.inf), np.full(3, -np.inf)
    for index in (index for index, count in enumerate(point_counts) if count == 0 and sizes[index]):
        points = frames.points_and_boxes(index)[0][:, :3].astype(np.float64)
        if len(points):
            beyond.append(index)
            beside += ((points < low) | (points >= high)).sum(0)
            lowest, highest = np.minimum(lowest, points.min(0)), np.maximum(highest, points.max(0))
        elif frames.camera(index) is not None:
            unseen.append(index)
    notes = []
    if unseen:
        notes.append(
            f"{len(unseen)} of {len(frames)} frames have no point in the camera's view ({frames.name(unseen[0])} the "
            "first of them): nothing is found there. Are the calibration and the image's size this camera's?"
        )
    if beyond:
        axis = int(beside.argmax())
        notes.append(
            f"{len(beyond)} of {len(frames)} frames have no point in voxels.range ({frames.name(beyond[0])} the first "
            f"of them; their points go from {AXES[axis]} {lowest[axis]:.1f} to {highest[axis]:.1f} m, the range from "
            f"{low[axis]:g} to {high[axis]:g} m): nothing is found there"
        )
    return tuple(notes)
