"""On a GPU, a whole refinement as one CUDA graph: hundreds of short kernels are then launched at once.

A graph repeats what was recorded, on the memory it was recorded with. So the context and the boxes are brought to one
of few sizes by padding, copied to where the graph reads them, and the result is copied from where it writes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lidar_ebm.ebm import Ascent
from lidar_ebm.energy.box_features import BevView, BoxContext, PointView

Refine = Callable[[BoxContext, Tensor], Ascent]  # a context and its boxes [N, D], or P starts each -> where it ends
Outputs = tuple[Tensor, ...]
Recorder = Callable[[Callable[[], Outputs]], tuple[Callable[[], object], Outputs]]

MAXIMUM_RECORDINGS = 8  # each holds the memory of one refinement
MINIMUM_SIZE = 32


def record_cuda_graph(function: Callable[[], Outputs]) -> tuple[Callable[[], object], Outputs]:
    """Record what `function` launches; returns what launches it again, and where its results appear.

    It is recorded on the current stream, which must not be the default one.
    """
    for _ in range(2):  # libraries make their handles and workspaces in a first call, which must not be recorded
        function()
    graph = torch.cuda.CUDAGraph()
    # Other threads may go on using the GPU meanwhile.
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
        outputs = function()
    return graph.replay, outputs


class SideStream:
    """A CUDA stream of its own, whose work comes after what the caller's stream was given and before what it is given
    next. On a CPU there is nothing to order.
    """

    def __init__(self) -> None:
        self._streams: dict[torch.device, torch.cuda.Stream] = {}

    @contextmanager
    def between(self, device: torch.device) -> Iterator[Callable[[Tensor], Tensor]]:
        """Launch on the side stream within.

        Yields:
            What a tensor made within has to be passed through before the caller gets it: its memory is then not given
            away while the caller's stream may still read it.
        """
        if device.type != "cuda":
            yield lambda tensor: tensor
            return
        # Streams and graphs belong to the current device, which need not be the boxes' own.
        with torch.cuda.device(device):
            caller = torch.cuda.current_stream()
            side = self._streams.setdefault(device, torch.cuda.Stream())
            side.wait_stream(caller)

            def hand_over(tensor: Tensor) -> Tensor:
                tensor.record_stream(caller)
                return tensor

            try:
                with torch.cuda.stream(side):
                    yield hand_over
            finally:
                caller.wait_stream(side)


Between = Callable[[torch.device], AbstractContextManager[Callable[[Tensor], Tensor]]]


class CapturedRefinement:
    """Refines by replaying recordings, one for each combination of padded sizes; the oldest in use goes first.

    Threads may share one: a recording's memory serves one of them at a time. On the GPU all replays follow one another
    on one stream, so that the next copies its boxes in only when the last result has been copied out, whatever streams
    the callers use. Copies and pickles of it start without recordings.
    """

    def __init__(self, record: Recorder = record_cuda_graph, between: Between | None = None) -> None:
        self._record, self._given = record, between
        self._between = SideStream().between if between is None else between
        self._lock = Lock()
        self._recordings: OrderedDict[Hashable, tuple[Outputs, Callable[[], object], Outputs]] = OrderedDict()

    def __reduce__(self) -> tuple[Any, ...]:
        return CapturedRefinement, (self._record, self._given)

    def __call__(self, refine: Refine, context: BoxContext, boxes: Tensor, *, key: Hashable) -> Ascent:
        """`refine(context, boxes)`, without the trajectory.

        Args:
            refine: looks at nothing on the host that depends on the values of its tensors.
            context: of the boxes.
            boxes: [N, D], or [N, P, D] with P starts for each; whatever is random about them has been drawn.
            key: whatever else a recording depends on (settings, where parameters and buffers lie).
        """
        padded, rows = pad(context, boxes)
        inputs = tuple(x.detach() for x in (rows, *_tensors(padded)))
        grid = None if context.bev is None else context.bev.grid
        key = (key, grid, tuple((x.shape, x.stride(), x.dtype, x.device) for x in inputs))
        with self._lock, self._between(boxes.device) as hand_over, torch.no_grad():
            if key not in self._recordings:
                self._recordings[key] = self._make(refine, padded, inputs)
                if len(self._recordings) > MAXIMUM_RECORDINGS:
                    self._recordings.popitem(last=False)
            self._recordings.move_to_end(key)
            held, replay, outputs = self._recordings[key]
            for place, value in zip(held, inputs, strict=True):
                place.copy_(value)
            replay()
            y, f, f0 = (hand_over(output[: len(boxes)].clone()) for output in outputs)
        return Ascent(y, f, f0)

    def _make(
        self, refine: Refine, context: BoxContext, inputs: Outputs
    ) -> tuple[Outputs, Callable[[], object], Outputs]:
        held = tuple(x.clone() for x in inputs)
        own = _with_tensors(context, held[1:])

        def run() -> Outputs:
            result = refine(own, held[0])
            return result.y, result.f, result.f0

        replay, outputs = self._record(run)
        return held, replay, outputs


def pad(context: BoxContext, boxes: Tensor) -> tuple[BoxContext, Tensor]:
    """A context and its boxes [N, D] or [N, P, D] brought to sizes that recur; padding, at the end, has own boxes."""
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
            None if view.kinds is None else F.pad(view.kinds, (0, 0, 0, extra)),
        )
    return BoxContext(bev, points), torch.cat([boxes.detach(), boxes.new_ones(extra, *boxes.shape[1:])])


def _size_above(count: int) -> int:
    """The smallest power of two above `count`, so that there is room for padding, and at least 32."""
    return max(MINIMUM_SIZE, 1 << count.bit_length())


def _tensors(context: BoxContext) -> Outputs:
    bev = () if context.bev is None else (context.bev.shared, context.bev.batch_index)
    points = context.points
    near = () if points is None else (points.points, points.box_index, points.lengths, points.counts)
    kinds = () if points is None or points.kinds is None else (points.kinds,)
    return (*bev, *near, *kinds)


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
