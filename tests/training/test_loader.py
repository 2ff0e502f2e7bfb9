"""The loader: what a batch holds follows from seed, stage, epoch and place; workers come and go as they should."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import load_config
from lidar_ebm.config.training import TrainingConfig
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.errors import InputError
from lidar_ebm.training.loader import TrainingLoader
from lidar_ebm.types import Batch
from lidar_ebm.workflows.simulate import simulate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven frames, all of them for training: two batches of four, and three left over."""
    root = tmp_path_factory.mktemp("frames")
    simulate(root, frames=11, seed=2, workers=1)
    shutil.copy(root / "ImageSets" / "trainval.txt", root / "ImageSets" / "train.txt")
    return root


def make_loader(
    folder: Path, config: Config, workers: int = 0, *, batch_size: int = 4, stage: str = "detector", **settings: Any
) -> TrainingLoader:
    training = config.training.model_copy(update={"workers": workers})
    config = config.model_copy(update={"training": training})
    return TrainingLoader(
        open_samples(folder, "train", config, cropped=False),
        config,
        batch_size=batch_size,
        stage=stage,
        **settings,
    )


def same(first: Batch, second: Batch) -> bool:
    return (
        first.frame_ids == second.frame_ids
        and torch.equal(first.points, second.points)
        and torch.equal(first.point_batch_index, second.point_batch_index)
        and torch.equal(first.boxes.boxes, second.boxes.boxes)
        and torch.equal(first.boxes.class_index, second.boxes.class_index)
        and torch.equal(first.boxes.batch_index, second.boxes.batch_index)
    )


def clouds_by_frame(batches: list[Batch]) -> dict[str, torch.Tensor]:
    return {
        frame: batch.points[batch.point_batch_index == place]
        for batch in batches
        for place, frame in enumerate(batch.frame_ids)
    }


@pytest.fixture
def expected(folder: Path, tiny_config: Config) -> list[list[Batch]]:
    """Three epochs as one process without workers loads them."""
    loader = make_loader(folder, tiny_config)
    return [list(loader.epoch(epoch)) for epoch in range(3)]


