"""Points with a time lag and boxes with a velocity: native operations against their references, and against shifts."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cuda_ops.point_ops import op, reference, registered
from tests.cuda_ops.devices import DEVICES, needs_native

MARGIN = (1.0, 0.8, 0.6)
DTYPES = [torch.float32, torch.float64]
KINDS = [(4, 9), (5, 7), (5, 9)]  # columns of points and of boxes, beside those of `test_op.py`
pytestmark = pytest.mark.parametrize("device", DEVICES)


def neighbourhoods(
    shape: tuple[int, int, int], kind: tuple[int, int], dtype: torch.dtype, device: str
) -> tuple[Tensor, Tensor]:
    """Points [n, k, 4 or 5] and boxes [n, s, 7 or 9] around (60, 60), lags up to half a second."""
    n, s, k = shape
    generator = torch.Generator().manual_seed(7)
    boxes = torch.randn(n, s, 9, generator=generator)
    boxes = boxes * torch.tensor([1.0, 1, 0.3, 0, 0, 0, 3, 9, 9]) + torch.tensor([60.0, 60, 0, 4, 1.7, 1.5, 0, 0, 0])
    boxes[..., 3:6] *= 0.7 + 0.6 * torch.rand(n, s, 3, generator=generator)
    points = 2 * torch.randn(n, k, 5, generator=generator) + torch.tensor([60.0, 60.0, 0.0, 0.0, 0.0])
    points[..., 4] = 0.05 * torch.randint(10, (n, k), generator=generator)
    return points[..., : kind[0]].to(device, dtype), boxes[..., : kind[1]].to(device, dtype)


def results(
    function: Callable[[Tensor, Tensor], Tensor], points: Tensor, boxes: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The features, and the gradients of a weighted sum of them to points and boxes."""
    points, boxes = points.detach().requires_grad_(), boxes.detach().requires_grad_()
    features = function(points, boxes)
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(9)).to(features)
    return features.detach(), *torch.autograd.grad(features, (points, boxes), weights)


def assert_close(values: tuple[Tensor, ...], expected: tuple[Tensor, ...], dtype: torch.dtype) -> None:
    tight = {"rtol": 1e-12, "atol": 1e-11} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 2e-3}
    for value, wanted in zip(values, expected, strict=True):
        torch.testing.assert_close(value, wanted, **tight)


