"""KITTI raw's tracklets: tracks over frames, the file's dangers, and CVAT's list of frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats import read_boxes, read_frames, write_boxes

TRACKLETS = """<?xml version="1.0" encoding="UTF-8" standalone="yes" ?>
<!DOCTYPE boost_serialization>
<boost_serialization signature="serialization::archive" version="9">
<tracklets class_id="0" tracking_level="0" version="0">
  <count>1</count><item_version>1</item_version>
  <item class_id="1" tracking_level="0" version="1">
    <objectType>Person (sitting)</objectType><h>1.5</h><w>0.6</w><l>0.8</l><first_frame>3</first_frame>
    <poses class_id="2" tracking_level="0" version="0"><count>2</count><item_version>2</item_version>
      <item class_id="3" tracking_level="0" version="2"><tx>10</tx><ty>-2</ty><tz>-1.7</tz><rx>0</rx><ry>0</ry>
        <rz>4.0</rz><state>2</state><occlusion>1</occlusion><occlusion_kf>1</occlusion_kf><truncation>99</truncation></item>
      <item><tx>11</tx><ty>-2</ty><tz>-1.7</tz><rz>0.5</rz><occlusion>-1</occlusion><truncation>0</truncation></item>
    </poses><finished>1</finished>
  </item>
</tracklets></boost_serialization>
"""


def write(folder: Path, text: str = TRACKLETS) -> Path:
    path = folder / "tracklet_labels.xml"
    path.write_text(text)
    return path


def test_poses_are_centres_of_the_bottom_in_the_lidar_frame(tmp_path: Path) -> None:
    frames = read_frames(write(tmp_path))
    assert list(frames) == ["0000000003", "0000000004"]
    first, second = frames.values()
    np.testing.assert_allclose(first.boxes, [[10, -2, -0.95, 0.8, 0.6, 1.5, 4.0 - 2 * np.pi]])
    np.testing.assert_allclose(second.boxes, [[11, -2, -0.95, 0.8, 0.6, 1.5, 0.5]])
    assert first.names.tolist() == ["Person (sitting)"]
    assert (first.occluded, first.truncated, first.track) == ([1.0], [1.0], ["0"])
    assert second.occluded is None
    assert second.truncated == [0.0]


def test_cvat_means_other_things_by_the_same_tags(tmp_path: Path) -> None:
    """Datumaro writes a cuboid's centre, w, h, l of its extents along x, y, z, and gaps as poses out of the image."""
    text = TRACKLETS.replace("<item_version>2<", "<item_version>0<")
    text = text.replace("<h>1.5</h><w>0.6</w><l>0.8</l>", "<h>1.6</h><w>4.2</w><l>1.5</l>")
    with pytest.warns(UserWarning, match="written by CVAT or Datumaro"):
        frames = read_frames(write(tmp_path, text))
    assert {name: len(boxes) for name, boxes in frames.items()} == {"0000000003": 0, "0000000004": 1}
    np.testing.assert_allclose(frames["0000000004"].boxes, [[11, -2, -1.7, 4.2, 1.6, 1.5, 0.5]])


def test_declarations_of_any_kind_are_read(tmp_path: Path) -> None:
    """KITTI's own files say standalone="true", which XML does not know."""
    expected = read_frames(write(tmp_path))
    for declaration in ('<?xml version="1.0" encoding="UTF-8" standalone="true" ?>', "", '<?xml version="1.0"?>'):
        found = read_frames(write(tmp_path, declaration + TRACKLETS.partition("?>")[2]))
        assert list(found) == list(expected)


def test_a_track_is_one_tracklet_as_long_as_it_can_be(tmp_path: Path) -> None:
    def boxes(length: float, *tracks: str) -> Boxes:
        rows = [[index, 0, 0, length, 2, 1, 0] for index in range(len(tracks))]
        return Boxes(rows, ["Car"] * len(tracks), track=tracks)

    frames = {"0000000000": boxes(4, "a", "b"), "0000000001": boxes(4, "b", "a"), "0000000002": boxes(5, "a")}
    with pytest.warns(UserWarning, match="1 tracks are parted"):
        write_boxes(tmp_path, frames, "kitti_raw")
    found = read_frames(tmp_path)
    tracks = [boxes.track.tolist() for boxes in found.values() if boxes.track is not None]
    assert tracks == [["0", "1"], ["0", "1"], ["2"]]  # a: tracklets 0 and 2, b: 1
    assert [boxes.boxes[:, 0].tolist() for boxes in found.values()] == [[0, 1], [1, 0], [0]]


def test_a_list_of_frames_gives_names_and_empty_frames(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "frame_list.txt").write_text("0 first\n3 scan 17.pcd\n4 last\n")
    frames = read_frames(path)
    assert [(name, len(boxes)) for name, boxes in frames.items()] == [("first", 0), ("scan 17.pcd", 1), ("last", 1)]
    (tmp_path / "frame_list.txt").write_text("0 first\n3 last\n4 last\n")
    with pytest.raises(InputError, match="two frames have the same name"):
        read_boxes(path)
    (tmp_path / "frame_list.txt").write_text("0 first\nx y\n")
    with pytest.raises(InputError, match=r"frame_list\.txt:2: 'x y' is no number and name"):
        read_boxes(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "<!DOCTYPE boost_serialization>",
            '<!DOCTYPE b [<!ENTITY a "aaaa"><!ENTITY c "&a;&a;">]>',
            "declares an entity",
        ),
        (
            "<!DOCTYPE boost_serialization>",
            '<!DOCTYPE b [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
            "declares an entity",
        ),
        ("<count>1</count>", "<count>2</count>", "says 2, 1 tracklets are there"),
        ("<h>1.5</h>", "", "<h> is missing"),
        ("<h>1.5</h>", "<h>nan</h>", "<h> is 'nan'"),
        ("<h>1.5</h>", "<h>-1</h>", "a size is negative"),
        ("<first_frame>3<", "<first_frame>3.5<", "<first_frame> is 3.5"),
        ("<tx>11</tx>", "<tx>1e999</tx>", "pose 1: <tx> is '1e999'"),
        ("<objectType>Person (sitting)</objectType>", "", "<objectType> is missing"),
        ("</tracklets>", "", "this is no XML"),
        ("tracklets", "tracks", "there are no <tracklets>"),
    ],
)
def test_wrong_files_are_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    path = write(tmp_path, TRACKLETS.replace(old, new))
    with pytest.raises(InputError, match=said) as caught:
        read_boxes(path, "kitti_raw")
    assert str(path) in str(caught.value)
