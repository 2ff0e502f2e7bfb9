"""Result files of nuScenes read as the benchmark's program reads them, with everything that it would refuse.

A file of a whole split is a hundred megabytes. Its boxes are decoded sample by sample, in one go where they are as they
should be; a sample that is not is read again value by value, and every reason is noted.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.nuscenes.box_checks import CheckedBox, CheckedBoxes, check_boxes
from lidar_ebm.evaluation.nuscenes.column_checks import check_columns
from lidar_ebm.evaluation.nuscenes.objects import Objects, join
from lidar_ebm.evaluation.nuscenes.rules import ATTRIBUTE_INDEX, CLASS_INDEX, MAXIMUM_BOXES, USE_FLAGS, heading
from lidar_ebm.evaluation.problems import Judged, Problem, ProblemList, list_lines
from lidar_ebm.formats.fields import read_json
from lidar_ebm.formats.nuscenes.classes import ATTRIBUTES, CLASSES
from lidar_ebm.system.collection import without_collection

_BATCH = 8192  # boxes that become columns at a time
_NOT_A_NUMBER = re.compile(rb"(?<=[\[,:\s])(NaN|-?Infinity)(?=\s*[,\]}])")
# In place of what JSON has no word for; such a text never is a token, a class or an attribute.
_STAND_IN = "\ue000"
_ATTRIBUTES = ("", *ATTRIBUTES)


class _Box(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    sample_token: str
    translation: tuple[float, float, float]
    size: tuple[float, float, float]
    rotation: tuple[float, float, float, float]
    velocity: tuple[float, float]
    detection_name: Literal[CLASSES]  # type: ignore[valid-type]
    detection_score: float
    attribute_name: Literal[_ATTRIBUTES]  # type: ignore[valid-type]
    num_pts: int = -1


class _File(msgspec.Struct, gc=False):
    results: dict[str, msgspec.Raw]
    meta: msgspec.Raw


_FILE, _BOXES = msgspec.json.Decoder(_File), msgspec.json.Decoder(list[_Box])


@dataclass(frozen=True, eq=False)
class ResultFile(Judged):
    """Contents of a result file; `objects` lacks what could not be read."""

    path: Path
    tokens: tuple[str, ...]  # [F] samples, in the file's order
    objects: Objects  # `sample` is an index of `tokens`
    box_counts: np.ndarray  # [F] int64
    problems: tuple[Problem, ...]

    def refuse_errors(self) -> None:
        """Stop where the benchmark's program would.

        Raises:
            InputError: there are errors; the message lists them.
        """
        if self.errors:
            raise InputError(
                f"{self.path}: the benchmark's program refuses this file. Things to correct: "
                f"{len(self.errors)}{list_lines(self.errors)}"
            )


def read_result_file(path: Path) -> ResultFile:
    """Read a result file, and note everything that the benchmark's program would refuse, or take in an odd way.

    Raises:
        InputError: it cannot be read, is no JSON, or holds no results by sample.
    """
    with without_collection():
        return _read(path)


def _read(path: Path) -> ResultFile:
    results, meta = _open(path)
    problems = ProblemList()
    problems.add(_check_meta(meta))
    index = {token: row for row, token in enumerate(results)}
    parts: list[Objects] = []
    counts = np.zeros(len(index), np.int64)
    batch: list[_Box] = []
    waiting: list[tuple[int, int]] = []  # sample and number of boxes in the batch
    for row, (token, raw) in enumerate(results.items()):
        boxes = _decode(raw)
        if boxes is None:
            parts += _columns(batch, waiting, index)
            checked = check_boxes(_plain(raw, f"{path}: sample {token}"), token)
            problems.add(checked.problems)
            counts[row] = checked.count
            parts.append(_checked_columns(checked, row, index))
        else:
            counts[row] = len(boxes)
            batch += boxes
            waiting.append((row, len(boxes)))
            if len(batch) >= _BATCH:
                parts += _columns(batch, waiting, index)
        if counts[row] > MAXIMUM_BOXES:
            kind = f"a sample has {MAXIMUM_BOXES} boxes at most, counted before any filter; leave out the lowest scores"
            problems.add([Problem(f"sample {token}", f"{counts[row]} boxes", kind, blocks=True)])
    parts += _columns(batch, waiting, index)
    objects, tokens = join(parts), tuple(index)
    problems.add(check_columns(objects, tokens, counts))
    return ResultFile(path, tokens, objects, counts, problems.as_tuple())


def _open(path: Path) -> tuple[dict[str, Any], Any]:
    """Results by sample, each still as text or read already, and what stands under meta (None: nothing)."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Check the name and the permissions.") from error
    for text in (content, None):
        try:
            # What JSON has no word for, NaN above all, is put into words that it has.
            decoded = _FILE.decode(_NOT_A_NUMBER.sub(_worded, content) if text is None else text)
            return decoded.results, _plain(decoded.meta, f"{path}: meta")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    del content
    plain = read_json(path).entries_raw()
    if "results" not in plain:
        raise InputError(
            f"{path}: 'results' is missing; a result file is {{'meta': …, 'results': {{token: [box, …]}}}}."
        )
    if not isinstance(plain["results"], dict):
        raise InputError(f"{path}: 'results' is no set of samples by token; write {{token: [box, …]}}.")
    if "meta" not in plain:
        raise InputError(f"{path}: 'meta' is missing; it says what the results were made with: {', '.join(USE_FLAGS)}.")
    return plain["results"], plain["meta"]


