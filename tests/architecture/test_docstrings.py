"""Docstrings: all public things have one, and it begins with what a thing is or does, not with a question word."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUESTION_WORDS = {"what", "where", "whether", "how", "which", "who", "whose", "why", "when", "that", "if"}

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def sources(folder: str) -> list[Path]:
    """Python files of a folder of the checkout."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths
    return paths


def documented(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Documented) and (text := ast.get_docstring(node)) is not None:
            yield node.body[0].lineno, text


def questions(source: str) -> list[int]:
    """Lines of the docstrings whose first word is a question word."""
    found = []
    for line, text in documented(source):
        first = re.search(r"\w+", text)
        if first is not None and first.group().lower() in QUESTION_WORDS:
            found.append(line)
    return sorted(found)


def undocumented(source: str) -> list[str]:
    """Public module, classes, functions and methods without a docstring."""
    tree = ast.parse(source)
    return [*([] if ast.get_docstring(tree) else ["the module"]), *_undocumented(tree.body)]


def _undocumented(body: list[ast.stmt], owner: str = "") -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield owner + node.name
            if isinstance(node, ast.ClassDef):
                yield from _undocumented(node.body, f"{owner}{node.name}.")


@pytest.mark.parametrize("folder", ["lidar_ebm", "cuda_ops", "tools", "tests"])
def test_docstrings_begin_with_no_question_word(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources(folder)
        for line in questions(path.read_text(encoding="utf-8"))
    ]
    assert wrong == [], "begin with a noun phrase or an imperative, as in 'Number of …' or 'Tell if …'"


@pytest.mark.parametrize("folder", ["lidar_ebm", "cuda_ops"])
def test_public_things_have_docstrings(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources(folder)
        for name in undocumented(path.read_text(encoding="utf-8"))
    ]
    assert wrong == []


def test_the_checks_see_every_kind() -> None:
    source = '''"""
Whether."""
class A:
    """`What` it is."""
    @property
    def b(self):
        """Number of how."""
    async def c(self):
        """
        WHICH one
        """
        def inside():
            """If so."""
    def _private(self): ...
    def bare(self): ...
class _Hidden:
    def bare(self): ...
def free(): ...
'''
    assert questions(source) == [1, 4, 9, 13]
    assert undocumented(source) == ["A.bare", "free"]
    assert undocumented("x = 1") == ["the module"]
