"""Frames to look at: points, and sets of boxes from labels, result files of any program, or a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from lidar_ebm.datasets.kitti.frame_file import FrameFile, read_frame_file
from lidar_ebm.datasets.kitti.layout import split_path
from lidar_ebm.datasets.kitti.raw_frame import boxes_in_space
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import FIXED_AXES, Calibration
from lidar_ebm.formats.kitti.files import read_labels
from lidar_ebm.formats.text_lists import read_names
from lidar_ebm.visualization import palette

KEPT = 8  # frames in memory
LABEL, BEFORE, AFTER = "label", "before refinement", "after refinement"  # names of sets of boxes


@dataclass(frozen=True, eq=False)
class BoxSet:
    """Boxes that are drawn alike."""

    name: str  # in the legend
    boxes: np.ndarray  # [M, 7] float32, LiDAR frame
    types: tuple[str, ...]  # M class names
    color: str
    scores: np.ndarray | None = None  # [M]
    f: np.ndarray | None = None  # [M]
    path: np.ndarray | None = None  # [1 + T, M, 7] where refinement had each box after 0..T steps
    path_f: np.ndarray | None = None  # [1 + T, M] f there

    def at_step(self, step: int) -> BoxSet:
        """The same boxes after so many refinement steps, at most all; as they are where no path is known."""
        if self.path is None or self.path_f is None:
            return self
        step = min(step, len(self.path) - 1)
        return replace(self, name=f"{self.name}, step {step}", boxes=self.path[step], f=self.path_f[step])


@dataclass(frozen=True)
class BoxFilter:
    """Which boxes are shown."""

    types: tuple[str, ...] | None = None  # class names, in any case of letters; None for all
    min_score: float = -math.inf  # of boxes that have one; other programs' scores can be negative
    max_distance: float = math.inf  # from the sensor, horizontal, m

    def apply(self, boxes: BoxSet) -> BoxSet:
        """The boxes of a set that pass."""
        keep = np.hypot(boxes.boxes[:, 0], boxes.boxes[:, 1]) <= self.max_distance
        if self.types is not None:
            wanted = {name.lower() for name in self.types}
            keep &= np.array([name.lower() in wanted for name in boxes.types], dtype=bool)
        if boxes.scores is not None:
            keep &= np.asarray(boxes.scores) >= self.min_score
        rows = np.flatnonzero(keep)
        return replace(
            boxes,
            boxes=boxes.boxes[rows],
            types=tuple(boxes.types[k] for k in rows),
            scores=None if boxes.scores is None else boxes.scores[rows],
            f=None if boxes.f is None else boxes.f[rows],
            path=None if boxes.path is None else boxes.path[:, rows],
            path_f=None if boxes.path_f is None else boxes.path_f[:, rows],
        )


@dataclass(frozen=True, eq=False)
class SceneFrame:
    """One frame."""

    name: str
    points: np.ndarray  # [N, 4] float32: x, y, z (m, LiDAR frame), reflectance 0..1
    calibration: Calibration | None  # None where the frame has none
    image: Path | None  # of the left colour camera
    sets: tuple[BoxSet, ...]  # later ones are drawn over earlier ones

    @property
    def steps(self) -> int:
        """Refinement steps that can be shown; 0 where no path is known."""
        return max((len(each.path) - 1 for each in self.sets if each.path is not None), default=0)

    def at_step(self, step: int) -> SceneFrame:
        """The frame with every path's boxes after so many steps."""
        return replace(self, sets=tuple(each.at_step(step) for each in self.sets))

    def filtered(self, chosen: BoxFilter) -> SceneFrame:
        """The frame with the boxes that pass."""
        return replace(self, sets=tuple(chosen.apply(each) for each in self.sets))


