"""One decoder for every text file: marks are honoured, and text that is not UTF-8 is told."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti.object_files import read_object_files
from lidar_ebm.formats import read_frames, write_boxes
from lidar_ebm.formats.kitti.calibration import SIMULATED
from lidar_ebm.formats.kitti.files import read_calibration, read_labels, write_calibration
from lidar_ebm.formats.text_lists import decode_text, read_names
from tests.formats.samples import assert_same, random_boxes

CAR = "Car 0.00 0 1.55 614.24 181.78 727.31 284.77 1.57 1.73 4.15 1.00 1.75 13.22 1.62"
MARKED = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
NO_MARK = "looks like UTF-16 or UTF-32 without a mark: save it as UTF-8"


@pytest.mark.parametrize("encoding", MARKED)
def test_a_mark_is_honoured(encoding: str, tmp_path: Path) -> None:
    def save(name: str, text: str) -> Path:
        (tmp_path / name).write_bytes(MARKED[encoding] + text.encode(encoding))
        return tmp_path / name

    assert decode_text(MARKED[encoding] + "Fußgänger\n".encode(encoding), "a") == "Fußgänger\n"
    assert read_names(save("train.txt", "000001\r\n000002\r\n")) == ["000001", "000002"]
    label = save("000001.txt", f"{CAR}\r\n")
    assert [each.type for each in read_labels(label)] == ["Car"]
    assert read_object_files([label], need_scores=False).bbox.tolist() == [[614.24, 181.78, 727.31, 284.77]]
    write_calibration(tmp_path / "calib.txt", SIMULATED)
    assert (read_calibration(save("c.txt", (tmp_path / "calib.txt").read_text())).p2 == SIMULATED.p2).all()
    for name, form in (("a.json", "boxes_json"), ("a.csv", "boxes_csv"), ("b.json", "openlabel")):
        boxes = random_boxes(3)
        write_boxes(tmp_path / name, {"000001": boxes}, form)
        (found,) = read_frames(save(name, (tmp_path / name).read_text(encoding="utf-8"))).values()
        assert_same(found, boxes, ())


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_no_mark_is_told(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "000001.txt"
    path.write_bytes(f"{CAR}\n".encode(encoding))
    for read in (read_names, read_labels, read_calibration, lambda path: read_object_files([path], need_scores=False)):
        with pytest.raises(InputError, match=rf"000001\.txt: .*{NO_MARK}"):
            read(path)
    for name, form in (("a.json", "boxes_json"), ("a.csv", "boxes_csv")):
        write_boxes(tmp_path / name, {"000001": random_boxes(3)}, form)
        (tmp_path / name).write_bytes((tmp_path / name).read_text(encoding="utf-8").encode(encoding))
        with pytest.raises(InputError, match=NO_MARK):
            read_frames(tmp_path / name)


def test_another_encoding_is_told_with_its_place() -> None:
    with pytest.raises(InputError, match=r"a\.txt: this is no text file in UTF-8 \(byte 2\)"):
        decode_text("Fußgänger".encode("latin-1"), "a.txt")
    with pytest.raises(InputError, match=r"a\.txt: this is no text file in UTF-16"):
        decode_text(codecs.BOM_UTF16_LE + b"a", "a.txt")