def test_epochs_differ_and_an_epoch_repeats(folder: Path, tiny_config: Config, expected: list[list[Batch]]) -> None:
    assert [len(batches) for batches in expected] == [2, 2, 2]
    orders = [sum((batch.frame_ids for batch in batches), ()) for batches in expected]
    assert len(set(orders)) == 3
    assert all(len(set(order)) == 8 for order in orders)  # no frame twice
    clouds, again = (clouds_by_frame(batches) for batches in expected[:2])
    shared = clouds.keys() & again.keys()
    assert shared
    assert not any(torch.equal(clouds[frame], again[frame]) for frame in shared)
    other = make_loader(folder, tiny_config.model_copy(update={"seed": 1}))
    assert next(other.epoch(0)).frame_ids != orders[0][:4]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing_and_live_on(
    workers: int, folder: Path, tiny_config: Config, expected: list[list[Batch]]
) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    loader = make_loader(folder, tiny_config, workers)
    found = []
    for epoch in range(2):
        assert all(same(a, b) for a, b in zip(loader.epoch(epoch), expected[epoch], strict=True))
        found.append({child.pid for child in multiprocessing.active_children()})
    assert found[0] == found[1]
    assert len(found[0]) >= workers
    left = loader.epoch(0)
    next(left)  # an epoch may be left in its middle
    assert all(same(a, b) for a, b in zip(loader.epoch(2, start=1), expected[2][1:], strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    loader.close()
    assert not found[0] & {child.pid for child in multiprocessing.active_children()}


@pytest.mark.parametrize("size", [2, 4])
def test_the_processes_parts_make_the_whole_batch(
    size: int, folder: Path, tiny_config: Config, expected: list[list[Batch]]
) -> None:
    parts = [make_loader(folder, tiny_config, rank=rank, size=size).epoch(1, start=1) for rank in range(size)]
    for whole, *own in zip(expected[1][1:], *parts, strict=True):
        assert sum((part.frame_ids for part in own), ()) == whole.frame_ids
        assert torch.equal(torch.cat([part.points for part in own]), whole.points)
        assert torch.equal(torch.cat([part.boxes.boxes for part in own]), whole.boxes.boxes)
        assert {part.batch_size for part in own} == {4 // size}


def test_each_stage_has_its_own_augmentation(folder: Path, tiny_config: Config) -> None:
    still = {"object_noise": {"enabled": False}, "flip": False, "rotation": 0.0, "scaling": (1.0, 1.0)}
    training = tiny_config.training.model_dump()
    training["energy"]["augmentation"] = still
    config = tiny_config.model_copy(update={"training": TrainingConfig.model_validate(training)})
    frames = open_samples(folder, "train", config)
    own = {frames[index].frame_id: torch.from_numpy(frames[index].boxes) for index in range(len(frames))}
    same_boxes = {}
    for stage in ("detector", "energy"):
        batch = next(iter(make_loader(folder, config, stage=stage).epoch(0)))
        expected = torch.cat([own[name] for name in batch.frame_ids])
        same_boxes[stage] = batch.boxes.boxes.shape == expected.shape and torch.allclose(batch.boxes.boxes, expected)
    assert same_boxes == {"detector": False, "energy": True}


def test_an_incomplete_batch_counts_where_it_is_the_only_one(folder: Path, tiny_config: Config) -> None:
    loader = make_loader(folder, tiny_config, batch_size=16)
    (batch,) = loader.epoch(0)
    assert loader.steps == 1
    assert batch.batch_size == 11
    parts = [next(make_loader(folder, tiny_config, batch_size=16, rank=rank, size=2).epoch(0)) for rank in range(2)]
    assert [part.batch_size for part in parts] == [8, 3]


def test_what_cannot_be_divided_is_refused(folder: Path, tiny_config: Config) -> None:
    with pytest.raises(InputError, match=r"batch_size 4 cannot be divided among 3 processes.*multiple of 3"):
        make_loader(folder, tiny_config, size=3)
    with pytest.raises(InputError, match="11 training frames are too few for 4 processes with 4 frames"):
        make_loader(folder, tiny_config, batch_size=16, size=4)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_frame_is_one_message(workers: int, folder: Path, tiny_config: Config, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(folder, data)
    loader = make_loader(data, tiny_config, workers)
    (data / "training" / "velodyne" / "000004.bin").write_bytes(b"half a point")
    with pytest.raises(InputError, match=r"000004\.bin") as caught:
        for epoch in range(9):
            list(loader.epoch(epoch))
    assert "Traceback" not in str(caught.value)
    loader.close()


def test_a_worker_that_ends_by_itself_is_an_error_with_a_remedy(folder: Path, tiny_config: Config) -> None:
    loader = make_loader(folder, tiny_config, 1)
    before = {child.pid for child in multiprocessing.active_children()}
    list(loader.epoch(0))
    (worker,) = {child.pid for child in multiprocessing.active_children()} - before
    assert worker is not None
    os.kill(worker, signal.SIGTERM)  # meant for the parent, which may want to save first
    assert len(list(loader.epoch(1))) == 2
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(InputError, match=r"training\.workers"):
        for epoch in range(2, 9):
            list(loader.epoch(epoch))
            time.sleep(0.05)
    loader.close()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("workers", [0, 1])
def test_memory_stays_flat_over_epochs(workers: int, folder: Path, tiny_config: Config) -> None:
    def resident() -> float:
        pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    loader = make_loader(folder, tiny_config, workers)
    memory = []
    for epoch in range(12):
        for _ in loader.epoch(epoch):
            pass
        memory.append(resident())
    loader.close()
    assert memory[-1] < memory[3] + 4  # MiB; one epoch's points alone take 3


def test_frames_that_come_several_times_are_augmented_otherwise_each_time(folder: Path) -> None:
    order = [3, 3, 3, 3, 0, 1, 2, 4]
    config = load_config("demo")
    loader = make_loader(folder, config, order=order)
    frames = open_samples(folder, "train", config)
    batches = list(loader.epoch(0))
    assert loader.steps == 2
    seen = [name for batch in batches for name in batch.frame_ids]
    assert sorted(seen) == sorted(frames.name(index) for index in order)
    clouds = [
        batch.points[batch.point_batch_index == place]
        for batch in batches
        for place, name in enumerate(batch.frame_ids)
        if name == frames.name(3)
    ]
    assert len(clouds) == 4
    assert len({cloud[:50].numpy().tobytes() for cloud in clouds}) == 4
    # Each frame once is what no order says.
    plain = make_loader(folder, config)
    listed = make_loader(folder, config, order=list(range(11)))
    assert all(same(a, b) for a, b in zip(plain.epoch(1), listed.epoch(1), strict=True))
