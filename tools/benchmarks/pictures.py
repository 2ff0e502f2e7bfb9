"""Cost of a frame's pictures: from above, in the camera's image, and in space.

One picture of each kind and frame, again and again, after a first that loads libraries (its time is listed too).
`python tools/benchmarks/pictures.py data/demo_seed0 --run runs/demo`
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import typer
from PIL import Image

from lidar_ebm.visualization.bev_plot import BoxLayer, plot_bev
from lidar_ebm.visualization.offscreen import render
from lidar_ebm.visualization.scene import SceneFrame
from lidar_ebm.visualization.scene_geometry import POSES
from lidar_ebm.visualization.scene_pictures import overlay
from lidar_ebm.workflows.view import open_frames


def draw_bev(frame: SceneFrame, path: Path) -> None:
    """From above, by matplotlib."""
    plot_bev(frame.points, path, layers=[BoxLayer(each.name, each.boxes, each.color) for each in frame.sets])


def draw_space(frame: SceneFrame, path: Path, pose: str) -> None:
    """In space, from one of `POSES`."""
    Image.fromarray(render(frame, POSES[pose])).save(path)


def main(data: Path, run: Path | None = None, frames: int = 20, repeats: int = 3) -> None:
    """Print a row for each kind of picture."""
    shown = open_frames([data], run=run, images=True)[:frames]
    points = [len(frame.points) for frame in shown]
    typer.echo(f"{len(shown)} frames of {min(points):,} to {max(points):,} points, {repeats} times\n")
    typer.echo("| picture | first (s) | median (s) | slowest (s) |\n| --- | --- | --- | --- |")
    kinds: dict[str, Callable[[SceneFrame, Path], object]] = {"from above (BEV)": draw_bev}
    if all(frame.camera is not None for frame in shown):
        kinds["in the camera's image"] = overlay
    kinds |= {f"in space, {pose}": partial(draw_space, pose=pose) for pose in POSES}
    with tempfile.TemporaryDirectory() as folder:
        for name, draw in kinds.items():
            seconds = []
            for frame in [shown[0], *shown * repeats]:
                start = time.perf_counter()
                draw(frame, Path(folder) / "picture.png")
                seconds.append(time.perf_counter() - start)
            median, slowest = statistics.median(seconds[1:]), max(seconds[1:])
            typer.echo(f"| {name} | {seconds[0]:.2f} | {median:.2f} | {slowest:.2f} |")


if __name__ == "__main__":
    typer.run(main)
