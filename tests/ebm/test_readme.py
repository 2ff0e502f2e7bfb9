"""Code that README.md tells newcomers to type: it runs, and gives a density close to the truth."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import lidar_ebm.ebm

README = Path(lidar_ebm.ebm.__file__).with_name("README.md")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """Names that exist after all blocks, run one after the other."""
    scope: dict[str, Any] = {}
    with torch.random.fork_rng():
        for block in BLOCKS:
            exec(block, scope)
    return scope


def log_truth(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The data's log p(y | x), for x [N, 1] and y [G]: [N, G]."""
    log_density = [-0.5 * ((y - mean) / 0.2).square() for mean in (x.sin(), -x.sin())]
    mixture = torch.logaddexp(log_density[0] + math.log(0.7), log_density[1] + math.log(0.3))
    return mixture - math.log(0.2 * math.sqrt(2 * math.pi))


def test_the_fit_takes_ten_lines() -> None:
    assert len([line for line in BLOCKS[1].splitlines() if line.strip()]) <= 10


def test_the_density_is_close_to_the_truth(names: dict[str, Any]) -> None:
    grid = lidar_ebm.ebm.Grid(-3, 3, 600)
    x = torch.linspace(-2.9, 2.9, 100).unsqueeze(1)
    learnt = lidar_ebm.ebm.tabulate(names["energy"](x), grid, rows=len(x)).log_density
    truth = log_truth(x, grid.axes[0])
    divergence = (truth.exp() * (truth - learnt)).sum(dim=1) * grid.cell_volume
    assert divergence.mean() < 0.08  # 0.03 to 0.06 for most seeds
    table = names["density"]
    assert table.log_density.shape == (1000, 300)


def test_predictions_and_peaks_are_where_they_are(names: dict[str, Any]) -> None:
    new_x = names["new_x"]
    best = names["best"].y
    assert (best - new_x.sin()).abs().max() < 0.12
    peaks = names["peaks"]
    assert (peaks.counts >= 1).all()
    first = peaks.y[peaks.row == 0].flatten()
    assert (first - math.sin(-2.0)).abs().min() < 0.12
    assert (first - math.sin(2.0)).abs().min() < 0.12


def test_samples_agree_with_the_grid(names: dict[str, Any]) -> None:
    energy, new_x, samples = names["energy"], names["new_x"], names["samples"]
    table = lidar_ebm.ebm.tabulate(energy(new_x), lidar_ebm.ebm.Grid(-3, 3, 600), rows=3)
    assert ((samples.log_z - table.log_z).abs() < 5 * samples.log_z_error).all()
    assert (samples.mean() - table.mean()).abs().max() < 0.15
    assert (samples.effective_sample_size > 100).all()
    assert names["chains"].y.shape == (3, 20, 1)


def test_is_calibrated(names: dict[str, Any]) -> None:
    calibration = names["calibration"]
    assert 0.7 < names["temperature"] < 1.4
    for level in (0.5, 0.9, 0.95):
        assert abs(calibration.joint_coverage[calibration.levels.index(level)] - level) < 0.06
    assert "| all together |" in calibration.table()
    y = torch.linspace(-3, 3, 1201)
    truth = log_truth(names["held_out_x"], y)
    entropy = -(truth.exp() * truth).sum(dim=1).mean().item() * 0.005
    assert abs(calibration.nll - entropy) < 0.12


def test_every_name_it_mentions_exists() -> None:
    """Names in code style that look like the package's own: classes and calls."""
    text = README.read_text(encoding="utf-8")
    for mention in re.findall(r"`([A-Z]\w+)(?:\(.*?\))?`", text):
        assert hasattr(lidar_ebm.ebm, mention), mention
    for file in re.findall(r"`(\w+\.py|\w+/)`", text):
        assert README.with_name(file.rstrip("/")).exists(), file
    files = {path.name for path in README.parent.glob("*.py")} - {"__init__.py", "chunks.py"}
    assert all(f"`{name}`" in text for name in files)


def test_the_package_exports_what_it_lists() -> None:
    tree = ast.parse(Path(lidar_ebm.ebm.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported - {"annotations"} == set(lidar_ebm.ebm.__all__)
