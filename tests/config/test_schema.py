"""Configurations explained, the JSON schema, and the presets against both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import configuration_folder, load_config
from lidar_ebm.config.schema import comments, models, resolved_yaml, schema_json
from lidar_ebm.errors import InputError

PRESETS = sorted(configuration_folder().glob("*.yaml"))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_resolved_configurations_read_back(path: Path, tmp_path: Path) -> None:
    overrides = ["seed=7", "training.detector.learning_rate=1e-5"]
    text = resolved_yaml(path.stem, overrides)
    (tmp_path / "resolved.yaml").write_text(text)
    assert load_config(tmp_path / "resolved.yaml") == load_config(path, overrides)
    assert yaml.safe_load(text)["training"]["detector"]["learning_rate"] == 1e-5
    assert all(len(line) <= 120 or "stds: [" in line for line in text.splitlines())


def test_every_line_has_its_meaning() -> None:
    text = resolved_yaml(None)
    assert "max_voxels: 20000  # a frame, in training alone\n" in text
    assert "# Division of points into voxels.\nvoxels:\n" in text
    assert "# Share of a new batch in the running statistics of BatchNorm." in text  # above the setting in the source
    assert "  - name: Car  # as the labels spell it, whatever the case" in text
    assert text.count("stride: [2, 2, 2]  # z, y, x") == 1  # explained once in a list


def test_comments_are_found_beside_above_and_below() -> None:
    class Example(BaseModel):
        """Nothing."""

        a: int = 0  # beside
        # above,
        # in two lines
        b: tuple[int, ...] = (
            1,
            2,
        )  # and beside
        c: int = 0
        d: int = 0
        # below

    assert comments(Example) == {"a": "beside", "b": "above, in two lines and beside", "d": "below"}


def test_a_bad_name_is_an_error() -> None:
    with pytest.raises(InputError, match="presets: around, around_small, demo"):
        resolved_yaml("nowhere")


def test_the_committed_schema_is_current() -> None:
    path = configuration_folder() / "schema.json"
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(schema_json()), (
        "write it anew: python -c 'from lidar_ebm.config.schema import *; print(schema_json(), end=\"\")' > "
        "configs/schema.json"
    )


def test_the_schema_knows_and_explains_every_setting() -> None:
    schema = json.loads(schema_json())
    for model in models(Config):
        definition = schema if model is Config else schema["$defs"][model.__name__]
        assert definition["properties"].keys() == model.model_fields.keys()
        assert definition["additionalProperties"] is False
        for name, meaning in comments(model).items():
            assert definition["properties"][name]["description"] == meaning


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_presets_say_what_they_need_and_give(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# yaml-language-server: $schema=schema.json"
    for word in ("# Memory: ", "# Time: ", "# AP to expect"):
        assert any(line.startswith(word) for line in lines), word
    assert all(len(line) <= 120 for line in lines)


def published() -> dict[str, Any]:
    """The published numbers, written out."""
    stage = {"channels": 64, "layers": 3, "stride": (2, 2, 2)}
    training = {
        "epochs": 80, "batch_size": 2, "learning_rate": 0.003, "weight_decay": 0.01, "gradient_clip": 10.0,
    }  # fmt: skip
    quarter_turn = 0.7853981633974483
    return {
        "classes": ({
            "name": "Car", "merge": ("Van",), "anchor_size": (3.9, 1.6, 1.56), "anchor_center_z": -1.0,
            "anchor_yaws": (0.0, 2 * quarter_turn), "positive_iou": 0.6, "negative_iou": 0.45,
        },),
        "voxels": {
            "range": (0, -40, -3, 70.4, 40, 1), "size": (0.05, 0.05, 0.1), "max_voxels": 20000,
        },
        "backbone": {
            "stem_channels": 16, "stem_layers": 2, "stages": ({**stage, "channels": 32, "layers": 2}, stage, stage),
            "out_channels": 64,
        },
        "bev": {"channels": 256, "layers": 7},
        "point_head": {"enabled": True, "channels": 64},
        "anchor_head": {
            "class_weight": 1.0, "box_weight": 2.0, "direction_weight": 0.2, "focal_alpha": 0.25, "focal_gamma": 2.0,
        },
        "part_score": {"enabled": True, "grid": (4, 7), "score_threshold": 0.1, "positive_iou": 0.7},
        "energy": {
            "features": ("bev",), "bev": {"grid": (4, 7), "branch_channels": 16, "hidden": 1024},
            "noise": {"stds": tuple(
                tuple(1.25 * std for std in (plane, plane, rest, rest, rest, rest, yaw))
                for plane, rest, yaw in ((0.05, 0.025, 0.0125), (0.1, 0.05, 0.025), (0.2, 0.1, 0.05))
            ), "boundary": "clamped", "flip_share": 0.0},
            "activation": "relu", "objective": {"method": "nce"}, "samples": 128, "min_size": 0.05,
        },
        "refinement": {"steps": 10, "rule": "halving", "step_length": 2e-4, "starts": 1},
        "detection": {"score_threshold": 0.3, "nms_iou": 0.1},
        "augmentation": {
            "sampling": {"enabled": True, "counts": {"Car": 15}, "min_points": 5},
            "object_noise": {"enabled": True, "rotation": quarter_turn, "center_std": (1.0, 1.0, 0.5)},
            "flip": True, "rotation": quarter_turn, "scaling": (0.95, 1.05),
        },
        "training": {
            "mode": "two_stage", "detector": training, "energy": training, "norm_momentum": 0.01, "ema_decay": 0.0,
        },
    }  # fmt: skip


def test_the_published_preset_is_the_published_one_to_the_last_number() -> None:
    def check(found: Any, expected: Any, name: str) -> None:
        if isinstance(expected, dict):
            for key, value in expected.items():
                check(found[key], value, f"{name}.{key}")
        elif isinstance(expected, tuple) and expected and isinstance(expected[0], dict):
            assert len(found) == len(expected), name
            for a, b in zip(found, expected, strict=True):
                check(a, b, name)
        elif isinstance(expected, str | bool):
            assert found == expected, name
        else:
            assert found == (pytest.approx(expected) if not _nested(expected) else expected), name

    def _nested(value: Any) -> bool:
        return isinstance(value, tuple) and bool(value) and isinstance(value[0], tuple | str)

    check(load_config("sassd_ebm_car").model_dump(), published(), "config")
    alone = load_config("sassd_car").model_dump()
    expected = published()
    expected["training"]["energy"] = {"epochs": 0}
    expected["refinement"]["steps"] = 0
    check(alone, expected, "config")