class TestBoxFrameFeatures:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("shape", [(5, 9, 33), (1, 1, 1), (2, 17, 2)])
    def test_agrees_with_the_reference(
        self, device: str, shape: tuple[int, int, int], kind: tuple[int, int], dtype: torch.dtype
    ) -> None:
        inputs = neighbourhoods(shape, kind, dtype, device)
        values, expected = results(op.box_frame_features, *inputs), results(reference.box_frame_features, *inputs)
        assert values[0].shape == (shape[0], shape[1], shape[2], 12 + kind[0])
        assert_close(values, expected, dtype)

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("rising", [True, False])
    def test_ragged_agrees_with_the_reference(
        self, device: str, rising: bool, kind: tuple[int, int], dtype: torch.dtype
    ) -> None:
        points, boxes = neighbourhoods((8, 13, 9), kind, dtype, device)
        index = torch.randint(7, (72,), generator=torch.Generator().manual_seed(3)).to(device)
        index = index.sort().values if rising else index
        inputs = points.flatten(0, 1), boxes
        values = results(lambda p, b: op.box_frame_features_ragged(p, index, b), *inputs)
        assert_close(values, results(lambda p, b: reference.box_frame_features_ragged(p, index, b), *inputs), dtype)

    def test_a_point_is_seen_from_where_the_box_was(self, device: str) -> None:
        """By hand: the box is moved back for each point alone, and seen without a velocity."""
        points, boxes = neighbourhoods((3, 4, 6), (5, 9), torch.float64, device)
        features = op.box_frame_features(points, boxes)
        for n in range(3):
            for s in range(4):
                for k in range(6):
                    then = boxes[n, s, :7].clone()
                    then[:2] -= boxes[n, s, 7:] * points[n, k, 4]
                    own = reference.box_frame_features(points[n, k, :4].view(1, 1, 4), then.view(1, 1, 7)).flatten()
                    torch.testing.assert_close(features[n, s, k, :16], own, rtol=1e-12, atol=1e-12)
        assert torch.equal(features[..., 16], points[:, None, :, 4].expand(3, 4, 6))

    def test_without_a_lag_or_a_velocity_nothing_moves(self, device: str) -> None:
        points, boxes = neighbourhoods((3, 4, 6), (5, 9), torch.float32, device)
        expected = results(op.box_frame_features, points[..., :4].contiguous(), boxes[..., :7].contiguous())
        present, standing = points.clone(), boxes.clone()
        present[..., 4], standing[..., 7:] = 0.0, 0.0
        for values in (
            results(op.box_frame_features, points[..., :4], boxes),
            results(op.box_frame_features, points, boxes[..., :7]),
            results(op.box_frame_features, present, boxes),
            results(op.box_frame_features, points, standing),
        ):
            assert torch.equal(values[0][..., :16], expected[0])
        without_lag = results(op.box_frame_features, points[..., :4], boxes)
        assert torch.equal(without_lag[1], expected[1])
        assert torch.equal(without_lag[2][..., :7], expected[2])
        assert not without_lag[2][..., 7:].any()
        assert not results(op.box_frame_features, present, boxes)[2][..., 7:].any()

    def test_a_rigid_object_is_seen_alike_however_it_moves(self, device: str) -> None:
        points, boxes = neighbourhoods((4, 3, 20), (5, 9), torch.float64, device)
        boxes[..., 7:] = 0.0
        velocity = torch.tensor([[9.0, -4.0], [0.0, 0.0], [-30.0, 1.0], [0.5, 0.5]], device=device).double()
        moving_points, moving_boxes = points.clone(), boxes.clone()
        moving_points[..., :2] -= velocity[:, None] * points[..., 4:]
        moving_boxes[..., 7:] = velocity[:, None]
        torch.testing.assert_close(
            op.box_frame_features(moving_points, moving_boxes),
            op.box_frame_features(points, boxes),
            rtol=1e-11,
            atol=1e-11,
        )

    @pytest.mark.parametrize("kind", KINDS)
    def test_gradients_in_float64(self, device: str, kind: tuple[int, int]) -> None:
        points, boxes = neighbourhoods((2, 3, 5), kind, torch.float64, device)
        assert torch.autograd.gradcheck(op.box_frame_features, (points.requires_grad_(), boxes.requires_grad_()))
        index = torch.tensor([1, 0, 0, 1, 1, 0, 1, 0, 0, 0], device=device)
        flat = points.detach().flatten(0, 1).requires_grad_()
        assert torch.autograd.gradcheck(
            lambda p, b: op.box_frame_features_ragged(p, index, b), (flat, boxes.requires_grad_())
        )

    def test_an_unknown_velocity_keeps_to_itself(self, device: str) -> None:
        points, boxes = neighbourhoods((2, 4, 6), (5, 9), torch.float32, device)
        clean = results(op.box_frame_features, points, boxes)
        boxes[0, 1, 7] = math.nan
        features, _, gradient = results(op.box_frame_features, points, boxes)
        assert features[0, 1, :, 0].isnan().all()
        whole = boxes.isfinite().all(-1)
        assert torch.equal(features[whole], clean[0][whole])
        assert torch.equal(gradient[whole], clean[2][whole])

    @pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5), (2, 3, 0)])
    def test_empty(self, device: str, shape: tuple[int, int, int]) -> None:
        features, of_points, of_boxes = results(
            op.box_frame_features, *neighbourhoods(shape, (5, 9), torch.float32, device)
        )
        n, s, k = shape
        assert features.shape == (n, s, k, op.FRAME_FEATURES + 1)
        assert not of_points.any()
        assert not of_boxes.any()

    def test_says_what_is_wrong(self, device: str) -> None:
        points, boxes = neighbourhoods((2, 3, 4), (5, 9), torch.float32, device)
        with pytest.raises(ValueError, match=r"points has shape \(2, 4, 6\)"):
            op.box_frame_features(torch.cat([points, points[..., :1]], dim=-1), boxes)
        with pytest.raises(ValueError, match=r"boxes has shape \(2, 3, 8\)"):
            op.box_frame_features(points, boxes[..., :8])

    @needs_native
    def test_registration(self, device: str) -> None:
        points, boxes = neighbourhoods((2, 3, 4), (5, 9), torch.float32, device)
        flat, index = points.flatten(0, 1), torch.arange(2, device=device).repeat_interleave(4)
        leaves = flat.clone().requires_grad_(), boxes.clone().requires_grad_()
        torch.library.opcheck(registered.features_op, (leaves[0], None, leaves[1], 4))
        torch.library.opcheck(registered.features_op, (leaves[0], index, leaves[1], 0))
        gradient = torch.randn(2, 3, 4, 17, device=device)
        torch.library.opcheck(registered.features_backward_op, (gradient, flat, None, boxes, True, True))


