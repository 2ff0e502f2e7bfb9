"""One number from an image, as age from a face: labels scatter around what the image shows, and not as a Gaussian."""

from __future__ import annotations

import numpy as np
from image_regression import Problem, Settings
from image_report import histogram, main
from matplotlib.axes import Axes
from numpy.typing import NDArray
from study import Row
from torch import Tensor

from lidar_ebm.ebm import TargetSpace

FloatArray = NDArray[np.float32]

SIZE = 32  # pixels of an image's side
YOUNGEST, OLDEST = 20.0, 80.0  # "years", the unit, that an image shows
EXACT_SHARE, EXACT_STD = 0.65, 1.0  # of labels, and years: what is shown, but for little
LATE_MEAN = 0.3  # of the years since `YOUNGEST`: the mean by which the others are older than they look


def draw(count: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Images [count, 1, 32, 32] and labels [count, 1], years."""
    shown = rng.uniform(YOUNGEST, OLDEST, count)
    images = [_render(part, rng) for part in np.array_split(shown, max(1, count // 1000))]
    return np.concatenate(images), _label(shown, rng)[:, None].astype(np.float32)


def _label(shown: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Years [N]: a normal distribution around what is shown, and a long tail above it, the longer the older."""
    late = rng.exponential(1 + LATE_MEAN * (shown - YOUNGEST))
    exact = rng.random(len(shown)) < EXACT_SHARE
    return shown + EXACT_STD * rng.standard_normal(len(shown)) + np.where(exact, 0, late)


def _render(shown: NDArray[np.float64], rng: np.random.Generator) -> FloatArray:
    """Images [N, 1, 32, 32]: a disc with wrinkles, the denser the older, whatever their direction and the light."""
    count = len(shown)

    def uniform(low: float, high: float) -> FloatArray:
        return rng.uniform(low, high, (count, 1, 1)).astype(np.float32)

    line = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE * 2 - 1
    x, y = line[None, None, :], line[None, :, None]
    waves = (1.5 + 5.0 * (shown - YOUNGEST) / (OLDEST - YOUNGEST)).astype(np.float32)[
        :, None, None
    ]  # half the image's side
    direction = uniform(0, 2 * np.pi)
    along = np.cos(direction) * x + np.sin(direction) * y + uniform(-0.2, 0.2) * (x**2 + y**2) / waves
    wrinkles = uniform(0.15, 0.3) * np.sin(2 * np.pi * (waves * along + uniform(0, 1)))
    face = uniform(0.35, 0.75) + uniform(-0.2, 0.2) * x + uniform(-0.2, 0.2) * y + wrinkles
    inside = np.clip((uniform(0.75, 0.95) - np.hypot(x - uniform(-0.1, 0.1), y - uniform(-0.1, 0.1))) * SIZE / 2, 0, 1)
    image = uniform(0, 1) * (1 - inside) + face * inside
    image = image + uniform(0.02, 0.08) * rng.standard_normal(image.shape, dtype=np.float32)
    return image[:, None].astype(np.float32)


def errors(estimate: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Years [N], and shares."""
    error = (estimate - y).abs()[:, 0]
    return {
        "absolute error, years": error,
        "squared error, years²": error**2,
        "share > 2 years off": (error > 2).float(),
        "share > 5 years off": (error > 5).float(),
    }


def show(image: Axes, density: Axes, example: Row) -> None:
    """The density of the label; the image has nothing drawn over it."""
    histogram(density, example, 0, np.linspace(10, 130, 61).tolist(), 1.0, "years")


SPACE = TargetSpace(("years",), (None,), (-np.inf,), (1.0,))
PROBLEM = Problem(
    "scalar_from_image",
    "One number from an image, with labels that scatter to one side",
    SIZE,
    SPACE,
    draw,
    errors,
    Settings(stds=((0.5,), (2.0,), (8.0,), (25.0,)), unit=(2.0,)),
)
ABOUT = f"""Each image of {SIZE} × {SIZE} pixels shows a disc with wrinkles, the denser the older ({YOUNGEST:.0f} to
{OLDEST:.0f} years). {100 * EXACT_SHARE:.0f} % of the labels are that age but for {EXACT_STD:g} year of normal noise;
the others are later by an exponentially distributed time, 1 to {1 + LATE_MEAN * (OLDEST - YOUNGEST):g} years in the
mean, the longer the older. So the label's mean, which L2 estimates, its median, which L1 estimates, and its mode, which
refinement climbs to, are three numbers. The mean absolute error is lowest at the median and the mean squared error at
the mean, so that a mode, however well it is found, is the best prediction by neither."""
CAPTION = """Above: the image. Below: the label's predictive density at the fitted temperature, with the true label
(green), the direct estimate (orange) and the refined one (blue)."""

if __name__ == "__main__":
    main(PROBLEM, __doc__, show, ABOUT, CAPTION)
