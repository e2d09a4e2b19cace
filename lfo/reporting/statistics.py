"""Scores over a few runs: their mean, their inter-quartile mean, and the bootstrap interval of either.

With few runs, an outlier moves the mean of the middle half of the scores less than their mean, and that mean
uses more of the scores than the median does. Its uncertainty comes from a bootstrap that resamples runs within
each stratum, such as the data set that a seed learned from (Agarwal et al. 2021, *Deep Reinforcement Learning
at the Edge of the Statistical Precipice*, arXiv 2108.13264; there a stratum is a task).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lfo.reporting.numbers import number

Array = NDArray[np.floating[Any]]
Statistic = Callable[[Array, int], Array]

RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean over runs and its 95% bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """Such as ``−24.4 [−24.5, −24.3]``."""
        digits = 2 if max(abs(self.low), abs(self.high)) < 10 else 1 if abs(self.mean) < 1000 else 0
        return self.to(f",.{digits}f")

    def to(self, form: str) -> str:
        """Mean and interval in a format, such as ``+.1%``."""
        return f"{number(self.mean, form)} [{number(self.low, form)}, {number(self.high, form)}]"


def estimate(scores: ArrayLike) -> Estimate:
    """The mean of scores [n] with its interval.

    Raises:
        ValueError: there are no scores, or they are not finite.
    """
    low, high = stratified_interval(scores, statistic=mean)
    return Estimate(float(mean(scores)), float(low), float(high))


def iqm(scores: ArrayLike, axis: int = 0) -> Array:
    """Inter-quartile mean: the mean without the ⌊n/4⌋ lowest and the ⌊n/4⌋ highest of n scores.

    Args:
        scores: at least one along ``axis``, finite.
        axis: the one to average over.

    Returns:
        The shape of ``scores`` without ``axis``.

    Raises:
        ValueError: there are no scores, or they are not finite.
    """
    ordered = np.sort(_checked(scores, axis), axis=axis)
    count = ordered.shape[axis]
    cut = count // 4
    return np.asarray(ordered.take(range(cut, count - cut), axis=axis).mean(axis=axis))


def mean(scores: ArrayLike, axis: int = 0) -> Array:
    """The mean, as a statistic for :func:`stratified_interval`."""
    return np.asarray(_checked(scores, axis).mean(axis=axis))


def stratified_interval(
    scores: ArrayLike,
    strata: ArrayLike | None = None,
    *,
    statistic: Statistic = iqm,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Array, Array]:
    """Percentile interval of a statistic over runs, from a bootstrap within each stratum.

    Each resample draws from every stratum as many scores as it has, with replacement. If a stratum has only one
    score, all scores are resampled together: that stratum would never vary, and the interval would be too narrow.

    Args:
        scores: [n] or [n, K], finite; the K columns are resampled alike.
        strata: [n] labels that sort, such as the index of each seed's data set; None for one stratum.
        statistic: of scores along an axis; :func:`iqm` or :func:`mean`.
        resamples: how many.
        confidence: share of the resamples inside the interval, between 0 and 1.
        seed: of the resampling: the same scores have the same interval.

    Returns:
        The lower and the upper end, [] or [K] each.

    Raises:
        ValueError: there are no scores, they are not finite, a label is missing, or ``confidence`` is out of range.
    """
    values = _checked(scores, 0)
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence between 0 and 1, found {confidence}")
    rng = np.random.default_rng(seed)
    index = np.concatenate(
        [group[rng.integers(len(group), size=(resamples, len(group)))] for group in _groups(values, strata)],
        axis=1,
    )
    tail = 50 * (1 - confidence)
    # Column by column: all K at once would take resamples · n · K numbers of memory.
    columns = values.reshape(len(values), -1).T
    ends = [np.percentile(statistic(column[index], 1), [tail, 100 - tail]) for column in columns]
    low, high = np.array(ends).T.reshape(2, *values.shape[1:])
    return np.asarray(low), np.asarray(high)


def _groups(values: Array, strata: ArrayLike | None) -> list[NDArray[np.intp]]:
    """The positions of each stratum's scores."""
    labels = np.zeros(len(values)) if strata is None else np.asarray(strata)
    if labels.shape != (len(values),):
        raise ValueError(
            f"expected one stratum for each of {len(values)} scores, found labels {labels.shape}"
        )
    _, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() == 1:
        return [np.arange(len(values))]
    return [np.flatnonzero(which == number) for number in range(len(counts))]


def _checked(scores: ArrayLike, axis: int) -> Array:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim == 0 or values.shape[axis] == 0:
        raise ValueError(f"expected at least one score, found an array of shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("expected finite scores, found NaN or inf; leave those seeds out, and say so")
    return values
