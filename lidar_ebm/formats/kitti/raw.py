"""KITTI raw's tracklet_labels.xml: objects with a size and a pose a frame, in the LiDAR frame.

A pose is the centre of the bottom face and the angle rz about +z. `frame_list.txt` beside the file gives frames their
names; without it they are numbers of ten digits, as in KITTI's raw data. A tracklet's place in the file is its track.

CVAT, by Datumaro, exports files with the same tags and other meanings: the pose is the geometric centre, w, h, l are
the extents along the box's own x, y, z, and a pose out of the image fills a gap of its track. It writes 0 for the
poses' `item_version` where KITTI has 2, which is how they are told apart.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.fields import glimpse, read_text
from lidar_ebm.formats.frame_files import numbers_of_frames
from lidar_ebm.formats.rotations import Tilts, heading_of_euler
from lidar_ebm.formats.rows import BoxRows, check_boxes, value_or_none
from lidar_ebm.formats.text_lists import parse_or_nan
from lidar_ebm.formats.xml_tree import read_xml
from lidar_ebm.system.files import atomic_write

TITLE = "KITTI raw tracklets (tracklet_labels.xml)"
COLUMNS = frozenset({"track", "occluded", "truncated"})

_FILE, _NAMES = "tracklet_labels.xml", "frame_list.txt"
_DIGITS = 10
_TRUNCATIONS = {0: 0.0, 1: 0.5, 2: 1.0, 99: 1.0}  # in the image, partly, out of it, behind it
_OUT = (2, 99)
_LIMIT = 10_000_000  # frames


def recognise(path: Path) -> bool:
    """Tell if the file, or `tracklet_labels.xml` in the folder, has tracklets."""
    text = glimpse(_file(path))
    return text.lstrip().startswith("<") and "<tracklets" in text


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Boxes by frame, in their order."""
    file = _file(path)
    root = read_xml(file)
    tracklets = root if root.tag == "tracklets" else root.find("tracklets")
    if tracklets is None:
        raise InputError(f"{file}: there are no <tracklets>; is this KITTI raw's {_FILE}?")
    items = tracklets.findall("item")
    count = tracklets.find("count")
    if count is not None and _number(file, tracklets, "count", "tracklets") != len(items):
        raise InputError(f"{file}: <count> says {count.text}, {len(items)} tracklets are there; the file is cut short.")
    by_cvat = any(item.findtext("poses/item_version", "").strip() == "0" for item in items)
    if by_cvat:
        warnings.warn(
            f"{file}: written by CVAT or Datumaro; poses are read as geometric centres, w, h, l as extents along x, y, "
            "z, and poses out of the image as gaps.",
            stacklevel=2,
        )
    tilts = Tilts()
    frames: dict[int, BoxRows] = {}
    names = _read_names(file.parent / _NAMES)
    for index in names:
        frames[index] = BoxRows(file)
    for track, item in enumerate(items):
        _read_tracklet(file, item, track, frames, tilts, by_cvat)
    tilts.warn(path)
    called = {index: names.get(index, f"{index:0{_DIGITS}d}") for index in sorted(frames)}
    if len(set(called.values())) != len(called):
        raise InputError(f"{file.parent / _NAMES}: two frames have the same name. Correct it.")
    return {called[index]: frames[index].boxes() for index in sorted(frames)}


def write(path: Path, frames: Mapping[str, Boxes], context: Context) -> list[Path]:
    """Write `path` (.xml) or `tracklet_labels.xml` in that folder, with `frame_list.txt` where names are no numbers."""
    check_boxes(frames, path)
    target = path if path.suffix.lower() == ".xml" else path / _FILE
    numbers = numbers_of_frames(list(frames))
    named = numbers is None or any(f"{number:0{_DIGITS}d}" != name for name, number in numbers.items())
    named = named or not all(len(boxes) for boxes in frames.values())
    if (
        numbers is None
        or max(numbers.values(), default=0) >= _LIMIT
        or list(numbers.values()) != sorted(numbers.values())
    ):
        numbers = {name: index for index, name in enumerate(frames)}
    for name in frames:
        if not name or name != name.strip() or not name.isprintable():
            raise InputError(f"{path}: frame {name!r} cannot stand in {_NAMES}; rename it. Nothing was written.")
    tracklets, parted = _tracklets(frames, numbers)
    if parted:
        warnings.warn(
            f"{path}: {parted} tracks are parted, for a tracklet has one class, one size and no gap.", stacklevel=2
        )
    root = Element("boost_serialization", version="9", signature="serialization::archive")
    listed = SubElement(root, "tracklets", version="0", tracking_level="0", class_id="0")
    SubElement(listed, "count").text = str(len(tracklets))
    SubElement(listed, "item_version").text = "1"
    for tracklet in tracklets:
        _write_tracklet(SubElement(listed, "item", version="1", tracking_level="0", class_id="1"), tracklet)
    indent(root)
    with atomic_write(target) as handle:
        handle.write(b'<?xml version="1.0" encoding="UTF-8" standalone="yes" ?>\n<!DOCTYPE boost_serialization>\n')
        handle.write(tostring(root, encoding="utf-8") + b"\n")
    if not named:
        return [target]
    with atomic_write(target.parent / _NAMES, "w") as handle:
        handle.writelines(f"{numbers[name]} {name}\n" for name in frames)
    return [target, target.parent / _NAMES]


def _file(path: Path) -> Path:
    return path / _FILE if path.is_dir() else path


