"""The verb `evaluate`: average precision of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from lidar_ebm.cli.options import Data, Device, Prepared, Recall, Run, read_numbers, read_recall
from lidar_ebm.cli.verb import Verb
from lidar_ebm.system.terminal import print_tables


def evaluate(
    run: Run,
    data: Data,
    split: Annotated[str, typer.Option(help="Name of one of the data set's splits.")] = "val",
    prepared: Prepared = None,
    steps: Annotated[int | None, typer.Option(help="Refinement steps T; the configuration's where not given.")] = None,
    iou: Annotated[str, typer.Option(help="Overlaps of before → after, separated by commas.")] = "0.7,0.75,0.8,0.85",
    recall: Recall = "40",
    weights: Annotated[
        str, typer.Option(help="Which of the run's files: checkpoints/best.safetensors, for one.")
    ] = "model.safetensors",
    device: Device = "cpu",
) -> None:
    """Average precision of a run without and with refinement; result files, figures and tables into RUN/evaluation."""
    from lidar_ebm.system.processes import join
    from lidar_ebm.workflows.evaluate import evaluate_run

    with join(device) as group:
        ious, recalls = read_numbers(iou, "--iou"), read_recall(recall)
        scored = evaluate_run(
            run,
            data,
            prepared=prepared,
            split=split,
            steps=steps,
            ious=ious,
            recall=recalls,
            device=group.device,
            weights=weights,
            group=group,
        )
        if group.is_first:
            print_tables(scored.table())


VERBS = (
    Verb(
        evaluate,
        "`lidar-ebm evaluate runs/a --data data/simulated --steps 10`",
        panel="Evaluation",
        place=60,
        going_on="The same command goes on from the last batch.",
    ),
)
