"""2-D boxes of drawn vehicles among clutter, partly hidden: centre, width and height, the sizes bounded below."""

from __future__ import annotations

import math

import numpy as np
import torch
from image_regression import Problem, Settings
from image_report import COLORS, main
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from study import Row
from torch import Tensor

from lidar_ebm.ebm import TargetSpace

FloatArray = NDArray[np.float32]
Pair = tuple[FloatArray, FloatArray]

SIZE = 48  # pixels of an image's side
MIN_SIZE = 2.0  # pixels
CLUTTER = 5  # other shapes in an image
HIDDEN_SHARE = 0.6  # of vehicles, one end of which something else covers
LONG_SHARE = 0.35  # of vehicles: buses
GRID, MARGIN = 6, 0.1  # points a side at which an energy reads the image, and how far beyond the box, of its size


def draw(count: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Images [count, 1, 48, 48] and boxes [count, 4]: centre x, centre y, width, height, pixels from the top left.

    One vehicle in each image: a body with a stripe, on wheels. Cars are about 1.5, buses about 2.6 times as wide as
    high. Other shapes stand behind it, and a wall in front of one end hides up to 60 % of it in many images: the box is
    that of the whole vehicle, so that what cannot be seen has to be guessed, and car or bus is a question of its own.
    """
    boxes = np.empty((count, 4), dtype=np.float32)
    height = rng.uniform(6, 13, count)
    long = rng.random(count) < LONG_SHARE
    width = height * np.where(long, 2.6, 1.5) * np.exp(0.04 * rng.standard_normal(count))
    room = SIZE / 2 - 1 - np.stack([width, height], axis=1) / 2  # how far the centre may be from the image's
    boxes[:, :2] = SIZE / 2 + rng.uniform(-1, 1, (count, 2)) * np.maximum(room, 0)
    boxes[:, 2], boxes[:, 3] = width, height
    images = [_render(part, rng) for part in np.array_split(boxes, max(1, count // 1000))]
    return np.concatenate(images), boxes


def _render(boxes: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Images [N, 1, 48, 48] of vehicles with these boxes [N, 4]."""
    count = len(boxes)

    def uniform(low: float, high: float) -> FloatArray:
        return rng.uniform(low, high, (count, 1, 1)).astype(np.float32)

    line = np.arange(SIZE, dtype=np.float32) + 0.5
    x, y = line[None, None, :], line[None, :, None]
    cx, cy, width, height = boxes.T[:, :, None, None]  # each [N, 1, 1]

    def cover(
        image: FloatArray, centre: tuple[FloatArray, FloatArray], size: tuple[FloatArray, FloatArray], value: FloatArray
    ) -> FloatArray:
        """A rectangle over the image, its edges as soft as a pixel's area makes them."""
        part = _edge(size[0] / 2 - np.abs(x - centre[0])) * _edge(size[1] / 2 - np.abs(y - centre[1]))
        return image + part * (value - image)

    def disc(
        image: FloatArray, centre: tuple[FloatArray, FloatArray], radius: FloatArray, value: FloatArray
    ) -> FloatArray:
        part = _edge(radius - np.hypot(x - centre[0], y - centre[1]))
        return image + part * (value - image)

    image = np.broadcast_to(uniform(0.2, 0.8), (count, SIZE, SIZE)) + uniform(-0.006, 0.006) * (x - SIZE / 2)
    for index in range(CLUTTER):
        middle = uniform(0, SIZE), uniform(0, SIZE)
        if index % 2:
            image = cover(image, middle, (uniform(4, 20), uniform(4, 14)), uniform(0, 1))
        else:
            image = disc(image, middle, uniform(1, 5), uniform(0, 1))

    body = uniform(0, 1)
    wheel = 0.2 * height
    image = cover(image, (cx, cy - wheel / 2), (width, height - wheel), body)
    image = cover(image, (cx, cy - 0.2 * height), (0.86 * width, 0.22 * height), (body + 0.5) % 1)  # windows
    for place in (-0.3, 0.3):
        image = disc(image, (cx + place * width, cy + height / 2 - wheel), wheel, uniform(0, 0.1))

    hidden = width * uniform(0.1, 0.6) * (rng.random((count, 1, 1)) < HIDDEN_SHARE)
    side = np.where(rng.random((count, 1, 1)) < 0.5, -1, 1)
    wall = np.maximum(hidden, 1e-3) + uniform(0, 10) * (hidden > 0)
    wall_x = cx + side * (width / 2 - hidden + wall / 2)
    over = cover(image, (wall_x, cy + uniform(-3, 3)), (wall, height + uniform(4, 14)), uniform(0, 1))
    image = np.where(hidden > 0, over, image)
    image = image + uniform(0.02, 0.08) * rng.standard_normal(image.shape, dtype=np.float32)
    return image[:, None].astype(np.float32)


def _edge(inside: FloatArray) -> FloatArray:
    """Share of a pixel that is covered, where its middle is `inside` pixels from the edge."""
    return np.clip(inside + 0.5, 0, 1)


def box_points(boxes: Tensor) -> Tensor:
    """Places where an energy reads the image of boxes [N, S, 4]: a grid over each, a little beyond: [N, S, P, 3]."""
    line = torch.linspace(-0.5 - MARGIN, 0.5 + MARGIN, GRID, device=boxes.device, dtype=boxes.dtype)
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).view(-1, 2)  # [P, 2]
    place = (boxes[..., None, :2] + grid * boxes[..., None, 2:]) / (SIZE / 2) - 1  # [N, S, P, 2]
    return torch.cat([place, torch.ones_like(place[..., :1])], dim=-1)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """IoU [N] of boxes a and b [N, 4]."""
    low = torch.maximum(a[:, :2] - a[:, 2:] / 2, b[:, :2] - b[:, 2:] / 2)
    high = torch.minimum(a[:, :2] + a[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2)
    both = (high - low).clamp(min=0).prod(dim=-1)
    return both / (a[:, 2:].prod(dim=-1) + b[:, 2:].prod(dim=-1) - both)


def errors(estimate: Tensor, y: Tensor) -> dict[str, Tensor]:
    """1 - IoU [N], shares, and pixels."""
    iou = overlap(estimate, y)
    return {
        "1 - IoU": 1 - iou,
        **{f"share with IoU < {minimum}": (iou < minimum).float() for minimum in (0.5, 0.75, 0.9)},
        "mean error, pixels": (estimate - y).abs().mean(dim=-1),
    }


def show(image: Axes, density: Axes, example: Row) -> None:
    """The boxes over the image, and samples of the density below."""

    def rectangle(axes: Axes, box: list[float], color: str, width: float, alpha: float = 1.0) -> None:
        x, y, w, h = box
        place = (x - w / 2 - 0.5, y - h / 2 - 0.5)
        axes.add_patch(Rectangle(place, w, h, fill=False, edgecolor=color, linewidth=width, alpha=alpha))

    for name, color in COLORS.items():
        rectangle(image, example[name], color, 1.6)
    density.imshow(np.array(example["image"]), cmap="gray", vmin=-0.1, vmax=1.1)
    density.set_axis_off()
    for box in example["draws"][:60]:
        rectangle(density, box, COLORS["refined"], 1.0, 0.12)
    rectangle(density, example["true"], COLORS["true"], 1.6)


SPACE = TargetSpace(
    ("cx", "cy", "w", "h"), (None,) * 4, (-math.inf, -math.inf, MIN_SIZE, MIN_SIZE), (0.5, 0.5, 0.5, 0.5)
)
PROBLEM = Problem(
    "box_2d",
    "2-D boxes among clutter, partly hidden",
    SIZE,
    SPACE,
    draw,
    errors,
    Settings(
        stds=((0.3,) * 4, (1.0,) * 4, (3.0,) * 4, (8.0, 8.0, 8.0, 4.0)),
        unit=(1.0,) * 4,
        direct_images=60_000,
        energy_images=40_000,
        channels=(16, 32, 64, 64),
        density_images=300,
        density_rounds=9,
    ),
    box_points,
    GRID**2,
)
ABOUT = f"""Each image of {SIZE} × {SIZE} pixels shows one vehicle, a car or (in {100 * LONG_SHARE:.0f} %) a bus,
among {CLUTTER} other shapes; in {100 * HIDDEN_SHARE:.0f} % a wall hides 10 % to 60 % of it. The target is the whole
vehicle's box: centre, width and height, sizes of {MIN_SIZE:g} pixels or more. The energy reads the frozen network's
finer map at {GRID} × {GRID} points over the candidate box; the controls have no such reading, so that a gain over them
is of the energy and of what it reads together. The densities' samples are adapted to each image in several rounds."""
CAPTION = """Above: the true box (green), the direct estimate (orange) and the refined one (blue). Below: the true box
and 60 samples of the predictive density at the fitted temperature."""

if __name__ == "__main__":
    main(PROBLEM, __doc__, show, ABOUT, CAPTION)
