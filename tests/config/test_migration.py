"""Configurations of earlier versions are read, and what has become of their settings is said."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import load_config, save_config
from lidar_ebm.config.migration import migrated


def test_the_limit_that_all_classes_shared_makes_room_for_larger_ones(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("detection: {score_threshold: 0.2, max_proposals: 100}\n")
    with pytest.warns(UserWarning, match=r"config\.yaml: detection\.max_proposals=100 was shared .*max_candidates"):
        config = load_config(path)
    assert config.detection == Config().detection.model_copy(update={"score_threshold": 0.2})


def test_a_limit_that_somebody_chose_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("detection: {max_proposals: 40}\n")
    with pytest.warns(UserWarning, match=r"max_proposals=40 is now detection\.max_candidates=40"):
        assert load_config(path).detection.max_candidates == 40


def test_a_run_of_version_0_1_keeps_its_limits(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("voxels: {max_points_per_voxel: 5, max_voxels: 7}\ndetection: {max_proposals: 100}\n")
    with pytest.warns(UserWarning, match=r"max_points_per_voxel=5: of version 0\.1, whose limits are kept"):
        config = load_config(path)
    assert config.voxels == Config().voxels.model_copy(update={"max_points_per_voxel": 5, "max_voxels": 7})
    assert config.detection.max_proposals == 100
    assert config.energy.points.order == "file"
    save_config(config, path)
    with warnings.catch_warnings():  # it is said once
        warnings.simplefilter("error")
        assert load_config(path) == config


def test_configurations_of_today_pass_without_a_word(tmp_path: Path) -> None:
    save_config(Config(), tmp_path / "config.yaml")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_config(tmp_path / "config.yaml") == Config()


def test_given_values_stay_as_they_are() -> None:
    values = {"detection": {"max_proposals": 40}, "seed": 1}
    assert migrated(values)[0] == {"detection": {"max_candidates": 40}, "seed": 1}
    assert values == {"detection": {"max_proposals": 40}, "seed": 1}
    for odd in ({}, {"detection": None}, {"detection": 3}):
        assert migrated(odd) == (odd, [])


def test_how_f_is_learnt_has_a_name_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("energy: {training: {method: nce+, label_noise: 0.1}}\n")
    with pytest.warns(UserWarning, match=r"energy\.training is now called energy\.objective") as caught:
        config = load_config(path)
    assert len(caught) == 1
    assert (config.energy.objective.method, config.energy.objective.label_noise) == ("nce+", 0.1)
    with pytest.warns(UserWarning, match="now called"):
        assert load_config(path, ["energy.objective.method=nce"]).energy.objective.method == "nce"
    with pytest.warns(UserWarning, match="now called"):
        assert load_config("recommended_car", ["energy.training.method=nce+"]).energy.objective.method == "nce+"
    for odd in ({"energy": 3}, {"energy": None}):
        assert migrated(odd) == (odd, [])
