"""Words for messages."""

from __future__ import annotations


def count_of(number: int, word: str) -> str:
    """A number with its word, in the singular where it is 1: "1 box", "2 boxes", "0 frames"."""
    plural = f"{word}es" if word.endswith("x") else f"{word}s"
    return f"{number} {word if number == 1 else plural}"
