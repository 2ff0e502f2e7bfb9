"""The text formats as the tests of all of them use them: how to write, and what is kept to which accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lidar_ebm.boxes import Boxes
from lidar_ebm.formats import Context, find_format
from tests.formats.samples import CAMERA, ODD_NAMES, PLAIN_NAMES, random_boxes

CONTEXT = Context(camera_of=lambda name: CAMERA, image_size=(1242, 375))


@dataclass(frozen=True)
class Case:
    """A format, and the frames and tolerance of its round trip."""

    name: str
    target: str  # file or folder to write
    frames: tuple[str, ...] = ("000000", "000007", "frame 9 ü")
    names: tuple[str, ...] = ODD_NAMES
    tolerance: float = 1e-9
    gaps: bool = True  # values may be missing
    empty: bool = True  # frames without boxes are kept
    computed: tuple[str, ...] = ()  # columns whose missing values are computed

    def boxes(self, seed: int) -> dict[str, Boxes]:
        """Random frames with all columns that the format holds; the second is empty where it can be."""
        columns = sorted(find_format(self.name).COLUMNS)
        counts = [12, 0 if self.empty else 5, 3]
        return {
            frame: random_boxes(seed + index, columns, count=count, names=self.names, gaps=self.gaps)
            for index, (frame, count) in enumerate(zip(self.frames, counts, strict=False))
        }

    def write(self, folder: Path, seed: int) -> tuple[Path, dict[str, Boxes], list[Path]]:
        """Random frames, written: where, which, and the files."""
        target, frames = folder / self.target, self.boxes(seed)
        return target, frames, find_format(self.name).write(target, frames, CONTEXT)


_IMAGE = ("alpha", "image_rectangle")
_SEQUENCES = ("0003_000000", "0003_000001", "0005_000000")
CASES = (
    Case("boxes_json", "out"),
    Case("boxes_json", "out.json"),
    Case("boxes_csv", "out.csv"),
    Case("boxes_csv", "out"),
    Case("sustechpoints", "out"),
    Case("labelcloud", "out"),
    Case("labelcloud_relative", "out"),
    Case("labelcloud_vertices", "out"),
    Case("openlabel", "out.json", frames=("0", "4", "17")),
    Case("openlabel", "out"),
    Case("cvat", "out"),
    Case("cvat", "out.json"),
    Case("supervisely", "out"),
    Case("supervisely", "one.json", frames=("one",)),
    Case("kitti", "label_2", names=PLAIN_NAMES, tolerance=2e-6, computed=_IMAGE),
    Case("kitti_tracking", "0003.txt", ("000000", "000001", "000017"), PLAIN_NAMES, 2e-6, True, False, _IMAGE),
    Case("kitti_tracking", "out", _SEQUENCES, PLAIN_NAMES, 2e-6, True, False, _IMAGE),
    Case("kitti_raw", "out"),
    Case("kitti_raw", "tracklet_labels.xml", frames=("0000000000", "0000000001", "0000000005"), empty=False),
    Case("view_of_delft", "label_2", names=(*PLAIN_NAMES, "rider"), tolerance=2e-6),
)
IDS = [f"{case.name}-{case.target}" for case in CASES]
