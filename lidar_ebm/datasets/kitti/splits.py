"""The splits of a data set: which there are, and everything that is wrong in their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lidar_ebm.datasets.kitti.layout import split_path
from lidar_ebm.datasets.preparation.findings import ERROR, WARNING, Finding
from lidar_ebm.errors import InputError
from lidar_ebm.formats.text_lists import decode_text, is_name
from lidar_ebm.system.files import read_bytes

_APART = (("train", "val"), ("train", "test"), ("trainval", "test"))  # splits that should have no frame in common
_SHOWN = 5


@dataclass(frozen=True)
class Splits:
    """The frames of each split, and what was found wrong or odd."""

    frames: Mapping[str, tuple[str, ...]]  # names by split
    findings: tuple[Finding, ...]


def check_splits(root: Path, wanted: Sequence[str] | None = None) -> Splits:
    """Read splits as far as they can be read.

    Args:
        root: the data set.
        wanted: names of splits; None: all in `ImageSets`, without `test` where that lists frames which are not in
            `training`, as KITTI's own does.
    """
    findings: list[Finding] = []
    frames: dict[str, tuple[str, ...]] = {}
    folder = root / "ImageSets"
    there = sorted(path.stem for path in folder.glob("*.txt") if not path.name.startswith("."))
    if not there:
        message = "no split here. Write train.txt and val.txt, one frame name a line (data/README.md shows how)."
        findings.append(Finding(ERROR, "missing splits", "ImageSets", message))
    elif wanted is None:
        for split, verb in (("train", "train"), ("val", "evaluate")):
            if split not in there:
                message = f"no such file; `lidar-ebm {verb}` reads it. Write its frames there, one name a line."
                findings.append(Finding(WARNING, "missing splits", f"ImageSets/{split}.txt", message))
    for split in there if wanted is None else wanted:
        names, split_findings = _check_split(root, split)
        if wanted is None and split == "test":
            elsewhere = _not_in_training(root, names)
            if elsewhere:
                message = (
                    f"{elsewhere} of its {len(names)} frames are not in training/velodyne: taken for KITTI's list of "
                    "testing/, which is neither checked nor prepared. Name the split to have it checked."
                )
                findings.append(Finding(WARNING, "splits left out", "ImageSets/test.txt", message))
                continue
        frames[split] = names
        findings += split_findings
    for first, second in _APART:
        shared = [name for name in frames.get(second, ()) if name in set(frames.get(first, ()))]
        if shared:
            shown = ", ".join(shared[:_SHOWN]) + (", …" if len(shared) > _SHOWN else "")
            message = f"{len(shared)} of its frames are in {first}.txt too: {shown}."
            findings.append(Finding(WARNING, "frames in two splits", f"ImageSets/{second}.txt", message))
    return Splits(frames, tuple(findings))


def _check_split(root: Path, split: str) -> tuple[tuple[str, ...], list[Finding]]:
    """The frames that a split names, each once, and what is wrong with its file."""
    place = f"ImageSets/{split}.txt"
    path = split_path(root, split)
    try:
        text = decode_text(read_bytes(path), path)
    except InputError as error:
        return (), [Finding(ERROR, "unreadable splits", place, str(error).removeprefix(f"{path}: "))]
    findings = []
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        name = line.strip()
        if not name:
            continue
        if not is_name(name):
            message = f"{name!r} is not the name of a frame; give one a line, such as 000012."
            findings.append(Finding(ERROR, "malformed split lines", f"{place}:{number}", message))
        elif name in lines:
            message = f"frame {name} stands already in line {lines[name]}; remove one of them."
            findings.append(Finding(ERROR, "frames named twice", f"{place}:{number}", message))
        else:
            lines[name] = number
    if not lines:
        findings.append(Finding(ERROR, "empty splits", place, "names no frame. Write one frame name a line."))
    return tuple(lines), findings


def _not_in_training(root: Path, names: Sequence[str]) -> int:
    there = {path.stem for path in (root / "training" / "velodyne").glob("*.bin")}
    return sum(name not in there for name in names)
