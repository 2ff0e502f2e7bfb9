"""Checks of one frame of nuScenes: its chain of sweeps, their files, and its labels."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.data_set import CheckedFrame
from lidar_ebm.datasets.frame import Frame
from lidar_ebm.datasets.nuscenes.database import Database
from lidar_ebm.datasets.preparation.findings import ERROR, WARNING, Finding, place_of
from lidar_ebm.errors import InputError
from lidar_ebm.formats.nuscenes.classes import ATTRIBUTES_OF_CLASS
from lidar_ebm.formats.nuscenes.sweeps import read_sweep
from lidar_ebm.system.files import read_bytes

_SIZES = (0.05, 50.0)  # m, of objects; what is beyond is said, and used all the same
_INTENSITIES = (0.0, 255.0)
_RINGS = 32
_SHOWN = 5


def check_frame(database: Database, name: str, read: Callable[[str], Frame]) -> CheckedFrame:
    """Read and check a frame, whatever is wrong with it.

    Args:
        database: the tables.
        name: token of the sample.
        read: makes the frame of its name.
    """
    tables, sample = database.tables, database.row(name)
    findings: list[Finding] = []
    problem = database.problem(sample)
    if problem is not None:
        place = place_of(tables.path("sample_data"), tables.root)
        findings.append(Finding(ERROR, "broken token chains", place, problem))
    points = 0
    for path in database.paths(sample):
        try:
            sweep = read_sweep(path)
        except InputError as error:
            kind = "unreadable sweeps" if path.exists() else "missing files"
            message = f"{str(error).removeprefix(f'{path}: ')} Sample {name} is made of it."
            findings.append(Finding(ERROR, kind, place_of(path, tables.root), message))
            continue
        points += len(sweep)
        findings += [Finding(WARNING, "odd sweeps", place_of(path, tables.root), odd) for odd in _oddities(sweep)]
    if any(finding.is_error for finding in findings):
        return CheckedFrame(None, np.zeros(0, np.int64), 0, 0, {}, tuple(findings))
    try:
        frame = read(name)
    except InputError as error:
        findings.append(Finding(ERROR, "unreadable frames", f"{tables.version}/sample.json", str(error)))
        return CheckedFrame(None, np.zeros(0, np.int64), 0, 0, {}, tuple(findings))
    boxes = Boxes.empty() if frame.boxes is None else frame.boxes
    key = database.paths(sample)[0]
    place = place_of(key, tables.root)
    findings += [
        Finding(WARNING, kind, place, message, of_labels=True)
        for kind, message in _odd_labels(boxes, database.points_of_labels(sample))
    ]
    counts = np.zeros(0, np.int64) if boxes.points is None else boxes.points
    return CheckedFrame(
        frame,
        counts,
        points,
        zlib.crc32(read_bytes(key)),
        Counter(boxes.names.tolist()),
        tuple(findings),
        clouds=len(database.paths(sample)),
    )


def _oddities(sweep: np.ndarray) -> list[str]:
    if not len(sweep):
        return ["has no point."]
    odd = []
    intensity, ring = sweep[:, 3], sweep[:, 4]
    outside = int(((intensity < _INTENSITIES[0]) | (intensity > _INTENSITIES[1])).sum())
    if outside:
        odd.append(f"{outside} intensities lie outside 0 to 255; reflectance is taken to be intensity / 255.")
    wrong = int(((ring < 0) | (ring >= _RINGS) | (ring != np.floor(ring))).sum())
    if wrong:
        odd.append(f"{wrong} rings are no whole numbers of 0 to {_RINGS - 1}.")
    return odd


def _odd_labels(boxes: Boxes, counted: np.ndarray) -> list[tuple[str, str]]:
    """Kinds of what is odd in a frame's labels, and messages."""
    odd = []
    sizes, names = boxes.boxes[:, 3:6], boxes.names.tolist()
    for row in np.flatnonzero((sizes < _SIZES[0]).any(axis=1) | (sizes > _SIZES[1]).any(axis=1)):
        shown = ", ".join(f"{value:g}" for value in sizes[row])
        odd.append(("boxes out of range", f"a {names[row]} of {shown} m (length, width, height)."))
    attributes = [""] * len(boxes) if boxes.attribute is None else boxes.attribute.tolist()
    for name, attribute in zip(names, attributes, strict=True):
        if attribute and name in ATTRIBUTES_OF_CLASS and attribute not in ATTRIBUTES_OF_CLASS[name]:
            odd.append(("attributes of other classes", f"a {name} with the attribute {attribute!r}."))
    told = counted if boxes.points is None else boxes.points
    other = np.flatnonzero(told != counted)
    if len(other):
        shown = ", ".join(f"{names[row]} {told[row]} told, {counted[row]} there" for row in other[:_SHOWN])
        message = f"num_lidar_pts of {len(other)} of {len(boxes)} labels is not that of the points in them: {shown}."
        odd.append(("numbers of points", message))
    return odd
