"""Keys of the window, without a window; and the window itself where there is a display to be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import ImageGrab

from lidar_ebm.errors import InputError
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.scene import BoxFilter, BoxSet, SceneFrame
from lidar_ebm.visualization.viewer import check_display
from lidar_ebm.visualization.viewer_state import KEYS, ViewerState
from lidar_ebm.workflows.view import open_frames


def a_set(name: str, *, scores: bool = True, steps: int | None = None) -> BoxSet:
    """Three boxes at 10, 30 and 50 m of scores 0.9, 0.5 and 0.1; each step moves them by a metre."""
    boxes = np.array([[x, 0.0, -1.0, 4.0, 1.7, 1.5, 0.0] for x in (10.0, 30.0, 50.0)], np.float32)
    path = None if steps is None else np.stack([boxes + np.eye(7)[0] * k for k in range(-steps, 1)])
    f = None if steps is None else np.arange(3.0 * (steps + 1)).reshape(steps + 1, 3)
    return BoxSet(
        name,
        boxes,
        ("Car", "Cyclist", "Car"),
        "#009E73",
        np.array([0.9, 0.5, 0.1]) if scores else None,
        None if f is None else f[-1],
        path,
        f,
    )


def a_state(frames: int = 3, steps: int | None = 4) -> ViewerState:
    points = np.zeros((5, 4), np.float32)
    sets = (a_set("label", scores=False), a_set("after", steps=steps))
    return ViewerState([SceneFrame(str(k), points, sets) for k in range(frames)])


def press(state: ViewerState, *keys: str) -> ViewerState:
    for key in keys:
        KEYS[key][1](state)
    return state


def test_frames_go_round() -> None:
    state = a_state()
    assert [press(state, key).index for key in "nnnpp"] == [1, 2, 0, 2, 1]


def test_steps_show_the_way_and_end_at_both_ends() -> None:
    state = a_state()
    assert "refinement step 4 of 4" in state.describe()
    for expected in (3, 2, 1, 0, 0):
        press(state, ",")
        assert state.step == expected
        assert state.shown().sets[1].boxes[0, 0] == pytest.approx(10.0 - (4 - expected))
        assert state.shown().sets[0].boxes[0, 0] == 10.0  # labels stay
        assert state.shown().sets[1].f is not None and state.shown().sets[1].f[0] == 3 * expected
    press(state, *".....")
    assert state.step == 4
    assert press(a_state(steps=None), ",").step is None


def test_the_refinement_plays_once() -> None:
    state = press(a_state(), "space")
    seen = [state.step]
    while state.advance():
        seen.append(state.step)
    assert seen == [0, 1, 2, 3, 4]
    assert not press(a_state(steps=None), "space").playing
    assert not press(state, "space", "n").playing


def test_filters_take_boxes_out() -> None:
    state = a_state()
    counts = lambda: [len(each.boxes) for each in state.shown().sets]  # noqa: E731
    assert counts() == [3, 3]
    press(state, *"+" * 4)
    assert counts() == [3, 2]  # labels have no score
    press(state, "k")
    assert (state.chosen.types, counts()) == (("Car",), [2, 1])
    press(state, "k", "k", "d", "d", "d")
    assert (state.chosen.types, state.chosen.max_distance, counts()) == (None, 20.0, [1, 1])
    press(state, "d", *"-" * 30)
    assert state.chosen == BoxFilter() and "score from any" in state.describe()
    kept = BoxFilter(("cyclist",)).apply(a_set("x", steps=2))
    assert kept.path is not None and kept.path.shape == (3, 1, 7)
    assert kept.types == ("Cyclist",) and kept.scores is not None and kept.scores.tolist() == [0.5]


def test_scores_of_other_programs_may_be_negative() -> None:
    logits = replace(a_set("x"), scores=np.array([2.0, -1.0, -3.0]))
    assert len(BoxFilter().apply(logits).boxes) == 3
    assert len(BoxFilter(min_score=-1.0).apply(logits).boxes) == 2


def test_a_frame_that_cannot_be_read_is_passed_by(simulated: Path, tmp_path: Path) -> None:
    shutil.copytree(simulated, tmp_path / "data")
    files = sorted((tmp_path / "data" / "training" / "velodyne").glob("*.bin"))
    files[1].write_bytes(b"123")
    state = press(ViewerState(open_frames([tmp_path / "data"])), "n")
    assert state.problem is not None and files[1].name in state.problem
    assert len(state.shown().points) == 0 and state.box_texts() == [] and state.describe()[0].endswith(f"{len(files)})")
    press(state, "space", ".", ",", "k", "c", "t")
    state.toggle(0)
    press(state, "n")
    assert state.problem is None and state.frame.name == files[2].stem and len(state.frame.points)
    with pytest.raises(InputError, match=files[1].name):
        ViewerState(open_frames([tmp_path / "data"]), index=1)


def test_layers_texts_and_colours() -> None:
    state = a_state()
    assert state.layers == ["points", "label", "after"]
    assert len(state.box_texts()) == 3
    assert state.box_texts()[0][1] == "0.90  f 12.0"
    state.toggle(2)
    state.toggle(7)  # there is none
    assert [each.name for each in state.visible()] == ["label"]
    assert state.box_texts() == []
    state.toggle(2)
    assert press(state, "t").box_texts() == []
    assert [press(state, "c").color for _ in range(4)] == ["reflectance", "distance", "boxes", "height"]
    assert not press(state, "h").panel


def test_velocities_are_hidden_and_shown() -> None:
    boxes = np.column_stack([a_set("x").boxes, [[5.0, 0.0], [np.nan, 0.0], [0.0, 0.0]]])
    path = np.stack([boxes - k for k in (2, 1, 0)])
    moving = replace(a_set("after"), boxes=boxes, path=path, path_f=np.zeros((3, 3)), f=np.zeros(3))
    state = ViewerState([SceneFrame("a", np.zeros((5, 4), np.float32), (a_set("label"), moving))])
    assert state.shown().has_arrows()
    press(state, ",")
    np.testing.assert_array_equal(state.shown().sets[1].boxes, path[1])  # the step before, with its velocity
    press(state, "v")
    assert not state.shown().has_arrows() and state.frame.has_arrows()
    np.testing.assert_array_equal(state.shown().sets[1].boxes, path[1][:, :7])
    assert press(state, "v").shown().has_arrows()
    assert not a_state().shown().has_arrows()
    assert state.frame.boxes().shape == (6, 7)


def test_without_a_display_pictures_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(InputError, match="no display"):
        check_display()
    monkeypatch.setenv("DISPLAY", ":0")
    check_display()


@pytest.fixture
def display(open3d: None) -> Iterator[str]:
    """A display that nobody sees."""
    if not (shutil.which("Xvfb") and shutil.which("xdotool")):
        pytest.skip("needs Xvfb and xdotool")
    reader, writer = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1400x900x24"], pass_fds=[writer], stderr=subprocess.DEVNULL
    )
    name = f":{os.read(reader, 16).decode().strip()}"
    yield name
    server.terminate()
    server.wait()


def test_a_window_opens_and_obeys(display: str, simulated: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "DISPLAY": display, "LIBGL_ALWAYS_SOFTWARE": "1"}
    command = [sys.executable, "-m", "lidar_ebm.cli", "view", str(simulated)]
    window = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)

    def send(*words: str) -> None:
        subprocess.run(["xdotool", *words], env=environment, check=True)

    def grab() -> np.ndarray:
        return np.asarray(ImageGrab.grab(xdisplay=display)).astype(int)[:, :, :3]

    def until(holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 180  # software renderers can be slow
        while not holds():
            assert window.poll() is None
            assert time.monotonic() < end, "it never came"
            send("mousemove", str(900 + int(10 * time.monotonic()) % 7), "500")  # without a manager this wakes it
            time.sleep(0.2)

    def differs(picture: np.ndarray) -> bool:
        return bool((np.abs(grab()[100:, 400:] - picture[100:, 400:]).max(axis=-1) > 30).sum() > 500)

    try:
        until(lambda: len(np.unique(grab()[100:, 400:].reshape(-1, 3), axis=0)) > 50)
        first = grab()
        send("key", "n")
        until(lambda: differs(first))
        second = grab()
        color = np.array(to_rgb(palette.LABEL)) * 255  # of the boxes' edges
        assert (np.abs(second[100:, 400:] - color) < 6).all(axis=-1).any()
        send("key", "0")  # the points
        until(lambda: differs(second))
        send("key", "s")
        until(lambda: len(list(tmp_path.glob("view_*.png"))) == 1)
        send("key", "q")
        while window.poll() is None:
            send("mousemove", "905", "500")
            time.sleep(0.1)
        assert window.returncode == 0
    finally:
        window.kill()
        window.wait()
