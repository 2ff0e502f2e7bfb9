"""The NumPy conversion to and from the camera's frame is that of the network's own geometry."""

from __future__ import annotations

import numpy as np

from lidar_ebm.formats.kitti.camera_frame import observation_angle, rectangle_of, to_camera, to_lidar
from lidar_ebm.formats.kitti.conversion import boxes_to_labels, labels_to_boxes
from tests.formats.samples import CAMERA, random_boxes

SIZE = (1242, 375)


def test_as_the_geometry_of_tensors() -> None:
    for seed in range(20):
        boxes = random_boxes(seed, count=20).boxes
        labels = boxes_to_labels(boxes, CAMERA, types=["Car"] * len(boxes), image_size=SIZE)
        back = labels_to_boxes(labels, CAMERA)
        for box, label, other in zip(boxes, labels, back, strict=True):
            mine = to_camera(box, CAMERA)
            np.testing.assert_allclose(mine[:3], label.dimensions, atol=1e-12)
            np.testing.assert_allclose(mine[3:6], label.location, atol=1e-9)
            np.testing.assert_allclose(np.exp(1j * mine.rotation_y), np.exp(1j * label.rotation_y), atol=1e-12)
            np.testing.assert_allclose(np.exp(1j * observation_angle(mine)), np.exp(1j * label.alpha), atol=1e-9)
            np.testing.assert_allclose(to_lidar(mine, CAMERA)[:6], other[:6], atol=1e-9)
            np.testing.assert_allclose(to_lidar(mine, CAMERA)[:6], box[:6], atol=1e-9)


def test_rectangles_hold_what_is_projected() -> None:
    rng = np.random.default_rng(0)
    seen = 0
    for box in random_boxes(4, count=300).boxes:
        camera_box = to_camera(box, CAMERA)
        rectangle = rectangle_of(camera_box, CAMERA, SIZE)
        inside = rng.uniform(-0.5, 0.5, (400, 3)) * (camera_box.length, camera_box.height, camera_box.width)
        cosine, sine = np.cos(camera_box.rotation_y), np.sin(camera_box.rotation_y)
        x = camera_box.x + inside[:, 0] * cosine + inside[:, 2] * sine
        z = camera_box.z - inside[:, 0] * sine + inside[:, 2] * cosine
        y = camera_box.y - camera_box.height / 2 + inside[:, 1]
        pixels = np.column_stack((x, y, z, np.ones(len(x)))) @ CAMERA.p2.T
        pixels = pixels[pixels[:, 2] > 0.02]
        pixels = pixels[:, :2] / pixels[:, 2:]
        pixels = pixels[((pixels >= 0) & (pixels <= np.array(SIZE) - 1)).all(axis=1)]
        if rectangle is None:
            assert not len(pixels)
            continue
        seen += 1
        assert (pixels >= np.array(rectangle[:2]) - 1e-6).all()
        assert (pixels <= np.array(rectangle[2:]) + 1e-6).all()
    assert seen > 20
