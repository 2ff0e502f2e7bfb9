"""Yaw, pitch and roll of a head-like ellipsoid in a small image: a target of three angles, the yaw all around."""

from __future__ import annotations

import math

import numpy as np
import torch
from image_regression import Problem, Settings
from image_report import COLORS, histogram, main
from matplotlib.axes import Axes
from numpy.typing import NDArray
from study import Row
from torch import Tensor

from lidar_ebm.ebm import TargetSpace

FloatArray = NDArray[np.float32]

SIZE = 32  # pixels of an image's side
SEMI_AXES = (0.70, 0.95, 0.80)  # of the head, across, up and forward
HALF_SIDE = 1.25  # of an image, in the same unit
POINTS = 24  # of the head's surface that an energy looks at
PITCH_LIMIT, ROLL_LIMIT = math.radians(50), math.radians(40)
FEATURES = (  # direction (across, up, forward), width and brightness of what is on the head
    ((-0.42, 0.25, 1.0), 0.17, -0.55),  # eyes
    ((0.42, 0.25, 1.0), 0.17, -0.55),
    ((0.0, -0.10, 1.0), 0.14, 0.35),  # nose
    ((0.0, -0.55, 1.0), 0.20, -0.45),  # mouth
    ((-1.0, 0.0, -0.05), 0.22, 0.45),  # ears
    ((1.0, 0.0, -0.05), 0.22, 0.45),
)
HOODED_SHARE = 0.25  # of heads: what is on the face and the hair are faint


