"""Means over trials, their bootstrap intervals, and how long learning took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LEARNED",
    "Array",
    "Estimate",
    "band",
    "episodes_to_learn",
    "estimate",
    "report_points",
    "window_means",
]

Array = NDArray[np.floating[Any]]
RESAMPLES = 2000
# A policy counts as learned once it has closed this share of the gap between never arriving and the optimum.
LEARNED = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over trials and its 95% bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """Mean and interval, rounded to read."""
        digits = 2 if max(abs(self.low), abs(self.high)) < 10 else 1 if abs(self.mean) < 1000 else 0
        return f"{self.mean:,.{digits}f} [{self.low:,.{digits}f}, {self.high:,.{digits}f}]"


def estimate(values: Array) -> Estimate:
    """Mean over trials with its bootstrap interval.

    Args:
        values: [trials].
    """
    low, high = band(values[:, None])
    return Estimate(float(values.mean()), float(low[0]), float(high[0]))


def band(values: Array) -> tuple[Array, Array]:
    """95% percentile interval of the mean over the first axis: [trials, n] -> [n], [n]."""
    trials = len(values)
    rng = np.random.default_rng(0)
    weights = rng.multinomial(trials, np.full(trials, 1 / trials), size=RESAMPLES) / trials
    low, high = np.percentile(weights @ values, [2.5, 97.5], axis=0)
    return low, high


def episodes_to_learn(returns: Array, floor: float, best: float) -> float:
    """Episodes before the first evaluation from which on the policy counts as learned.

    It counts if that evaluation and the average of the next ones reach a learned policy's return. The average
    is over a 500th of the run (100 of the published 50,000 evaluations), so a policy that is good by chance
    once does not count; nor does one that is lost again: inf if the last of them are below, too.

    Args:
        returns: [episodes + 1].
        floor: Return of never arriving.
        best: Best possible return.
    """
    window = max(1, len(returns) // 500)
    sums = np.concatenate([[0.0], np.cumsum(returns, dtype=np.float64)])
    means = (sums[window:] - sums[:-window]) / window
    threshold = floor + LEARNED * (best - floor)
    learned = (means >= threshold) & (returns[: len(means)] >= threshold)
    return float(learned.argmax()) if learned.any() and means[-1] >= threshold else np.inf


def report_points(episodes: int) -> NDArray[np.int64]:
    """Ends of the windows the curves are averaged over: dense at first, then 250 equal ones."""
    dense = np.geomspace(1, episodes + 1, 120)
    even = np.linspace(0, episodes + 1, 251)[1:]
    return np.unique(np.maximum(np.concatenate([dense, even]).astype(np.int64), 1))


def window_means(returns: Array, ends: NDArray[np.int64]) -> Array:
    """Means of the evaluations since the previous end: [trials, episodes + 1] -> [trials, ends]."""
    sums = np.cumsum(returns, axis=1, dtype=np.float64)[:, ends - 1]
    return np.diff(sums, axis=1, prepend=0.0) / np.diff(ends, prepend=0)
