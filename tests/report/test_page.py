"""The page: what it says, that nothing is missing, and how it behaves in a real browser."""

from __future__ import annotations

import csv
import json
import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.report.frames import spread
from lidar_ebm.report.page import to_html
from lidar_ebm.runs.run import load_run_config
from lidar_ebm.visualization import palette
from lidar_ebm.workflows.report import gather, write_report
from tests.report.browser import browser, changed, count_pixels, picture, wait_for  # noqa: F401 (a fixture)

pytestmark = pytest.mark.filterwarnings("ignore:.*how sure the energy is")


def test_the_tables_have_the_evaluations_figures(page: Path, evaluated: Path) -> None:
    text = page.read_text()
    with (evaluated / "evaluation" / "val" / "refinement.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            assert f"{float(row['before']):.2f} → {float(row['after']):.2f}<br>" in text
    for heading in ("Summary", "Frames in 3-D", "Where the errors are", "Training", "Configuration"):
        assert f">{heading}" in text
    assert "&lt;run&gt; &amp; more" in text
    assert "<run>" not in text
    assert (evaluated / "config.yaml").read_text() in unescape(text)


def test_the_page_names_no_other_place(page: Path) -> None:
    """Nothing is loaded but data URIs; addresses stand in three.js's messages alone."""
    text = re.sub(r"<script>var THREE.*?</script>", "", page.read_text(), flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*", text)
    assert not re.findall(r"https?://", text)


def test_the_frames_are_those_of_the_data_set(page: Path, evaluated: Path, simulated: Path) -> None:
    frames = open_samples(simulated, "val", load_run_config(evaluated))
    found = re.findall(r'<script type="application/json" class="frame">(.*?)</script>', page.read_text())
    assert len(found) == len(frames) == 2
    for index, text in enumerate(found):
        record, frame = json.loads(text), frames[index]
        assert record["name"] == frame.frame_id
        assert np.allclose(np.reshape(record["labels"], (-1, 7)), frame.boxes, atol=1e-3)
        results = evaluated / "evaluation" / "val" / "results_after" / "data" / f"{frame.frame_id}.txt"
        assert len(record["scores"]) == len(results.read_text().splitlines()) > 0
        assert len(record["steps"]) == len(record["f"]) == 4
        assert (np.diff(np.array(record["f"]), axis=0) > -1e-2).all()  # refinement ascends


def test_without_its_data_the_page_says_what_is_missing(evaluated: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(evaluated, tmp_path / "run"))
    (run / "evaluation" / "val" / "about.json").unlink()
    text = write_report(run, tmp_path / "page.html").read_text()
    assert "Name it with --data" in text
    assert "lidar-ebm calibrate" in text
    assert 'id="canvas"' not in text


def test_bad_requests_are_refused(evaluated: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        write_report(tmp_path)
    with pytest.raises(InputError, match="lidar-ebm evaluate"):
        write_report(evaluated, split="test")
    with pytest.raises(InputError, match="frames: -1"):
        write_report(evaluated, frames=-1)
    run = Path(shutil.copytree(evaluated, tmp_path / "run"))
    (run / "evaluation" / "val" / "about.json").write_text("{")
    with pytest.raises(InputError, match=r"about\.json"):
        write_report(run)


def copy_of(evaluated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(evaluated, tmp_path / "run"))


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_place_that_cannot_be_written_is_known_before_the_work(evaluated: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="this is a folder"):
        write_report(tmp_path / "no run at all", tmp_path)


def test_landscapes_do_not_depend_on_the_frames_in_3d(evaluated: Path) -> None:
    gathered = [gather(evaluated, frames=frames, boxes=2, resamples=2) for frames in (0, 2)]
    counts = [len(each.improved) + len(each.worst) for each in gathered]
    assert counts[0] == counts[1] > 0


def test_the_kind_of_average_precision_is_the_evaluations(evaluated: Path, tmp_path: Path) -> None:
    run = copy_of(evaluated, tmp_path)
    table = run / "evaluation" / "val" / "refinement.csv"
    table.write_text(table.read_text().replace("R40", "R11"))
    gathered = gather(run, frames=0, boxes=0, resamples=20)
    text = to_html(gathered)
    assert "mean AP R11 at IoU" in text and "Car AP R11 (%)" in text and "mean AP R40" not in text
    assert gathered.paired is not None
    (interval, *_) = (each for each in gathered.paired.differences if each.recall == "R11" and np.isfinite(each.low))
    assert f"[{interval.low:+.2f}, {interval.high:+.2f}]" in text


def test_the_weights_are_those_that_were_evaluated(evaluated: Path, tmp_path: Path) -> None:
    run = copy_of(evaluated, tmp_path)
    (run / "checkpoints").mkdir(exist_ok=True)
    (run / "model.safetensors").rename(run / "checkpoints" / "best.safetensors")
    edit_json(run / "evaluation" / "val" / "about.json", weights="checkpoints/best.safetensors")
    assert not any("changed" in note for note in gather(run, frames=1, boxes=0, resamples=2).missing)
    edit_json(run / "evaluation" / "val" / "about.json", weights_sha256="0" * 64)
    assert any("best.safetensors has changed" in note for note in gather(run, frames=1, boxes=0, resamples=2).missing)


def test_steps_of_a_stage_are_counted_from_the_one_before(evaluated: Path) -> None:
    facts = gather(evaluated, frames=0, boxes=0, resamples=2).training
    assert facts["training, detector"] == "20 steps, 600 ms each (median)"
    assert facts["training, energy"] == "10 steps, 200 ms each (median)"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.csv", "a,b\n1,2\n"),
        ("metrics.csv", "step,stage,loss\nx,detector,1\n"),
        ("evaluation/val/about.json", '{"data": "."}'),
        (
            "evaluation/val/refinement.csv",
            "name,class,metric,iou,difficulty,recall,before,after\na,Car,4d,.7,easy,R40,1,2\n",
        ),
        ("evaluation/val/ap_against_steps.csv", "steps,iou,ap\n0,0.7,1\n1,0.7,2\n0,0.8,1\n"),
        ("calibration/val/calibration.json", '{"before": {"dimensions": []}}'),
        ("calibration/val/calibration.json", '{"before": 3, "after": 4}'),
    ],
)
def test_damaged_files_are_named(evaluated: Path, tmp_path: Path, name: str, content: str) -> None:
    run = copy_of(evaluated, tmp_path)
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).write_text(content)
    with pytest.raises(InputError, match=re.escape(Path(name).name)):
        write_report(run, frames=0, boxes=0)