class TestGatherNearBoxes:
    def crowd(self, device: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Points [3000, 5] in two frames in no order, and boxes [30, 9] of 0 to 40 m/s."""
        generator = torch.Generator().manual_seed(2)
        points = torch.randn(3000, 5, generator=generator) * torch.tensor([14.0, 14.0, 0.8, 1.0, 0.0])
        points[:, 4] = 0.05 * torch.randint(10, (3000,), generator=generator)
        boxes = torch.randn(30, 9, generator=generator) * torch.tensor([9.0, 9, 0.3, 0, 0, 0, 3, 14, 14])
        boxes[:, 3:6] = torch.tensor([4.0, 1.8, 1.6]) * (0.5 + torch.rand(30, 1, generator=generator))
        frames = torch.randint(2, (3030,), generator=generator).to(device)
        return points.to(device, dtype), frames[:3000], boxes.to(device), frames[3000:]

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("drift", [0.0, 2.5])
    @pytest.mark.parametrize("max_points", [0, 7, 1000])
    def test_agrees_with_the_reference(self, device: str, max_points: int, drift: float, dtype: torch.dtype) -> None:
        inputs = self.crowd(device, dtype)
        settings = {"margin": MARGIN, "max_points": max_points, "seed": 5, "drift": drift}
        chosen, counts = op.gather_near_boxes(*inputs, **settings)
        expected, wanted = reference.gather_near_boxes(*inputs, **settings)
        assert torch.equal(counts, wanted)
        assert torch.equal(chosen, expected)
        assert counts.sum() > 300

    def test_each_sweep_has_its_own_place(self, device: str) -> None:
        """Against boxes that stand still where they were in each of the sweeps."""
        points, frame, boxes, box_frame = self.crowd(device)
        _, counts = op.gather_near_boxes(points, frame, boxes, box_frame, margin=MARGIN, max_points=1, seed=0)
        total = torch.zeros_like(counts)
        for lag in points[:, 4].unique():
            then = boxes[:, :7].double()
            then[:, :2] -= boxes[:, 7:].double() * lag.double()
            own = points[:, 4] == lag
            total += op.gather_near_boxes(
                points[own], frame[own], then, box_frame, margin=MARGIN, max_points=1, seed=0
            )[1]
        assert torch.equal(counts, total)

    def test_drift_widens_length_and_width_by_the_lag(self, device: str) -> None:
        box = torch.tensor([[0.0, 0, 0, 4, 2, 2, 0, 0, 0]], device=device)
        lag = 0.5
        places = [[2.9, 0, 0], [3.1, 0, 0], [0, 1.9, 0], [0, -2.1, 0], [0, 0, 1.1]]
        points = torch.tensor([[*place, 0.5, lag] for place in places], device=device)
        frame = torch.zeros(5, dtype=torch.int64, device=device)
        for drift, expected in ((0.0, 0), (2.0, 2)):
            _, counts = op.gather_near_boxes(
                points, frame, box, frame[:1], margin=(0, 0, 0), max_points=9, seed=0, drift=drift
            )
            assert counts.tolist() == [expected]

    def test_standing_boxes_are_those_without_a_velocity(self, device: str) -> None:
        points, frame, boxes, box_frame = self.crowd(device)
        boxes[:, 7:] = 0.0
        settings = {"margin": MARGIN, "max_points": 9, "seed": 5}
        expected = op.gather_near_boxes(points, frame, boxes[:, :7], box_frame, **settings)
        moving = op.gather_near_boxes(points, frame, boxes, box_frame, **settings)
        assert all(torch.equal(a, b) for a, b in zip(moving, expected, strict=True))
        boxes[:, 7:] = 20.0  # of points without a lag
        now = op.gather_near_boxes(points[:, :4], frame, boxes, box_frame, **settings)
        assert torch.equal(now[1], expected[1])

    def test_what_is_not_finite(self, device: str) -> None:
        points, frame, boxes, box_frame = self.crowd(device)
        settings = {"margin": MARGIN, "max_points": 5, "seed": 5, "drift": 1e9}
        boxes[3, 7], boxes[4, 8] = math.nan, math.inf
        points[:100, 4], points[100:200, 4] = math.nan, math.inf
        inputs = points, frame, boxes, box_frame
        chosen, counts = op.gather_near_boxes(*inputs, **settings)
        expected, wanted = reference.gather_near_boxes(*inputs, **settings)
        assert torch.equal(counts, wanted)
        assert torch.equal(chosen, expected)
        assert not counts[3:5].any()
        assert counts[5] > 0

    def test_says_what_is_wrong(self, device: str) -> None:
        inputs = self.crowd(device)
        settings = {"margin": MARGIN, "max_points": 5, "seed": 5}
        with pytest.raises(ValueError, match="drift is -1"):
            op.gather_near_boxes(*inputs, **settings, drift=-1.0)
        with pytest.raises(ValueError, match=r"boxes has shape \(30, 8\), expected \[N, 7\].*\[N, 9\]"):
            op.gather_near_boxes(inputs[0], inputs[1], inputs[2][:, :8], inputs[3], **settings)

    @needs_native
    def test_registration(self, device: str) -> None:
        points, frame, boxes, box_frame = self.crowd(device)
        torch.library.opcheck(
            registered.gather_near_boxes_op, (points, frame, boxes.double(), box_frame, *MARGIN, 1.0, 6, 3)
        )
