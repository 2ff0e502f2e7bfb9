"""Frames in 3-D with sweeps, velocities and many classes: what the script is told, and what it draws."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex

from lidar_ebm.report.contents import Contents
from lidar_ebm.report.frames import ViewedFrame
from lidar_ebm.report.page import to_html
from lidar_ebm.report.scene_section import scene_section, view_settings
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.box_arrays import arrow_segments
from lidar_ebm.visualization.scene import SceneFrame
from lidar_ebm.visualization.scene_geometry import scale_of
from tests.report.browser import browser, changed, count_pixels, picture, wait_for  # noqa: F401 (a fixture)
from tests.visualization.test_box_arrays import moving_boxes

CHANNELS = ("reflectance", "time_lag", "ring")
CLASSES = tuple(f"kind {k}" for k in range(10))


def a_frame(width: int = 9, name: str = "a") -> ViewedFrame:
    """Three sweeps, ten labels of ten classes and as many detections after 0..3 steps, with boxes of `width`."""
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.normal(0, 15, (900, 3)), rng.uniform(0, 1, 900), np.repeat([0, 0.05, 0.1], 300)])
    points = np.column_stack([points, rng.integers(0, 32, 900)]).astype(np.float32)
    labels = moving_boxes(10)
    labels[:, :2] = rng.uniform([4, -12], [30, 12], (10, 2))
    labels[:, 7:] = np.sign(labels[:, 7:]) * np.maximum(np.abs(labels[:, 7:]), 3)
    path = np.stack([labels + rng.normal(0, 0.1 * (3 - step), (10, 9)) for step in range(4)])
    labels[2, 7:] = np.nan
    return ViewedFrame(
        name, points, CHANNELS, labels[:, :width], CLASSES, CLASSES, np.linspace(1, 0.5, 10), path[..., :width],
        np.zeros((4, 10)),
    )  # fmt: skip


def page_of(*frames: ViewedFrame) -> str:
    return to_html(Contents("run", "val", "", {}, {}, {}, frames=list(frames), class_names=CLASSES))


def read_scripts(text: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The view's settings, and frames, as a page has them."""
    (view,) = re.findall(r'<script type="application/json" id="view">(.*?)</script>', text)
    frames = re.findall(r'<script type="application/json" class="frame">(.*?)</script>', text)
    return json.loads(view), [json.loads(frame) for frame in frames]


def test_boxes_come_with_their_velocities_and_unknown_ones_are_null() -> None:
    frame = a_frame()
    _, (record,) = read_scripts(page_of(frame))
    labels = np.array(record["labels"], dtype=float)
    np.testing.assert_allclose(labels, frame.labels, atol=1e-3)
    assert record["labels"][2][7:] == [None, None]
    np.testing.assert_allclose(record["steps"], frame.path, atol=1e-3)  # of every step its own velocity
    assert np.shape(record["iou"]) == (4, 10)
    _, (plain,) = read_scripts(page_of(a_frame(7)))
    np.testing.assert_array_equal(plain["iou"], record["iou"])
    assert np.shape(plain["labels"]) == (10, 7)


def test_every_channel_can_colour_the_points_on_the_scale_of_other_pictures() -> None:
    frame = a_frame()
    text = page_of(frame)
    _, (record,) = read_scripts(text)
    assert tuple(record["channels"]) == CHANNELS
    for name, channel in record["channels"].items():
        assert f'<option value="{name}">by {name.replace("_", " ")}</option>' in text
        assert (channel["low"], channel["high"]) == scale_of(SceneFrame("a", frame.points, (), CHANNELS), name)[1:]
        shares = np.frombuffer(base64.b64decode(channel["bytes"]), np.uint8) / 255
        values = channel["low"] + shares * (channel["high"] - channel["low"])
        expected = frame.points[:, 3 + CHANNELS.index(name)]
        np.testing.assert_allclose(values, expected, atol=(channel["high"] - channel["low"]) / 500)


@pytest.mark.parametrize(
    ("newest", "older", "kept"),
    [(9_000, 81_000, (9_000, 31_000)), (30_000, 90_000, (20_000, 20_000)), (50_000, 1_000, (39_000, 1_000))],
)
def test_the_newest_of_many_sweeps_stays_whole(newest: int, older: int, kept: tuple[int, int]) -> None:
    lags = np.concatenate([np.zeros(newest), np.linspace(0.05, 0.45, older)])
    points = np.column_stack([np.zeros((len(lags), 3)), lags, np.arange(len(lags)) / len(lags)]).astype(np.float32)
    for channels in (("time_lag", "reflectance"), ("other", "reflectance")):
        record = replace(a_frame(), points=points, channels=channels).as_dict()
        shown = np.frombuffer(base64.b64decode(record["channels"][channels[0]]["bytes"]), np.uint8)
        assert len(shown) == 40_000
        if channels[0] == "time_lag":
            assert ((shown == 0).sum(), (shown > 0).sum()) == kept
        order = np.frombuffer(base64.b64decode(record["channels"]["reflectance"]["bytes"]), np.uint8).astype(int)
        assert (np.diff(order) >= 0).all()  # in the order that they came in


