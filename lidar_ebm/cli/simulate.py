"""The verb `simulate`: a data set of simulated frames or scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lidar_ebm.cli.options import read_renames
from lidar_ebm.cli.verb import Verb


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    frames: Annotated[int, typer.Option(help="Number of frames; of nuscenes: key frames, in whole scenes.")] = 750,
    seed: Annotated[int, typer.Option(help="Frame i of a seed is always the same bytes.")] = 0,
    val_fraction: Annotated[float, typer.Option(help="Share of the frames, or scenes, that go to the val split.")] = 1
    / 3,
    full: Annotated[bool, typer.Option("--full", help="All 360°, not the camera's view alone.")] = False,
    layout: Annotated[
        str,
        typer.Option(
            help="kitti; folder: with a dataset.yaml, points and labels all around; nuscenes: scenes of sweeps."
        ),
    ] = "kitti",
    rename: Annotated[
        list[str] | None, typer.Option(help="Another name for a class, Car=forklift; once for each.")
    ] = None,
    rolling_shutter: Annotated[
        str,
        typer.Option(
            help="none: a sweep at one instant; raw: while the sensor turns; compensated: raw, its own motion removed."
        ),
    ] = "none",
    scenes: Annotated[int | None, typer.Option(help="nuscenes: number of scenes, in place of --frames.")] = None,
    samples_per_scene: Annotated[int, typer.Option(help="nuscenes: key frames of a scene, 2 a second.")] = 40,
    sweep_rate: Annotated[int, typer.Option(help="nuscenes: sweeps a second: 20, 10, 4 or 2.")] = 20,
    azimuth_steps: Annotated[int, typer.Option(help="nuscenes: azimuths in a turn; 360 for small sweeps.")] = 1084,
    workers: Annotated[int | None, typer.Option(help="Processes; one per core where not given.")] = None,
) -> None:
    """Make a data set of simulated LiDAR frames with labels."""
    from lidar_ebm.datasets.writing import scene_writers
    from lidar_ebm.errors import InputError
    from lidar_ebm.simulation.drive import DriveSettings
    from lidar_ebm.simulation.shutter import check_rolling_shutter
    from lidar_ebm.system.progress import progress_bar
    from lidar_ebm.workflows.simulate import simulate as run_simulation
    from lidar_ebm.workflows.simulate_scenes import simulate_scenes

    shutter = check_rolling_shutter(rolling_shutter)
    if layout in scene_writers():
        if rename or full:
            raise InputError(f"--rename and --full are for frames; --layout {layout} has scenes. Leave them out.")
        settings = DriveSettings(seed, samples_per_scene, sweep_rate, azimuth_steps, shutter)
        count = -(-frames // samples_per_scene) if scenes is None else scenes
        with progress_bar("Simulating", count * samples_per_scene) as bar:
            simulate_scenes(
                out,
                settings,
                scenes=count,
                layout=layout,
                workers=workers,
                val_fraction=val_fraction,
                progress=bar.reach,
            )
        return
    if scenes is not None:
        raise InputError(f"--scenes is for --layout {', '.join(scene_writers())}; {layout} has --frames.")
    with progress_bar("Simulating", frames) as bar:
        run_simulation(
            out,
            frames=frames,
            seed=seed,
            val_fraction=val_fraction,
            full=full,
            layout=layout,
            names=read_renames(rename),
            rolling_shutter=shutter,
            workers=workers,
            progress=bar.reach,
        )


VERBS = (
    Verb(
        simulate,
        "`lidar-ebm simulate data/simulated --frames 750 --seed 0`",
        panel="Data",
        place=10,
        going_on="The same command goes on from here.",
    ),
)
