"""A run's figures: one CSV that any tool reads, and the same in TensorBoard."""

from __future__ import annotations

import csv
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

from lidar_ebm.errors import OutputError
from lidar_ebm.system.files import atomic_write
from lidar_ebm.training.state import Position

LOSS_TERMS = (
    "anchor_class",
    "anchor_box",
    "anchor_direction",
    "center_heat",
    "center_offset",
    "center_height",
    "center_size",
    "center_yaw",
    "center_velocity",
    "center_iou",
    "point_foreground",
    "point_offset",
    "part_score",
    "energy",
)
# What a row has beside losses: means over its steps and over the processes, but for the last four.
OTHER_FIGURES = (
    "learning_rate",
    "gradient_norm",
    "seconds_per_step",
    "data_seconds",  # a step, of which the batch was waited for
    "memory_mb",  # the maximum so far of any process: resident on a CPU, allocated on a GPU
    "skipped",  # steps left out so far because something was not finite
    "ap_before",  # on the val split, in rows of their own: 3-D, mean over the classes, without refinement
    "ap_after",  # and with
)
COLUMNS = ("step", "epoch", "stage", "loss", *LOSS_TERMS, *OTHER_FIGURES)


class MetricsLog:
    """Appends to RUN/metrics.csv and RUN/tensorboard; what lies past a resumed run's position goes first."""

    def __init__(self, run: Path, position: Position) -> None:
        self.path = run / "metrics.csv"
        lines: list[str] = []
        if self.path.exists():
            text = self.path.read_text(encoding="utf-8")
            lines = text[: text.rfind("\n") + 1].splitlines()  # a killed run may have left half a line
        rows = [row for row in csv.DictReader(lines) if row["step"].isdigit()]
        with atomic_write(self.path, "w") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(row for row in rows if _stands(row, position))
        with self._writing():
            self.board = SummaryWriter(str(run / "tensorboard"), purge_step=position.total_step + 1)

    def write(self, step: int, epoch: int, stage: str, values: Mapping[str, float]) -> None:
        """Append one row of figures, taken after `step` steps in all stages."""
        row = {"step": step, "epoch": epoch, "stage": stage}
        row |= {key: f"{value:.8g}" for key, value in values.items()}
        with self._writing():
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, COLUMNS).writerow(row)
            for key, value in values.items():
                self.board.add_scalar(f"{stage}/{key}", value, step)

    def close(self) -> None:
        """Flush what TensorBoard has not written yet."""
        with self._writing():
            self.board.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A full disk, met here or in TensorBoard's own thread, becomes an error that says what to do."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(
                f"{self.path.parent}: metrics cannot be written ({reason}). Free some space, then go on with --resume."
            ) from error


def _stands(row: Mapping[str, str], position: Position) -> bool:
    """Tell if a row is about what was done before a position; an epoch's AP may be of its last step and yet to come."""
    if row["ap_after"] and row["stage"] == position.stage and int(row["epoch"]) >= position.validated:
        return False
    return int(row["step"]) <= position.total_step


def memory_mb(device: torch.device) -> float:
    """Maximum of the memory that this process has held: allocated on a GPU, resident on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
