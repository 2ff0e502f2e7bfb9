from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lidar_ebm.config import Config
from lidar_ebm.data.batch import collate
from lidar_ebm.data.dataset import KittiDataset
from lidar_ebm.data.kitti_files import read_labels
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.predict import predict, write_results
from lidar_ebm.geometry.frames import labels_to_boxes
from lidar_ebm.model.detector import Detector


@pytest.fixture
def detector(eager_config: Config) -> Detector:
    return Detector(eager_config).eval()


def test_one_climb_serves_every_number_of_steps(detector: Detector, simulated: Path, tmp_path: Path) -> None:
    frames = KittiDataset(simulated, "val", detector.config)
    predictions = predict(detector, frames, steps=(0, 1, 3), batch_size=2)
    assert predictions.frame_ids == tuple(frames.frame_id(i) for i in range(len(frames)))
    for steps in (0, 1, 3):
        for index, results in enumerate(predictions.results[steps]):
            alone = detector.detect(collate([frames[index]]), steps)[0]
            boxes = labels_to_boxes(results, frames.calibration(index))
            np.testing.assert_allclose(boxes, alone.boxes.numpy().astype(np.float64), atol=1e-3)
            assert [label.score for label in results] == pytest.approx(alone.scores.tolist(), abs=1e-5)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "999999.txt").write_text("")
    write_results(predictions, 3, tmp_path)
    assert sorted(path.stem for path in (tmp_path / "data").iterdir()) == list(predictions.frame_ids)
    for frame_id, results in zip(predictions.frame_ids, predictions.results[3], strict=True):
        written = read_labels(tmp_path / "data" / f"{frame_id}.txt", require_score=True)
        assert [label.rotation_y for label in written] == pytest.approx([r.rotation_y for r in results], abs=0.0051)


@pytest.mark.parametrize("steps", [(), (0, -1)])
def test_impossible_steps_are_refused(detector: Detector, simulated: Path, steps: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="steps"):
        predict(detector, KittiDataset(simulated, "val", detector.config), steps=steps)


def test_gradients_are_off(detector: Detector, simulated: Path) -> None:
    predict(detector, KittiDataset(simulated, "val", detector.config), steps=(1,))
    assert all(parameter.grad is None for parameter in detector.parameters())
    assert torch.is_grad_enabled()
