"""When a run of the gridworld has learned, and its curve in a few hundred points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lfo.reporting.statistics import Array

LEARNED = 0.95
"""Share of the gap between never arriving and the best return that a learned policy closes."""


def episodes_to_learn(returns: Array, floor: float, best: float) -> float:
    """Episodes before the first evaluation from which on the policy counts as learned; inf if there is none.

    Both that evaluation and the mean of the evaluations after it must reach a learned policy's return. The mean
    is over a 500th of the run (100 of the published 50,000 evaluations), so a single lucky policy does not count.
    Neither does a policy that is lost again: the mean of the last evaluations must reach that return too.

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
    """Last evaluations of the windows that a curve is averaged over: dense at first, then 250 equal ones.

    Returns:
        [n], increasing from 1 to episodes + 1.
    """
    dense = np.geomspace(1, episodes + 1, 120)
    even = np.linspace(0, episodes + 1, 251)[1:]
    return np.unique(np.maximum(np.concatenate([dense, even]).astype(np.int64), 1))


def window_means(returns: Array, ends: NDArray[np.int64]) -> Array:
    """Mean return in each window: [trials, episodes + 1] and [n] -> [trials, n]."""
    sums = np.cumsum(returns, axis=1, dtype=np.float64)[:, ends - 1]
    return np.diff(sums, axis=1, prepend=0.0) / np.diff(ends, prepend=0)
