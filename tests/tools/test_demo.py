"""Texts of the demonstration about itself."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from lidar_ebm.config.loading import load_config

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", TOOLS / "demo.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_promised_and_taken_time_stand_side_by_side(demo: ModuleType) -> None:
    assert demo._time_taken(90.0) == "Promised: 6 minutes on two cores. Took: 1.5 minutes."


def test_the_curve_has_the_steps_that_refinement_takes(demo: ModuleType) -> None:
    steps = load_config("demo").refinement.steps
    assert steps in demo.CURVE_STEPS
    assert max(demo.CURVE_STEPS) > steps
