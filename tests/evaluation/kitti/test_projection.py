"""2-D boxes from 3-D boxes: corners projected by hand, real labels, and what is left as it is."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti.objects import Objects, pack_objects
from lidar_ebm.evaluation.kitti.projection import project_missing_boxes
from lidar_ebm.formats.kitti.calibration import SIMULATED, Calibration
from lidar_ebm.formats.kitti.files import read_calibration, read_labels, write_calibration
from lidar_ebm.formats.kitti.label import Label

NO_BOX = [(0.0, 0.0, 0.0, 0.0), (-1.0, -1.0, -1.0, -1.0), (10.0, 10.0, 10.0, 40.0), (40.0, 10.0, 20.0, 40.0)]
TOLD_SIZE = (1242, 375)  # by the principal point of the P2 that all have here


def random_result(generator: np.random.Generator) -> Label:
    return Label(
        type="Car",
        truncated=-1,
        occluded=-1,
        alpha=-10.0,
        bbox=NO_BOX[generator.integers(len(NO_BOX))],
        dimensions=tuple(generator.uniform(0.5, 5.0, 3).tolist()),
        location=(generator.uniform(-15, 15), generator.uniform(0, 3), generator.uniform(6, 60)),
        rotation_y=generator.uniform(-math.pi, math.pi),
        score=0.5,
    )


def tilted_calibration() -> Calibration:
    """The camera's place to the LiDAR is far from upright, which must not matter."""
    turn = np.array([[1, 0, 0], [0, math.cos(0.3), -math.sin(0.3)], [0, math.sin(0.3), math.cos(0.3)]])
    nominal = SIMULATED
    return Calibration(nominal.p2, turn, nominal.tr_velo_to_cam)


def projected_corners(label: Label, calibration: Calibration) -> np.ndarray:
    """Pixels [8, 2] of the corners of a box that is in front of the camera."""
    height, width, length = label.dimensions
    cos, sin = math.cos(label.rotation_y), math.sin(label.rotation_y)
    pixels = []
    for along in (-length / 2, length / 2):
        for across in (-width / 2, width / 2):
            for up in (0.0, height):
                corner = np.array([cos * along + sin * across, -up, -sin * along + cos * across]) + label.location
                u, v, depth = calibration.p2 @ (*corner, 1.0)
                pixels.append((u / depth, v / depth))
    return np.array(pixels)


def by_hand(label: Label, calibration: Calibration, size: tuple[int, int]) -> np.ndarray:
    """The extent [4] in the image of a box that is in front of the camera; zeros where it is not in the image."""
    pixels = projected_corners(label, calibration)
    extent = np.array([*pixels.min(axis=0), *pixels.max(axis=0)])
    extent = np.minimum(np.maximum(extent, 0), [size[0] - 1, size[1] - 1] * 2)
    return extent if extent[0] < extent[2] and extent[1] < extent[3] else np.zeros(4)


def write_image(path: Path, size: tuple[int, int]) -> None:
    """An image of this size."""
    path.parent.mkdir(exist_ok=True)
    Image.new("L", size).save(path)


def write_calibrations(root: Path, names: list[str], calibration: Calibration) -> Path:
    for name in names:
        write_calibration(root / "calib" / f"{name}.txt", calibration)
    return root / "calib"


def assert_untouched_but(before: Objects, after: Objects, *fields: str) -> None:
    for field in ("offsets", "type_index", "truncated", "occluded", "alpha", "bbox", "boxes", "scores"):
        if field not in fields:
            np.testing.assert_array_equal(getattr(after, field), getattr(before, field))
    assert after.type_names == before.type_names


@pytest.mark.parametrize(("size", "suffix"), [(None, ""), ((1224, 370), ".png"), ((800, 200), ".jpg")])
def test_boxes_in_front_are_projected_as_by_hand(tmp_path: Path, size: tuple[int, int] | None, suffix: str) -> None:
    generator = np.random.default_rng(0)
    names = ["000000", "000001", "000002"]
    calib = write_calibrations(tmp_path, names, tilted_calibration())
    calibration = read_calibration(calib / "000000.txt")
    frames = [[random_result(generator) for _ in range(count)] for count in (20, 0, 30)]
    if size is not None:
        for name in names:
            write_image(tmp_path / "image_2" / f"{name}{suffix}", size)
    before = pack_objects(frames, need_scores=True)
    after, projected = project_missing_boxes(before, names, calib, tmp_path / "image_2")
    count = projected.count
    assert ("2 frames have no image" in projected.size_note) is (size is None)
    expected = np.array([by_hand(label, calibration, size or TOLD_SIZE) for frame in frames for label in frame])
    np.testing.assert_allclose(after.bbox, expected, atol=1e-9)
    assert count == (expected[:, 2] > 0).sum() > 10
    flat = [label for frame in frames for label in frame]
    for label, alpha in zip(flat, after.alpha, strict=True):
        x, _, z = label.location
        assert math.remainder(alpha - (label.rotation_y - math.atan2(x, z)), 2 * math.pi) == pytest.approx(0, abs=1e-12)
    assert (np.abs(after.alpha) <= math.pi).all()
    assert_untouched_but(before, after, "bbox", "alpha")


