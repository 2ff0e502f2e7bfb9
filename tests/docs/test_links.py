"""Links within the pages lead somewhere, pictures are there, and the front page is short."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, anchors, links

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(page: Path) -> None:
    for picture, target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_relative_to(ROOT), f"{page.name}: {target} leaves the repository"
        assert file.exists(), f"{page.name}: {target}: no such file"
        if picture:
            assert file.suffix in {".png", ".svg", ".gif", ".jpg"}, f"{page.name}: {target} is no picture"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}: no such heading"


def test_the_front_page_is_short_and_shows_a_picture() -> None:
    front = ROOT / "README.md"
    assert front.stat().st_size <= 6144
    assert any(picture for picture, _ in links(front))


def test_the_front_page_leads_to_every_part() -> None:
    linked = {target.partition("#")[0] for _, target in links(ROOT / "README.md")}
    for page in ("quickstart", "data_sets", "training", "energy", "scoring", "viewing", "kernels", "errors", "status"):
        assert f"docs/{page}.md" in linked


def test_every_picture_is_shown_on_a_page() -> None:
    shown = {(page.parent / target).resolve() for page in PAGES for picture, target in links(page) if picture}
    assert shown >= set((ROOT / "docs").rglob("*.png"))


def test_no_page_shows_pictures_of_another_host() -> None:
    for page in PAGES:
        assert "](http" not in "".join(part[-1:] for part in page.read_text(encoding="utf-8").split("![")[1:])
