"""A real browser for tests of the page, and what is seen in it."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium that draws in software."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs `pip install selenium`")
    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.skip("needs Chromium and its driver (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"):
        options.add_argument(argument)
    options.add_argument("--window-size=1200,1000")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


def wait_for(holds: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def picture(browser: Any) -> np.ndarray:
    """The 3-D view as it stands, once two drawings in a row are the same."""
    last = None
    while True:
        time.sleep(0.15)
        data = browser.find_element("id", "canvas").screenshot_as_png
        if data == last:
            return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
        last = data


def count_pixels(picture: np.ndarray, color: str) -> int:
    rgb = [int(color[k : k + 2], 16) for k in (1, 3, 5)]
    return int((np.abs(picture - rgb).max(axis=-1) < 40).sum())


def changed(first: np.ndarray, second: np.ndarray) -> int:
    return int((np.abs(first - second).max(axis=-1) > 30).sum())
