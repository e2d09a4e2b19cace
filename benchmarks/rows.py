"""What a benchmark comes to: rows, each a ratio with its spread and what it should reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["FULL", "QUICK", "TINY", "Effort", "Row", "markdown", "verdict"]


@dataclass(frozen=True)
class Effort:
    """How much is done for a figure. Only ``FULL`` gives figures worth writing down."""

    rounds: int
    """Interleaved rounds that a median is taken of."""
    seconds: float
    """Least time of one subject's turn in a round."""
    hidden: int
    """Units in each hidden layer of the learners."""
    rows: int
    """Rows of the data file."""
    env_steps: int
    """Environment steps of one turn."""
    train_steps: int
    """Gradient steps of a run whose memory is watched."""
    gpu_seconds: float
    """Least time that a GPU's rate is extrapolated from."""


FULL = Effort(11, 0.25, 256, 1_000_000, 30_000, 300, 60.0)
QUICK = Effort(3, 0.1, 256, 200_000, 4_000, 50, 5.0)
TINY = Effort(1, 0.0, 16, 50_000, 200, 5, 0.0)


@dataclass(frozen=True)
class Row:
    """One figure: ``what`` in units of ``against``, both timed in the same run."""

    what: str
    against: str
    value: float | None
    """The median; None where it could not be measured here."""
    low: float = 0.0
    """First quartile."""
    high: float = 0.0
    """Third quartile."""
    reach: float | None = None
    """What the value should come to; None is for comparison only."""
    at_least: bool = False
    """Whether ``reach`` is a lower bound, else an upper one."""
    unit: str = "×"
    note: str = ""


def verdict(row: Row) -> str:
    """Whether a row reaches what it should: ``met``, ``not met``, ``open`` (not measured), or nothing."""
    if row.value is None:
        return "open"
    if row.reach is None:
        return ""
    return "met" if (row.value >= row.reach if row.at_least else row.value <= row.reach) else "not met"


def markdown(rows: Sequence[Row]) -> str:
    """The table."""
    lines = ["| what | against | reach | measured | |", "|---|---|---|---|---|"]
    for row in rows:
        bound = "" if row.reach is None else f"{'≥' if row.at_least else '≤'} {row.reach:g} {row.unit}"
        what = f"{row.what}; {row.note}" if row.note else row.what
        cells = (what, row.against, bound, _measured(row), verdict(row))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _measured(row: Row) -> str:
    if row.value is None:
        return ""
    spread = "" if row.low == row.high else f" ({_number(row.low)}–{_number(row.high)})"
    return f"**{_number(row.value)} {row.unit}**{spread}"


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"
