"""The verb `simulate`: scenes and frames, each with the options that are its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lidar_ebm.cli.simulate import simulate
from lidar_ebm.errors import InputError

SMALL = {"layout": "nuscenes", "samples_per_scene": 2, "sweep_rate": 2, "azimuth_steps": 40, "workers": 1}


@pytest.mark.parametrize(("amount", "scenes"), [({"scenes": 2}, 2), ({"frames": 3}, 2), ({"frames": 4}, 2)])
def test_scenes_are_asked_for_by_number_or_by_key_frames(tmp_path: Path, amount: dict[str, int], scenes: int) -> None:
    simulate(tmp_path, **SMALL, **amount)  # type: ignore[arg-type]
    assert len(json.loads((tmp_path / "v1.0-trainval/scene.json").read_text())) == scenes
    assert len(json.loads((tmp_path / "v1.0-trainval/sample.json").read_text())) == 2 * scenes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"scenes": 2}, "--scenes is for --layout nuscenes"),
        ({**SMALL, "rename": ["Car=forklift"]}, "--rename and --full are for frames"),
        ({**SMALL, "full": True}, "--rename and --full are for frames"),
        ({"rolling_shutter": "global"}, "rolling_shutter 'global'"),
        ({**SMALL, "samples_per_scene": 0, "scenes": 1}, "samples is 0"),
        ({**SMALL, "samples_per_scene": 0}, "samples is 0"),
    ],
)
def test_options_that_do_not_go_together_are_named(tmp_path: Path, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        simulate(tmp_path, **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
