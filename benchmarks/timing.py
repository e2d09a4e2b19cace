"""Timing things against each other, so that a slow minute of the machine is slow for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from rows import Effort

__all__ = ["interleaved", "ratio", "spread"]

Work = Callable[[], object]


def interleaved(works: Mapping[str, Work], effort: Effort, *, once: bool = False) -> dict[str, np.ndarray]:
    """Seconds that a call of each work takes, one figure a round.

    A round gives every work a turn, in an order that is turned round each time (A B, B A, …): what drifts
    over time falls on all alike. A turn is as many calls as take ``effort.seconds`` at least.

    Args:
        works: name to what is to be timed.
        effort: rounds, and the length of a turn.
        once: one call is a turn, and there is no call before the first round: for works of seconds.
    """
    calls = {name: 1 if once else _calls(work, effort.seconds) for name, work in works.items()}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    for number in range(effort.rounds):
        for name in names if number % 2 == 0 else reversed(names):
            seconds[name].append(_time(works[name], calls[name]) / calls[name])
    return {name: np.asarray(values) for name, values in seconds.items()}


def ratio(seconds: Mapping[str, np.ndarray], what: str, against: str) -> dict[str, float]:
    """Median and quartiles of ``what`` / ``against``, a ratio a round: the fields of a row."""
    return spread(seconds[what] / seconds[against])


def spread(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Median and quartiles of some values: the fields of a row."""
    low, middle, high = np.percentile(values, (25, 50, 75))
    return {"value": float(middle), "low": float(low), "high": float(high)}


def _calls(work: Work, seconds: float) -> int:
    work()
    one = _time(work, 1)
    return max(1, round(seconds / one))


def _time(work: Work, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return time.perf_counter() - start
