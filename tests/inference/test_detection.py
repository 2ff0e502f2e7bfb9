from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import lidar_ebm
from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import save_config
from lidar_ebm.errors import InputError
from lidar_ebm.runs.model import Model
from lidar_ebm.runs.run import save_weights


@pytest.fixture
def run(eager_config: Config, tmp_path: Path) -> Path:
    """A run that has learnt nothing but proposes boxes all the same."""
    save_config(eager_config, tmp_path / "config.yaml")
    save_weights(Model(eager_config), eager_config, tmp_path / "model.safetensors")
    return tmp_path


def some_points(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform((0, -15, -2, 0), (40, 15, 0, 1), (count, 4)).astype(np.float32)


def test_detections_have_shapes_and_falling_scores(run: Path) -> None:
    found = lidar_ebm.load_detector(run).detect(some_points(2000))
    count = len(found.boxes)
    assert count > 0
    assert found.boxes.shape == (count, 7)
    assert found.scores.shape == found.names.shape == found.f.shape == (count,)
    assert bool((found.scores[1:] <= found.scores[:-1]).all())


def test_tensors_and_arrays_give_the_same(run: Path) -> None:
    detector, points = lidar_ebm.load_detector(run), some_points(1000)
    first, second = detector.detect(points), detector.detect(torch.from_numpy(points))
    assert np.array_equal(first.boxes, second.boxes)


def test_refinement_never_lowers_f_and_keeps_scores(run: Path) -> None:
    detector, points = lidar_ebm.load_detector(run), some_points(2000)
    before, after = detector.detect(points, steps=0), detector.detect(points, steps=5)
    assert np.array_equal(before.scores, after.scores)
    assert bool((after.f >= before.f).all())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_gradients_change_nothing(run: Path, mode: type[torch.no_grad]) -> None:
    detector, points = lidar_ebm.load_detector(run), some_points(1000)
    expected = detector.detect(points, steps=3)
    with mode():
        found = detector.detect(torch.from_numpy(points), steps=3)
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=1e-5, atol=1e-5)


def test_uncertainty_is_found_where_it_is_asked_for(run: Path, eager_config: Config) -> None:
    points = some_points(1500)
    plain = lidar_ebm.load_detector(run).detect(points, steps=1)
    assert plain.covariance is None
    assert plain.expected_iou is None
    with pytest.warns(UserWarning, match="lidar-ebm calibrate"):
        found = lidar_ebm.load_detector(run).detect(points, steps=1, uncertainty=True)
    count = len(plain.boxes)
    np.testing.assert_allclose(found.boxes, plain.boxes, rtol=1e-5, atol=1e-5)
    assert found.covariance is not None
    assert found.covariance.shape == (count, 7, 7)
    assert found.expected_iou is not None
    assert found.expected_iou.shape == (count,)
    assert found.samples is not None
    assert found.samples.shape[::2] == (count, 7)
    assert found.flip_probability is None  # it was trained without flipped boxes

    settings = eager_config.uncertainty.model_copy(update={"enabled": True, "temperature": 1.0})
    save_config(eager_config.model_copy(update={"uncertainty": settings}), run / "config.yaml")
    configured = lidar_ebm.load_detector(run)
    again = configured.detect(points, steps=1)
    assert again.covariance is not None
    assert np.array_equal(again.covariance, found.covariance)
    assert configured.detect(points, steps=1, uncertainty=False).covariance is None
    nothing = configured.detect(points[:0])
    assert nothing.covariance is not None
    assert nothing.covariance.shape == (0, 7, 7)


@pytest.mark.parametrize("points", [np.zeros((0, 4), np.float32), np.full((5, 4), 1e4, np.float32)])
def test_nothing_in_range_is_nothing_found(run: Path, points: np.ndarray) -> None:
    found = lidar_ebm.load_detector(run).detect(points)
    assert found.boxes.shape == (0, 7)
    assert len(found.f) == 0


def test_bad_points_are_refused(run: Path) -> None:
    detector = lidar_ebm.load_detector(run)
    with pytest.raises(InputError, match=r"\[N, 4\].*\[5, 3\]"):
        detector.detect(np.zeros((5, 3), np.float32))
    with pytest.raises(InputError, match="-1 refinement steps"):
        detector.detect(some_points(5), steps=-1)
    points = some_points(5)
    points[2, 1] = np.nan
    with pytest.raises(InputError, match="1 of 5 rows"):
        detector.detect(points)
