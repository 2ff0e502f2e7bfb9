"""Something that is wrong with results, or worth knowing before they are sent to a benchmark's server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

SHOWN_OF_A_KIND = 5
KEPT_OF_A_KIND = 1000


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with results, or worth knowing before they are sent."""

    where: str  # the folder, FILE, FILE:LINE, or the sample and box in a file
    finding: str  # what stands there
    kind: str  # why that is wrong, and what to do; problems of one kind are listed together
    blocks: bool  # whether it has to be corrected; if not, the server takes the results as they are

    def __str__(self) -> str:
        return f"{self.where}: {self.finding}: {self.kind}"


class Judged:
    """Base of contents that problems were looked for in."""

    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Problems for which the benchmark's server or program refuses the contents, or misreads them."""
        return tuple(problem for problem in self.problems if problem.blocks)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Problems of contents that are taken all the same, but perhaps not as they were meant."""
        return tuple(problem for problem in self.problems if not problem.blocks)


@dataclass
class ProblemList:
    """Problems as they come up; of a kind that every box has, only the first ones are kept."""

    _kept: dict[tuple[str, bool], list[Problem]] = field(default_factory=dict)
    _passed_over: dict[tuple[str, bool], int] = field(default_factory=dict)

    def add(self, problems: Iterable[Problem]) -> None:
        """Take some more."""
        for problem in problems:
            key = (problem.kind, problem.blocks)
            kept = self._kept.setdefault(key, [])
            if len(kept) < KEPT_OF_A_KIND:
                kept.append(problem)
            else:
                self._passed_over[key] = self._passed_over.get(key, 0) + 1

    def as_tuple(self) -> tuple[Problem, ...]:
        """All of them, kind by kind."""
        every = []
        for (kind, blocks), kept in self._kept.items():
            every += kept
            if count := self._passed_over.get((kind, blocks)):
                every.append(Problem("elsewhere", f"{count:,} more", kind, blocks=blocks))
        return tuple(every)


def list_problems(problems: Sequence[Problem], shown: int = SHOWN_OF_A_KIND) -> list[str]:
    """A line for each problem, kind by kind, `shown` of a kind and then how many more there are."""
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(problem.kind, []).append(problem)
    lines = []
    for same in kinds.values():
        lines += [str(problem) for problem in same[:shown]]
        if len(same) > shown:
            lines.append(f"… and {len(same) - shown} more: {same[0].kind}")
    return lines


def list_lines(problems: Sequence[Problem]) -> str:
    """The lines of `list_problems` as the end of a message: each on a line of its own, indented."""
    return "".join(f"\n  {line}" for line in list_problems(problems))
