from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from lidar_ebm.config.augmentation import AugmentationConfig, ObjectNoiseConfig, SamplingConfig
from lidar_ebm.errors import OutputError
from lidar_ebm.visualization import palette
from lidar_ebm.workflows.augmentation import plot_augmentation
from tests.training.augmentation.scenes import CLASSES, make_frame, make_objects


def has_color(path: Path, color: str) -> bool:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB")) / 255
    above_legend = pixels[: int(0.93 * len(pixels))]
    return bool((np.abs(above_legend - to_rgb(color)).max(axis=-1) < 0.02).any())


def test_labels_added_objects_and_former_places_are_drawn(tmp_path: Path) -> None:
    frame = make_frame(types=("Car",) * 6)
    path = plot_augmentation(frame, make_objects(), CLASSES, tmp_path / "a.png", view=(0, -30, 65, 30))
    assert has_color(path, palette.LABEL)
    assert has_color(path, palette.REGION)
    without = plot_augmentation(frame, make_objects(count=0), CLASSES, tmp_path / "b.png", view=(0, -30, 65, 30))
    assert has_color(without, palette.LABEL)
    assert not has_color(without, palette.REGION)


def test_the_seed_decides_and_parts_that_are_off_are_drawn_too(tmp_path: Path) -> None:
    frame, objects = make_frame(types=("Car",) * 6), make_objects()
    off = AugmentationConfig(sampling=SamplingConfig(enabled=False), object_noise=ObjectNoiseConfig(enabled=False))
    first, second, third = (
        plot_augmentation(frame, objects, CLASSES, tmp_path / f"{i}.png", seed=seed, settings=settings).read_bytes()
        for i, (seed, settings) in enumerate(((1, None), (1, off), (2, None)))
    )
    assert first == second
    assert first != third


def test_a_frame_without_anything_is_drawn(tmp_path: Path) -> None:
    path = plot_augmentation(make_frame(types=(), points=0), make_objects(count=0), CLASSES, tmp_path / "a.png")
    assert not has_color(path, palette.LABEL)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        plot_augmentation(make_frame(), make_objects(), CLASSES, tmp_path / "file" / "a.png")
