"""Count of what there is to learn from; nothing to learn from is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.config.config import Config
from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.errors import InputError
from lidar_ebm.training.census import check_points, take_census
from lidar_ebm.workflows.train import train

RANGE = (0.0, -10.0, -3.0, 40.0, 10.0, 1.0)
CLASSES = (ClassConfig(merge=("Van",)), ClassConfig(name="Pedestrian"))


@pytest.mark.parametrize("seed", range(4))
def test_objects_are_counted_as_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(6):
        count = int(rng.integers(0, 9))
        boxes = rng.uniform((-20, -20, -4, 1, 1, 1, -3), (60, 20, 2, 5, 2, 2, 3), (count, 7))
        frames.append((boxes, rng.choice(["Car", "van", "Pedestrian", "Tram"], count).tolist()))
    census = take_census(frames, CLASSES, RANGE)
    for index, names in enumerate((("car", "van"), ("pedestrian",))):
        own = [
            box for boxes, labels in frames for box, name in zip(boxes, labels, strict=True) if name.lower() in names
        ]
        inside = sum(all(low <= v < high for v, low, high in zip(b, RANGE[:3], RANGE[3:], strict=False)) for b in own)
        assert int(census.inside(index).sum()) == inside
        line = census.lines()[index]
        assert line.startswith(f"{inside} object")
        assert (f", {len(own) - inside} left out (" in line) == (len(own) > inside)
    assert census.others["Tram"] == sum(labels.count("Tram") for _, labels in frames)


def test_another_name_is_refused_naming_the_closest() -> None:
    frames = [(np.zeros((3, 7)), ["Truck", "Cars", "Cars"])]
    census = take_census(frames, CLASSES, RANGE)
    words = (
        r"split: .*no label is one of Car, Van, Pedestrian\. There are: Cars \(2\), Truck \(1\)\. Did you mean 'Cars'\?"
    )
    with pytest.raises(InputError, match=words):
        census.check("split")
    with pytest.raises(InputError, match="no frame has a labelled object"):
        take_census([], CLASSES, RANGE).check("split")


def test_one_class_with_objects_is_enough() -> None:
    census = take_census([(np.array([[5.0, 0, -1, 4, 2, 1.5, 0]]), ["Car"])], CLASSES, RANGE)
    census.check("split")
    assert census.lines() == ["1 object of Car in the range", "0 objects of Pedestrian in the range"]


def test_points_that_all_lie_outside_are_refused_with_where_they_are() -> None:
    cloud = np.array([[-5.0, 0, 0, 0.1], [-7.5, 1, 0, 0.1], [np.nan, 0, 0, 0]])
    with pytest.raises(
        InputError, match=r"all points lie at x from -7\.5 to -5\.0 m, and voxels\.range goes from 0 to 40"
    ):
        check_points([cloud, cloud], RANGE, "split")
    corners = np.array([[-1.0, 0, 0, 0], [50, 0, 0, 0]])
    with pytest.raises(InputError, match=r"no point lies in voxels\.range \(0, -10, -3, 40, 10, 1\)"):
        check_points([corners], RANGE, "split")
    with pytest.raises(InputError, match="no point"):
        check_points([np.zeros((0, 4))], RANGE, "split")
    check_points([cloud, -cloud], (0, -10, -3, 40, 10, 1), "split")


def test_training_refuses_and_leaves_no_run(simulated: Path, tiny_config: Config, tmp_path: Path) -> None:
    trams = (ClassConfig(name="Tram"),)
    config = tiny_config.model_copy(update={"classes": trams})
    with pytest.raises(
        InputError, match=r"train\.txt: there is nothing to learn from: no label is one of Tram\. .*Car"
    ):
        train(config, simulated, tmp_path / "run", accelerator="cpu")
    bounds = (-40.0, -20.0, -3.0, 0.0, 20.0, 1.0)
    behind = tiny_config.model_copy(update={"voxels": tiny_config.voxels.model_copy(update={"range": bounds})})
    with pytest.raises(
        InputError, match=r"all \d+ objects of Car lie outside voxels\.range \(x from .* from -40 to 0 m"
    ):
        train(behind, simulated, tmp_path / "run", accelerator="cpu")
    assert not (tmp_path / "run").exists()


def test_training_says_what_it_learns_from(
    simulated: Path, tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    none = {"detector": {"epochs": 0}, "energy": {"epochs": 0}, "workers": 0}
    config = tiny_config.model_copy(update={"training": type(tiny_config.training).model_validate(none)})
    train(config, simulated, tmp_path / "run", accelerator="cpu")
    assert "objects of Car in the range" in capsys.readouterr().out