class SceneFrames(Sequence[SceneFrame]):
    """Frames that are read when they are asked for; the last ones stay in memory. See `open_frames`."""

    def __init__(
        self, paths: Sequence[Path], labels: bool, results: Sequence[Path], run: Path | None, theme: palette.Theme
    ) -> None:
        """Args: paths: point clouds; the others as for `open_frames`."""
        self.paths, self.labels, self.results, self.run, self.theme = list(paths), labels, list(results), run, theme
        self.names = [path.stem for path in paths]
        self._titles = result_titles(self.results)
        self._kept = lru_cache(KEPT)(self._read)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # as Sequence has it: a frame, or a list of them
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        return self._kept(range(len(self))[index])

    def subset(self, places: Sequence[int]) -> SceneFrames:
        """The frames at these places alone, read when they are asked for too."""
        paths = [self.paths[place] for place in places]
        return SceneFrames(paths, self.labels, self.results, self.run, self.theme)

    def index_of(self, name: str) -> int:
        """The place of a frame.

        Raises:
            InputError: there is none of this name.
        """
        if name not in self.names:
            raise InputError(f"frame {name!r} is none of the {len(self)}, {self.names[0]} to {self.names[-1]}.")
        return self.names.index(name)

    @cached_property
    def _detector(self):  # type: ignore[no-untyped-def]  # the type would load torch's part of the program
        from lidar_ebm.inference.detection import load_detector

        assert self.run is not None
        return load_detector(self.run)

    def _read(self, index: int) -> SceneFrame:
        file = read_frame_file(self.paths[index])
        name, calibration = file.name, file.calibration
        sets, look = [], self.theme
        if self.labels and file.labels is not None:
            sets.append(_read_boxes(LABEL, file.labels, calibration, look.label, scored=False))
        if self.run is not None:
            sets.extend(self._detect(file))
        colors = [color for color in look.cycle if color not in (look.label, look.before, look.after)]
        if self.run is None:
            colors = [look.after, look.before, *colors]
        for number, result in enumerate(self.results):
            title, color = self._titles[number], colors[number % len(colors)]
            sets.append(_read_boxes(title, result / f"{name}.txt", calibration, color, scored=True))
        return SceneFrame(name, file.points, calibration, file.image, tuple(sets))

    def _detect(self, file: FrameFile) -> list[BoxSet]:
        """What the run finds before and after refinement, in what the camera sees where its calibration is known."""
        path = self._detector.refinement_path(file.points_in_view())
        types, scores = tuple(path.boxes.names.tolist()), path.boxes.scores
        before = BoxSet(BEFORE, path.path[0], types, self.theme.before, scores, path.f[0])
        after = BoxSet(AFTER, path.path[-1], types, self.theme.after, scores, path.f[-1], path.path, path.f)
        return [before, after]


def open_frames(
    paths: Sequence[str | Path],
    *,
    split: str | None = None,
    labels: bool = True,
    results: Sequence[str | Path] = (),
    run: str | Path | None = None,
    theme: palette.Theme = palette.LIGHT,
) -> SceneFrames:
    """Frames of a data set in KITTI's layout, or of point-cloud files.

    In KITTI's layout a frame's calibration, image and labels are found beside its points; without a calibration label
    and result files are read with the nominal one.

    Args:
        paths: one folder in KITTI's layout, or .bin, .npy, .pcd or .ply files.
        split: name of a file in `ImageSets`; all frames of the folder where None.
        labels: whether to show labels where they are known.
        results: folders of KITTI result files, of any program; a frame without a file there has no result.
        run: a trained run, which detects in every frame that is looked at.
        theme: whose colours the boxes have.

    Raises:
        InputError: there are no frames, or a file or folder is missing.
    """
    given = [Path(path) for path in paths]
    folders = [path for path in given if path.is_dir()]
    if folders and len(given) > 1:
        raise InputError(f"{folders[0]}: give one folder, or point-cloud files alone.")
    if folders:
        points = folders[0] / "training" / "velodyne"
        names = None if split is None else read_names(split_path(folders[0], split))
        files = sorted(points.glob("*.bin")) if names is None else [points / f"{name}.bin" for name in names]
    else:
        if split is not None:
            raise InputError(f"--split {split}: a split is a part of a folder in KITTI's layout; files were given.")
        files = given
    if not files:
        raise InputError(f"{given[0] if given else 'frames'}: no frames there (training/velodyne/*.bin).")
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise InputError(f"{missing}: no such folder or point cloud. Check the name.")
    folders_of_results = [path / "data" if (path / "data").is_dir() else path for path in map(Path, results)]
    absent = next((path for path in folders_of_results if not path.is_dir()), None)
    if absent is not None:
        raise InputError(f"{absent}: no such folder of result files.")
    return SceneFrames(files, labels, folders_of_results, None if run is None else Path(run), theme)


def result_titles(folders: Sequence[Path]) -> list[str]:
    """What folders of results are called, each by another name: their own (their parent's if it is `data`, as in
    KITTI's submissions), and where that is no difference "PART/…/NAME", with the last part of the path that is one."""
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


def _read_boxes(name: str, path: Path, calibration: Calibration | None, color: str, *, scored: bool) -> BoxSet:
    if not path.is_file():  # a result set may leave out empty frames
        return BoxSet(name, np.zeros((0, 7), np.float32), (), color)
    known = FIXED_AXES if calibration is None else calibration
    labels, boxes = boxes_in_space(read_labels(path, require_score=scored), known, path)
    scores = np.array([label.score for label in labels], dtype=np.float64) if scored else None
    return BoxSet(name, boxes.astype(np.float32), tuple(label.type for label in labels), color, scores)
