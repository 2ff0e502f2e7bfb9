"""`BaseDataSet`: what a data set of one's own inherits."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.base import BaseDataSet
from lidar_ebm.datasets.frame import Frame
from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.preparation.prepare import prepare
from lidar_ebm.errors import InputError
from tests.datasets.folder.scenes import draw_scene

NAMES = ["pallet", "person", "pallet", "person", "person", "pallet", "pallet", "person"]


class Scenes(BaseDataSet):
    """Frames of a seed each, ROOT/clouds/SEED.txt, whose results are in millimetres."""

    kind = "drawn scenes"

    def all_names(self) -> list[str]:
        return sorted(path.stem for path in (self.root / "clouds").glob("*.txt"))

    def input_paths(self, name: str) -> tuple[Path, ...]:
        return (self.root / "clouds" / f"{name}.txt",)

    def read(self, name: str, *, with_labels: bool = True) -> Frame:
        (path,) = self.input_paths(name)
        try:
            seed = int(path.read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: is no seed. Write one.") from error
        if seed < 0:
            warnings.warn(f"{path}: below 0.", stacklevel=2)
        points, boxes = draw_scene(abs(seed))
        return Frame(name, points, boxes=Boxes(boxes, NAMES) if with_labels else None)

    def from_files(self, boxes: Boxes) -> Boxes:
        return boxes.with_columns(boxes=boxes.boxes * [*[0.001] * 6, 1])

    def to_files(self, boxes: Boxes) -> Boxes:
        return boxes.with_columns(boxes=boxes.boxes * [*[1000] * 6, 1])


@pytest.fixture
def scenes(tmp_path: Path) -> Scenes:
    (tmp_path / "clouds").mkdir()
    for seed in range(3):
        (tmp_path / "clouds" / f"{seed}.txt").write_text(str(seed))
    (tmp_path / "train.txt").write_text("0\n1\n")
    return Scenes(tmp_path)


def test_findings_name_files_from_the_data_set_on(scenes: Scenes) -> None:
    (scenes.root / "clouds" / "0.txt").write_text("none")
    (scenes.root / "clouds" / "1.txt").write_text("-1")
    (scenes.root / "val.txt").write_text("2\n7\n")
    (scenes.root / "test.txt").write_bytes(b"\x80")
    (scenes.root / "clouds" / "8.txt").write_text("8")
    report = prepare(scenes, workers=1)
    said = {(each.kind, each.place, each.message) for each in report.findings}
    assert ("unreadable frames", "clouds/0.txt", "is no seed. Write one.") in said
    assert ("odd files", "clouds/1.txt", "below 0.") in said
    assert ("frames without point clouds", "val.txt", "1 of the frames of val have no point cloud: 7.") in said
    assert {each.place for each in report.findings if each.kind == "unreadable splits"} == {"test.txt"}
    (unnamed,) = [each for each in report.findings if each.kind == "files that no split names"]
    assert unnamed.place == "clouds"
    with pytest.raises(InputError, match=str(scenes.root / "clouds" / "0.txt")):
        Frames(scenes, "train")


def test_results_are_written_in_the_files_own_frame_and_read_again(scenes: Scenes) -> None:
    labels = scenes.labels("0")
    found = Boxes(labels.boxes, labels.names, np.linspace(0, 1, len(labels)))
    scenes.write_results(scenes.root / "results", {"0": found})
    text = (scenes.root / "results" / "data" / "0.json").read_text()
    assert str(round(found.boxes[0, 3] * 1000))[:3] in text
    again = scenes.read_results(scenes.root / "results", "0")
    assert again is not None
    np.testing.assert_allclose(again.boxes, found.boxes, atol=1e-6)
    assert scenes.read_results(scenes.root / "results", "1") is None


def test_another_rule_of_difficulty_takes_one_method(scenes: Scenes) -> None:
    class ByHeight(Scenes):
        difficulties = ("tall", "flat")

        def difficulty(self, box: np.ndarray, points: int) -> str:
            return "tall" if box[5] > 1 else "flat"

    data = ByHeight(scenes.root)
    labels = data.labels("0")
    assert labels.difficulty is not None
    assert labels.difficulty.tolist() == ["tall" if height > 1 else "flat" for height in labels.boxes[:, 5]]
    assert not prepare(data, workers=1).errors
    boxes = Frames(data, "train")[0].boxes
    assert boxes is not None and boxes.difficulty is not None
    assert boxes.difficulty.tolist() == labels.difficulty.tolist()
