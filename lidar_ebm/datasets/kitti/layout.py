"""Places of the files of a data set in KITTI's layout, and a check that they are still those that were looked at.

ROOT/ImageSets/SPLIT.txt             one frame name a line
ROOT/training/velodyne/NAME.bin      point cloud
ROOT/training/calib/NAME.txt         calibration
ROOT/training/label_2/NAME.txt       labels
ROOT/training/image_2/NAME.png       image of any kind, only the size is read; may be missing
ROOT/prepared/                       what `lidar-ebm prepare ROOT` makes of them

A data set without the folder `calib` is LiDAR-only: its labels stand in fixed axes, and its point clouds are not
cropped to a camera's view.
"""

from __future__ import annotations

from pathlib import Path

from lidar_ebm.errors import InputError
from lidar_ebm.formats.image_size import IMAGE_SUFFIXES

INPUTS = ("velodyne", "calib", "label_2", "image_2")
SUFFIXES = {"velodyne": ".bin", "calib": ".txt", "label_2": ".txt", "image_2": ".png"}

# Of a point cloud on its own: calibration, image and labels beside its folder.
BESIDE = (("calib", ".txt"), ("image_2", ".png"), ("label_2", ".txt"))


def input_path(root: Path, folder: str, name: str) -> Path:
    """The file of frame `name` in `training/folder`."""
    return root / "training" / folder / f"{name}{SUFFIXES[folder]}"


def split_path(root: Path, split: str) -> Path:
    """The file that lists the frames of a split."""
    return root / "ImageSets" / f"{split}.txt"


def is_lidar_only(root: Path) -> bool:
    """Tell if the data set has no calibrations.

    Raises:
        InputError: it has none, but images: the calibrations were forgotten.
    """
    training = root / "training"
    if (training / "calib").exists():
        return False
    if any(path.suffix.lower() in IMAGE_SUFFIXES for path in (training / "image_2").glob("[!.]*")):
        raise InputError(
            f"{training / 'calib'}: no such folder, though there are images. Copy the calibration files there, or "
            f"remove {training / 'image_2'} if there is no camera and the labels stand in fixed axes (LiDAR-only)."
        )
    return True


def needed_inputs(lidar_only: bool, with_labels: bool) -> tuple[str, ...]:
    """The folders in which every frame has to have a file."""
    return ("velodyne", *(() if lidar_only else ("calib",)), *(("label_2",) if with_labels else ()))
