"""Weights of another run are taken by name as far as they fit, and what begins anew is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lidar_ebm.config.config import Config
from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.errors import InputError
from lidar_ebm.runs.initial import take_weights
from lidar_ebm.runs.model import Model, name_in_file
from lidar_ebm.runs.run import model_settings, model_tensors, save_weights
from lidar_ebm.runs.tensor_file import write_tensors


def in_file(model: Model) -> dict[str, torch.Tensor]:
    return {name_in_file(name): value for name, value in model.state_dict().items()}


def save(config: Config, folder: Path) -> Model:
    torch.manual_seed(1)
    detector = Model(config)
    save_weights(detector, config, folder / "model.safetensors")
    return detector


def test_the_same_model_is_taken_whole(tiny_config: Config, tmp_path: Path) -> None:
    there = save(tiny_config, tmp_path)
    for source in (tmp_path, tmp_path / "model.safetensors"):
        torch.manual_seed(2)
        here = Model(tiny_config)
        taken = take_weights(here, tiny_config, source)
        for name, value in in_file(here).items():
            assert torch.equal(value, in_file(there)[name]), name
        count = sum(value.numel() for value in in_file(there).values())
        assert taken.lines() == [f"{tmp_path / 'model.safetensors'}: {count:,} parameters taken, 0 begin anew."]


def test_layers_of_another_shape_begin_anew_and_are_named(tiny_config: Config, tmp_path: Path) -> None:
    """Another class beside the car changes the heads' shapes, and another width the energy's."""
    there = save(tiny_config, tmp_path)
    classes = (*tiny_config.classes, ClassConfig(name="Pedestrian", anchor_size=(0.8, 0.6, 1.7)))
    points = tiny_config.energy.points.model_copy(update={"hidden": 9})
    energy = tiny_config.energy.model_copy(update={"points": points})
    config = tiny_config.model_copy(update={"classes": classes, "energy": energy})
    torch.manual_seed(2)
    here = Model(config)
    before = {name: value.clone() for name, value in in_file(here).items()}
    taken = take_weights(here, config, tmp_path)
    for name, value in in_file(here).items():
        other = in_file(there).get(name)
        fits = other is not None and other.shape == value.shape
        assert torch.equal(value, other if fits else before[name]), name
        assert (name in taken.taken) == fits
        assert (name in taken.anew) != fits
    assert sum(taken.taken.values()) + sum(taken.anew.values()) == sum(v.numel() for v in before.values())
    text = "\n".join(taken.lines())
    assert "anchor_head.classification: " in text
    assert "2×8×1×1 there, 4×8×1×1 here" in text or "2 there, 4 here" in text
    assert "other classes or anchors; energy.points.hidden is 8 there and 9 here" in text
    assert any(name.startswith("backbone.") for name in taken.taken)


def test_averaged_weights_of_a_checkpoint_are_what_is_taken(tiny_config: Config, tmp_path: Path) -> None:
    torch.manual_seed(1)
    there = Model(tiny_config)
    name = "anchor_head.box.weight"
    averaged = {f"ema.{name}": torch.full_like(in_file(there)[name], 0.25)}
    metadata = {"config": json.dumps(model_settings(tiny_config))}
    write_tensors(tmp_path / "c.safetensors", model_tensors(there) | averaged, metadata)
    here = Model(tiny_config)
    take_weights(here, tiny_config, tmp_path / "c.safetensors")
    assert bool((in_file(here)[name] == 0.25).all())
    assert torch.equal(in_file(here)["anchor_head.box.bias"], in_file(there)["anchor_head.box.bias"])


def test_what_holds_no_weights_is_refused(tiny_config: Config, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.safetensors: no such weights"):
        take_weights(Model(tiny_config), tiny_config, tmp_path)
    write_tensors(tmp_path / "model.safetensors", {"x": torch.zeros(2)}, {})
    with pytest.raises(InputError, match="holds no weights that lidar_ebm wrote"):
        take_weights(Model(tiny_config), tiny_config, tmp_path)
    write_tensors(tmp_path / "model.safetensors", {"model.x": torch.zeros(2)}, {"config": "{}"})
    with pytest.raises(InputError, match="none of its weights fits"):
        take_weights(Model(tiny_config), tiny_config, tmp_path)
