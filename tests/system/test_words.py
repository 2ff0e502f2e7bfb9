"""Numbers with their words."""

from __future__ import annotations

from lidar_ebm.system.words import count_of


def test_one_is_singular() -> None:
    assert [count_of(number, "frame") for number in range(3)] == ["0 frames", "1 frame", "2 frames"]
    assert [count_of(number, "2-D box") for number in (1, 2)] == ["1 2-D box", "2 2-D boxes"]
