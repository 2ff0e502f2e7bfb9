"""From a run's folder to the page."""

from __future__ import annotations

from pathlib import Path

from lidar_ebm.errors import InputError
from lidar_ebm.report.contents import gather
from lidar_ebm.report.page import to_html
from lidar_ebm.system.files import atomic_write, check_output_file


def write_report(
    run: str | Path,
    out: str | Path | None = None,
    *,
    data: str | Path | None = None,
    split: str = "val",
    frames: int = 20,
    boxes: int = 4,
    resamples: int = 1000,
) -> Path:
    """Write one HTML file that shows a run: figures, curves, errors, boxes with their landscapes, frames in 3-D.

    It needs nothing beside it, and asks for nothing from a network.

    Args:
        run: folder of a finished run that was evaluated.
        out: the file; RUN/report.html where None.
        data: folder in KITTI's layout; where None the one that the run was evaluated on. Where that is gone, the page
            has what the run's folder alone can tell.
        split: that was evaluated.
        frames: for the 3-D view, 0 or more.
        boxes: most improved ones and worst ones, as many of each, 0 or more.
        resamples: of the intervals.

    Returns:
        The file.

    Raises:
        InputError: there is no run, the split was not evaluated, a number is negative, or a file cannot be used.
        OutputError: the file cannot be written.
    """
    for name, value in (("frames", frames), ("boxes", boxes)):
        if value < 0:
            raise InputError(f"{name}: {value}; give 0 or more.")
    run = Path(run)
    path = run / "report.html" if out is None else Path(out)
    check_output_file(path)
    contents = gather(
        run, data=None if data is None else Path(data), split=split, frames=frames, boxes=boxes, resamples=resamples
    )
    with atomic_write(path, "w") as file:
        file.write(to_html(contents))
    return path
