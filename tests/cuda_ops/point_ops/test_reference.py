"""Point operations against brute force."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cuda_ops.point_ops import reference
from cuda_ops.point_ops.reference import (
    FRAME_FEATURES,
    box_frame_features,
    box_frame_features_ragged,
    gather_near_boxes,
    points_in_boxes,
)

MARGIN = (1.0, 0.8, 0.6)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def random_boxes(count: int, generator: torch.Generator) -> Tensor:
    """Car-like boxes around the origin."""
    scale = torch.tensor([20.0, 20.0, 1.0, 2.0, 1.0, 1.0, 2 * math.pi])
    low = torch.tensor([-10.0, -10.0, -0.5, 3.0, 1.2, 1.2, -math.pi])
    return torch.rand(count, 7, generator=generator) * scale + low


def in_frame_of(box: Tensor, points: Tensor) -> Tensor:
    """Offsets [P, 3] of points along a box's length, width and height, by complex numbers."""
    turn = torch.polar(torch.tensor(1.0), -box[6])
    local = torch.view_as_real(torch.view_as_complex((points[:, :2] - box[:2]).contiguous()) * turn)
    return torch.cat([local, points[:, 2:3] - box[2]], dim=1)


class TestPointsInBoxes:
    def test_agrees_with_complex_numbers(self, generator: torch.Generator) -> None:
        points, boxes = (
            torch.randn(2000, 3, generator=generator) * torch.tensor([8.0, 8, 1]),
            random_boxes(30, generator),
        )
        mask = points_in_boxes(points, boxes)
        for column, box in zip(mask.T, boxes, strict=True):
            beyond = in_frame_of(box, points).abs() - box[3:6] / 2
            clear = beyond.abs().amin(1) > 1e-4  # float32 decides those close to a face either way
            assert torch.equal(column[clear], (beyond <= 0).all(1)[clear])
        assert mask.sum() > 200

    def test_frames_and_the_first_box(self, generator: torch.Generator) -> None:
        boxes = torch.tensor([[0.0, 0, 0, 2, 2, 2, 0], [0.5, 0, 0, 2, 2, 2, 0], [0.0, 0, 0, 9, 9, 9, 0]])
        points = torch.tensor([[0.0, 0, 0], [1.2, 0, 0], [3.0, 0, 0], [9.0, 0, 0], [0.0, 0, 0]])
        assert points_in_boxes(points, boxes, first=True).tolist() == [0, 1, 2, -1, 0]
        frames = {"point_batch_index": torch.tensor([0, 0, 0, 0, 7]), "batch_index": torch.tensor([7, 0, 0])}
        assert points_in_boxes(points, boxes, first=True, **frames).tolist() == [1, 1, 2, -1, 0]
        assert points_in_boxes(points, boxes, **frames).sum(0).tolist() == [1, 2, 3]

    def test_the_size_of_the_pieces_changes_nothing(
        self, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        boxes, points = random_boxes(7, generator), 5 * torch.randn(101, 3, generator=generator)
        whole = points_in_boxes(points, boxes)
        monkeypatch.setattr(reference, "_PAIRS_AT_ONCE", 30)
        assert torch.equal(points_in_boxes(points, boxes), whole)

    def test_what_is_not_finite(self) -> None:
        boxes = torch.tensor([[0.0, 0, 0, 2, 2, 2, 0]]).repeat(8, 1)
        boxes.view(-1)[: 7 * 8 : 8] = torch.tensor([math.nan, math.inf] * 3 + [math.nan])
        points = torch.tensor([[0.0, 0, 0], [math.nan, 0, 0], [0, 0, math.inf]])
        mask = points_in_boxes(points, boxes)
        assert mask.nonzero().tolist() == [[0, 7]]


class TestGatherNearBoxes:
    def gather(self, points: Tensor, boxes: Tensor, max_points: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        point_frame = torch.zeros(len(points), dtype=torch.int64)
        box_frame = torch.zeros(len(boxes), dtype=torch.int64)
        return gather_near_boxes(points, point_frame, boxes, box_frame, margin=MARGIN, max_points=max_points, seed=seed)

    def test_holds_the_points_of_the_grown_box(self, generator: torch.Generator) -> None:
        points = torch.rand(500, 4, generator=generator) * torch.tensor([24.0, 24, 4, 1]) - torch.tensor(
            [12.0, 12, 2, 0]
        )
        boxes = random_boxes(20, generator)
        chosen, counts = self.gather(points, boxes, max_points=500)
        for box, rows, count in zip(boxes, chosen, counts, strict=True):
            inside = (in_frame_of(box, points).abs() <= box[3:6] / 2 + torch.tensor(MARGIN)).all(1)
            assert count == inside.sum()
            assert set(map(tuple, rows[:count].tolist())) == set(map(tuple, points[inside].tolist()))
            assert not rows[count:].any()

    def test_chooses_a_subset_by_seed(self, generator: torch.Generator) -> None:
        points = torch.rand(400, 4, generator=generator)
        boxes = torch.tensor([[0.5, 0.5, 0.5, 1, 1, 1, 0.0]])
        chosen, counts = self.gather(points, boxes, max_points=50)
        assert counts.tolist() == [400]
        rows = set(map(tuple, chosen[0].tolist()))
        assert len(rows) == 50
        assert rows <= set(map(tuple, points.tolist()))
        assert torch.equal(chosen, self.gather(points, boxes, max_points=50)[0])
        assert not torch.equal(chosen, self.gather(points, boxes, max_points=50, seed=1)[0])
        assert torch.equal(chosen[:, :30], self.gather(points, boxes, max_points=30)[0])

    def test_choice_is_even(self) -> None:
        """Each point is chosen about as often as any other: K / P of the seeds."""
        points = torch.arange(60.0).unsqueeze(1) * torch.tensor([0.01, 0.0, 0.0, 1.0])
        boxes = torch.tensor([[0.3, 0, 0, 1, 1, 1, 0.0]])
        times = torch.zeros(60)
        for seed in range(400):
            times[self.gather(points, boxes, max_points=15, seed=seed)[0][0, :, 3].long()] += 1
        assert abs(times.mean() - 100) < 1e-3
        assert times.std() < 2 * math.sqrt(400 * 0.25 * 0.75)
        assert (times - 100).abs().max() < 45

    def test_frames_and_boxes_do_not_touch_each_other(self, generator: torch.Generator) -> None:
        frames = [torch.rand(count, 4, generator=generator) * 4 - 2 for count in (300, 0, 200)]
        boxes = random_boxes(30, generator) * torch.tensor([0.1, 0.1, 1, 1, 1, 1, 1])
        box_frame = torch.randint(3, (30,), generator=generator)
        point_frame = torch.repeat_interleave(torch.arange(3), torch.tensor([300, 0, 200]))
        together, counts = gather_near_boxes(
            torch.cat(frames), point_frame, boxes, box_frame, margin=MARGIN, max_points=40, seed=7
        )
        for index in range(30):
            alone, count = self.gather(frames[box_frame[index]], boxes[index : index + 1], max_points=40, seed=7)
            assert count[0] == counts[index]
            assert torch.equal(alone[0], together[index])
        assert not counts[box_frame == 1].any()

    def test_empty(self) -> None:
        chosen, counts = self.gather(torch.zeros(0, 4), torch.ones(2, 7), max_points=5)
        assert chosen.shape == (2, 5, 4)
        assert counts.tolist() == [0, 0]
        chosen, counts = self.gather(torch.rand(3, 4), torch.ones(0, 7), max_points=5)
        assert chosen.shape == (0, 5, 4)
        assert counts.shape == (0,)

    def test_a_box_that_is_no_box_holds_nothing(self) -> None:
        boxes = torch.tensor([[math.nan] * 7, [0.5, 0.5, 0.5, 1, 1, 1, 0.0]])
        assert self.gather(torch.rand(9, 4), boxes, max_points=5)[1].tolist() == [0, 9]


class TestBoxFrameFeatures:
    def test_values_of_one_point(self) -> None:
        box = torch.tensor([[[10.0, 5.0, -1.0, 4.0, 2.0, 1.5, math.pi / 2]]])  # length along y
        point = torch.tensor([[[8.5, 6.0, 0.0, 0.3]]])  # 1 m towards the front, 1.5 m to the left, 1 m up
        expected = [1, 1.5, 1, -1, 0.5, 0.25, -3, -2.5, -1.75, 0, 0.5, 0.25, 0, 0, 0, 0.3]
        features = box_frame_features(point, box)
        assert features.shape == (1, 1, 1, FRAME_FEATURES)
        torch.testing.assert_close(features.flatten(), torch.tensor(expected), atol=1e-5, rtol=0)

    def test_gradient_to_the_boxes(self, generator: torch.Generator) -> None:
        boxes = random_boxes(2, generator).double().unsqueeze(1) + torch.randn(2, 3, 7, generator=generator) * 0.1
        points = boxes[:, :1, :4] + torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
        assert torch.autograd.gradcheck(lambda b: box_frame_features(points, b), boxes.requires_grad_())

    def test_far_from_the_origin_as_exact_as_near(self, generator: torch.Generator) -> None:
        """Coordinates are multiples of 2^-10 m, so that moving everything by 64 m loses no bit."""
        boxes = (random_boxes(4, generator).unsqueeze(1) * 1024).round() / 1024
        points = (torch.rand(4, 6, 4, generator=generator) * 1024).round() / 1024
        far_boxes, far_points = boxes.clone(), points.clone()
        far_boxes[..., :2] += 64
        far_points[..., :2] += 64
        assert torch.equal(box_frame_features(points, boxes), box_frame_features(far_points, far_boxes))

    @pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5), (2, 3, 0)])
    def test_empty(self, shape: tuple[int, int, int]) -> None:
        n, s, k = shape
        assert box_frame_features(torch.zeros(n, k, 4), torch.ones(n, s, 7)).shape == (n, s, k, FRAME_FEATURES)


def test_ragged_neighbourhoods_are_rows_of_padded_ones(generator: torch.Generator) -> None:
    boxes = random_boxes(3, generator).unsqueeze(1) + torch.randn(3, 5, 7, generator=generator) * 0.1
    points = torch.randn(3, 6, 4, generator=generator)
    padded = box_frame_features(points, boxes)  # [3, 5, 6, 16]
    box_index = torch.tensor([2, 0, 0, 2, 1])
    place = torch.tensor([3, 1, 5, 0, 0])
    ragged = box_frame_features_ragged(points[box_index, place], box_index, boxes)  # [5, 5, 16]
    torch.testing.assert_close(ragged, padded[box_index, :, place])
