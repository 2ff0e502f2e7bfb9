"""Griffe extension for the reference pages: `a, b: both meant` in a docstring's Args documents each name."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Function

# A line `low, high: text`, with the lines that are indented deeper.
SHARED = re.compile(r"^( +)(\w+(?:, \w+)+): (.*(?:\n\1 .*)*)$", flags=re.MULTILINE)


def split_shared(text: str) -> str:
    """Docstring in which names that share a text each have their own line."""
    return SHARED.sub(lambda line: "\n".join(f"{line[1]}{name}: {line[3]}" for name in line[2].split(", ")), text)


class SharedArguments(Extension):
    """Rewrites docstrings of functions before they are parsed."""

    def on_function_instance(self, *, func: Function, **_: Any) -> None:
        """Split the names of one function's docstring."""
        if func.docstring is not None:
            func.docstring.value = split_shared(func.docstring.value)
