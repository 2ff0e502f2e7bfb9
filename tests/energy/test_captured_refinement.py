"""Refinements that are recorded once and replayed on padded sizes, with a recorder that runs on the CPU."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lidar_ebm.energy import captured_refinement
from lidar_ebm.energy.box_features import BoxContext
from lidar_ebm.energy.captured_refinement import CapturedRefinement, pad
from lidar_ebm.energy.energy_head import EnergyHead
from lidar_ebm.types import to_device
from tests.cuda_ops.devices import DEVICES, needs_native
from tests.energy.energy_scenes import make_batch, make_config, make_head, make_maps
from tests.energy.memory_watch import Watch

BOXES = torch.tensor(
    [
        [12.0, 2.0, -1.0, 4.0, 1.7, 1.5, 0.4],
        [6.0, -1.5, -0.8, 3.6, 1.6, 1.4, -2.0],
        [20.0, 0.5, -1.1, 4.4, 1.8, 1.6, 3.0],
    ]
)
SEVERAL = ("refinement.starts=3", "refinement.step_length=[1e-3,1e-3,5e-4,5e-4,5e-4,5e-4,2e-4]")
KINDS = [("bev",), ("points",), ("bev", "points")]
# What makes the host wait for the device, or copies from the host.
WAITS = (
    "_local_scalar_dense",
    "nonzero",
    "repeat_interleave.Tensor",
    "is_nonzero",
    "unique",
    "masked_select",
    "equal",
    "lift_fresh",
)


class Recorder:
    """Replays by running the function again on the tensors it was recorded with, and writes where it wrote before."""

    def __init__(self) -> None:
        self.recorded = 0

    def __call__(self, function: Callable[[], tuple[Tensor, ...]]) -> tuple[Callable[[], object], tuple[Tensor, ...]]:
        self.recorded += 1
        outputs = function()

        def replay() -> None:
            for output, value in zip(outputs, function(), strict=True):
                output.copy_(value)

        return replay, outputs


def make_refinement(
    kinds: tuple[str, ...], device: str = "cpu", *settings: str
) -> tuple[EnergyHead, BoxContext, Tensor]:
    head = make_head(make_config(kinds, "refinement.step_length=1e-3", "refinement.steps=4", *settings)).to(device)
    boxes = BOXES[:3].to(device)
    batch = make_batch(BOXES[:3], [300, 0, 9]).to(device)
    maps = to_device(make_maps(3), device)
    return head, head.context(batch, maps, boxes, torch.arange(3, device=device)), boxes


@pytest.mark.parametrize("kinds", KINDS)
def test_a_replay_is_the_refinement_itself(kinds: tuple[str, ...]) -> None:
    """Other boxes of the same padded size are replayed, a larger number is recorded anew."""
    head, context, boxes = make_refinement(kinds)
    recorder = Recorder()
    captured = CapturedRefinement(recorder)
    for start in (boxes, boxes + 0.05, boxes - 0.1):
        expected = head.refine(context, start)
        result = captured(lambda c, y: head.refine(c, y), context, start, key=4)
        torch.testing.assert_close(result.y, expected.y)
        torch.testing.assert_close(result.f, expected.f)
        torch.testing.assert_close(result.f0, expected.f0)
        assert not torch.equal(result.y, start)
    assert recorder.recorded == 1
    captured(lambda c, y: head.refine(c, y, steps=2), context, boxes, key=2)
    assert recorder.recorded == 2


@pytest.mark.parametrize("rule", ["halving", "momentum", "adam"])
def test_a_replay_refines_from_every_start(rule: str) -> None:
    head, context, boxes = make_refinement(("bev", "points"), "cpu", *SEVERAL, f"refinement.rule={rule}")
    recorder = Recorder()
    captured = CapturedRefinement(recorder)
    for first in (boxes, boxes + 0.05):
        starts = torch.cat([first.unsqueeze(1), first.unsqueeze(1) + head.start_offsets], dim=1)  # [N, 3, 7]
        expected = head.refine(context, first)
        result = captured(lambda c, y: head._ascend(c, y, 4, False), context, starts, key=0)
        torch.testing.assert_close(result.y, expected.y)
        torch.testing.assert_close(result.f, expected.f)
        torch.testing.assert_close(result.f0, expected.f0)
    assert recorder.recorded == 1


def test_another_grid_is_recorded_anew() -> None:
    head, context, boxes = make_refinement(("bev",))
    recorder = Recorder()
    captured = CapturedRefinement(recorder)
    assert context.bev is not None
    moved = replace(context, bev=replace(context.bev, grid=replace(context.bev.grid, origin=(0.4, -3.6))))
    for own in (context, moved):
        result = captured(lambda c, y: head.refine(c, y), own, boxes, key=0)
        torch.testing.assert_close(result.y, head.refine(own, boxes).y)
    assert recorder.recorded == 2


@needs_native
def test_a_map_with_a_history_is_not_held() -> None:
    """Nor is its gradient made: a refinement asks for that of the boxes alone."""
    head, context, boxes = make_refinement(("bev",))
    assert context.bev is not None
    live = replace(context, bev=replace(context.bev, shared=context.bev.shared.clone().requires_grad_() * 2))
    captured = CapturedRefinement(Recorder())
    captured(lambda c, y: head.refine(c, y), live, boxes, key=0)
    ((held, _, _),) = captured._recordings.values()
    assert not any(tensor.requires_grad for tensor in held)
    with Watch() as watch:
        head.refine(live, boxes)
    size = live.bev.shared.nbytes if live.bev is not None else 0
    assert watch.max_alive < size


def test_a_result_outlives_the_next_replay() -> None:
    head, context, boxes = make_refinement(("points",))
    captured = CapturedRefinement(Recorder())
    first = captured(lambda c, y: head.refine(c, y), context, boxes, key=0)
    before = first.y.clone()
    captured(lambda c, y: head.refine(c, y), context, boxes + 1, key=0)
    assert torch.equal(first.y, before)


@pytest.mark.parametrize("count", [0, 1, 3, 31, 32, 100])
def test_padding_has_room_and_changes_nothing(count: int) -> None:
    head = make_head(make_config(("bev", "points")))
    boxes = BOXES[torch.arange(count) % 3] + 0.01 * torch.arange(count).unsqueeze(1)
    context = head.context(make_batch(BOXES[:3], [40, 0, 9]), make_maps(3), boxes, torch.arange(count) % 3)
    padded, rows = pad(context, boxes)
    assert len(rows) > count
    assert len(rows) & (len(rows) - 1) == 0
    assert padded.points is not None
    assert int(padded.points.lengths.sum()) == len(padded.points.points)
    f = head(padded, rows.unsqueeze(1))
    assert f.isfinite().all()
    torch.testing.assert_close(f[:count], head(context, boxes.unsqueeze(1)))


def test_old_recordings_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured_refinement, "MAXIMUM_RECORDINGS", 2)
    head, context, boxes = make_refinement(("points",))
    recorder = Recorder()
    captured = CapturedRefinement(recorder)
    for key in (1, 2, 1, 3, 1, 2):  # 3 drives out 2, then 2 drives out 3
        captured(lambda c, y: head.refine(c, y), context, boxes, key=key)
    assert recorder.recorded == 4


def test_threads_get_their_own_results() -> None:
    """Of one recording, whose memory they share; each result is copied out before the next boxes are copied in."""
    head, context, boxes = make_refinement(("points",))

    class Slow(Recorder):
        def __call__(
            self, function: Callable[[], tuple[Tensor, ...]]
        ) -> tuple[Callable[[], object], tuple[Tensor, ...]]:
            replay, outputs = super().__call__(function)

            def slow() -> None:
                time.sleep(0.02)
                replay()
                time.sleep(0.02)

            return slow, outputs

    recorder = Slow()
    captured = CapturedRefinement(recorder)
    starts = [boxes + 0.03 * number for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda start: captured(lambda c, y: head.refine(c, y), context, start, key=0), starts))
    assert recorder.recorded == 1
    for start, result in zip(starts, results, strict=True):
        torch.testing.assert_close(result.y, head.refine(context, start).y)


def test_recording_copies_and_replays_stand_between_what_the_caller_launches() -> None:
    """On a GPU the caller's stream waits for them, and they for it."""
    head, context, boxes = make_refinement(("points",))
    events: list[str] = []

    @contextmanager
    def between(device: torch.device) -> Iterator[Callable[[Tensor], Tensor]]:
        events.append("side waits")
        yield lambda tensor: (events.append("handed over"), tensor)[1]
        events.append("caller waits")

    def record(function: Callable[[], tuple[Tensor, ...]]) -> tuple[Callable[[], object], tuple[Tensor, ...]]:
        events.append("recorded")
        replay, outputs = Recorder()(function)
        return lambda: (events.append("replayed"), replay()), outputs

    captured = CapturedRefinement(record, between)
    for _ in range(2):
        captured(lambda c, y: head.refine(c, y), context, boxes, key=0)
    once = ["replayed", *["handed over"] * 3, "caller waits"]
    assert events == ["side waits", "recorded", *once, "side waits", *once]


