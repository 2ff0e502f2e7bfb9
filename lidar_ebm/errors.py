"""The two errors that a user can meet; a message names the file (and line or field), what is wrong, and what to do."""

from __future__ import annotations


class InputError(ValueError):
    """Something that was given to the program cannot be used: a file, a line in it, a setting, an argument."""


class OutputError(OSError):
    """Something that the program wanted to write could not be written; what stood there before is untouched."""
