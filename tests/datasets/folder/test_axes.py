"""Axes by words: every right-handed choice is a rotation, every other is refused."""

from __future__ import annotations

import numpy as np
import pytest

from lidar_ebm.datasets.folder.axes import rotation_of
from lidar_ebm.errors import InputError
from tests.datasets.folder.scenes import AXES, DIRECTIONS, RIGHT_HANDED, axes_text


def test_there_are_24_right_handed_axes_of_48() -> None:
    assert (len(AXES), len(RIGHT_HANDED)) == (48, 24)


@pytest.mark.parametrize("words", AXES, ids=axes_text)
def test_right_handed_axes_turn_each_axis_where_it_points_and_others_are_refused(words: tuple[str, ...]) -> None:
    if words not in RIGHT_HANDED:
        with pytest.raises(InputError, match="no right-handed axes"):
            rotation_of(axes_text(words))
        return
    rotation = rotation_of(axes_text(words))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3))
    assert np.linalg.det(rotation) == pytest.approx(1)
    for axis, word in zip(np.eye(3), words, strict=True):
        np.testing.assert_array_equal(rotation @ axis, DIRECTIONS[word])


@pytest.mark.parametrize(
    "text", ["x right, y forward, z up", "X: Right; Y: Front; Z: UP", "z up y ahead x right", "x=right y=forwards z=up"]
)
def test_the_same_axes_in_other_words(text: str) -> None:
    np.testing.assert_array_equal(rotation_of(text), [[0, 1, 0], [-1, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x forward, y left",
        "x forward, y left, z sky",
        "x forward, x left, z up",
        "forward left up",
        "x up, y up, z up",
    ],
)
def test_what_are_no_axes_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match=r"x right, y forward, z up|right-handed"):
        rotation_of(text)