def test_copies_start_without_recordings() -> None:
    head, context, boxes = make_refinement(("points",))
    head.captured = CapturedRefinement(Recorder())
    head.captured(lambda c, y: head.refine(c, y), context, boxes, key=0)
    other = copy.deepcopy(head)
    torch.testing.assert_close(other.refine(context, boxes).y, head.refine(context, boxes).y)
    assert not other.captured._recordings


@pytest.mark.parametrize("settings", [(), (*SEVERAL, "refinement.rule=adam")])
@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("device", DEVICES)
def test_refinement_never_waits_and_its_memory_does_not_grow(
    kinds: tuple[str, ...], device: str, settings: tuple[str, ...]
) -> None:
    head, context, boxes = make_refinement(kinds, device, *settings)
    peaks = []
    for steps in (3, 12):
        with Watch() as watch:
            head.refine(context, boxes, steps=steps)
        assert len(watch.names) > 20 or device == "cuda"
        assert [name for name in watch.names if any(wait in name for wait in WAITS)] == []
        peaks.append(watch.max_alive)
    assert peaks[0] == peaks[1]


@pytest.mark.parametrize("device", DEVICES[1:])
@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("settings", [(), SEVERAL, (*SEVERAL, "refinement.rule=adam")])
def test_a_cuda_graph_refines_as_separate_kernels_do(
    kinds: tuple[str, ...], device: str, settings: tuple[str, ...]
) -> None:
    head, context, boxes = make_refinement(kinds, device, *settings)
    expected = head.refine(context, boxes, record=True)  # a recorded trajectory is never captured
    for _ in range(3):
        result = head.refine(context, boxes)
        torch.testing.assert_close(result.y, expected.y)
        torch.testing.assert_close(result.f, expected.f, rtol=1e-4, atol=1e-5)
