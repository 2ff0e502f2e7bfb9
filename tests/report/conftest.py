"""One run that has learnt nothing, evaluated, and its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from lidar_ebm.config.config import Config
from lidar_ebm.workflows.evaluate import evaluate_run
from lidar_ebm.workflows.report import write_report
from tests.workflows.test_evaluate import make_run

METRICS = (
    "step,epoch,stage,loss,anchor_box,learning_rate,gradient_norm,seconds_per_step\n"
    "10,0,detector,2.0,1.0,0.001,3.0,0.5\n20,1,detector,1.0,0.5,0.002,2.0,0.7\n30,1,energy,0.5,,0.001,1.0,0.2\n"
)


@pytest.fixture(scope="session")
def evaluated(tiny_config: Config, simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose scores are all high enough, so that it finds plenty."""
    eager = tiny_config.model_copy(
        update={
            "detection": tiny_config.detection.model_copy(update={"score_threshold": 0.0}),
            "refinement": tiny_config.refinement.model_copy(update={"step_length": 0.5}),  # to be seen
            "part_score": tiny_config.part_score.model_copy(update={"score_threshold": 0.0}),
        }
    )
    run = make_run(eager, tmp_path_factory.mktemp("report") / "<run> & more")
    (run / "metrics.csv").write_text(METRICS)
    evaluate_run(run, simulated, steps=3, curve_steps=(1,))
    return run


@pytest.fixture(scope="session")
def page(evaluated: Path) -> Path:
    """Its report, of both frames of the split."""
    return write_report(evaluated, frames=2, boxes=1, resamples=20)