def _read_names(path: Path) -> dict[int, str]:
    """Names of frames by their number; none where there is no such file."""
    if not path.is_file():
        return {}
    names = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        index, _, name = line.strip().partition(" ")
        if not index or index.startswith("#"):
            continue
        if not (index.isascii() and index.isdigit() and len(index) < 16 and name.strip()):
            raise InputError(f"{path}:{number}: {line[:60]!r} is no number and name of a frame. Correct the line.")
        names[int(index)] = name.strip()
    return names


def _read_tracklet(
    file: Path, item: Element, track: int, frames: dict[int, BoxRows], tilts: Tilts, by_cvat: bool
) -> None:
    where = f"tracklet {track}"
    name = (item.findtext("objectType") or "").strip()
    if not name:
        raise InputError(f"{file}: {where}: <objectType> is missing or empty.")
    tags = ("l", "h", "w") if by_cvat else ("h", "w", "l")
    height, width, length = (_number(file, item, tag, where) for tag in tags)
    if min(height, width, length) < 0:
        raise InputError(f"{file}: {where}: a size is negative.")
    first = _number(file, item, "first_frame", where)
    if not first.is_integer() or not 0 <= first < _LIMIT:
        raise InputError(f"{file}: {where}: <first_frame> is {first}, which is no number of a frame.")
    for index, pose in enumerate(item.findall("poses/item")):
        at = f"{where}, pose {index}"
        x, y, z = (_number(file, pose, tag, at) for tag in ("tx", "ty", "tz"))
        angles = [_number(file, pose, tag, at, missing=0.0) for tag in ("rx", "ry")] + [_number(file, pose, "rz", at)]
        occlusion = _number(file, pose, "occlusion", at, missing=-1.0)
        truncation = _number(file, pose, "truncation", at, missing=-1.0)
        rows = frames.setdefault(int(first) + index, BoxRows(file))
        if by_cvat and truncation in _OUT:
            continue
        yaw = heading_of_euler(angles, tilts, order="xyz" if by_cvat else "zyx")
        rows.add(
            name,
            [x, y, z if by_cvat else z + height / 2, length, width, height, yaw],
            track=str(track),
            occluded=occlusion if occlusion >= 0 else None,
            truncated=_TRUNCATIONS.get(int(truncation)) if truncation.is_integer() else None,
        )


def _number(file: Path, element: Element, tag: str, where: str, *, missing: float | None = None) -> float:
    text = element.findtext(tag)
    if text is None and missing is not None:
        return missing
    number = math.nan if text is None else parse_or_nan(text)
    if not math.isfinite(number):
        given = "missing" if text is None else f"{text.strip()[:60]!r}, which is no finite number"
        raise InputError(f"{file}: {where}: <{tag}> is {given}.")
    return number


def _tracklets(frames: Mapping[str, Boxes], numbers: Mapping[str, int]) -> tuple[list[list[Any]], int]:
    """Boxes as runs of (frame number, row) that a tracklet can hold, and the number of tracks that are parted."""
    runs: list[list[Any]] = []
    open_runs: dict[str, int] = {}
    parted = set()
    for name, row in _rows(frames):
        track = value_or_none(row, "track")
        index = None if track is None else open_runs.get(track)
        if index is not None and _goes_on(runs[index], numbers[name], row):
            runs[index].append((numbers[name], row))
            continue
        if track is not None:
            if index is not None:
                parted.add(track)
            open_runs[track] = len(runs)
        runs.append([(numbers[name], row)])
    return runs, len(parted)


def _rows(frames: Mapping[str, Boxes]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, boxes in frames.items():
        for row in boxes.rows():
            yield name, row


def _goes_on(run: list[Any], number: int, row: Mapping[str, Any]) -> bool:
    last, before = run[-1]
    same_size = (before["box"][3:6] == row["box"][3:6]).all()
    return bool(number == last + 1 and before["name"] == row["name"] and same_size)


def _write_tracklet(item: Element, run: list[Any]) -> None:
    first, row = run[0]
    length, width, height = row["box"][3:6].tolist()
    parts = {"objectType": row["name"], "h": height, "w": width, "l": length, "first_frame": first}
    for tag, value in parts.items():
        SubElement(item, tag).text = str(value)
    poses = SubElement(item, "poses", version="0", tracking_level="0", class_id="2")
    SubElement(poses, "count").text = str(len(run))
    SubElement(poses, "item_version").text = "2"
    for _, pose_row in run:
        x, y, z, _, _, _, yaw = pose_row["box"].tolist()
        occluded, truncated = value_or_none(pose_row, "occluded"), value_or_none(pose_row, "truncated")
        pose = SubElement(poses, "item", version="2", tracking_level="0", class_id="3")
        values = {
            **{"tx": x, "ty": y, "tz": z - height / 2, "rx": 0, "ry": 0, "rz": yaw, "state": 2},
            "occlusion": -1 if occluded is None else min(round(occluded), 2),
            "occlusion_kf": 1,
            "truncation": -1 if truncated is None else 0 if truncated <= 0 else 1 if truncated < 1 else 2,
            **{"amt_occlusion": -1, "amt_border_l": -1, "amt_border_r": -1},
            **{"amt_occlusion_kf": -1, "amt_border_kf": -1},
        }
        for tag, value in values.items():
            SubElement(pose, tag).text = str(value)
    SubElement(item, "finished").text = "1"
