"""Findings of what is wrong, or odd, in a data set."""

from __future__ import annotations

from dataclasses import dataclass

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (the frame or split cannot be used) or odd (it can, and may be meant)."""

    severity: str  # "error" or "warning"
    kind: str  # what all findings of this sort have in common, as a heading
    place: str  # the file, with ":line" where there is one
    message: str
    of_labels: bool = False  # it is about a label file, so that the frame can be used without labels

    @property
    def is_error(self) -> bool:
        """True for a finding about something that cannot be used."""
        return self.severity == ERROR

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"