def test_classes_have_the_colours_of_other_pictures() -> None:
    settings = view_settings([a_frame()], CLASSES)
    for name, theme in palette.THEMES.items():
        assert settings["themes"][name]["classes"] == theme.class_colors(CLASSES)
        assert settings["themes"][name]["lags"][0] != settings["themes"][name]["lags"][-1]


def test_velocities_are_offered_where_there_are_some() -> None:
    assert 'id="show-velocity"' in scene_section([a_frame(), a_frame(7)])
    assert 'id="show-velocity"' not in scene_section([a_frame(7)])
    assert scene_section([]) == ""


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Any:  # noqa: F811
    """A page of two frames, the second without velocities, as it is first seen."""
    path = tmp_path / "page.html"
    path.write_text(page_of(a_frame(), a_frame(7, "b")))
    browser.get_log("browser")
    browser.get(path.as_uri())
    wait_for(lambda: "of" in browser.find_element("id", "step-text").text)
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


CHOOSE = "const e = document.getElementById(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('change'))"


def shown_theme(browser: Any) -> palette.Theme:  # noqa: F811
    return palette.THEMES[browser.find_element("tag name", "html").get_attribute("data-theme")]


def test_boxes_are_coloured_by_class_with_a_legend(opened: Any) -> None:
    for _ in range(2):
        theme, by_set = shown_theme(opened), picture(opened)
        opened.execute_script(CHOOSE, "boxes-by", "class")
        legend = opened.find_element("id", "classes")
        assert legend.text.split("\n") == [f"{name} (1)" for name in CLASSES]
        swatches = [
            each.value_of_css_property("background-color") for each in legend.find_elements("css selector", "i")
        ]
        colors = theme.class_colors(CLASSES)
        assert swatches == [
            "rgba({}, {}, {}, 1)".format(*(int(colors[name][k : k + 2], 16) for k in (1, 3, 5))) for name in CLASSES
        ]
        drawn = picture(opened)[:, 200:]
        assert sum(count_pixels(drawn, color) > 30 for color in colors.values()) >= 8
        opened.execute_script(CHOOSE, "boxes-by", "set")
        assert changed(by_set, picture(opened)) == 0 and not legend.is_displayed()
        opened.find_element("id", "theme").click()


def test_arrows_are_hidden_and_shown(opened: Any) -> None:
    before, toggle = picture(opened), opened.find_element("id", "show-velocity")
    toggle.click()
    assert changed(before, picture(opened)) > 300
    toggle.click()
    assert changed(before, picture(opened)) == 0
    opened.find_element("id", "next").click()
    without = picture(opened)
    toggle.click()
    assert changed(without, picture(opened)) == 0


def test_points_are_coloured_by_lag_with_a_scale(opened: Any) -> None:
    scale = opened.find_element("id", "scale")
    assert scale.text.split() == ["-2", "1", "m"]
    by_height = picture(opened)
    opened.execute_script(CHOOSE, "color", "time_lag")
    assert scale.text == "0\n0.5 s before the newest sweep"
    lag = picture(opened)
    assert changed(by_height, lag) > 300
    theme = shown_theme(opened)
    assert count_pixels(lag, to_hex(theme.lags(0.0))) > 100
    opened.execute_script(CHOOSE, "color", "boxes")
    assert not scale.is_displayed()


def test_the_script_s_arrows_are_those_of_other_pictures(opened: Any) -> None:
    """Its few lines of arithmetic are run by themselves on the page's settings."""
    script = (Path(palette.__file__).parents[1] / "report" / "assets" / "page.js").read_text()
    (function,) = re.findall(r"  function arrowLines\(box\) \{.*?\n  \}\n", script, flags=re.DOTALL)
    boxes = moving_boxes(30, seed=3)
    boxes[5, 7:] = 0
    ask = f"const view = JSON.parse(document.getElementById('view').textContent);{function}"
    lines = opened.execute_script(f"{ask} return arguments[0].map(arrowLines);", boxes.tolist())
    assert lines[5] == []
    found = np.array([line for line in lines if line]).reshape(-1, 2, 3)
    np.testing.assert_allclose(found, arrow_segments(boxes), atol=1e-9)
    assert opened.execute_script(f"{ask} return arrowLines([1, 2, 3, 4, 5, 6, 0, null, null]);") == []
    assert opened.execute_script(f"{ask} return arrowLines([1, 2, 3, 4, 5, 6, 0]);") == []
