"""KITTI labels that follow from a scene's geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lidar_ebm.formats.kitti.calibration import SIMULATED
from lidar_ebm.formats.kitti.conversion import boxes_to_labels
from lidar_ebm.formats.kitti.label import Label
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.geometry.projection import clip_to_image, project_boxes, project_to_image
from lidar_ebm.simulation.scene import Actor, Scene
from lidar_ebm.simulation.sensor import Echoes

LABEL_RANGE: Final = 80.0  # m; what is farther away is DontCare
MAX_TRUNCATION: Final = 0.95  # what is farther outside the image is DontCare
_OCCLUSION_LIMITS = (0.15, 0.50, 0.95)  # shares of blocked rays at which levels 1, 2 and 3 begin
_NEAR = 0.5  # m in front of the camera; what reaches nearer is cut off as a box, not corner by corner


def occlusion_level(blocked: float) -> int:
    """KITTI's level for a share of blocked rays: 0 visible, 1 partly, 2 largely occluded, 3 unknown (hardly a ray
    arrives)."""
    return int(np.searchsorted(_OCCLUSION_LIMITS, blocked, side="right"))


def make_labels(scene: Scene, echoes: Echoes, points_per_actor: NDArray[np.int64], camera: Camera) -> list[Label]:
    """Labels of all actors that at least one ray within the image would meet if nothing else were there.

    Args:
        scene: with A actors.
        echoes: of the scene; its `alone` and `visible` give the occlusion.
        points_per_actor: [A] points that the frame has of each.
        camera: of the frame.

    Returns:
        First the labels, then DontCare regions for what has no point, is beyond 80 m or almost outside the image.
    """
    seen = [index for index in range(len(scene.actors)) if echoes.alone[index] > 0]
    actors = [scene.actors[index] for index in seen]
    boxes = np.array([actor.box for actor in actors]).reshape(-1, 7)
    plain = boxes_to_labels(boxes, SIMULATED, types=[actor.type for actor in actors], image_size=camera.image_size)
    outlines = _outlines(actors, camera)
    labels, regions = [], []
    for index, actor, label, outline, rectangle in zip(
        seen, actors, plain, outlines, clip_to_image(outlines, camera.image_size), strict=True
    ):
        area = _area(rectangle)
        if area <= 0.0:
            continue
        truncated = 1.0 - area / _area(outline)
        bbox = (float(rectangle[0]), float(rectangle[1]), float(rectangle[2]), float(rectangle[3]))
        distance = float(np.hypot(actor.box[0], actor.box[1]))
        if points_per_actor[index] < 1 or distance > LABEL_RANGE or truncated > MAX_TRUNCATION:
            regions.append(dont_care(bbox))
            continue
        blocked = 1.0 - float(echoes.visible[index]) / float(echoes.alone[index])
        labels.append(replace(label, truncated=truncated, occluded=occlusion_level(blocked), bbox=bbox))
    return labels + regions


def dont_care(bbox: tuple[float, float, float, float]) -> Label:
    """A region of the image in which nothing is labelled, with KITTI's placeholders."""
    return Label("DontCare", -1, -1, -10, bbox, (-1, -1, -1), (-1000, -1000, -1000), -10)


def _outlines(actors: Sequence[Actor], camera: Camera) -> NDArray[np.float64]:
    """[A, 4] x1, y1, x2, y2 of what the camera would see of each body in an endless image."""
    if not actors:
        return np.zeros((0, 4))
    starts = np.cumsum([0, *(len(actor.solid.corners) for actor in actors[:-1])])
    corners = np.concatenate([actor.solid.corners for actor in actors])
    pixels, depth = project_to_image(corners, camera)
    outlines = np.concatenate([np.minimum.reduceat(pixels, starts), np.maximum.reduceat(pixels, starts)], axis=1)
    near = np.minimum.reduceat(depth, starts) < _NEAR
    outlines[near] = project_boxes(np.array([actor.box for actor in actors])[near], camera)
    return outlines


def _area(rectangle: NDArray[np.float64]) -> float:
    return float((rectangle[2] - rectangle[0]) * (rectangle[3] - rectangle[1]))
