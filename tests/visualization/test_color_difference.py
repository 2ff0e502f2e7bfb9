"""The measure that tests of colours use, against published pairs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.visualization.color_difference import ciede2000, linear_rgb, to_lab


@pytest.mark.parametrize(  # Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula", 2005, table 1
    ("first", "second", "difference"),
    [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((50.0, 2.5, 0.0), (61.0, -5.0, 29.0), 22.8977),
        ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
        ((90.8027, -2.0831, 1.441), (91.1528, -1.6435, 0.0447), 1.4441),
    ],
)
def test_published_pairs(first: tuple[float, ...], second: tuple[float, ...], difference: float) -> None:
    assert float(ciede2000(np.array(first), np.array(second))) == pytest.approx(difference, abs=1e-4)
    assert float(ciede2000(np.array(second), np.array(first))) == pytest.approx(difference, abs=1e-4)


def test_white_and_black_are_the_ends_of_lightness() -> None:
    np.testing.assert_allclose(to_lab(linear_rgb("white")), [100, 0, 0], atol=1e-9)
    np.testing.assert_allclose(to_lab(linear_rgb("black")), [0, 0, 0], atol=1e-9)
