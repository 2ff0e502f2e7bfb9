"""KITTI's tracking labels: the public sequence, its sweep, and tracks of other tools."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats import find_format, read_frames, write_boxes
from tests.formats.samples import CAMERA, count_points, random_boxes, shared
from tests.formats.text_formats import CONTEXT


@pytest.mark.filterwarnings("ignore:.*no box in space")
def test_public_sequence(tmp_path: Path) -> None:
    path = shared("formats", "kitti_tracking", "label_02_0000.txt")
    calib = shared("faults", "calibration-dialects", "kitti_tracking.txt")
    frames = read_frames(path, calib=calib)
    assert next(iter(frames)) == "000000"
    counts: dict[str, int] = {}
    for boxes in frames.values():
        for name in boxes.names.tolist():
            counts[name] = counts.get(name, 0) + 1
    assert counts == {"Car": 243, "Cyclist": 154, "Pedestrian": 22, "Van": 292}
    # Frame 0 is the sweep of drive 0005 that lies there as a PCD.
    content = shared("formats", "kitti_raw_pcd", "0000000000.pcd").read_bytes()
    header, _, data = content.partition(b"DATA binary\n")
    count = int(next(line.split()[1] for line in header.splitlines() if line.startswith(b"POINTS")))
    points = np.frombuffer(data[: 16 * count], dtype="<f4").reshape(-1, 4)
    assert min(count_points(points, frames["000000"].boxes)) >= 100
    write_boxes(tmp_path / "0000.txt", frames, "kitti_tracking", calib=calib)
    wanted = [line.split() for line in path.read_text().splitlines() if "DontCare" not in line]
    written = [line.split() for line in (tmp_path / "0000.txt").read_text().splitlines()]
    assert [line[:5] for line in written] == [line[:5] for line in wanted]
    difference = np.array([line[5:] for line in written], float) - np.array([line[5:] for line in wanted], float)
    difference[:, -1] = np.angle(np.exp(1j * difference[:, -1]))
    assert np.abs(difference).max() < 2e-6


def test_tracks_without_numbers_are_numbered_and_missing_ones_refused(tmp_path: Path) -> None:
    boxes = random_boxes(0, count=4, names=["Car"]).with_columns(track=["7", "van a", "van b", "0"])
    with pytest.warns(UserWarning, match="2 tracks are not called by numbers"):
        find_format("kitti_tracking").write(tmp_path / "0000.txt", {"000000": boxes}, CONTEXT)
    found = find_format("kitti_tracking").read(tmp_path / "0000.txt", CONTEXT)["000000"]
    assert found.track is not None
    assert found.track.tolist() == ["7", "8", "9", "0"]
    with pytest.raises(InputError, match="boxes of frame '000000' have no track"):
        find_format("kitti_tracking").write(tmp_path / "b.txt", {"000000": boxes.with_columns(track=None)}, CONTEXT)


def test_frames_without_numbers_are_numbered_with_a_word(tmp_path: Path) -> None:
    boxes = random_boxes(0, ["track"], count=2, names=["Car"])
    with pytest.warns(UserWarning, match="not called by numbers"):
        write_boxes(tmp_path / "0000.txt", {"b": boxes, "a": boxes}, "kitti_tracking", camera=CAMERA)
    assert list(read_frames(tmp_path / "0000.txt", camera=CAMERA)) == ["000000", "000001"]
    with pytest.warns(UserWarning, match="1 frames without boxes"):
        write_boxes(tmp_path / "1.txt", {"0": boxes, "1": Boxes.empty()}, "kitti_tracking", camera=CAMERA)
