"""Damaged files of every text format end in one InputError that names the file, and in nothing else."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats import find_format, read_boxes
from lidar_ebm.formats.box_format import box_formats
from tests.formats.text_formats import CASES, CONTEXT, IDS, Case

MUTATIONS = 150
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, "", "x", "1e5", "NaN", [], {}, [[]], [1], [1, 2, 3, 4], {"x": 1}, -1, -1e3, 0, 0.5),
    *(1e308, -1e308, 10**400, float("nan"), float("inf"), 2**63, "\x00", "🚗" * 50, [None] * 3, ["1"] * 3, {"": None}),
)


def mutate_json(data: Any, rng: random.Random) -> Any:
    """`data` with one node replaced, removed, doubled or renamed."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            places.append((node, key))
            walk(node[key])

    walk(data)
    if not places or rng.random() < 0.02:
        return rng.choice(ODD_VALUES)
    node, key = rng.choice(places)
    kind = rng.choice(["replace", "replace", "remove", "double", "rename"])
    if kind == "replace":
        node[key] = rng.choice(ODD_VALUES)
    elif kind == "remove":
        del node[key]
    elif isinstance(node, list):
        node.append(node[key])
    elif kind == "rename":
        node[f"{key}_"] = node.pop(key)
    return data


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    """`content` cut, or with bytes or a word changed."""
    if not content:
        return bytes([rng.randrange(256)])
    at = rng.randrange(len(content))
    kind = rng.choice(["cut", "flip", "insert", "delete", "word", "double"])
    if kind == "cut":
        return content[:at]
    if kind == "flip":
        return content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
    if kind == "insert":
        return (
            content[:at]
            + rng.choice([b" ", b"\n", b"\x00", b"\xff", b'"', b"<", b"9" * 400, b"-", b",", b"]"])
            + content[at:]
        )
    if kind == "delete":
        return content[:at] + content[at + rng.randrange(1, 40) :]
    if kind == "double":
        return content[:at] + content[at // 2 :]
    words = content.split(b" ")
    words[rng.randrange(len(words))] = rng.choice(
        [b"nan", b"inf", b"1e999", b"x", b"", b"-1", b"1_0", b"99999999999999999999"]
    )
    return b" ".join(words)


def refused_or_read(case: Case, target: Path, folder: Path) -> bool:
    """Read the format; True where it was refused, with a message that names a file of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            find_format(case.name).read(target, CONTEXT)
        except InputError as error:
            assert str(folder) in str(error)
            return True
    return False


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_damaged_files_are_refused_with_their_name(case: Case, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        target, _, written = case.write(tmp_path, 5)
    rng = random.Random(case.name + case.target)
    originals = {file: file.read_bytes() for file in written}
    refused = 0
    for _ in range(MUTATIONS):
        file = rng.choice(written)
        if file.suffix == ".json" and rng.random() < 0.6:
            damaged = json.dumps(mutate_json(json.loads(originals[file]), rng)).encode()
        else:
            damaged = mutate_bytes(originals[file], rng)
        file.write_bytes(damaged)
        for module in box_formats().values():
            module.recognise(target)  # raises nothing
        refused += refused_or_read(case, target, tmp_path)
        file.write_bytes(originals[file])
    assert refused > MUTATIONS / 10


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_other_things_are_refused(case: Case, tmp_path: Path) -> None:
    target, _, written = case.write(tmp_path, 5)
    largest = max(written, key=lambda file: file.stat().st_size)
    contents: tuple[Callable[[], bytes], ...] = (
        lambda: b"\x80\x04\x95\x00",
        lambda: b"[" * 100_000,
        lambda: b'{"a":' * 100_000,
        lambda: b"\xff\xfe\x00",
        lambda: b"<a>" * 100_000,
        lambda: b"null",
        lambda: b"[[1]]",
    )
    for content in contents:
        largest.write_bytes(content())
        for module in box_formats().values():
            module.recognise(target)
        assert refused_or_read(case, target, tmp_path)


@pytest.mark.parametrize("name", ["missing.json", "nul\0.json", "a" * 3000, "file.json/under"])
def test_names_that_lead_nowhere_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text("[]")
    for format_name in (None, *box_formats()):
        with pytest.raises(InputError, match=r"no such file|cannot be looked at"):
            read_boxes(tmp_path / name, format_name)
