"""Native point operations against their references, on every device."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from cuda_ops import _native
from cuda_ops.point_ops import op, reference, registered
from tests.cuda_ops.devices import DEVICES, needs_native

MARGIN = (1.0, 0.8, 0.6)
DTYPES = [torch.float32, torch.float64]
pytestmark = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def random_boxes(count: int, seed: int = 0) -> Tensor:
    """Car-like boxes around the origin, the first of 60 m and the last of 0.05 m."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([20.0, 20.0, 1.0, 2.0, 1.0, 1.0, 4 * math.pi])
    low = torch.tensor([-10.0, -10.0, -0.5, 3.0, 1.2, 1.2, -2 * math.pi])
    boxes = torch.rand(count, 7, generator=generator) * scale + low
    if count > 1:
        boxes[0, 3:6], boxes[-1, 3:6] = torch.tensor([60.0, 60.0, 4.0]), 0.05
    return boxes


def random_points(count: int, columns: int = 4, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, columns, generator=generator) * torch.tensor([10.0, 10.0, 1.0, *[1.0] * (columns - 3)])


def random_frames(count: int, seed: int) -> Tensor:
    """Frames in no order, numbered with gaps."""
    return torch.tensor([-3, 0, 1, 1 << 40])[torch.randint(4, (count,), generator=torch.Generator().manual_seed(seed))]


