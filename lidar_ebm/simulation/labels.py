"""Labels of a scene: boxes of its things, and how much of each a camera and the sensor see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lidar_ebm.boxes import Boxes
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.geometry.projection import clip_to_image, project_boxes, project_to_image
from lidar_ebm.simulation.scene import Actor, Scene
from lidar_ebm.simulation.sensor import Echoes

LABEL_RANGE: Final = 80.0  # m; what is farther away has no label all around
_OCCLUSION_LIMITS = (0.15, 0.50, 0.95)  # shares of blocked rays at which levels 1, 2 and 3 begin
_NEAR = 0.5  # m in front of the camera; what reaches nearer is cut off as a box, not corner by corner


def occlusion_level(blocked: float) -> int:
    """Level of `Boxes.occluded` for a share of blocked rays: 0 visible, 1 partly, 2 largely occluded, 3 unknown (hardly
    a ray arrives)."""
    return int(np.searchsorted(_OCCLUSION_LIMITS, blocked, side="right"))


def label_view(scene: Scene, echoes: Echoes, points_per_actor: NDArray[np.int64], camera: Camera) -> Boxes:
    """Boxes of all actors that reach into the image and that a ray in view would meet if nothing else were there.

    Args:
        scene: with A actors.
        echoes: of the scene; its `alone` and `visible` give the occlusion.
        points_per_actor: [A] points in the image that the frame has of each.
        camera: of the frame.

    Returns:
        Boxes with `image_rectangle` (of the body, cut to the image), `truncated`, `occluded` and `points`.
    """
    met = np.flatnonzero(np.asarray(echoes.alone[: len(scene.actors)]) > 0)
    outlines = _outlines([scene.actors[index] for index in met], camera)  # [M, 4]
    rectangles = clip_to_image(outlines, camera.image_size)
    areas = np.array([_area(each) for each in rectangles])
    inside = areas > 0.0
    chosen, rectangles = met[inside], rectangles[inside]
    truncated = 1.0 - areas[inside] / np.array([_area(each) for each in outlines[inside]])
    blocked = [1.0 - float(echoes.visible[index]) / float(echoes.alone[index]) for index in chosen]
    return Boxes(
        np.array([scene.actors[index].box for index in chosen]).reshape(-1, 7),
        [scene.actors[index].type for index in chosen],
        image_rectangle=rectangles,
        truncated=truncated,
        occluded=[occlusion_level(share) for share in blocked],
        points=points_per_actor[chosen],
    )


def label_all_around(scene: Scene, owners: NDArray[np.int32]) -> Boxes:
    """Boxes of all actors within the labelled distance that have a point, with the number of their points.

    Args:
        scene: with A actors.
        owners: [N] index of the actor that each point belongs to, or a negative number.
    """
    counts = np.bincount(owners[owners >= 0], minlength=len(scene.actors))
    boxes = np.array([actor.box for actor in scene.actors]).reshape(-1, 7)
    chosen = np.flatnonzero((counts > 0) & (np.hypot(boxes[:, 0], boxes[:, 1]) <= LABEL_RANGE))
    return Boxes(boxes[chosen], [scene.actors[index].type for index in chosen], points=counts[chosen])


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
