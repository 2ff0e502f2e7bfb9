"""Label-database sampling over a training: every class has objects unless somebody says otherwise, and it is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import load_config, save_config
from lidar_ebm.datasets.opening import open_data_set
from lidar_ebm.datasets.preparation.prepare import prepare
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.errors import InputError
from lidar_ebm.training.augmentation.sampling import add_objects
from lidar_ebm.training.augmentation.stages import describe_stages, open_label_database, with_all_counts
from tests.datasets.folder.scenes import draw_scene, write_frame, write_settings
from tests.training.augmentation.scenes import make_objects

FORKLIFT = "classes=[{name: forklift, merge: [], anchor_size: [3.9, 1.6, 1.56]}]"
BOTH = FORKLIFT[:-1] + ", {name: pallet, merge: [], anchor_size: [1.2, 0.8, 0.2]}]"
SPARSE = Sample("0", np.zeros((0, 4), np.float32), np.zeros((0, 7), np.float32), np.zeros(0, np.int64))


def write_yaml(folder: Path, **settings: object) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for number in range(3):
        points, boxes = draw_scene(number)
        write_frame(root, f"{number:06d}", points, boxes, ["forklift", "Pallet"] * 4)
    return write_settings(root, splits={"val": 0.3})


def test_classes_of_ones_own_have_objects_put_in_by_default(data: Path, tmp_path: Path) -> None:
    config = load_config(write_yaml(tmp_path), [BOTH])
    with pytest.raises(InputError, match=r"augmentation\.sampling\.enabled=false"):
        open_label_database(open_data_set(data), config)
    prepare(open_data_set(data), workers=1)
    database = open_label_database(open_data_set(data), config)
    assert database is not None
    sampling = config.stage_augmentation("detector").sampling
    frames = (add_objects(SPARSE, np.random.default_rng(s), sampling, database, config.classes) for s in range(5))
    assert {int(index) for frame in frames for index in frame.class_index} == {0, 1}
    counted = (database.difficulty != "beyond") & (database.point_counts >= sampling.min_points)
    numbers = [int((counted & (database.types == name)).sum()) for name in ("forklift", "Pallet")]
    assert min(numbers) > 0
    assert describe_stages(config, database) == [
        f"{name}: frames are filled up to 15 with {number} objects of the label database"
        for name, number in zip(("forklift", "pallet"), numbers, strict=True)
    ]


def test_a_frame_has_15_of_each_class_at_most(tmp_path: Path) -> None:
    objects = make_objects(count=300)
    classes = "[{name: Car, merge: [], anchor_size: [3.9, 1.6, 1.56]}, {name: Cyclist, anchor_size: [1.8, 0.6, 1.7]}]"
    config = load_config(write_yaml(tmp_path), [f"classes={classes}"])
    named = load_config(
        write_yaml(tmp_path), [f"classes={classes}", "augmentation.sampling.counts={Car: 15, Cyclist: 15}"]
    )
    for seed in range(5):
        found, expected = (
            add_objects(SPARSE, np.random.default_rng(seed), each.augmentation.sampling, objects, each.classes)
            for each in (config, named)
        )
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        assert max(np.bincount(found.class_index)) <= 15
    assert with_all_counts(config) == with_all_counts(named) != with_all_counts(Config())


def test_what_a_run_of_an_earlier_version_says_is_kept_and_what_it_does_not_do_is_said(tmp_path: Path) -> None:
    old = load_config(write_yaml(tmp_path, augmentation={"sampling": {"counts": {"Car": 15}}}), [FORKLIFT])
    assert old.augmentation.sampling.counts == {"Car": 15}
    assert [old.augmentation.sampling.count_of(name) for name in ("forklift", "Car")] == [0, 15]
    save_config(old, tmp_path / "again.yaml")
    assert load_config(tmp_path / "again.yaml") == old
    (line,) = describe_stages(old, None)
    assert line.startswith("no objects are put into frames: augmentation.sampling.counts has none of forklift")
    assert describe_stages(load_config(write_yaml(tmp_path), ["augmentation.sampling.enabled=false"]), None) == []
    cars = load_config(write_yaml(tmp_path, augmentation={"sampling": {"counts": {"Car": 15}}}), [])
    assert with_all_counts(cars) == with_all_counts(load_config(write_yaml(tmp_path), []))
    new = load_config(write_yaml(tmp_path), [FORKLIFT])
    save_config(new, tmp_path / "again.yaml")
    assert load_config(tmp_path / "again.yaml") == new
    assert with_all_counts(new) != with_all_counts(old)


def test_each_class_and_stage_is_said_where_they_differ(tmp_path: Path) -> None:
    objects = make_objects(count=300)
    cars = int(((objects.types == "Car") & (objects.difficulty != "beyond") & (objects.point_counts >= 5)).sum())
    more = ["augmentation.sampling.counts={Car: 7}", "training.energy.augmentation.sampling.min_points=1000"]
    said = describe_stages(load_config(write_yaml(tmp_path), more), objects)
    assert said == [
        f"detector stage: Car: frames are filled up to 7 with {cars} objects of the label database",
        "energy stage: Car: no objects are put into frames, as the label database has none that count",
    ]
    off = [*more[:1], "training.energy.augmentation.sampling.enabled=false"]
    assert describe_stages(load_config(write_yaml(tmp_path), off), objects) == said[:1]
    joint = ["training.mode=joint", *more[:1]]
    assert describe_stages(load_config(write_yaml(tmp_path), joint), objects) == [said[0].partition(": ")[2]]
    none = load_config(write_yaml(tmp_path), ["augmentation.sampling.counts={Car: 0}"])
    assert describe_stages(none, objects) == ["Car: no objects are put into frames (augmentation.sampling.counts)"]
    shouting = replace(objects, types=np.char.upper(objects.types))
    assert f"with {cars} objects" in describe_stages(Config(), shouting)[0]