class TestPointsInBoxes:
    @pytest.mark.parametrize("batched", [False, True])
    @pytest.mark.parametrize("dtype", [*DTYPES, torch.float16, torch.bfloat16])
    def test_agrees_with_the_reference(self, device: str, dtype: torch.dtype, batched: bool, threads: int) -> None:
        points, boxes = random_points(3000).to(device, dtype), random_boxes(40).to(device)
        points[:40, :3] = boxes[:, :3]  # so that the tiny box holds one
        frames = {}
        if batched:
            frames = {
                "point_batch_index": random_frames(3000, 2).to(device),
                "batch_index": random_frames(40, 3).to(device),
            }
        mask = op.points_in_boxes(points, boxes, **frames)
        assert mask.sum() > 500
        assert torch.equal(mask, reference.points_in_boxes(points, boxes, **frames))
        first = op.points_in_boxes(points, boxes, first=True, **frames)
        assert torch.equal(first, torch.where(mask.any(1), mask.int().argmax(1), -1))
        assert torch.equal(first, reference.points_in_boxes(points, boxes, first=True, **frames))

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_faces_of_turned_boxes_belong_to_them(self, device: str, dtype: torch.dtype) -> None:
        """Corners computed in float64 are within the box, 10 micrometres further out they are not."""
        boxes = random_boxes(200).to(dtype)
        half, yaw = boxes[:, None, 3:6].double() / 2, boxes[:, None, 6].double()
        local = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)] * 3)
        on_face = local[local.abs().amax(1) == 1] * half  # [200, 26, 3]
        for grown, expected in ((on_face, True), (on_face * (1 + 1e-5 / half), False)):
            x, y, z = grown.unbind(-1)
            offset = torch.stack([x * yaw.cos() - y * yaw.sin(), x * yaw.sin() + y * yaw.cos(), z], dim=-1)
            points = (boxes[:, None, :3].double() + offset).to(device)  # [200, 26, 3]
            for box, its_points in zip(boxes.to(device), points, strict=True):
                held = op.points_in_boxes(its_points, box.unsqueeze(0))
                assert held.all() if expected else not held.any()

    def test_what_is_not_finite_holds_nothing_and_lies_nowhere(self, device: str) -> None:
        boxes = random_boxes(3).repeat(8, 1)
        for column in range(7):
            boxes[3 * column, column] = math.nan
            boxes[3 * column + 1, column] = math.inf
        points = torch.cat([boxes[-3:, :3], torch.full((1, 3), math.nan), torch.tensor([[math.inf, 0.0, 0.0]])])
        mask = op.points_in_boxes(points.to(device), boxes.to(device))
        assert torch.equal(mask, reference.points_in_boxes(points.to(device), boxes.to(device)))
        finite = boxes.isfinite().all(1).to(device)
        assert not mask[:, ~finite].any()
        assert mask[:3, finite].any(1).all()
        assert not mask[3:].any()

    def test_inputs_that_are_not_contiguous(self, device: str) -> None:
        points, boxes = random_points(400, 6).to(device), random_boxes(20).to(device)
        spread = points.repeat_interleave(2, dim=0)[::2, :3]
        turned = boxes.T.contiguous().T
        frames = random_frames(800, 5).to(device)[::2], random_frames(40, 6).to(device)[::2]
        mask = op.points_in_boxes(spread, turned, point_batch_index=frames[0], batch_index=frames[1])
        expected = reference.points_in_boxes(points, boxes, point_batch_index=frames[0], batch_index=frames[1])
        assert torch.equal(mask, expected)

    def test_frames_may_be_int32(self, device: str) -> None:
        frames = torch.arange(3, device=device, dtype=torch.int32)
        boxes = random_boxes(1).repeat(3, 1).to(device)
        mask = op.points_in_boxes(boxes[:, :3], boxes, point_batch_index=frames, batch_index=frames)
        assert torch.equal(mask, torch.eye(3, dtype=torch.bool, device=device))

    @pytest.mark.parametrize(("p", "n"), [(0, 4), (4, 0), (0, 0)])
    def test_empty(self, device: str, p: int, n: int) -> None:
        points, boxes = torch.zeros(p, 3, device=device), torch.ones(n, 7, device=device)
        assert op.points_in_boxes(points, boxes).shape == (p, n)
        assert op.points_in_boxes(points, boxes, first=True).tolist() == [-1] * p

    def test_says_what_is_wrong(self, device: str) -> None:
        points, boxes = torch.zeros(5, 3, device=device), torch.ones(2, 7, device=device)
        frames = torch.zeros(5, dtype=torch.int64, device=device)
        with pytest.raises(ValueError, match=r"points has shape \(5, 2\)"):
            op.points_in_boxes(points[:, :2], boxes)
        with pytest.raises(TypeError, match=r"points is of torch\.int32"):
            op.points_in_boxes(points.int(), boxes)
        with pytest.raises(ValueError, match=r"boxes has shape \(2, 6\)"):
            op.points_in_boxes(points, boxes[:, :6])
        with pytest.raises(ValueError, match="point_batch_index was given without batch_index"):
            op.points_in_boxes(points, boxes, point_batch_index=frames)
        with pytest.raises(ValueError, match=r"batch_index has shape \(5,\), expected \(2,\)"):
            op.points_in_boxes(points, boxes, point_batch_index=frames, batch_index=frames)
        with pytest.raises(ValueError, match="different devices"):
            op.points_in_boxes(points, boxes.to("meta"))

    @needs_native
    def test_registration(self, device: str) -> None:
        points, boxes = random_points(30).to(device), random_boxes(5).double().to(device)
        frames = torch.zeros(30, dtype=torch.int64, device=device), torch.zeros(5, dtype=torch.int64, device=device)
        torch.library.opcheck(registered.points_in_boxes_op, (points, boxes, None, None, False))
        torch.library.opcheck(registered.points_in_boxes_op, (points, boxes, *frames, True))


