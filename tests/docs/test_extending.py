"""The examples of docs/extending.md, put into the package: their tests pass, and their commands run."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.formats import write_boxes
from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs" / "extending.md"
FILES = {
    block.text.partition("\n")[0].removeprefix("# "): block.text
    for block in blocks(PAGE, "python")
    if block.text.startswith("# ")
}
LINES = [line for block in blocks(PAGE, "bash") for line in block.text.splitlines()]


# Makes the page's files part of the installed package: each folder is a further place to look for a package's modules.
LAUNCH = """
import os, runpy, sys

class Further:
    def find_spec(self, name, path=None, target=None):
        folder = os.path.abspath(name.replace(".", os.sep))
        if not os.path.isdir(folder) or not name.startswith("lidar_ebm."):
            return None
        others = (each.find_spec(name, path, target) for each in sys.meta_path if each is not self)
        spec = next(filter(None, others))
        spec.submodule_search_locations.append(folder)
        return spec

sys.meta_path.insert(0, Further())
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files, and data for its commands."""
    folder = tmp_path_factory.mktemp("extended")
    for name, text in FILES.items():
        assert not (ROOT / name).exists(), f"{name} is there already"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    generator = np.random.default_rng(0)
    box = np.array([[5.0, 0, -1, 4, 2, 1.5, 0]])
    frames = folder / "data" / "npz" / "npz"
    frames.mkdir(parents=True)
    for name in ("first", "second"):
        points = generator.normal(size=(400, 4)) * 0.5 + [5, 0, -1, 0.5]
        np.savez(frames / f"{name}.npz", points=points, boxes=box, names=np.array(["pallet"]))
    (folder / "data" / "npz" / "train.txt").write_text("first\nsecond\n")
    (folder / "labels.turned").write_text("pallet 5 0 -1.75 2 4 1.5 0\n")
    write_boxes(folder / "labels" / "a.json", Boxes(box, ["pallet"], points=[400]), "boxes_json")
    write_boxes(folder / "results" / "a.json", Boxes(box, ["pallet"], [0.5]), "boxes_json")
    return folder


def run(folder: Path, *words: str) -> str:
    """Run a module with the page's files in the package; its output."""
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tests_of_the_page_pass(folder: Path) -> None:
    tests = [name for name in FILES if name.startswith("tests/")]
    assert len(tests) == 6
    assert len(FILES) == 12
    out = run(folder, "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *tests)
    assert "7 passed" in out


def test_the_commands_of_the_page_run(folder: Path) -> None:
    assert len(LINES) == 4
    out = [run(folder, "lidar_ebm.cli", *shlex.split(line)[1:]) for line in LINES]
    prepared, converted, scored, named = out
    assert "2" in prepared and "pallet" in prepared
    assert (folder / "labels.json").is_file() and "1" in converted
    assert "stopping" in scored
    assert named.split() == ["1", "pallet"]
