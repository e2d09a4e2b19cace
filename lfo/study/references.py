"""Numbers of others to show beside a study's: published ones, or peers' results on the same data.

A table of references is a CSV with a line for each number. ``data``, ``label`` and ``return_mean`` must be there:

==================  =================================================================================
``data``            the row that it belongs to
``label``           what it is a number of; an algorithm, a variant or ``pi_o`` is shown beside ours
``return_mean``     mean return
``return_std``      standard deviation over members
``members``         how many there were
``given``           what else to know, such as what the method was given
``transitions``, ``steps``, ``interactions``  the sizes: rows of data, gradient steps, environment steps
``source``          where it was published; the file's name by default
==================  =================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from lfo.atomic import read_csv
from lfo.errors import LfoError
from lfo.reporting.statistics import Array
from lfo.study.spec import shipped_references

SIZES = ("transitions", "steps", "interactions")
FACTOR = 4
"""Numbers made at sizes further apart than this are not judged."""
ROUNDING = 0.05
"""Rounding error of a reference, which decides where neither side has any spread."""


@dataclass(frozen=True)
class Reference:
    """One number."""

    data: str
    label: str
    mean: float
    std: float | None
    """Standard deviation over members; None if unknown."""
    members: int | None
    sizes: Mapping[str, int]
    """Those of :data:`SIZES` that are known."""
    given: str
    source: str


def read_references(name: str) -> dict[tuple[str, str], Reference]:
    """Read a table of references, by ``data`` and ``label`` in lower case.

    Args:
        name: of a CSV file, or of a table that ships; empty for none.

    Raises:
        LfoError: the file is missing, or a line of it is wrong.
    """
    if not name:
        return {}
    if name in shipped_references():
        with resources.as_file(resources.files("lfo.study.shipped") / f"{name}.csv") as path:
            return _read(path)
    if not Path(name).is_file():
        raise LfoError(
            f"references: expected a CSV file or one of {', '.join(shipped_references())}, found nothing at {name}; "
            "correct the path in the study's file"
        )
    return _read(Path(name))


def _read(path: Path) -> dict[tuple[str, str], Reference]:
    found: dict[tuple[str, str], Reference] = {}
    for line, row in enumerate(read_csv(path), start=2):
        reference = _reference(row, path, line)
        key = reference.data, reference.label.casefold()
        if key in found:
            raise LfoError(
                f"{path}: line {line}: expected one number of {reference.label} on {reference.data}, found another; "
                "remove one"
            )
        found[key] = reference
    return found


def _reference(row: Mapping[str, str | None], path: Path, line: int) -> Reference:
    for column in ("data", "label", "return_mean"):
        if not row.get(column):
            raise LfoError(f"{path}: line {line}: {column}: expected a value, found nothing; add one")
    numbers: dict[str, float] = {}
    for column in ("return_mean", "return_std", "members", *SIZES):
        text = (row.get(column) or "").strip()
        if not text:
            continue
        try:
            numbers[column] = float(text)
        except ValueError:
            numbers[column] = np.nan
        if not np.isfinite(numbers[column]) or (column != "return_mean" and numbers[column] < 0):
            raise LfoError(f"{path}: line {line}: {column}: expected a number, found {text!r}; correct it")
    return Reference(
        str(row["data"]),
        str(row["label"]),
        numbers["return_mean"],
        numbers.get("return_std"),
        int(numbers["members"]) if "members" in numbers else None,
        {size: int(numbers[size]) for size in SIZES if size in numbers},
        row.get("given") or "",
        row.get("source") or path.name,
    )


def why_not_judged(sizes: Mapping[str, int], reference: Reference) -> str:
    """Why our number is not judged against a reference; empty if it is.

    Args:
        sizes: of our number; those that matter for it.
        reference: the number beside it.
    """
    if reference.std is None or not reference.members:
        return "its spread or its number of members is not known"
    unknown = [_WORDS[size] for size in sizes if not reference.sizes.get(size)]
    if unknown:
        return f"its {', '.join(unknown)} are not known"
    return ", ".join(
        f"{ours:,} {_WORDS[size]} against {theirs:,}"
        for size, ours in sizes.items()
        if max(ours, theirs := reference.sizes[size]) > FACTOR * min(ours, theirs)
    )


_WORDS = {"transitions": "transitions", "steps": "gradient steps", "interactions": "interactions"}


def verdict(ours: Array, reference: Reference) -> str:
    """Whether our mean return is the ``same`` as a reference's, ``higher`` or ``lower``.

    Two means count as the same if they differ by at most two standard errors of their difference, √(s²/n + s'²/n')
    with the sample standard deviations s of our n seeds and s' of the reference's n' members, or by no more than 0.05,
    to which references are rounded.

    Args:
        ours: [n] scores.
        reference: mean, standard deviation and members.
    """
    difference = float(ours.mean()) - reference.mean
    spread = float(ours.var(ddof=1)) / len(ours) if len(ours) > 1 else 0.0
    error = (spread + (reference.std or 0.0) ** 2 / (reference.members or 1)) ** 0.5
    if abs(difference) <= max(2 * error, ROUNDING):
        return "same"
    return "higher" if difference > 0 else "lower"
