"""Scores over a few seeds: the inter-quartile mean and its bootstrap interval.

Agarwal et al. 2021, *Deep Reinforcement Learning at the Edge of the Statistical Precipice* (arXiv 2108.13264):
with few runs, the mean of the middle half of the scores is less moved by an outlier than the mean and wastes
less of them than the median; its uncertainty is told by a bootstrap that resamples runs within each stratum
(there: the task; here: the data set that a seed learned from).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Array", "iqm", "mean", "stratified_interval"]

Array = NDArray[np.floating[Any]]
Statistic = Callable[[Array, int], Array]

RESAMPLES = 2000


def iqm(scores: ArrayLike, axis: int = 0) -> Array:
    """Inter-quartile mean: the mean without the ⌊n/4⌋ lowest and the ⌊n/4⌋ highest of n scores.

    Args:
        scores: at least one along ``axis``, finite.
        axis: the one to average over.

    Returns:
        The shape of ``scores`` without ``axis``.

    Raises:
        ValueError: there are no scores.
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
    strata: ArrayLike,
    *,
    statistic: Statistic = iqm,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Array, Array]:
    """Percentile interval of a statistic over seeds, from a bootstrap within each stratum.

    Each resample draws from every stratum as many scores as it has, with replacement. A stratum of one score
    would be the same in every resample, and the interval too narrow: where there is one, all scores are
    resampled together.

    Args:
        scores: [n] or [n, K], finite; the K columns are resampled alike.
        strata: [n] any labels that sort, such as the index of each seed's data set.
        statistic: of scores along an axis; :func:`iqm` or :func:`mean`.
        resamples: how many.
        confidence: the share of resamples inside the interval.
        seed: of the generator, so that the same scores have the same interval.

    Returns:
        Its lower and its upper end, [] or [K] each.

    Raises:
        ValueError: no scores, a label missing, or ``confidence`` not between 0 and 1.
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
    low, high = np.percentile(statistic(values[index], 1), [tail, 100 - tail], axis=0)
    return np.asarray(low), np.asarray(high)


def _groups(values: Array, strata: ArrayLike) -> list[NDArray[np.intp]]:
    """The positions of each stratum's scores."""
    labels = np.asarray(strata)
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
        raise ValueError("expected finite scores, found NaN or inf: leave their seeds out, and say so")
    return values
