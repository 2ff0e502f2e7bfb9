"""`Verb`: a function of the command line with its example, and what to say after Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """One verb of the command. A module of `lidar_ebm.cli` lists its own in `VERBS`; there is no other list."""

    function: Callable[..., None]  # its parameters are Typer's; its docstring is the help
    example: str  # in backquotes
    panel: str = "Further"  # under which `--help` shows it
    place: int = 1000  # in rising order
    going_on: str = "No file was left half-written."  # how to go on after Ctrl-C

    @property
    def name(self) -> str:
        """The word that is typed."""
        return self.function.__name__.replace("_", "-")
