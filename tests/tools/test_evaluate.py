"""Several processes, really started: the same figures and files as one, and one message where it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import torch

from lidar_ebm.cli import main
from lidar_ebm.config.config import Config
from lidar_ebm.formats.kitti.files import write_split
from lidar_ebm.simulation.simulator import simulate
from tests.workflows.test_evaluate import every_file, make_run

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = (str(ROOT / "tools" / "evaluate.py"),)
COMMAND = ("--no-python", str(Path(sys.executable).parent / "lidar-ebm"), "evaluate")

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="a torch that knows of one process only")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As torchrun has it for each of its processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Nine frames, which are three batches, and a split of five of them, which is two."""
    root = tmp_path / "data"
    simulate(root, frames=9, seed=2, workers=1)
    write_split(root / "ImageSets" / "nine.txt", [f"{index:06d}" for index in range(9)])
    write_split(root / "ImageSets" / "five.txt", ["000007", "000001", "000004", "000003", "000008"])
    return root


def torchrun(
    processes: int, verb: tuple[str, ...], *arguments: object, logs: Path
) -> tuple[int, list[tuple[str, str]]]:
    """torchrun's exit status, and what each process wrote to its two streams."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["--redirects=3", f"--log-dir={logs}", *verb, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    status = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True).returncode
    (folder,) = logs.glob("*/attempt_0")
    streams = [[folder / str(rank) / f"{name}.log" for name in ("stdout", "stderr")] for rank in range(processes)]
    return status, [(out.read_text(), err.read_text()) for out, err in streams]


def alone(run: Path, data: Path, split: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, bytes]]:
    """Output of one process, and the files that it leaves, which are then removed."""
    monkeypatch.setenv("COLUMNS", "100")
    with redirect_stdout(StringIO()) as printed, pytest.raises(SystemExit) as end:
        main(["evaluate", str(run), "--data", str(data), "--split", split, "--steps", "2", "--iou", "0.1,0.3"])
    assert not end.value.code
    files = every_file(run / "evaluation" / split)
    shutil.rmtree(run / "evaluation")
    return printed.getvalue(), files


def test_more_processes_than_batches_give_the_same(
    eager_config: Config, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(eager_config, tmp_path / "run")
    printed, files = alone(run, data, "five", monkeypatch)
    arguments = (run, "--data", data, "--split", "five", "--steps", 2, "--iou", "0.1,0.3")
    status, (first, *others) = torchrun(3, SCRIPT, *arguments, logs=tmp_path / "logs")
    assert status == 0
    assert first[0] == printed
    assert "Detecting: 5/5" in first[1]
    assert others == [("", "")] * 2
    assert every_file(run / "evaluation" / "five") == files


def test_a_broken_file_ends_all_with_one_message_and_the_next_call_goes_on(
    eager_config: Config, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(eager_config, tmp_path / "run")
    printed, files = alone(run, data, "nine", monkeypatch)
    assert "0.10" in printed
    arguments = (run, "--data", data, "--split", "nine", "--steps", 2, "--iou", "0.1,0.3")
    points = data / "training" / "velodyne" / "000006.bin"  # of the second batch, which the second process reads
    content = points.read_bytes()
    points.write_bytes(content[:-1])
    status, (first, second) = torchrun(2, SCRIPT, *arguments, logs=tmp_path / "broken")
    assert status != 0
    assert first[0] == ""
    assert first[1].count("Error:") == 1
    assert f"{points}: {len(content) - 1} bytes are no whole number of points" in first[1]
    assert "Traceback" not in first[1]
    assert second == ("", "")
    kept = every_file(run / "evaluation" / "nine")
    assert len(kept) == 2  # the first process's batches, and nothing else
    assert all(name.startswith("partial") for name in kept)

    points.write_bytes(content)
    status, (first, second) = torchrun(2, COMMAND, *arguments, logs=tmp_path / "mended")
    assert status == 0
    assert first[0] == printed
    assert second == ("", "")
    assert every_file(run / "evaluation" / "nine") == files