class TestGatherNearBoxes:
    @pytest.mark.parametrize("dtype", [*DTYPES, torch.float16])
    @pytest.mark.parametrize("max_points", [0, 7, 96, 5000])
    def test_agrees_with_the_reference(self, device: str, max_points: int, dtype: torch.dtype, threads: int) -> None:
        points, boxes = random_points(4000, 5).to(device, dtype), random_boxes(30).to(device)
        frames, box_frames = random_frames(4000, 2).to(device), random_frames(30, 3).to(device)
        arguments = (points, frames, boxes, box_frames)
        result = op.gather_near_boxes(*arguments, margin=MARGIN, max_points=max_points, seed=5)
        expected = reference.gather_near_boxes(*arguments, margin=MARGIN, max_points=max_points, seed=5)
        assert torch.equal(result[0], expected[0])
        assert result[0].dtype == dtype
        assert torch.equal(result[1], expected[1])
        assert result[1].max() > 500
        assert result[1].min() < 96

    def test_all_of_a_crowd(self, device: str) -> None:
        """A box that holds far more points than are asked for, in one frame, with seeds of every kind."""
        points = 0.3 * random_points(20000).to(device)
        boxes = torch.tensor([[0.0, 0, 0, 100, 100, 100, 0.3], [0.0, 0, 0, 3, 3, 3, 0.3]], device=device)
        frames = torch.zeros(20000, dtype=torch.int64, device=device)
        for seed in (0, -1, 1 << 31, (1 << 40) + 7):
            arguments = (points, frames, boxes, frames[:2])
            result = op.gather_near_boxes(*arguments, margin=MARGIN, max_points=33, seed=seed)
            expected = reference.gather_near_boxes(*arguments, margin=MARGIN, max_points=33, seed=seed)
            assert torch.equal(result[0], expected[0])
            assert torch.equal(result[1], expected[1])
            assert result[1][0] == 20000

    def test_what_is_not_finite(self, device: str) -> None:
        """Points with NaN are in no box, yet keep their places among the others, on which the choice rests."""
        points, boxes = random_points(500).to(device), random_boxes(6).to(device)
        points[::7, 1] = math.nan
        boxes[1, 6], boxes[2, 3], boxes[3, 0] = math.nan, math.inf, -math.inf
        frames = torch.zeros(500, dtype=torch.int64, device=device)
        arguments = (points, frames, boxes, frames[:6])
        result = op.gather_near_boxes(*arguments, margin=MARGIN, max_points=20, seed=1)
        expected = reference.gather_near_boxes(*arguments, margin=MARGIN, max_points=20, seed=1)
        assert torch.equal(result[0], expected[0])
        assert torch.equal(result[1], expected[1])
        assert result[1][1:4].tolist() == [0, 0, 0]
        assert result[1][0] > 200

    def test_inputs_that_are_not_contiguous(self, device: str) -> None:
        points, boxes = random_points(300, 8).to(device)[:, 1:6], random_boxes(20).to(device)[::2]
        frames, box_frames = random_frames(600, 2).to(device)[::2].int(), random_frames(20, 3).to(device)[::2].int()
        arguments = (points, frames, boxes, box_frames)
        result = op.gather_near_boxes(*arguments, margin=MARGIN, max_points=20, seed=1)
        expected = reference.gather_near_boxes(*arguments, margin=MARGIN, max_points=20, seed=1)
        assert torch.equal(result[0], expected[0])
        assert torch.equal(result[1], expected[1])

    @pytest.mark.parametrize(("p", "n"), [(0, 4), (4, 0), (0, 0)])
    def test_empty(self, device: str, p: int, n: int) -> None:
        frames = torch.zeros(4, dtype=torch.int64, device=device)
        points, boxes = torch.zeros(p, 3, device=device), torch.ones(n, 7, device=device)
        chosen, counts = op.gather_near_boxes(
            points, frames[:p], boxes, frames[:n], margin=MARGIN, max_points=5, seed=0
        )
        assert torch.equal(chosen, torch.zeros(n, 5, 3, device=device))
        assert counts.tolist() == [0] * n

    def test_says_what_is_wrong(self, device: str) -> None:
        points, boxes = torch.zeros(5, 3, device=device), torch.ones(2, 7, device=device)
        frames = torch.zeros(5, dtype=torch.int64, device=device)
        good = {"margin": MARGIN, "max_points": 4, "seed": 0}
        with pytest.raises(ValueError, match=r"point_batch_index has shape \(4,\), expected \(5,\)"):
            op.gather_near_boxes(points, frames[:4], boxes, frames[:2], **good)
        with pytest.raises(TypeError, match=r"batch_index is of torch\.float32"):
            op.gather_near_boxes(points, frames, boxes, frames[:2].float(), **good)
        with pytest.raises(ValueError, match="margin holds 2 numbers"):
            op.gather_near_boxes(points, frames, boxes, frames[:2], **{**good, "margin": (1.0, 1.0)})
        with pytest.raises(ValueError, match="max_points is -1"):
            op.gather_near_boxes(points, frames, boxes, frames[:2], **{**good, "max_points": -1})

    @needs_native
    def test_registration(self, device: str) -> None:
        frames = torch.zeros(30, dtype=torch.int64, device=device)
        points, boxes = random_points(30).to(device), random_boxes(5).double().to(device)
        torch.library.opcheck(registered.gather_near_boxes_op, (points, frames, boxes, frames[:5], *MARGIN, 0.0, 6, 3))


