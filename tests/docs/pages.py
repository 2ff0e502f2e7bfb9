"""The Markdown pages of the repository, taken apart: fenced blocks, links, headings, inline code."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EBM_README = ROOT / "lidar_ebm" / "ebm" / "README.md"
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "data" / "README.md",
    EBM_README,
    *sorted((ROOT / "docs").rglob("*.md")),
]
RUNS = "<!-- runs -->"  # the line before a Python block that a test runs, after the page's earlier such blocks
_FENCE = re.compile(
    rf"^(?P<runs>{RUNS}\n)?```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$", flags=re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"(?P<picture>!?)\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: Path
    line: int  # of its first line in the page
    language: str
    text: str
    runs: bool

    @property
    def name(self) -> str:
        """Page and line, as a test is called."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, language: str) -> list[Block]:
    """Fenced blocks of a page in one language, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start("text")) + 1, language, found["text"], found["runs"] is not None)
        for found in _FENCE.finditer(text)
        if found["language"] == language
    ]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[tuple[bool, str]]:
    """Links that lead to no other host: True for a picture, and the target."""
    text = re.sub(r"`[^`\n]*`(?!\])", "", prose(page))
    found = [(bool(link["picture"]), link["target"]) for link in _LINK.finditer(text)]
    return [(picture, target) for picture, target in found if not re.match(r"[a-z]+:", target)]


def inline_code(page: Path) -> list[str]:
    """Texts in code style."""
    return re.findall(r"`([^`\n]+)`", prose(page).replace("\n", " "))


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub and the site both make them."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", prose(page), flags=re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found
