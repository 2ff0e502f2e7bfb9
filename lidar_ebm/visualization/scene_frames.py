"""Frames to look at: points, and sets of boxes from labels, result files of any program, or a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from lidar_ebm.data.kitti_files import read_calibration, read_image_size, read_labels, read_split
from lidar_ebm.data.layout import split_path
from lidar_ebm.data.point_files import read_point_file
from lidar_ebm.data.raw_frame import boxes_in_space
from lidar_ebm.errors import InputError
from lidar_ebm.geometry.calibration import DEFAULT_IMAGE_SIZE, Calibration
from lidar_ebm.geometry.frames import crop_to_camera_view
from lidar_ebm.visualization import palette

KEPT = 8  # frames in memory


@dataclass(frozen=True, eq=False)
class BoxSet:
    """Boxes that are drawn alike."""

    name: str  # in the legend
    boxes: np.ndarray  # [M, 7] float32, LiDAR frame
    types: tuple[str, ...]  # M class names
    color: str
    scores: np.ndarray | None = None  # [M]
    f: np.ndarray | None = None  # [M]


@dataclass(frozen=True, eq=False)
class SceneFrame:
    """One frame."""

    name: str
    points: np.ndarray  # [N, 4] float32: x, y, z (m, LiDAR frame), reflectance 0..1
    calibration: Calibration | None  # None where the frame has none
    image: Path | None  # of the left colour camera
    sets: tuple[BoxSet, ...]  # later ones are drawn over earlier ones


class SceneFrames(Sequence[SceneFrame]):
    """Frames that are read when they are asked for; the last ones stay in memory. See `open_frames`."""

    def __init__(self, paths: Sequence[Path], labels: bool, results: Sequence[Path], run: Path | None) -> None:
        """Args: paths: point clouds; the others as for `open_frames`."""
        self.paths, self.labels, self.results, self.run = list(paths), labels, list(results), run
        self.names = [path.stem for path in paths]
        self._kept = lru_cache(KEPT)(self._read)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # as Sequence has it: a frame, or a list of them
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        return self._kept(range(len(self))[index])

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
        from lidar_ebm.detection import load_detector

        assert self.run is not None
        return load_detector(self.run)

    def _read(self, index: int) -> SceneFrame:
        path = self.paths[index]
        points, folder, name = read_point_file(path), path.resolve().parent.parent, path.stem
        file = folder / "calib" / f"{name}.txt"
        calibration = read_calibration(file, need_headings=True) if file.is_file() else None
        picture = folder / "image_2" / f"{name}.png"
        image = picture if picture.is_file() else None
        sets = []
        label_file = folder / "label_2" / f"{name}.txt"
        if self.labels and label_file.is_file():
            sets.append(_read_boxes("label", label_file, calibration, palette.LABEL, scored=False))
        if self.run is not None:
            sets.extend(self._detect(points, calibration, image))
        colors = [color for color in palette.CYCLE if color not in (palette.LABEL, palette.BEFORE, palette.AFTER)]
        if self.run is None:
            colors = [palette.AFTER, palette.BEFORE, *colors]
        for number, result in enumerate(self.results):
            title, color = _title(result), colors[number % len(colors)]
            sets.append(_read_boxes(title, result / f"{name}.txt", calibration, color, scored=True))
        return SceneFrame(name, points, calibration, image, tuple(sets))

    def _detect(self, points: np.ndarray, calibration: Calibration | None, image: Path | None) -> list[BoxSet]:
        """What the run finds before and after refinement, in what the camera sees where its calibration is known."""
        if calibration is not None:
            size = DEFAULT_IMAGE_SIZE if image is None else read_image_size(image)
            points = points[np.asarray(crop_to_camera_view(points, calibration, size))]
        before, after = self._detector.detect_before_after(points)
        names = self._detector.config.class_names
        types = tuple(names[k] for k in after.labels.tolist())
        return [
            BoxSet(name, found.boxes.numpy(), types, color, found.scores.numpy(), found.f.numpy())
            for name, found, color in (
                ("before refinement", before, palette.BEFORE),
                ("after refinement", after, palette.AFTER),
            )
        ]


def open_frames(
    paths: Sequence[str | Path],
    *,
    split: str | None = None,
    labels: bool = True,
    results: Sequence[str | Path] = (),
    run: str | Path | None = None,
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

    Raises:
        InputError: there are no frames, or a file or folder is missing.
    """
    given = [Path(path) for path in paths]
    folders = [path for path in given if path.is_dir()]
    if folders and len(given) > 1:
        raise InputError(f"{folders[0]}: give one folder, or point-cloud files alone.")
    if folders:
        points = folders[0] / "training" / "velodyne"
        names = None if split is None else read_split(split_path(folders[0], split))
        files = sorted(points.glob("*.bin")) if names is None else [points / f"{name}.bin" for name in names]
    else:
        if split is not None:
            raise InputError(f"--split {split}: a split is a part of a folder in KITTI's layout; files were given.")
        files = given
    if not files:
        raise InputError(f"{given[0] if given else 'frames'}: no frames there (training/velodyne/*.bin).")
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise InputError(f"{missing}: no such point cloud.")
    folders_of_results = [path / "data" if (path / "data").is_dir() else path for path in map(Path, results)]
    absent = next((path for path in folders_of_results if not path.is_dir()), None)
    if absent is not None:
        raise InputError(f"{absent}: no such folder of result files.")
    return SceneFrames(files, labels, folders_of_results, None if run is None else Path(run))


def _title(folder: Path) -> str:
    """What a folder of results is called: its name, or its parent's if that is `data`, as in KITTI's submissions."""
    return folder.resolve().parent.name if folder.name == "data" else folder.resolve().name


def _read_boxes(name: str, path: Path, calibration: Calibration | None, color: str, *, scored: bool) -> BoxSet:
    if not path.is_file():  # a result set may leave out empty frames
        return BoxSet(name, np.zeros((0, 7), np.float32), (), color)
    known = Calibration.nominal() if calibration is None else calibration
    labels, boxes = boxes_in_space(read_labels(path, require_score=scored), known, path)
    scores = np.array([label.score for label in labels], dtype=np.float64) if scored else None
    return BoxSet(name, boxes.astype(np.float32), tuple(label.type for label in labels), color, scores)
