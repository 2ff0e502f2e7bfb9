"""`NuScenesSource`: a split of nuScenes as a `FrameSource`."""

from __future__ import annotations

from pathlib import Path

from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.nuscenes.data_set import SWEEPS, NuScenesDataSet


class NuScenesSource(Frames):
    """Frames of a split, named by their sample tokens, scene by scene in the order of time.

    Args:
        root: folder with `samples`, `sweeps` and the tables' folder.
        version: of the tables: "v1.0-trainval", "v1.0-mini", "v1.0-test".
        split: an official one, or one of VERSION/splits.json; "train" and "val" of a -mini version are "mini_train" and
            "mini_val".
        sweeps: files of a frame at most, the key sweep among them.
        with_labels: False for frames without boxes.
        prepared: where preparation leaves its files; ROOT/prepared/VERSION where None.

    Raises:
        InputError: a table is missing or damaged, there is no such split, or it is of another version, or files of its
            frames are missing.
    """

    def __init__(
        self,
        root: str | Path,
        version: str,
        split: str,
        sweeps: int = SWEEPS,
        *,
        with_labels: bool = True,
        prepared: str | Path | None = None,
    ) -> None:
        data_set = NuScenesDataSet(root, version, sweeps=sweeps, prepared=prepared)
        super().__init__(data_set, split, with_labels=with_labels)
