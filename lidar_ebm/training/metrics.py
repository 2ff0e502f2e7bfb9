"""A run's figures: one CSV that any tool reads, and the same in TensorBoard."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from lidar_ebm.errors import OutputError
from lidar_ebm.files import atomic_write

LOSS_TERMS = (
    "anchor_class",
    "anchor_box",
    "anchor_direction",
    "point_foreground",
    "point_offset",
    "part_score",
    "energy",
)
COLUMNS = ("step", "epoch", "stage", "loss", *LOSS_TERMS, "learning_rate", "gradient_norm", "seconds_per_step")


class MetricsLog:
    """Appends to RUN/metrics.csv and RUN/tensorboard; rows past the step that a run resumes from are dropped first."""

    def __init__(self, run: Path, resume_step: int) -> None:
        self.path = run / "metrics.csv"
        rows: list[dict[str, str]] = []
        if self.path.exists():
            with self.path.open(newline="") as file:
                # A killed run may have left half a line.
                rows = [r for r in csv.DictReader(file) if r["step"].isdigit() and r["seconds_per_step"]]
        with atomic_write(self.path, "w") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(row for row in rows if int(row["step"]) <= resume_step)
        with self._writing():
            self.board = SummaryWriter(str(run / "tensorboard"), purge_step=resume_step + 1)

    def write(self, step: int, epoch: int, stage: str, values: Mapping[str, float]) -> None:
        """Append one row of figures, taken after `step` steps in all stages."""
        row = {"step": step, "epoch": epoch, "stage": stage}
        row |= {key: f"{value:.6g}" for key, value in values.items()}
        with self._writing():
            with self.path.open("a", newline="") as file:
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