def draw(count: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Images [count, 1, 32, 32] and their angles [count, 3]: yaw in [-π, π), pitch, roll, rad.

    The head is an ellipsoid seen along a line of sight, lit from a random side. Eyes, nose, mouth, ears and hair are
    painted on it. In some images they are faint, and a bar hides a part of the head in half of them: then front and
    back look alike, and the angles' distribution has more than one mode.
    """
    limits = np.array([math.pi, PITCH_LIMIT, ROLL_LIMIT], dtype=np.float32)
    angles = rng.uniform(-limits, limits, (count, 3)).astype(np.float32)
    angles[:, 0] = np.where(angles[:, 0] >= math.pi, -math.pi, angles[:, 0])  # rounding up to the end
    images = [_render(part, rng) for part in np.array_split(angles, max(1, count // 1000))]
    return np.concatenate(images), angles


def rotation(angles: Tensor) -> Tensor:
    """Rotations [..., 3, 3] from the head (across, up, forward) to the viewer (right, up, towards the viewer)."""
    (sy, sp, sr), (cy, cp, cr) = angles.sin().unbind(-1), angles.cos().unbind(-1)
    rows = (
        (cr * cy - sr * sp * sy, -sr * cp, cr * sy + sr * sp * cy),
        (sr * cy + cr * sp * sy, cr * cp, sr * sy - cr * sp * cy),
        (-cp * sy, sp, cp * cy),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def surface_points(angles: Tensor) -> Tensor:
    """Places where an energy reads the image for angles [N, S, 3]: all over the average head, [N, S, P, 3].

    (x, y) from -1 to 1 across the image, y downwards, and how much the point faces the viewer, 0 to 1.
    """
    point, normal = SURFACE.to(angles)  # each [P, 3]
    turn = rotation(angles)
    x, y, _ = (point @ turn.transpose(-1, -2) / HALF_SIDE).unbind(-1)
    facing = (normal @ turn[..., 2, :].unsqueeze(-1)).squeeze(-1)
    return torch.stack([x, -y, (6 * facing).sigmoid()], dim=-1)


def _surface(count: int) -> Tensor:
    """Points spread evenly over the head, and their normals: [2, count, 3]."""
    height = 1 - (2 * torch.arange(count) + 1) / count
    around = torch.arange(count) * math.pi * (3 - math.sqrt(5))
    flat = (1 - height**2).sqrt()
    ball = torch.stack([flat * around.cos(), height, flat * around.sin()], dim=-1)
    axes = torch.tensor(SEMI_AXES)
    normal = ball / axes
    return torch.stack([ball * axes, normal / normal.norm(dim=-1, keepdim=True)])


def _render(angles: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Images [N, 1, 32, 32] of heads with these angles [N, 3]."""
    count = len(angles)

    def uniform(low: float, high: float, *shape: int) -> FloatArray:
        return rng.uniform(low, high, (count, *shape)).astype(np.float32)

    # The lines of sight, one a pixel, in the head's frame scaled so that the head is the unit ball.
    right, up = _pixels()
    shift, scale = uniform(-0.06, 0.06, 2, 1), uniform(0.94, 1.06, 1)
    plane = np.stack([(right - shift[:, 0]) / scale, (up - shift[:, 1]) / scale], axis=1)  # [N, 2, P]
    turn = rotation(torch.from_numpy(angles)).numpy()
    axes = np.array(SEMI_AXES, dtype=np.float32)
    start = np.einsum("nij,nip->njp", turn[:, :2], plane) / axes[:, None]  # [N, 3, P]
    along = turn[:, 2] / axes  # [N, 3], towards the viewer
    square = (along**2).sum(1, keepdims=True)
    half = np.einsum("njp,nj->np", start, along)
    inside = half**2 - square * ((start**2).sum(1) - 1)
    hit = inside > 0
    depth = (-half + np.sqrt(np.maximum(inside, 0))) / square
    point = start + depth[:, None] * along[:, :, None]  # [N, 3, P] on the unit ball where `hit`

    normal = np.einsum("nij,njp->nip", turn, point / axes[:, None])  # the viewer's frame
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-6
    light = np.concatenate([uniform(-0.4, 0.4, 2), np.ones((count, 1), np.float32)], axis=1)
    light /= np.linalg.norm(light, axis=1, keepdims=True)
    shade = 0.6 + 0.4 * np.maximum(np.einsum("nip,ni->np", normal, light), 0)

    hooded = rng.random((count, 1)) < HOODED_SHARE
    strength = np.where(hooded, uniform(0.0, 0.25, 1), uniform(0.7, 1.0, 1))
    paint = uniform(0.6, 0.75, 1) - 0.4 * strength / (
        1 + np.exp(-14 * (point[:, 1] - 0.9 * point[:, 2] - 0.45))
    )  # hair
    for direction, width, brightness in FEATURES:
        where = np.array(direction, dtype=np.float32)
        cosine = np.einsum("nip,i->np", point, where / np.linalg.norm(where))
        paint += strength * brightness * np.exp((cosine - 1) / width**2)

    background = uniform(0.0, 0.9, 1) + uniform(-0.1, 0.1, 1) * right + uniform(-0.1, 0.1, 1) * up
    image = np.where(hit, shade * paint, background)

    # A bar across the head, in half of the images.
    slant = uniform(0, math.pi, 1)
    across = np.cos(slant) * right + np.sin(slant) * up - uniform(-0.8, 0.8, 1)
    bar = (np.abs(across) < uniform(0.08, 0.22, 1)) & (rng.random((count, 1)) < 0.4)
    image = np.where(bar, uniform(0.0, 1.0, 1), image)
    image += uniform(0.02, 0.06, 1) * rng.standard_normal(image.shape, dtype=np.float32)
    return image.reshape(count, 1, SIZE, SIZE).astype(np.float32)


def _pixels() -> tuple[FloatArray, FloatArray]:
    """Right and up [P] of the pixels' centres, row by row from the top left."""
    line = ((np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE * 2 - 1) * HALF_SIDE
    right, up = np.meshgrid(line, -line)
    return right.ravel().astype(np.float32), up.ravel().astype(np.float32)


SURFACE = _surface(POINTS)


def errors(estimate: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Degrees [N], and shares."""
    degrees = torch.rad2deg(SPACE.difference(estimate, y).abs())
    return {
        "mean error of the angles, °": degrees.mean(dim=-1),
        **{f"{name}, °": degrees[:, d] for d, name in enumerate(SPACE.names)},
        "share with an angle > 15° off": (degrees.amax(dim=-1) > 15).float(),
    }


def show(image: Axes, density: Axes, example: Row) -> None:
    """Draw the nose's direction over the image; the yaw's density below."""
    for name, color in COLORS.items():
        forward = rotation(torch.tensor(example[name]))[:, 2].numpy()
        tip = SIZE / 2 - 0.5 + SIZE / 2 / HALF_SIDE * np.array([forward[0], -forward[1]])
        image.annotate(
            "",
            xy=(tip[0], tip[1]),
            xytext=(SIZE / 2 - 0.5, SIZE / 2 - 0.5),
            # Dashed where the nose is on the far side.
            arrowprops={"arrowstyle": "->", "color": color, "lw": 1.8, "ls": "-" if forward[2] > 0 else ":"},
        )
    histogram(density, example, 0, np.linspace(-180, 180, 49).tolist(), math.pi / 180, "yaw, °")
    density.set_xticks((-90, 0, 90))


SPACE = TargetSpace(("yaw", "pitch", "roll"), (2 * math.pi,) * 3, (-math.inf,) * 3, (0.1,) * 3)
PROBLEM = Problem(
    "head_pose_like",
    "Head pose: three angles from a small image",
    SIZE,
    SPACE,
    draw,
    errors,
    Settings(
        stds=((0.05,) * 3, (0.2,) * 3, (0.8,) * 3, (2.5,) * 3),
        unit=(0.2,) * 3,
        channels=(16, 32, 64, 96),
        density_images=300,
        density_samples=5000,
    ),
    surface_points,
    POINTS,
    fine=1,
)
ABOUT = f"""Each image of {SIZE} × {SIZE} pixels shows a head-like ellipsoid with a drawn face, ears and hair. The
target is its yaw (all around), pitch (within ±{math.degrees(PITCH_LIMIT):.0f}°) and roll (within
±{math.degrees(ROLL_LIMIT):.0f}°). On {100 * HOODED_SHARE:.0f} % of the heads face and hair are faint, and a bar crosses
some, so that some yaws are ambiguous. The energy reads the frozen network's finer map at {POINTS} points of the average
head, turned by the candidate angles; the controls have no such reading, so that a gain over them is of the energy and
of what it reads together. The mean error of the angles is the mean of an image's three."""
CAPTION = """Above: where the nose points, for the true angles (green), the direct estimate (orange) and the refined one
(blue), dotted where it is on the far side. Below: the yaw's predictive density at the fitted temperature; a single
narrow bar far from the others is mostly one or two samples of large weight."""

if __name__ == "__main__":
    main(PROBLEM, __doc__, show, ABOUT, CAPTION)
