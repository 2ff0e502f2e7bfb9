"""Report of what `prepare` found and did, and its form for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lidar_ebm.datasets.preparation.findings import Finding
from lidar_ebm.system.words import count_of

SHOWN = 5  # findings of a kind in a terminal; the file has all of them


@dataclass(frozen=True)
class PrepareReport:
    """Contents of a data set, what is wrong with it, and what was done."""

    root: Path
    prepared: Path  # where the prepared frames are
    version: str  # of lidar_ebm
    kind: str  # of the data set
    splits: Mapping[str, int]  # frames by split
    made: int  # frames prepared by this call
    kept: int  # frames that were prepared already
    failed: int  # frames with errors, which cannot be prepared
    points_read: int  # of the prepared frames
    points_kept: int  # of these: in the camera's view
    objects: Mapping[str, int]  # labels by class name, of the prepared frames
    without_objects: int  # prepared frames without a labelled box in space
    difficulties: tuple[str, ...]  # the data set's words
    database: Mapping[str, tuple[int, ...]]  # objects in the label database by class: how many of each difficulty
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def frames(self) -> int:
        """Frames that were looked at."""
        return self.made + self.kept + self.failed

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that keep a frame or split from being used."""
        return tuple(finding for finding in self.findings if finding.is_error)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that are odd, and used as they are."""
        return tuple(finding for finding in self.findings if not finding.is_error)

    def groups(self) -> dict[str, tuple[Finding, ...]]:
        """The findings by kind, errors first, each in the order of frames."""
        groups: dict[str, list[Finding]] = {}
        for finding in (*self.errors, *self.warnings):
            groups.setdefault(f"{finding.severity}: {finding.kind}", []).append(finding)
        return {kind: tuple(findings) for kind, findings in groups.items()}


def report_text(report: PrepareReport) -> str:
    """The whole report as plain text; the same data give the same text."""
    lines = [f"{title}: {value}" for title, value in _facts(report)]
    lines += ["", _verdict(report)]
    for kind, findings in report.groups().items():
        lines += ["", f"{kind} ({len(findings)})", *(f"  {finding}" for finding in findings)]
    return "\n".join(lines) + "\n"


def report_table(report: PrepareReport, shown: int = SHOWN) -> Group:
    """The report for a terminal, with the first `shown` findings of each kind."""
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for title, value in _facts(report):
        facts.add_row(title, escape(value))
    facts.add_row(
        "this run", f"{count_of(report.made, 'frame')} prepared, {report.kept} already, in {report.seconds:.1f} s"
    )
    parts: list[RenderableType] = [facts, Text()]
    for kind, findings in report.groups().items():
        parts.append(Text(f"{kind} ({len(findings)})", style="red" if findings[0].is_error else "yellow"))
        parts += [Text(f"  {finding}") for finding in findings[:shown]]
        if len(findings) > shown:
            parts.append(Text(f"  … and {len(findings) - shown} more in {report.prepared / 'report.txt'}"))
    parts += [*([Text()] if report.findings else []), Text(_verdict(report), style="red" if report.errors else "green")]
    return Group(*parts)


def _facts(report: PrepareReport) -> Iterator[tuple[str, str]]:
    ready = report.frames - report.failed
    yield "data set", str(report.root)
    yield "checked by", f"lidar-ebm {report.version}"
    yield "kind", report.kind
    yield "splits", ", ".join(f"{name} {count:,}" for name, count in report.splits.items()) or "none"
    yield "frames", f"{report.frames:,}, {ready:,} of them prepared, {report.failed:,} with errors"
    if ready:
        share = f" ({report.points_kept / report.points_read:.0%})" if report.points_read else ""
        yield "points a frame", f"{report.points_read / ready:,.0f}, kept {report.points_kept / ready:,.0f}{share}"
        yield "labels", ", ".join(f"{name} {count:,}" for name, count in report.objects.items()) or "none"
        yield "frames without objects", f"{report.without_objects:,}"
    for name, counts in report.database.items():
        levels = ", ".join(f"{level} {count:,}" for level, count in zip(report.difficulties, counts, strict=True))
        yield f"label database: {name}", f"{sum(counts):,} ({levels})"


def _verdict(report: PrepareReport) -> str:
    if report.errors:
        errors, found = count_of(len(report.errors), "error"), count_of(len(report.warnings), "warning")
        return f"{errors}, {found}. Frames with errors cannot be used."
    return f"No errors, {count_of(len(report.warnings), 'warning')}." if report.warnings else "Nothing wrong was found."
