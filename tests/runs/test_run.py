from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import save_config
from lidar_ebm.errors import InputError
from lidar_ebm.runs.model import Model
from lidar_ebm.runs.run import load_run, load_weights, model_settings, model_tensors, save_weights
from lidar_ebm.runs.tensor_file import write_tensors


def test_weights_round_trip(tiny_config: Config, tmp_path: Path) -> None:
    first, second = Model(tiny_config), Model(tiny_config)
    save_weights(first, tiny_config, tmp_path / "w.safetensors")
    load_weights(second, tiny_config, tmp_path / "w.safetensors")
    for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_another_configuration_is_refused_by_its_setting(tiny_config: Config, tmp_path: Path) -> None:
    save_weights(Model(tiny_config), tiny_config, tmp_path / "w.safetensors")
    other = tiny_config.model_copy(update={"bev": tiny_config.bev.model_copy(update={"channels": 9})})
    with pytest.raises(InputError, match=r"w\.safetensors.*another configuration: bev\.channels is 8 there and 9 here"):
        load_weights(Model(other), other, tmp_path / "w.safetensors")


def test_the_backend_may_differ(tiny_config: Config, tmp_path: Path) -> None:
    save_weights(Model(tiny_config), tiny_config, tmp_path / "w.safetensors")
    other = tiny_config.model_copy(update={"backbone": tiny_config.backbone.model_copy(update={"backend": "builtin"})})
    load_weights(Model(other), other, tmp_path / "w.safetensors")


def test_how_the_energy_was_trained_may_differ(tiny_config: Config, tmp_path: Path) -> None:
    save_weights(Model(tiny_config), tiny_config, tmp_path / "w.safetensors")
    other = tiny_config.model_copy(update={"energy": tiny_config.energy.model_copy(update={"samples": 3})})
    load_weights(Model(other), other, tmp_path / "w.safetensors")


def test_a_setting_that_an_older_file_lacks_is_its_default(tiny_config: Config, tmp_path: Path) -> None:
    detector, settings = Model(tiny_config), model_settings(tiny_config)
    assert settings.pop("energy.activation") == "relu"
    write_tensors(tmp_path / "w.safetensors", model_tensors(detector), {"config": json.dumps(settings)})
    load_weights(Model(tiny_config), tiny_config, tmp_path / "w.safetensors")
    other = tiny_config.model_copy(update={"energy": tiny_config.energy.model_copy(update={"activation": "silu"})})
    with pytest.raises(InputError, match=r"energy\.activation is 'relu' there and 'silu' here"):
        load_weights(Model(other), other, tmp_path / "w.safetensors")


def test_a_setting_of_an_older_version_in_a_file_s_header_is_passed_over(tiny_config: Config, tmp_path: Path) -> None:
    settings = {**model_settings(tiny_config), "voxels.max_points_per_voxel": 5}
    write_tensors(tmp_path / "w.safetensors", model_tensors(Model(tiny_config)), {"config": json.dumps(settings)})
    load_weights(Model(tiny_config), tiny_config, tmp_path / "w.safetensors")


def test_damaged_files_are_named_and_never_unpickled(tiny_config: Config, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.write_text, (tmp_path / "sprung", "")

    path = tmp_path / "w.safetensors"
    for content in (b"", b"\x00" * 100, pickle.dumps(Trap())):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"w\.safetensors: is damaged"):
            load_weights(Model(tiny_config), tiny_config, path)
    save_weights(Model(tiny_config), tiny_config, path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"w\.safetensors: is damaged"):
        load_weights(Model(tiny_config), tiny_config, path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_a_device_that_is_not_there_is_named(device: str, tiny_config: Config, tmp_path: Path) -> None:
    save_config(tiny_config, tmp_path / "config.yaml")
    save_weights(Model(tiny_config), tiny_config, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=f"device '{device}': cannot be used here"):
        load_run(tmp_path, device)


def test_weights_of_another_version_are_refused(tiny_config: Config, tmp_path: Path) -> None:
    model = Model(tiny_config)
    model.detector.head.box = torch.nn.Conv2d(3, 3, 1)
    save_weights(model, tiny_config, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"does not fit this version of the model \(at anchor_head\.box"):
        load_weights(Model(tiny_config), tiny_config, tmp_path / "w.safetensors")


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no run"):
        load_run(tmp_path)
