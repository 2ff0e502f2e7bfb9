"""Checks of records that are chained by `prev` and `next`: samples, the LiDAR's files, labels of an object."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lidar_ebm.datasets.preparation.findings import ERROR, Finding

_SHOWN = 5


class Links:
    """Links of a table's records to others of the same table."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.prev: list[str] = []
        self.following: list[str] = []
        self.group: list[int] = []  # the same in all records of a chain; -1 where it is not known
        self.time: list[int] = []  # µs; -1 likewise

    def add(self, token: str, prev: str, following: str, group: int, time: int) -> None:
        """Take a record."""
        self.tokens.append(token)
        self.prev.append(prev)
        self.following.append(following)
        self.group.append(group)
        self.time.append(time)


def check_chain(links: Links, place: str, of: str) -> Iterator[Finding]:
    """Findings about prev and next of a table.

    Args:
        place: the table, as findings name it.
        of: what all records of a chain have in common.
    """
    rows = {token: row for row, token in enumerate(links.tokens)}
    times, groups = np.array(links.time, np.int64), np.array(links.group, np.int64)
    targets = {
        field: np.array([rows.get(token, -2) if token else -1 for token in tokens], np.int64)
        for field, tokens in (("prev", links.prev), ("next", links.following))
    }
    for field, back, sign in (("prev", "next", -1), ("next", "prev", 1)):
        target = targets[field]
        linked = np.flatnonzero(target >= 0)
        to = target[linked]
        dated = (times[to] >= 0) & (times[linked] >= 0)
        grouped = (groups[to] >= 0) & (groups[linked] >= 0)
        faults = {
            "leads nowhere": np.flatnonzero(target == -2),
            f"leads to another {of}": linked[grouped & (groups[to] != groups[linked])],
            # Where time rises along all links no chain can be a circle.
            f"leads to a record that is not {'before' if sign < 0 else 'after'} it, as in a circle": linked[
                dated & ((times[to] - times[linked]) * sign <= 0)
            ],
            f"leads to a record whose {back} leads elsewhere": linked[targets[back][to] != linked],
        }
        for fault, wrong in faults.items():
            if len(wrong):
                shown = ", ".join(repr(links.tokens[row]) for row in wrong[:_SHOWN].tolist())
                more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
                message = f"{field} {fault}: of the tokens {shown}{more}. Copy the tables again or mend the records."
                yield Finding(ERROR, "broken token chains", place, message)