@pytest.mark.parametrize(
    ("count", "wanted", "first", "chosen"),
    [(10, 3, [4], [0, 4, 9]), (2, 5, [1], [0, 1]), (5, 0, [], []), (6, 2, [5, 3, 1], [3, 5]), (5, 2, [], [0, 4])],
)
def test_frames_are_spread(count: int, wanted: int, first: list[int], chosen: list[int]) -> None:
    assert spread(count, wanted, first) == chosen


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:  # noqa: F811
    """The page, anew."""
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page.resolve().as_uri())
    wait_for(lambda: "of" in browser.find_element("id", "step-text").text)
    return browser


def test_it_loads_alone_and_without_complaint(opened: Any, page: Path) -> None:
    assert [entry for entry in opened.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    assert page.resolve().as_uri() in asked
    assert all(url.startswith("data:") for url in asked - {page.resolve().as_uri()})


def test_turning_changes_the_view(opened: Any) -> None:
    from selenium.webdriver import ActionChains

    canvas, before = opened.find_element("id", "canvas"), picture(opened)
    ActionChains(opened).move_to_element(canvas).click_and_hold().move_by_offset(140, 30).release().perform()
    assert changed(before, picture(opened)) > 500


def test_layers_are_hidden_and_shown(opened: Any) -> None:
    opened.find_element("css selector", '[data-pose="above"]').click()
    theme = palette.THEMES[opened.find_element("tag name", "html").get_attribute("data-theme")]
    before = picture(opened)
    for name in ("label", "after"):
        toggle = opened.find_element("id", f"show-{name}")
        toggle.click()
        assert count_pixels(picture(opened), getattr(theme, name)) < count_pixels(before, getattr(theme, name)) / 2
        toggle.click()
        assert changed(before, picture(opened)) == 0


def test_only_what_is_shown_has_a_tip(opened: Any) -> None:
    at_every_place = """
      const canvas = document.getElementById("canvas"), area = canvas.getBoundingClientRect(), found = new Set();
      for (let x = 5; x < area.width; x += 12)
        for (let y = 5; y < area.height; y += 12) {
          const at = { clientX: area.left + x, clientY: area.top + y };
          canvas.dispatchEvent(new PointerEvent("pointermove", at));
          const tip = document.getElementById("tip");
          if (!tip.hidden) found.add(tip.textContent.startsWith("label") ? "label" : "after");
        }
      return [...found].sort();"""
    picture(opened)  # the camera is where it should be once the view is drawn
    assert opened.execute_script(at_every_place) == ["after", "label"]
    opened.find_element("id", "show-label").click()
    assert opened.execute_script(at_every_place) == ["after"]
    opened.find_element("id", "show-after").click()
    assert opened.execute_script(at_every_place) == []


def test_narrow_windows_have_room_for_the_page(opened: Any) -> None:
    opened.set_window_size(420, 1000)
    try:
        wait_for(lambda: opened.execute_script("return window.innerWidth <= 500"))  # on a busy machine it takes a while
        height, width = opened.execute_script(
            "return [document.querySelector('header').offsetHeight, document.documentElement.scrollWidth]"
        )
        assert height < 120 and width <= 420
    finally:
        opened.set_window_size(1200, 1000)


def test_frames_are_chosen(opened: Any) -> None:
    first = picture(opened)
    opened.find_element("id", "next").click()
    assert opened.execute_script("return document.getElementById('frame').selectedIndex") == 1
    assert changed(first, picture(opened)) > 500
    opened.find_element("id", "previous").click()
    assert changed(first, picture(opened)) == 0


def test_the_step_moves_the_refined_boxes(opened: Any) -> None:
    set_value = (
        "const e = document.getElementById(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('input'))"
    )
    assert opened.find_element("id", "step-text").text.startswith("3 of 3")
    last = picture(opened)
    opened.execute_script(set_value, "step", 0)
    assert opened.find_element("id", "step-text").text.startswith("0 of 3")
    assert changed(last, picture(opened)) > 0
    opened.execute_script(set_value, "score", 1)
    assert opened.find_element("id", "step-text").text == "0 of 3"  # no box is that sure


def test_the_theme_reaches_the_view_and_the_pictures(opened: Any) -> None:
    root = opened.find_element("tag name", "html")
    opened.find_element("id", "theme").click()
    for _ in range(2):
        chosen = palette.THEMES[root.get_attribute("data-theme")]
        assert count_pixels(picture(opened)[:20, :20], chosen.background) > 300
        for theme in palette.THEMES:
            shown = [image.is_displayed() for image in opened.find_elements("css selector", f"img.{theme}")]
            assert set(shown) == {theme == chosen.name}
        opened.find_element("id", "theme").click()
