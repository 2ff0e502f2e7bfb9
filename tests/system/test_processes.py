from __future__ import annotations

import pytest
import torch

from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.system import processes
from lidar_ebm.system.processes import LOST, Group, is_first_process, join
from tests.process_group import run_together

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "a",
    "RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_WORLD_SIZE": "1",
}


@pytest.fixture
def under_torchrun(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As the second of two processes on one machine."""
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "SECONDS_TO_BE_ENDED", 0.0)
    return monkeypatch


@pytest.mark.parametrize("variables", [{}, {"RANK": "3", "WORLD_SIZE": "8"}, {**TORCHRUN, "WORLD_SIZE": "1"}])
def test_one_process_starts_nothing(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with join("cuda:5") as group:
        assert group == Group(0, 1, "cuda:5")
        assert group.is_first
        assert group.gather("all") == ["all"]
        assert not torch.distributed.is_initialized()
    with pytest.raises(InputError, match="mine"), join():
        raise InputError("mine")


def test_only_torchruns_first_process_talks(under_torchrun: pytest.MonkeyPatch) -> None:
    assert not is_first_process()
    under_torchrun.setenv("RANK", "0")
    assert is_first_process()
    under_torchrun.setenv("RANK", "1")
    under_torchrun.delenv("TORCHELASTIC_RUN_ID")  # a RANK of someone else's
    assert is_first_process()


@pytest.mark.parametrize("size", [2, 3, 5])
def test_everyone_gets_everything_in_order(size: int) -> None:
    ends = run_together(size, lambda group: (group.is_first, group.gather(group.rank), group.gather([group.rank] * 2)))
    assert ends == [(rank == 0, list(range(size)), [[rank] * 2 for rank in range(size)]) for rank in range(size)]


@pytest.mark.parametrize("error", [InputError("file:3: bad"), OutputError("disk full")])
@pytest.mark.parametrize("moment", range(3))
@pytest.mark.parametrize("failing", [{0}, {1}, {2}, {1, 2}, {0, 1, 2}])
def test_an_error_of_any_ends_all_and_is_told_once(failing: set[int], moment: int, error: Exception) -> None:
    def work(group: Group) -> None:
        for now in range(3):  # before, between and after all exchanges
            if now == moment and group.rank in failing:
                raise type(error)(f"{error} in {group.rank}")
            if now < 2:
                group.gather(now)

    first, *others = run_together(3, work)
    assert type(first) is type(error)
    assert str(first) == f"{error} in {min(failing)}"
    assert all(isinstance(other, SystemExit) and other.code == 2 for other in others)


def test_a_process_that_dies_holds_up_no_one() -> None:
    def work(group: Group) -> None:
        if group.rank == 1:
            raise ZeroDivisionError
        group.gather(None)

    first, dead, other = run_together(3, work)
    assert isinstance(first, SystemExit)
    assert first.code == LOST
    assert isinstance(dead, ZeroDivisionError)
    assert isinstance(other, SystemExit)
    assert other.code == 1


@pytest.mark.parametrize("device", ["cuda:1", "mps", "tpu"])
def test_a_device_that_several_cannot_have_is_told_once_a_machine(
    device: str, under_torchrun: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as end, join(device):
        pass
    assert end.value.code == 2
    under_torchrun.setenv("LOCAL_RANK", "0")
    with pytest.raises(InputError, match=f"{device}.*give cpu, or cuda"), join(device):
        pass


@pytest.mark.skipif(torch.cuda.device_count() >= 64, reason="enough GPUs")
def test_more_processes_than_devices_are_refused(under_torchrun: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        under_torchrun.setenv(name, "64")
    under_torchrun.setenv("LOCAL_RANK", "0")
    with pytest.raises(InputError, match="'cuda': cannot be used by 64 processes"), join("cuda"):
        pass
