"""Records in a run's folder, as the page reads it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lidar_ebm.ebm.calibration import Reliability
from lidar_ebm.report.records import read_calibrations


@pytest.mark.parametrize("fitted", [0.04, 1.0, 1.04, 31.6])
def test_both_calibrations_are_read_whatever_the_temperature(tmp_path: Path, fitted: float) -> None:
    before = Reliability(("x", "yaw"), 7, (0.5, 0.9), ((0.4, 0.6), (0.8, 0.7)), (0.3, 0.9), -1.5, 0.1, 12.0)
    after = replace(before, temperature=fitted, joint_coverage=(0.5, 0.8))
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({"before": before.as_dict(), "after": after.as_dict()}))
    assert list(read_calibrations(path).values()) == [before, after]
    assert read_calibrations(tmp_path / "none.json") == {}
