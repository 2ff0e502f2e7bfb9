"""From data sets, point clouds, result sets and a run to frames that can be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.frame import Frame
from lidar_ebm.datasets.kitti.frame_file import check_names
from lidar_ebm.datasets.source import FrameSource
from lidar_ebm.errors import InputError
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.box_arrays import as_array
from lidar_ebm.visualization.scene import AFTER, BEFORE, LABEL, BoxSet, SceneFrame
from lidar_ebm.workflows.sources import (
    FileSource,
    image_of,
    open_files,
    open_frame_source,
    points_in_view,
    read_results,
)

KEPT = 8  # frames in memory


class SceneFrames(Sequence[SceneFrame]):
    """Frames that are read when they are asked for; the last ones stay in memory. See `open_frames`."""

    def __init__(
        self,
        source: FrameSource,
        places: Sequence[int],
        *,
        labels: bool = True,
        results: Sequence[Path] = (),
        run: Path | None = None,
        theme: palette.Theme = palette.LIGHT,
        images: bool = False,
    ) -> None:
        """Args: source: the data; places: of its frames to show; the others as for `open_frames`."""
        self.source, self.places = source, list(places)
        self.labels, self.results, self.run, self.theme, self.images = labels, list(results), run, theme, images
        self.names = [source.name(place) for place in self.places]
        self._titles = result_titles(self.results)
        self._kept = lru_cache(KEPT)(self._read)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # as Sequence has it: a frame, or a list of them
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        return self._kept(range(len(self))[index])

    def subset(self, places: Sequence[int]) -> SceneFrames:
        """The frames at these places alone, read when they are asked for too."""
        return SceneFrames(
            self.source,
            [self.places[place] for place in places],
            labels=self.labels,
            results=self.results,
            run=self.run,
            theme=self.theme,
            images=self.images,
        )

    def index_of(self, name: str) -> int:
        """The place of a frame.

        Raises:
            InputError: there is none of this name.
        """
        if name not in self.names:
            raise InputError(f"frame {name!r} is none of the {len(self)}, {self.names[0]} to {self.names[-1]}.")
        return self.names.index(name)

    def choose(self, names: Sequence[str] | None, whole_folder: bool) -> list[int]:
        """Places of the frames of these names; without names the first of a folder, or all of the given files.

        Raises:
            InputError: a name is unknown.
        """
        if not names:
            return list(range(1 if whole_folder else len(self)))
        return list(dict.fromkeys(map(self.index_of, names)))

    def check_names(self) -> None:
        """Refuse frames that would write one file.

        Raises:
            InputError: two of them have one name.
        """
        if isinstance(self.source, FileSource):  # names of a data set are told apart by it
            check_names([self.source.paths[place] for place in self.places])

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes that the source declares, or where it declares none the run's; none without a run either."""
        if self.source.class_names or self.run is None:
            return tuple(self.source.class_names)
        return tuple(self._detector.config.class_names)

    @cached_property
    def _detector(self):  # type: ignore[no-untyped-def]  # the type would load torch's part of the program
        from lidar_ebm.inference.detection import load_detector

        assert self.run is not None
        return load_detector(self.run)

    def _read(self, index: int) -> SceneFrame:
        frame, sets, theme = self.source[self.places[index]], list[BoxSet](), self.theme
        if self.labels and frame.boxes is not None:
            sets.append(box_set(LABEL, frame.boxes, theme.label))
        if self.run is not None:
            sets.extend(self._detect(frame))
        colors = [color for color in theme.cycle if color not in (theme.label, theme.before, theme.after)]
        if self.run is None:
            colors = [theme.after, theme.before, *colors]
        for number, result in enumerate(self.results):
            boxes = read_results(result, frame, self.source)  # a result set may leave out empty frames
            sets.append(box_set(self._titles[number], boxes or Boxes.empty(), colors[number % len(colors)]))
        image = image_of(self.source, self.places[index]) if self.images else None
        return SceneFrame(frame.name, frame.points, tuple(sets), frame.channels, frame.camera, image, self.class_names)

    def _detect(self, frame: Frame) -> list[BoxSet]:
        """Detections of the run before and after refinement."""
        channels = self._detector.config.points.channels
        refined = self._detector.refinement_path(points_in_view(frame, channels))
        types, scores = tuple(refined.boxes.names.tolist()), refined.boxes.scores
        before = BoxSet(BEFORE, refined.path[0], types, self.theme.before, scores, refined.f[0])
        after = BoxSet(AFTER, refined.path[-1], types, self.theme.after, scores, refined.f[-1], refined.path, refined.f)
        return [before, after]


def box_set(name: str, boxes: Boxes, color: str) -> BoxSet:
    """Boxes of any class, with their velocities where they have some, as a set that is drawn alike."""
    return BoxSet(name, as_array(boxes).astype(np.float32), tuple(boxes.names.tolist()), color, boxes.scores, boxes.f)


def open_frames(
    paths: Sequence[str | Path],
    *,
    split: str | None = None,
    labels: bool = True,
    results: Sequence[str | Path] = (),
    run: str | Path | None = None,
    theme: palette.Theme = palette.LIGHT,
    images: bool = False,
) -> SceneFrames:
    """Frames of a data set, or of point-cloud files.

    Args:
        paths: one folder of a data set, or point-cloud files; what stands beside a file that lies in a data set's
            layout belongs to its frame.
        split: name of a split of the data set; all frames of the folder where None.
        labels: show labels where they are there.
        results: files or folders of results in any format that `lidar_ebm.formats` reads; a frame that is not in them
            has no result.
        run: a trained run, which detects in every frame that is looked at.
        theme: whose colours the boxes have.
        images: read the images of the frames' cameras too.

    Raises:
        InputError: there are no frames, or a file or folder is missing.
    """
    given = [Path(path) for path in paths]
    if not given:
        raise InputError("paths: none is given; name a data set's folder, or point clouds.")
    folders = [path for path in given if path.is_dir()]
    if folders and len(given) > 1:
        raise InputError(f"{folders[0]}: give one folder, or point-cloud files alone.")
    if folders:
        source = open_frame_source(folders[0], split)
    else:
        if split is not None:
            raise InputError(f"split {split}: a split is a part of a data set's folder; files were given.")
        source = open_files(given)
    sets = [Path(path) for path in results]
    absent = next((path for path in sets if not path.exists()), None)
    if absent is not None:
        raise InputError(f"{absent}: no such file or folder of results.")
    return SceneFrames(
        source,
        range(len(source)),
        labels=labels,
        results=sets,
        run=None if run is None else Path(run),
        theme=theme,
        images=images,
    )


def result_titles(folders: Sequence[Path]) -> list[str]:
    """Names of result sets, each another: the folder's own (its parent's if it is `data`).

    Where these are alike "PART/…/NAME", with the last part of the path that tells them apart.
    """
    paths = [path.resolve() for path in folders]
    paths = [path.parent if path.name == "data" else path for path in paths]
    titles: list[str] = []
    for path in paths:
        title = path.name
        alike = [other.parts[::-1] for other in paths if other.name == path.name]
        for depth, part in enumerate(path.parts[::-1]):
            if sum(other[depth : depth + 1] == (part,) for other in alike) < len(alike):
                title = f"{part}/…/{path.name}" if depth > 1 else f"{part}/{path.name}"
                break
        titles.append(f"{title} (results)" if title in ("points", LABEL, BEFORE, AFTER) else title)
    return [
        f"{title} ({1 + titles[:k].count(title)})" if titles.count(title) > 1 else title
        for k, title in enumerate(titles)
    ]