def test_what_has_a_box_or_nothing_to_project_stays_and_needs_no_files(tmp_path: Path) -> None:
    result = random_result(np.random.default_rng(1))
    frames = [
        [replace(result, bbox=(5.0, 5.0, 9.0, 9.0))],  # alpha stays unknown: the program that wrote it had its reasons
        [replace(result, dimensions=(-1.0, -1.0, -1.0)), replace(result, dimensions=(1.0, 0.0, 1.0))],
        [replace(result, location=(-1000.0, -1000.0, -1000.0)), replace(result, rotation_y=-10.0)],
    ]
    before = pack_objects(frames, need_scores=True)
    after, projected = project_missing_boxes(before, ["a", "b", "c"], tmp_path, None)
    assert (projected.count, projected.size_note) == (0, "")
    assert_untouched_but(before, after)


def test_a_known_alpha_stays(tmp_path: Path) -> None:
    result = replace(random_result(np.random.default_rng(2)), alpha=0.25, location=(0.0, 1.5, 20.0))
    calib = write_calibrations(tmp_path, ["a"], SIMULATED)
    after, projected = project_missing_boxes(pack_objects([[result]], need_scores=True), ["a"], calib, None)
    assert (projected.count, after.alpha.tolist()) == (1, [0.25])


def test_boxes_beside_and_behind_the_camera(tmp_path: Path) -> None:
    """Behind there is nothing; what reaches from behind to the front is cut at the camera, its rest fills the image."""
    result = replace(random_result(np.random.default_rng(3)), dimensions=(3.0, 2.0, 10.0), rotation_y=math.pi / 2)
    behind = replace(result, location=(2.0, 1.5, -10.0))
    outside = replace(result, location=(60.0, 1.5, 10.0))
    beside = replace(result, location=(3.0, 1.5, 1.0))  # from -4 m to 6 m
    calib = write_calibrations(tmp_path, ["a"], SIMULATED)
    before = pack_objects([[behind, outside, beside]], need_scores=True)
    after, projected = project_missing_boxes(before, ["a"], calib, None)
    assert projected.count == 1
    assert after.bbox[:2].tolist() == [[0.0] * 4] * 2
    x1, y1, x2, y2 = after.bbox[2]
    nearest = projected_corners(replace(beside, location=(3.0, 1.5, 5.99), dimensions=(3.0, 2.0, 0.01)), SIMULATED)
    assert x1 == pytest.approx(nearest[:, 0].min(), abs=2)  # the far end shows its inner edge
    assert (y1, x2, y2) == (0.0, TOLD_SIZE[0] - 1, TOLD_SIZE[1] - 1)


def test_a_missing_calibration_is_named(tmp_path: Path) -> None:
    calib = write_calibrations(tmp_path, ["a"], SIMULATED)
    frames = [[random_result(np.random.default_rng(4))]] * 2
    with pytest.raises(InputError, match=r"calib.b\.txt: cannot be read"):
        project_missing_boxes(pack_objects(frames, need_scores=True), ["a", "b"], calib, None)


def test_a_p2_that_is_no_cameras_is_refused(tmp_path: Path) -> None:
    nominal = SIMULATED
    frames = pack_objects(
        [[replace(random_result(np.random.default_rng(5)), location=(0.0, 1.5, 20.0))]], need_scores=True
    )
    unit = Calibration(np.eye(3, 4), nominal.r0_rect, nominal.tr_velo_to_cam)
    calib = write_calibrations(tmp_path, ["a"], unit)
    with pytest.raises(InputError, match=r"a\.txt: P2 has its principal point at \(0, 0\) pixels"):
        project_missing_boxes(frames, ["a"], calib, None)
    write_image(tmp_path / "image_2" / "a.jpg", (500, 400))
    for calibration in (unit, nominal):  # the nominal centre is right of this image
        write_calibrations(tmp_path, ["a"], calibration)
        with pytest.raises(InputError, match=r"outside the image .*a\.jpg of 500 x 400 pixels"):
            project_missing_boxes(frames, ["a"], calib, tmp_path / "image_2")


def test_real_labels_get_the_boxes_that_people_drew(kitti_frames: Path) -> None:
    root = kitti_frames / "training"
    names = sorted(path.stem for path in (root / "label_2").glob("*.txt"))
    frames = [read_labels(root / "label_2" / f"{name}.txt") for name in names]
    frames = [[label for label in labels if label.type != "DontCare"] for labels in frames]
    stripped = [[replace(label, bbox=(-1.0,) * 4, alpha=-10.0) for label in labels] for labels in frames]
    labels = pack_objects(frames, need_scores=False)
    found, projected = project_missing_boxes(
        pack_objects(stripped, need_scores=False), names, root / "calib", root / "image_2"
    )
    assert projected.count == len(labels.type_index) > 10
    turn = np.remainder(found.alpha - labels.alpha + math.pi, 2 * math.pi) - math.pi
    assert np.abs(turn).max() < 0.05  # KITTI's own alpha is from another point of the object
    # Boxes were drawn around what is seen of an object, and a box's corners stand out from a car.
    whole = labels.truncated == 0
    overlap = np.minimum(found.bbox[:, 2:], labels.bbox[:, 2:]) - np.maximum(found.bbox[:, :2], labels.bbox[:, :2])
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (found.bbox, labels.bbox)]
    intersection = np.prod(np.maximum(overlap, 0), axis=1)
    iou = intersection / (areas[0] + areas[1] - intersection)
    assert iou[whole].min() > 0.7
    assert np.abs(found.bbox - labels.bbox)[whole].mean() < 3.0
