"""``metrics.csv``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lfo.runs.folder import RunFolder


class MetricsLog:
    """A row for each member and log step.

    Args:
        seeds: of the members.
        out: the run folder; None keeps nothing.
        resumed_at: rows after this step, left by a killed run, are dropped.
    """

    def __init__(self, seeds: Sequence[int], out: RunFolder | None, *, resumed_at: int) -> None:
        self.seeds, self.out = tuple(seeds), out
        self.rows: list[Mapping[str, Any]] = []
        if out is not None:
            self.rows = [row for row in out.rows("metrics.csv") if int(row["step"]) <= resumed_at]

    def row(self, step: int, metrics: Mapping[str, Sequence[float]]) -> None:
        """Add one row for each member; ``metrics`` are [M] each."""
        for member, seed in enumerate(self.seeds):
            values = {name: value[member] for name, value in metrics.items()}
            self.rows.append({"step": step, "member": member, "seed": seed, **values})

    def columns(self) -> dict[str, list[Any]]:
        """All rows so far, see :func:`columns`."""
        return columns(self.rows)

    def write(self) -> None:
        """Write the rows so far to disk."""
        if self.out is not None:
            self.out.write_rows("metrics.csv", self.rows)


def columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows, such as those of a CSV file, as one list for each column: ``pandas.DataFrame`` takes it.

    A row that lacks a column has NaN there.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [_number(row.get(name, math.nan)) for row in rows] for name in names}


def _number(value: Any) -> Any:
    """A CSV field as a number where it is one; a text that somebody wrote there stays one."""
    try:
        if not isinstance(value, str):
            return value
        return int(value) if value.lstrip("-").isdigit() else float(value)
    except ValueError:
        return value
