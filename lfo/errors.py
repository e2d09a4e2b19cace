"""The exception whose text the user sees."""

from __future__ import annotations

from pathlib import Path


class LfoError(Exception):
    """What went wrong, in one line: where, what was expected, what was found, and what to do."""


def one_line(error: object, most: int = 160) -> str:
    """What another library's error says, on one line and cut to ``most`` characters; else the error's type."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def data_error(path: str | Path, field: str, *, expected: str, found: str, remedy: str) -> LfoError:
    """The error for one field of one file, in the wording all readers share."""
    return LfoError(f"{path}: {field}: expected {expected}, found {found}; {remedy}")
