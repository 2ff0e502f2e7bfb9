"""The `lidar-ebm` command: every verb that a module of this package has, each a thin layer over one function.

Imports of what works stand inside the verbs: torch takes seconds to load, and `--help` should not wait for it.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from functools import cache
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from lidar_ebm import __version__
from lidar_ebm.cli.verb import Verb
from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.system.processes import is_first_process
from lidar_ebm.system.terminal import accept_any_text, checked_output, show_warnings_plainly

INTERRUPTED = 130  # the status that Typer ends with on Ctrl-C

app = typer.Typer(
    help="3-D object detection in LiDAR point clouds with boxes refined by ascending an energy f(x, y).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)


@cache
def verbs() -> dict[str, Verb]:
    """All verbs by name, in the order of `--help`: those in the `VERBS` of this package's modules."""
    package = importlib.import_module("lidar_ebm.cli")
    names = (each.name for each in pkgutil.iter_modules(package.__path__))
    modules = [
        importlib.import_module(f"lidar_ebm.cli.{name}") for name in names if name not in ("__main__", "command")
    ]
    listed = [verb for module in modules for verb in getattr(module, "VERBS", ())]
    return {verb.name: verb for verb in sorted(listed, key=lambda verb: verb.place)}


def _version(value: bool) -> None:
    if value:
        typer.echo(f"lidar-ebm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command; errors of the user's input end in one message and exit status 2."""
    accept_any_text()
    console = Console(stderr=True, emoji=False)  # a message such as "000000.txt:100: …" holds no picture
    show_warnings_plainly()
    # Threads that wait for one another by spinning make a busy machine several times slower, and a quiet one no faster.
    # It counts if it stands before torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        with checked_output():
            app(arguments)
    except (InputError, OutputError) as error:
        console.print(f"[red]Error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED and is_first_process():
            console.print(f"Interrupted. {_going_on(arguments)}", soft_wrap=True)
        raise


def _going_on(arguments: list[str] | None) -> str:
    word = next((word for word in arguments or sys.argv[1:] if not word.startswith("-")), "")
    verb = verbs().get(word)
    return "No file was left half-written." if verb is None else verb.going_on


for _verb in verbs().values():
    app.command(_verb.name, epilog=f"Example: {_verb.example}", rich_help_panel=_verb.panel)(_verb.function)