def _worded(match: re.Match[bytes]) -> bytes:
    return b'"' + _STAND_IN.encode() + match[0] + b'"'


def _decode(raw: Any) -> list[_Box] | None:
    """Boxes of a sample that are as they should be; None where they are not."""
    try:
        return _BOXES.decode(raw) if isinstance(raw, msgspec.Raw) else msgspec.convert(raw, list[_Box])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _plain(raw: Any, where: str) -> Any:
    """A value as Python's own types, NaN and infinity again as numbers."""
    if not isinstance(raw, msgspec.Raw):
        return raw
    try:
        return _restored(json.loads(bytes(raw)))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: cannot be read ({error}); damaged. Copy the file again.") from error


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(item) for item in value]
    if isinstance(value, dict):
        return {key: _restored(item) for key, item in value.items()}
    if isinstance(value, str) and value.startswith(_STAND_IN):
        return float(value.removeprefix(_STAND_IN).replace("Infinity", "inf"))
    return value


def _columns(batch: list[_Box], waiting: list[tuple[int, int]], index: Mapping[str, int]) -> list[Objects]:
    """The boxes of a batch as columns; the batch is empty afterwards."""
    if not batch:
        waiting.clear()
        return []
    samples = np.repeat(*np.array(waiting, np.int64).T).astype(np.int32)
    objects = _objects(batch, samples, np.zeros(len(batch), bool), index)
    batch.clear()
    waiting.clear()
    return [objects]


def _checked_columns(checked: CheckedBoxes, row: int, index: Mapping[str, int]) -> Objects:
    """The boxes of a sample that were read value by value."""
    boxes = checked.boxes
    return _objects(
        boxes, np.full(len(boxes), row, np.int32), np.array([box.bad_velocity for box in boxes], bool), index
    )


def _objects(
    boxes: Sequence[_Box] | Sequence[CheckedBox],
    samples: np.ndarray,
    bad_velocity: np.ndarray,
    index: Mapping[str, int],
) -> Objects:
    return Objects(
        sample=samples,
        matched_sample=np.array([index.get(box.sample_token, -1) for box in boxes], np.int32),
        class_index=np.array([CLASS_INDEX[box.detection_name] for box in boxes], np.int8),
        centers=_rows([box.translation for box in boxes], 3),
        sizes=_rows([box.size for box in boxes], 3),
        yaw=heading(_rows([box.rotation for box in boxes], 4)),
        velocity=_rows([box.velocity for box in boxes], 2),
        attribute=np.array([ATTRIBUTE_INDEX[box.attribute_name] for box in boxes], np.int8),
        points=_limited([box.num_pts for box in boxes]),
        scores=np.array([box.detection_score for box in boxes], np.float64),
        bad_velocity=bad_velocity,
    )


def _rows(values: Sequence[Sequence[float]], width: int) -> np.ndarray:
    flat = itertools.chain.from_iterable(values)
    return np.fromiter(flat, np.float64, count=width * len(values)).reshape(-1, width)


def _limited(counts: Sequence[int]) -> np.ndarray:
    """Counts of points: 0, which means something, or not (-1), whatever the number."""
    return np.array([0 if count == 0 else -1 for count in counts], np.int64)


def _check_meta(meta: Any) -> list[Problem]:
    flags = meta if isinstance(meta, dict) else {}
    return [
        Problem(
            f"meta: {flag}",
            repr(flags[flag])[:60] if flag in flags else "missing",
            "the server wants true or false for each of " + ", ".join(USE_FLAGS),
            blocks=False,
        )
        for flag in USE_FLAGS
        if not isinstance(flags.get(flag), bool)
    ]