def neighbourhoods(n: int, s: int, k: int, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    """Points [n, k, 4] near boxes [n, s, 7], far from the origin too."""
    generator = torch.Generator().manual_seed(7)
    boxes = random_boxes(max(n, 1), seed=8)[:n, None] + 0.2 * torch.randn(n, s, 7, generator=generator)
    boxes[..., :2] += 60.0
    points = 2 * torch.randn(n, k, 4, generator=generator) + torch.tensor([60.0, 60.0, 0.0, 0.0])
    return points.to(device, dtype), boxes.to(device, dtype)


def results(
    function: Callable[[Tensor, Tensor], Tensor], points: Tensor, boxes: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The features, and the gradients of a weighted sum of them to points and boxes."""
    points, boxes = points.detach().requires_grad_(), boxes.detach().requires_grad_()
    features = function(points, boxes)
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(9)).to(features)
    return features.detach(), *torch.autograd.grad(features, (points, boxes), weights)


class TestBoxFrameFeatures:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", [(5, 9, 33), (1, 1, 1), (3, 1, 40), (2, 17, 2)])
    def test_agrees_with_the_reference(
        self, device: str, shape: tuple[int, int, int], dtype: torch.dtype, threads: int
    ) -> None:
        inputs = neighbourhoods(*shape, dtype, device)
        tight = {"rtol": 1e-12, "atol": 1e-11} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 3e-4}
        values, expected = results(op.box_frame_features, *inputs), results(reference.box_frame_features, *inputs)
        for value, wanted in zip(values, expected, strict=True):
            torch.testing.assert_close(value, wanted, **tight)

    def test_the_number_of_threads_changes_nothing(self, device: str) -> None:
        points, boxes = neighbourhoods(20, 40, 33, torch.float32, device)
        index = torch.arange(20, device=device).repeat_interleave(33)
        before, found = torch.get_num_threads(), []
        try:
            for count in (1, 2, 3):
                torch.set_num_threads(count)
                found.append(
                    (
                        *results(op.box_frame_features, points, boxes),
                        *results(lambda p, b: op.box_frame_features_ragged(p, index, b), points.flatten(0, 1), boxes),
                    )
                )
        finally:
            torch.set_num_threads(before)
        for others in found[1:]:
            assert all(torch.equal(value, other) for value, other in zip(found[0], others, strict=True))

    def test_gradients_in_float64(self, device: str) -> None:
        points, boxes = neighbourhoods(2, 3, 5, torch.float64, device)
        assert torch.autograd.gradcheck(op.box_frame_features, (points.requires_grad_(), boxes.requires_grad_()))
        assert torch.autograd.gradcheck(lambda b: op.box_frame_features(points.detach(), b), boxes)
        assert torch.autograd.gradcheck(lambda p: op.box_frame_features(p, boxes.detach()), points)

    def test_only_gradients_that_are_asked_for(self, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
        if not _native.serves(torch.device(device)):
            pytest.skip("the reference has no kernel to ask")
        asked = []
        backward = registered.features_backward_op
        monkeypatch.setattr(
            registered, "features_backward_op", lambda *inputs: asked.append(inputs[-2:]) or backward(*inputs)
        )
        points, boxes = neighbourhoods(2, 3, 5, torch.float32, device)
        op.box_frame_features(points, boxes.requires_grad_()).sum().backward()
        op.box_frame_features(points.requires_grad_(), boxes.detach()).sum().backward()
        assert asked == [(False, True), (True, False)]

    def test_on_a_face_no_gradient_passes(self, device: str) -> None:
        """As `relu` has it: the distance beyond a face has no gradient on the face itself."""
        box = torch.tensor([[[1.0, 2.0, 3.0, 4.0, 2.0, 1.0, 0.0]]], device=device)
        points = torch.tensor([[[3.0, 2.0, 3.0, 0.5], [1.0, 1.0, 3.0, 0.5], [1.0, 2.0, 3.5, 0.5]]], device=device)
        values, expected = (
            results(op.box_frame_features, points, box),
            results(reference.box_frame_features, points, box),
        )
        for value, wanted in zip(values, expected, strict=True):
            torch.testing.assert_close(value, wanted, rtol=0, atol=1e-5)

    def test_a_box_of_nans_keeps_them_to_itself(self, device: str) -> None:
        points, boxes = neighbourhoods(2, 4, 6, torch.float32, device)
        clean = results(op.box_frame_features, points, boxes)
        boxes[0, 1], boxes[1, 2, 6], boxes[1, 0, 4] = math.nan, math.nan, math.inf
        features, _, gradient = results(op.box_frame_features, points, boxes)
        assert features[0, 1, :, :15].isnan().all()
        assert features[1, 2, :, :2].isnan().all()
        whole = boxes.isfinite().all(-1)  # [2, 4]
        torch.testing.assert_close(features[whole], clean[0][whole], rtol=0, atol=0)
        torch.testing.assert_close(gradient[whole], clean[2][whole], rtol=0, atol=0)

    def test_inputs_that_are_not_contiguous(self, device: str) -> None:
        points, boxes = neighbourhoods(3, 4, 5, torch.float32, device)
        turned = points.transpose(0, 1).contiguous().transpose(0, 1), boxes.transpose(1, 2).contiguous().transpose(1, 2)
        for value, wanted in zip(
            results(op.box_frame_features, *turned), results(op.box_frame_features, points, boxes), strict=True
        ):
            assert torch.equal(value, wanted)
        leaf = boxes.clone().requires_grad_()
        op.box_frame_features(points, leaf).sum().backward()  # an expanded gradient
        other = boxes.clone().requires_grad_()
        reference.box_frame_features(points, other).sum().backward()
        torch.testing.assert_close(leaf.grad, other.grad, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5), (2, 3, 0)])
    def test_empty(self, device: str, shape: tuple[int, int, int]) -> None:
        points, boxes = neighbourhoods(*shape, torch.float32, device)
        features, of_points, of_boxes = results(op.box_frame_features, points, boxes)
        n, s, k = shape
        assert features.shape == (n, s, k, op.FRAME_FEATURES)
        assert not of_points.any()
        assert not of_boxes.any()

    def test_half_precision_is_widened(self, device: str) -> None:
        points, boxes = neighbourhoods(2, 3, 4, torch.float32, device)
        halves = points.half(), boxes.bfloat16()
        features = op.box_frame_features(*halves)
        assert features.dtype == torch.float32
        assert torch.equal(features, op.box_frame_features(halves[0].float(), halves[1].float()))
        _, of_points, of_boxes = results(op.box_frame_features, *halves)
        assert (of_points.dtype, of_boxes.dtype) == (torch.float16, torch.bfloat16)
        assert op.box_frame_features(points, boxes.double()).dtype == torch.float64

    def test_says_what_is_wrong(self, device: str) -> None:
        points, boxes = neighbourhoods(2, 3, 4, torch.float32, device)
        with pytest.raises(ValueError, match=r"points has shape \(2, 4, 3\)"):
            op.box_frame_features(points[..., :3], boxes)
        with pytest.raises(ValueError, match=r"boxes has shape \(2, 7\)"):
            op.box_frame_features(points, boxes[:, 0])
        with pytest.raises(ValueError, match="1 neighbourhoods of points for 2 of boxes"):
            op.box_frame_features(points[:1], boxes)
        with pytest.raises(TypeError, match=r"points is of torch\.int64"):
            op.box_frame_features(points.long(), boxes)

    @needs_native
    def test_registration(self, device: str) -> None:
        points, boxes = neighbourhoods(2, 3, 4, torch.float32, device)
        flat = points.flatten(0, 1)
        index = torch.arange(2, device=device).repeat_interleave(4)
        leaves = flat.clone().requires_grad_(), boxes.clone().requires_grad_()
        torch.library.opcheck(registered.features_op, (leaves[0], None, leaves[1], 4))
        torch.library.opcheck(registered.features_op, (leaves[0], index, leaves[1], 0))
        gradient = torch.randn(2, 3, 4, 16, device=device)
        torch.library.opcheck(registered.features_backward_op, (gradient, flat, None, boxes, True, True))
        torch.library.opcheck(registered.features_backward_op, (gradient, flat, None, boxes, False, True))


class TestBoxFrameFeaturesRagged:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("rising", [True, False])
    @pytest.mark.parametrize("s", [1, 13])
    def test_agrees_with_the_reference(
        self, device: str, s: int, rising: bool, dtype: torch.dtype, threads: int
    ) -> None:
        """Neighbourhoods of many sizes, some without points."""
        points, boxes = neighbourhoods(8, s, 9, dtype, device)
        index = torch.randint(7, (72,), generator=torch.Generator().manual_seed(3)).to(device)
        index = index.sort().values if rising else index
        inputs = points.flatten(0, 1), boxes
        tight = {"rtol": 1e-12, "atol": 1e-11} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 3e-4}
        values = results(lambda p, b: op.box_frame_features_ragged(p, index, b), *inputs)
        expected = results(lambda p, b: reference.box_frame_features_ragged(p, index, b), *inputs)
        for value, wanted in zip(values, expected, strict=True):
            torch.testing.assert_close(value, wanted, **tight)
        assert torch.equal(values[2], results(lambda p, b: op.box_frame_features_ragged(p, index.int(), b), *inputs)[2])

    def test_gradients_in_float64(self, device: str) -> None:
        points, boxes = neighbourhoods(3, 2, 2, torch.float64, device)
        index = torch.tensor([2, 0, 0, 2, 2, 0], device=device)
        assert torch.autograd.gradcheck(
            lambda p, b: op.box_frame_features_ragged(p, index, b),
            (points.flatten(0, 1).requires_grad_(), boxes.requires_grad_()),
        )

    @pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5), (2, 3, 0)])
    def test_empty(self, device: str, shape: tuple[int, int, int]) -> None:
        n, s, k = shape
        points, boxes = neighbourhoods(*shape, torch.float32, device)
        index = torch.arange(n, device=device).repeat_interleave(k)
        features, of_points, of_boxes = results(
            lambda p, b: op.box_frame_features_ragged(p, index, b), points.flatten(0, 1), boxes
        )
        assert features.shape == (n * k, s, op.FRAME_FEATURES)
        assert not of_points.any()
        assert not of_boxes.any()

    @pytest.mark.parametrize("outside", [-1, 2])
    def test_an_index_outside(self, device: str, outside: int) -> None:
        points, boxes = neighbourhoods(2, 3, 1, torch.float32, device)
        index = torch.tensor([0, outside], device=device)
        if device == "cpu":
            with pytest.raises((RuntimeError, IndexError)):
                op.box_frame_features_ragged(points[:, 0], index, boxes)
        else:
            features = op.box_frame_features_ragged(points[:, 0], index, boxes)
            assert features[1].isnan().all()
            assert features[0].isfinite().all()

    def test_says_what_is_wrong(self, device: str) -> None:
        points, boxes = neighbourhoods(2, 3, 1, torch.float32, device)
        index = torch.tensor([0, 1], device=device)
        with pytest.raises(ValueError, match=r"points has shape \(2, 1, 4\), expected \[V, 4\]"):
            op.box_frame_features_ragged(points, index, boxes)
        with pytest.raises(ValueError, match=r"box_index has shape \(1,\), expected \(2,\)"):
            op.box_frame_features_ragged(points[:, 0], index[:1], boxes)
        with pytest.raises(TypeError, match=r"box_index is of torch\.float32"):
            op.box_frame_features_ragged(points[:, 0], index.float(), boxes)
