"""Parts that the studies share: rows that are kept as soon as they are known, tables, a page with machine and date.

    study = Study("My study", arguments.out, settings={"epochs": 75}, processes=arguments.processes)
    rows = study.rows({"NCE": partial(train, "nce"), "ML-IS": partial(train, "ml-is")})  # dicts of JSON's types
    study.table("Error", ["method", "error / m"], [[name, row["error"]] for name, row in rows.items()])
    study.picture(figure, arguments.results / "my_study.png", "What the lines are")
    study.write(arguments.results / "my_study.md")

A killed study goes on where it was: only rows that its folder lacks are computed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.system.files import atomic_write
from lidar_ebm.system.progress import progress_bar
from lidar_ebm.system.worker_pool import in_processes
from lidar_ebm.visualization.palette import save_figure

Row = dict[str, Any]  # what one row came to, in JSON's types
RESULTS = Path(__file__).resolve().parent / "results"


@dataclass
class Study:
    """Named rows and the page that is made of them.

    Attributes:
        name: the page's title.
        out: folder in which rows are kept.
        settings: all that the rows' values depend on beside their names, in JSON's types. A folder whose rows were
            computed with others is refused.
        processes: in which rows are computed, one row at a time and one thread each; 1 is this process itself.
    """

    name: str
    out: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    processes: int = 1
    console: Console = field(default_factory=Console)

    def __post_init__(self) -> None:
        self._kept: dict[str, Row] = {}  # rows with when, where and in what time they were computed
        self._page: list[str] = []

    def row(self, key: str, compute: Callable[[], Row]) -> Row:
        """The row of this name: the one kept, or else what `compute` gives, which is kept first.

        Raises:
            InputError: the folder's row was computed with other settings, or is no row.
            OutputError: it cannot be written.
        """
        return self.rows({key: compute})[key]

    def rows(self, tasks: Mapping[str, Callable[[], Row]]) -> dict[str, Row]:
        """All rows, in the order of `tasks`; missing ones are computed, with progress and an estimate of the time left.

        Args:
            tasks: what computes each row. With several processes it can be pickled (a module's function, `partial`).
        """
        settings = json.loads(_json(self.settings))
        work = []
        for key, compute in tasks.items():
            path = self.out / "rows" / f"{_file_name(key)}.json"
            kept = _read(path, settings)
            if kept is None:
                work.append((path, key, settings, compute))
            else:
                self._kept[key] = kept
        if work:
            with progress_bar(self.name, len(tasks), done=len(tasks) - len(work)) as bar:
                many = self.processes > 1 and len(work) > 1
                done = in_processes(_compute, work, self.processes, root=self.out) if many else map(_compute, work)
                for kept in done:
                    self._kept[kept["key"]] = kept
                    bar.advance(note=kept["key"])
        return {key: self._kept[key]["values"] for key in tasks}

    def text(self, markdown: str) -> None:
        """A paragraph of the page."""
        self.console.print(markdown, highlight=False, markup=False)
        self._page.append(markdown)

    def table(self, title: str, columns: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
        """A table, printed and on the page. Numbers get three digits; strings are as they are, None is left empty."""
        table = Table(*columns, title=title, box=SIMPLE_HEAD, title_justify="left")
        cells = [[_cell(value) for value in line] for line in lines]
        for line in cells:
            if len(line) != len(columns):
                raise ValueError(f"{title}: a line of {len(line)} cells under {len(columns)} columns: {line}")
            table.add_row(*line)
        self.console.print(table)
        marks = ["---" if index == 0 else "---:" for index in range(len(columns))]
        rows = [f"| {' | '.join(line)} |" for line in (list(columns), marks, *cells)]
        self._page.append(f"## {title}\n\n" + "\n".join(rows))

    def picture(self, figure: Figure, path: Path, caption: str) -> None:
        """Write a picture and show it on the page, which is to lie in the same folder."""
        save_figure(figure, path)
        self.console.print(f"Picture: {path}", soft_wrap=True, highlight=False)
        self._page.append(f"![{caption}]({path.name})\n\n{caption}")

    def write(self, path: Path) -> None:
        """Write the page: what was called, when, on what machine, then text, tables and pictures in order."""
        machines = sorted({kept["machine"] for kept in self._kept.values()}) or [machine()]
        days = sorted({kept["date"] for kept in self._kept.values()}) or [date.today().isoformat()]
        seconds = sum(kept["seconds"] for kept in self._kept.values())
        command = shlex.join([_relative(sys.argv[0]), *sys.argv[1:]])
        head = [
            f"`python {command}`, {' to '.join(dict.fromkeys((days[0], days[-1])))}.",
            f"Machine: {'; '.join(machines)}.",
            f"{len(self._kept)} rows, {_duration(seconds)} of computing in all.",
        ]
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        parts = [f"# {self.name}", "\n".join(head) + (f"\nSettings: {settings}." if settings else ""), *self._page]
        with atomic_write(path, "w") as file:
            file.write("\n\n".join(parts) + "\n")
        self.console.print(f"Page: {path}", soft_wrap=True, highlight=False)


def parser(description: str | None, name: str) -> argparse.ArgumentParser:
    """The options that every study has; `run` fills in what is left open."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="a minute's look, with figures that mean little")
    options.add_argument("--out", type=Path, help=f"folder of the rows (default runs/studies/{name}[_quick])")
    options.add_argument(
        "--results", type=Path, help="folder of page and pictures (default: beside the program; --out with --quick)"
    )
    options.add_argument("--processes", type=int, default=1, help="rows computed at a time (default %(default)s)")
    options.set_defaults(name=name)
    return options


def run(options: argparse.ArgumentParser, study: Callable[[argparse.Namespace], None]) -> None:
    """Parse the command line, fill in its folders, and run the study; users' errors end in one line."""
    arguments = options.parse_args()
    if arguments.processes < 1:
        options.error(f"--processes {arguments.processes}: give 1 or more")
    arguments.out = arguments.out or Path("runs/studies") / (arguments.name + "_quick" * arguments.quick)
    arguments.results = arguments.results or (arguments.out if arguments.quick else RESULTS)
    torch.set_num_threads(1)  # several processes are the parallelism, and the tensors are small
    try:
        study(arguments)
    except (InputError, OutputError) as error:
        Console(stderr=True).print(f"Error: {error}", style="red", highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print("Interrupted. Call again to go on from here.")
        sys.exit(130)


def machine() -> str:
    """Processor, system and versions that figures depend on, in words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [f"{cores} cores of {_processor()}", f"{platform.system()} {platform.machine()}"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join([*parts, f"Python {platform.python_version()}", f"torch {torch.__version__}"])


def _processor() -> str:
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "an unknown processor"


def _compute(work: tuple[Path, str, Row, Callable[[], Row]]) -> Row:
    """Compute a row and keep it; in a process of its own too."""
    path, key, settings, compute = work
    began = time.perf_counter()
    values = compute()
    kept = {
        "key": key,
        "settings": settings,
        "machine": machine(),
        "date": date.today().isoformat(),
        "seconds": time.perf_counter() - began,
        "values": values,
    }
    text = _json(kept)
    with atomic_write(path, "w") as file:
        file.write(text)
    return json.loads(text)  # as it will be read, tuples being lists and so on


def _read(path: Path, settings: Row) -> Row | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        kept_settings = kept["settings"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: this is no row of a study ({error}). Remove it, or choose another --out.") from error
    if kept_settings != settings:
        other = sorted(name for name in {*kept_settings, *settings} if kept_settings.get(name) != settings.get(name))
        raise InputError(
            f"{path}: computed with other settings ({', '.join(other)}). Choose another --out, or remove that folder."
        )
    return kept


def _json(values: Mapping[str, Any]) -> str:
    """Scalars and arrays of numpy and torch become numbers and lists."""
    return json.dumps(values, indent=1, ensure_ascii=False, default=lambda value: value.tolist())


def _file_name(key: str) -> str:
    """Names that differ in signs alone ("NCE", "NCE+") get files that differ."""
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', key)}-{hashlib.sha256(key.encode()).hexdigest()[:6]}"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _relative(path: str) -> str:
    """A path below the working directory without that directory."""
    full = Path(path).resolve()
    return str(full.relative_to(Path.cwd())) if full.is_relative_to(Path.cwd()) else full.name
