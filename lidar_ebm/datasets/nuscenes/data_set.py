"""nuScenes as a data set: ten sweeps a frame, labels of ten classes, splits by scene names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.boxes.difficulty import difficulty_by_points
from lidar_ebm.datasets.base import BaseDataSet
from lidar_ebm.datasets.data_set import CheckedFrame
from lidar_ebm.datasets.frame import Frame
from lidar_ebm.datasets.nuscenes.checks import check_frame
from lidar_ebm.datasets.nuscenes.database import Database, open_database
from lidar_ebm.datasets.nuscenes.layout import FRAME_TABLES, find_version, official_name
from lidar_ebm.datasets.nuscenes.results import as_submitted, read_submission, write_submission
from lidar_ebm.datasets.nuscenes.table_checks import check_tables
from lidar_ebm.datasets.preparation.findings import ERROR, WARNING, Finding
from lidar_ebm.datasets.stamps import Stamps, stamps
from lidar_ebm.errors import InputError
from lidar_ebm.formats.nuscenes.classes import CLASSES
from lidar_ebm.formats.nuscenes.splits import SPLITS_FILE, is_own_split, official_splits_of, own_splits, split_scenes
from lidar_ebm.formats.nuscenes.sweeps import merge_sweeps
from lidar_ebm.formats.nuscenes.tables import Tables
from lidar_ebm.geometry.poses import FROM_RIGHT_AHEAD
from lidar_ebm.types import REFLECTANCE, TIME_LAG

SWEEPS = 10  # of a frame: the half second that the benchmark allows
CHANNELS = (REFLECTANCE, TIME_LAG, "ring")
_FULL_SCALE = np.float32(255)  # of intensity
_HALVES = ("train_detect", "train_track")  # parts of train: asked for by name, not listed


def recognise(root: Path) -> bool:
    """Tell if a folder holds tables of nuScenes, or folders of them."""
    return root.is_dir() and find_version(root) is not None


def open_folder(root: Path, prepared: str | Path | None) -> NuScenesDataSet:
    """The version in a folder; of several trainval, else mini, else test, and ROOT/VERSION names one.

    Raises:
        InputError: a table is missing.
    """
    there = find_version(root)
    if there is None:
        raise InputError(f"{root}: holds no tables of nuScenes; they stand in ROOT/VERSION/*.json.")
    return NuScenesDataSet(*there, prepared=prepared)


class NuScenesDataSet(BaseDataSet):
    """One version of nuScenes.

    The tables are read when they are first needed, once in a process.

    Args:
        root: folder with `samples`, `sweeps` and the tables' folder.
        version: of the tables.
        sweeps: files of a frame at most, the key sweep among them.
        prepared: where preparation leaves its files; ROOT/prepared/VERSION where None.

    Raises:
        InputError: the version or one of its tables is missing.
    """

    protocol = "nuscenes"
    result_format = "nuscenes"
    results_in_one_file = True
    class_names = CLASSES

    def __init__(
        self, root: str | Path, version: str, *, sweeps: int = SWEEPS, prepared: str | Path | None = None
    ) -> None:
        if sweeps < 1:
            raise InputError(f"sweeps is {sweeps}; give a number of at least 1.")
        super().__init__(root, Path(root) / "prepared" / version if prepared is None else prepared)
        self.version, self.sweeps = version, sweeps
        self.kind = f"nuScenes {version}, {sweeps} sweep{'' if sweeps == 1 else 's'} a frame"
        tables = Tables.open(root, version)
        self._folder, self._is_test = tables.folder, tables.is_test
        self._tables = tuple(tables.path(name) for name in FRAME_TABLES)
        self._made_of = stamps(self._tables)

    @property
    def database(self) -> Database:
        """The tables, as frames need them."""
        # Not kept in `self`: a process that this data set is sent to, however often, reads the tables once.
        return open_database(self.root, self.version, self.sweeps, self._made_of)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the version's splits of which the database has scenes, and of those in splits.json.

        Those of a -mini version are called train and val.
        """
        short = {official_name(self.version, name): name for name in ("train", "val")}
        official = [name for name in official_splits_of(self.version) if name not in _HALVES]
        scenes = {scene.name for scene in self.database.tables.scenes}
        there = [short.get(name, name) for name in official if scenes & split_scenes(self._folder, self.version, name)]
        return (*there, *(name for name in sorted(own_splits(self._folder)) if name not in there))

    def split_path(self, split: str) -> Path:
        """splits.json for a split of one's own; the scenes' table for an official one, whose scenes are fixed."""
        own = is_own_split(official_name(self.version, split))
        return self._folder / (SPLITS_FILE if own else "scene.json")

    def frame_names(self, split: str) -> list[str]:
        """Tokens of a split's samples, scene by scene in the order of time.

        Raises:
            InputError: there is no such split, it is of another version or has no sample, or the sweeps of one of its
                samples cannot be followed.
        """
        database, rows = self.database, self._rows(split)
        wrong = [row for row in rows if database.problem(row) is not None]
        if wrong:
            raise InputError(
                f"{database.tables.path('sample_data')}: {len(wrong)} of the {len(rows)} samples of {split} cannot be "
                f"used: {database.problem(wrong[0])} `lidar-ebm prepare` lists all."
            )
        return self._tokens(rows)

    def all_names(self) -> list[str]:
        """Tokens of all samples with a key sweep, scene by scene in the order of time."""
        database = self.database
        return self._tokens(database.tables.samples_in_time(np.flatnonzero(database.chains[:, 0] >= 0)).tolist())

    def input_paths(self, name: str) -> tuple[Path, ...]:
        """The key sweep, the tables that frames are made of (the labels' first), and the sweeps before, newest first.

        There are as many for every frame: where there are fewer sweeps the key sweep stands for the others.
        """
        paths = self.database.paths(self.database.row(name)) or [self._folder / "sample_data.json"]
        before = [*paths[1:], *paths[:1] * self.sweeps][: self.sweeps - 1]
        return (paths[0], *self._tables, *before)

    def required(self, with_labels: bool) -> tuple[int, ...]:
        """Indices of the files without which a frame cannot be read: its sweeps, and the table of labels."""
        first = 1 + len(self._tables)
        return (0, *((1,) if with_labels and not self._is_test else ()), *range(first, first + self.sweeps - 1))

    def check_splits(self, wanted: Sequence[str] | None) -> tuple[dict[str, tuple[str, ...]], tuple[Finding, ...]]:
        """The frames of each split, and all that is wrong with splits and tables."""
        findings = check_tables(Tables.open(self.root, self.version))
        try:
            database, splits = self.database, self.splits if wanted is None else wanted
            tables = database.tables
            _ = database.chains, len(tables.annotations) and (tables.category_names, tables.attribute_names)
        except InputError as error:
            if not any(finding.is_error for finding in findings):
                findings.append(Finding(ERROR, "unreadable tables", self.version, str(error)))
            # Without tables there are no frames: what is wrong with them is all there is to say.
            return dict.fromkeys(wanted or official_splits_of(self.version) or ("all",), ()), tuple(findings)
        frames: dict[str, tuple[str, ...]] = {}
        for split in splits:
            place = self.split_path(split).relative_to(self.root).as_posix()
            try:
                frames[split] = tuple(self._tokens(self._rows(split)))
                lacking = split_scenes(self._folder, self.version, official_name(self.version, split)) - {
                    scene.name for scene in database.tables.scenes
                }
            except InputError as error:
                message = str(error).removeprefix(f"{self._folder}: ")
                findings.append(Finding(ERROR, "unreadable splits", place, message))
                continue
            if lacking and place.endswith(SPLITS_FILE):
                message = f"{split}: {len(lacking)} scenes are not in the tables, {min(lacking)} the first of them."
                findings.append(Finding(WARNING, "splits with unknown scenes", place, message))
        return frames, tuple(findings)

    def read(self, name: str, *, with_labels: bool = True) -> Frame:
        """A frame: sweeps moved into the key sweep's frame, without the points near the ego vehicle, and labels.

        Raises:
            InputError: a file is missing or damaged, or the chain of sweeps is broken.
        """
        database = self.database
        sample = database.row(name)
        points = merge_sweeps(database.sweep_files(sample), FROM_RIGHT_AHEAD)
        points[:, 3] /= _FULL_SCALE
        return Frame(name, points, CHANNELS, self.labels(name) if with_labels else None)

    def labels(self, name: str) -> Boxes:
        """Labels of a sample, LiDAR frame: velocity over ground, attribute, track, points of the key sweep, difficulty.

        The ten classes go by their names, all other objects by their categories'.

        Raises:
            InputError: a table is damaged.
        """
        boxes = self.database.labels(self.database.row(name))
        counts = np.zeros(0, np.int64) if boxes.points is None else boxes.points
        words = [difficulty_by_points(box, int(points)) for box, points in zip(boxes.boxes, counts, strict=True)]
        return boxes.with_columns(difficulty=words)

    def boxes_at(self, file: str) -> Boxes:
        """Labels at the instant of a LiDAR file (its token in sample_data), in the LiDAR frame of that instant.

        Between samples objects go straight from where they were to where they will be.

        Raises:
            InputError: there is no such file, or a table is damaged.
        """
        row = self.database.file_rows.get(file)
        if row is None:
            raise InputError(
                f"{self._folder / 'sample_data.json'}: the LiDAR has no file with the token {file!r}. Check the name."
            )
        return self.database.labels_at(row)

    def check(self, name: str, inputs: Stamps) -> CheckedFrame:
        """Read and check a frame, whatever is wrong with it."""
        return check_frame(self.database, name, self.read)

    def compare(self, frames: Mapping[str, Stamps], *, named: bool) -> Iterable[Finding]:
        """Sweeps that belong to no frame of a split; nothing where no frame could be named."""
        return super().compare(frames, named=named) if frames else ()

    def sensor_pose_of(self, name: str) -> np.ndarray:
        """Pose [4, 4]: a sample's LiDAR frame (x forward, y left) → global frame.

        Raises:
            InputError: there is no such sample.
        """
        return self.database.lidar_pose(self.database.row(name))

    def ego_pose_of(self, name: str) -> np.ndarray:
        """Pose [4, 4]: ego frame → global frame at a sample's key sweep.

        Raises:
            InputError: there is no such sample.
        """
        return self.database.ego_pose(self.database.row(name))

    def write_results(self, folder: Path, results: Mapping[str, Boxes]) -> None:
        """Write detections as one submission, FOLDER/data/results_nusc.json; see `write_submission`.

        Raises:
            InputError: a box holds NaN.
            OutputError: the file cannot be written.
        """
        write_submission(folder, results, self.sensor_pose_of)

    def as_written(self, boxes: Boxes) -> Boxes:
        """Detections of a sample as a submission has them: the best 500, each with an attribute."""
        return as_submitted(boxes)

    def read_results(self, folder: Path, name: str) -> Boxes | None:
        """Detections of a sample in a submission, or in a folder that holds one; None where it has none of it.

        Raises:
            InputError: the file is damaged, or there are several.
        """
        return read_submission(folder, name, self.sensor_pose_of)

    def _rows(self, split: str) -> list[int]:
        tables = self.database.tables
        rows: list[int] = tables.samples_in_time(tables.samples_of_split(official_name(self.version, split))).tolist()
        return rows

    def _tokens(self, rows: Sequence[int]) -> list[str]:
        samples = self.database.tables.samples
        return [samples[row].token for row in rows]
