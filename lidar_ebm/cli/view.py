"""The verb of the command that shows frames in space: view."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from lidar_ebm.cli import options as options
from lidar_ebm.cli.verb import Verb


def view(
    paths: Annotated[list[Path], typer.Argument(help="A data set's folder, or point-cloud files.")],
    screenshot: Annotated[
        Path | None, options.output("Folder for pictures, drawn without a display in place of a window.")
    ] = None,
    frame: Annotated[
        list[str] | None,
        typer.Option(help="Name of a frame: the window begins there; a picture is made of each, or of the first."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Name of a split of the data set.")] = None,
    labels: Annotated[bool, typer.Option("--labels/--no-labels", help="Show labels where they are known.")] = True,
    results: Annotated[
        list[Path] | None, typer.Option(help="Results of any program, a file or folder; once for each set.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Run that detects, before and after refinement.")] = None,
    color: Annotated[
        str, typer.Option(help="Points by height, distance, boxes, or a channel: reflectance, time_lag, ring, …")
    ] = "height",
    class_name: Annotated[
        list[str] | None, typer.Option("--class", help="Boxes of this class alone, once for each.")
    ] = None,
    boxes_by: Annotated[
        str, typer.Option(help="Boxes in the colour of their set (set), or each class in its own (class).")
    ] = "set",
    velocity: Annotated[
        bool, typer.Option("--velocity/--no-velocity", help="Arrows of boxes that have a velocity: 1 s ahead.")
    ] = True,
    min_score: Annotated[
        float | None, typer.Option(help="Boxes with at least this score, where they have one.", show_default="any")
    ] = None,
    max_distance: Annotated[float, typer.Option(help="Boxes as near as this to the sensor, m.")] = math.inf,
    theme: Annotated[str, typer.Option(help="light or dark.")] = "light",
    seen: Annotated[
        str,
        typer.Option(
            "--from",
            help="Of pictures: behind (the sensor), above, bev (a map), image (boxes in the camera's image).",
        ),
    ] = "behind",
    pose: Annotated[
        str | None, typer.Option(help="Of pictures: x,y,z of the eye and x,y,z of what it looks at, LiDAR frame, m.")
    ] = None,
    animate: Annotated[
        str | None, typer.Option(help="Of pictures: a GIF of a turntable, of a flight (fly), or of the refinement.")
    ] = None,
) -> None:
    """Frames in space with labels, any number of result sets and a run: in a window, or as pictures.

    The window lists its keys; pictures are drawn by Open3D too, on machines without a display or a GPU.
    """
    from lidar_ebm.errors import InputError
    from lidar_ebm.visualization.palette import find_theme
    from lidar_ebm.visualization.scene import BoxFilter
    from lidar_ebm.visualization.scene_geometry import Pose
    from lidar_ebm.visualization.scene_pictures import IMAGE, check_coloring, write_pictures
    from lidar_ebm.workflows.view import open_frames

    chosen_theme = find_theme(theme)
    if boxes_by not in ("set", "class"):
        raise InputError(f"--boxes-by {boxes_by!r}: choose one of set, class.")
    if screenshot is None:
        from lidar_ebm.visualization.viewer import check_display

        try:
            check_display()
        except InputError as error:
            raise InputError(f"{error} Give --screenshot FOLDER.") from error
    frames = open_frames(
        paths,
        split=split,
        labels=labels,
        results=results or [],
        run=run,
        theme=chosen_theme,
        images=screenshot is not None and seen == IMAGE,
    )
    chosen = BoxFilter(
        tuple(class_name) if class_name else None, -math.inf if min_score is None else min_score, max_distance
    )
    places = frames.choose(frame, paths[0].is_dir())
    if screenshot is None:
        from lidar_ebm.visualization.viewer import open_window
        from lidar_ebm.visualization.viewer_state import ViewerState

        state = ViewerState(
            frames,
            places[0],
            color,
            chosen,
            velocity=velocity,
            theme=chosen_theme,
            class_colors=boxes_by == "class",
        )
        check_coloring(state.frame, color)
        open_window(state, theme=chosen_theme)
        return
    shown = frames.subset(places)
    shown.check_names()
    for path in write_pictures(
        shown,
        screenshot,
        seen=seen,
        pose=None if pose is None else Pose.read(pose),
        color=color,
        chosen=chosen,
        theme=chosen_theme,
        animate=animate,
        by_class=boxes_by == "class",
        velocity=velocity,
    ):
        typer.echo(path)


VERBS = (
    Verb(
        view,
        "`lidar-ebm view data/simulated --frame 000012 --results RESULTS --screenshot pictures`",
        panel="Pictures",
        place=100,
    ),
)
