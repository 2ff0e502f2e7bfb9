"""On a GPU, a whole climb as one CUDA graph: hundreds of short kernels are then launched at once.

A graph repeats what was recorded, on the memory it was recorded with. So the context and the boxes are brought to one
of few sizes by padding, copied to where the graph reads them, and the result is copied from where it writes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lidar_ebm.ebm import Ascent
from lidar_ebm.energy.box_features import BevView, BoxContext, PointView

Climb = Callable[[BoxContext, Tensor], Ascent]  # a context and its boxes [N, 7], or P starts each -> where it ends
Outputs = tuple[Tensor, ...]
Recorder = Callable[[Callable[[], Outputs]], tuple[Callable[[], object], Outputs]]

MOST_RECORDINGS = 8  # each holds the memory of one climb
LEAST_SIZE = 32


def record_cuda_graph(function: Callable[[], Outputs]) -> tuple[Callable[[], object], Outputs]:
    """Record what `function` launches; returns what launches it again, and where its results appear."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):  # libraries make their handles and workspaces in a first call, which must not be recorded
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = function()
    return graph.replay, outputs


class CapturedClimb:
    """Climbs by replaying recordings, one for each combination of padded sizes; the least recently used one goes first.

    Copies and pickles of it start without recordings.
    """

    def __init__(self, record: Recorder = record_cuda_graph) -> None:
        self._record = record
        self._recordings: OrderedDict[Hashable, tuple[Outputs, Callable[[], object], Outputs]] = OrderedDict()

    def __reduce__(self) -> tuple[Any, ...]:
        return CapturedClimb, (self._record,)

    def __call__(self, climb: Climb, context: BoxContext, boxes: Tensor, *, key: Hashable) -> Ascent:
        """`climb(context, boxes)`, without the trajectory.

        Args:
            climb: looks at nothing on the host that depends on the values of its tensors.
            context: of the boxes.
            boxes: [N, 7], or [N, P, 7] with P starts for each; whatever is random about them has been drawn.
            key: whatever else a recording depends on (settings, where parameters and buffers lie).
        """
        padded, rows = pad(context, boxes)
        inputs = tuple(x.detach() for x in (rows, *_tensors(padded)))
        grid = None if context.bev is None else context.bev.grid
        key = (key, grid, tuple((x.shape, x.stride(), x.dtype, x.device) for x in inputs))
        # Streams and graphs belong to the current device, which need not be the boxes' own.
        own_device = torch.cuda.device(boxes.device) if boxes.is_cuda else nullcontext()
        with own_device, torch.no_grad():
            if key not in self._recordings:
                self._recordings[key] = self._make(climb, padded, inputs)
                if len(self._recordings) > MOST_RECORDINGS:
                    self._recordings.popitem(last=False)
            self._recordings.move_to_end(key)
            held, replay, outputs = self._recordings[key]
            for place, value in zip(held, inputs, strict=True):
                place.copy_(value)
            replay()
            y, f, f0 = (output[: len(boxes)].clone() for output in outputs)
        return Ascent(y, f, f0)

    def _make(
        self, climb: Climb, context: BoxContext, inputs: Outputs
    ) -> tuple[Outputs, Callable[[], object], Outputs]:
        held = tuple(x.clone() for x in inputs)
        own = _with_tensors(context, held[1:])

        def run() -> Outputs:
            result = climb(own, held[0])
            return result.y, result.f, result.f0

        replay, outputs = self._record(run)
        return held, replay, outputs


def pad(context: BoxContext, boxes: Tensor) -> tuple[BoxContext, Tensor]:
    """A context and its boxes [N, 7] or [N, P, 7] brought to sizes that recur; padding, at the end, has own boxes."""
    count = len(boxes)
    rows = _size_above(count)
    extra = rows - count
    bev = points = None
    if context.bev is not None:
        bev = BevView(context.bev.shared, context.bev.grid, F.pad(context.bev.batch_index, (0, extra)))
    if context.points is not None:
        view = context.points
        more = _size_above(len(view.points)) - len(view.points)
        lengths = F.pad(view.lengths, (0, extra))
        lengths[-1:].fill_(more)  # the last box, which is padding, takes the points that are
        points = PointView(
            F.pad(view.points, (0, 0, 0, more)),
            F.pad(view.box_index, (0, more), value=rows - 1),
            lengths,
            F.pad(view.counts, (0, extra)),
        )
    return BoxContext(bev, points), torch.cat([boxes.detach(), boxes.new_ones(extra, *boxes.shape[1:])])


def _size_above(count: int) -> int:
    """The least power of two above `count`, so that there is room for padding, and at least 32."""
    return max(LEAST_SIZE, 1 << count.bit_length())


def _tensors(context: BoxContext) -> Outputs:
    bev = () if context.bev is None else (context.bev.shared, context.bev.batch_index)
    points = context.points
    near = () if points is None else (points.points, points.box_index, points.lengths, points.counts)
    return (*bev, *near)


def _with_tensors(context: BoxContext, tensors: Outputs) -> BoxContext:
    """The context with other tensors, in the order of `_tensors`."""
    bev = points = None
    if context.bev is not None:
        shared, batch_index, *tensors_left = tensors
        bev = BevView(shared, context.bev.grid, batch_index)
        tensors = tuple(tensors_left)
    if context.points is not None:
        points = PointView(*tensors)
    return BoxContext(bev, points)
