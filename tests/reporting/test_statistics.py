"""Means and their intervals: by hand, by their properties, against SciPy."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from lfo.reporting.statistics import Estimate, estimate, iqm, mean, stratified_interval

SCORES = arrays.arrays(np.float64, st.integers(1, 12), elements=st.floats(-1e6, 1e6))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([7], 7),
        ([1, 2, 6], 3),  # nothing to cut from three
        ([100, 1, 2, 3], 2.5),  # one from each end of four
        ([5, 1, 1000, 3, 4], 4),
        ([8, 7, 6, 5, 4, 3, 2, -900], 4.5),  # two from each end of eight
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 1000], 5.5),
    ],
)
def test_iqm_by_hand(scores: list[float], expected: float) -> None:
    assert iqm(scores) == expected


def test_iqm_along_an_axis() -> None:
    scores = np.array([[0.0, 10], [1, 20], [3, 30], [50, 40]])
    np.testing.assert_array_equal(iqm(scores), [2, 25])
    np.testing.assert_array_equal(iqm(scores, axis=1), [5, 10.5, 16.5, 45])


@given(SCORES, st.floats(-1e3, 1e3))
def test_iqm_lies_inside_moves_along_and_knows_no_order(scores: np.ndarray, by: float) -> None:
    value = iqm(scores)
    quarter = len(scores) // 4
    ordered = np.sort(scores)
    slack = 1e-9 * (1 + np.abs(scores).max())
    assert ordered[quarter] - slack <= value <= ordered[len(scores) - 1 - quarter] + slack
    np.testing.assert_allclose(iqm(scores + by), value + by, atol=1e-6)
    np.testing.assert_allclose(iqm(scores[::-1]), value)


@given(SCORES)
def test_an_interval_lies_within_the_scores_and_is_repeatable(scores: np.ndarray) -> None:
    strata = np.arange(len(scores)) % 3
    low, high = stratified_interval(scores, strata, resamples=50)
    slack = 1e-9 * (1 + np.abs(scores).max())
    assert scores.min() - slack <= low <= high <= scores.max() + slack
    assert (low, high) == stratified_interval(scores, strata, resamples=50)


def interval(scores: list[float], strata: list[Any], **settings: float) -> tuple[float, float]:
    """Of the mean."""
    low, high = stratified_interval(scores, strata, statistic=mean, **settings)  # type: ignore[arg-type]
    return float(low), float(high)


def test_an_interval_by_hand() -> None:
    """The mean of two scores, 0 and 1, is 0, 1/2 or 1 with probability 1/4, 1/2, 1/4."""
    assert interval([0.0, 1.0], [0, 0]) == (0, 1)
    assert interval([0.0, 1.0], [0, 0], confidence=0.4) == (0.5, 0.5)


def test_resampling_stays_inside_a_stratum() -> None:
    """Strata without spread have an interval without width, however far apart they are."""
    scores = [1.0, 1.0, 9.0, 9.0]
    assert interval(scores, ["a", "a", "b", "b"]) == (5, 5)
    low, high = interval(scores, [0, 0, 0, 0])
    assert low < 5 < high


def test_the_interval_is_that_of_all_resamples() -> None:
    """Two strata of two: 16 equally likely resamples, enumerated."""
    a, b = (0.0, 4.0), (10.0, 11.0)
    every = [np.mean([*x, *y]) for x in product(a, repeat=2) for y in product(b, repeat=2)]
    found = stratified_interval([*a, *b], [0, 0, 1, 1], statistic=mean, resamples=20_000, confidence=0.8)
    np.testing.assert_allclose(found, np.percentile(every, [10, 90], method="inverted_cdf"))


def test_a_data_set_with_one_seed_does_not_hide_the_spread() -> None:
    assert stratified_interval([1.0, 2.0, 3.0], [0, 1, 2]) == stratified_interval([1.0, 2, 3], [0, 0, 0])
    low, high = stratified_interval([1.0, 2.0, 3.0], [0, 1, 2])
    assert low < high


def test_columns_are_resampled_alike() -> None:
    scores = np.array([1.0, 5, 2, 9])
    low, high = stratified_interval(np.stack([scores, 2 * scores], axis=1), [0, 0, 1, 1])
    one_low, one_high = stratified_interval(scores, [0, 0, 1, 1])
    np.testing.assert_allclose(low, [one_low, 2 * one_low])
    np.testing.assert_allclose(high, [one_high, 2 * one_high])


@given(SCORES)
def test_iqm_is_scipys_trimmed_mean(scores: np.ndarray) -> None:
    np.testing.assert_allclose(iqm(scores), stats.trim_mean(scores, 0.25), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("statistic", [mean, iqm])
def test_the_interval_is_scipys_within_monte_carlo_error(statistic: Any) -> None:
    """An end from 20,000 resamples has a standard error of 0.02 standard deviations of the statistic."""
    scores = np.random.default_rng(2).normal(size=40)
    found = stratified_interval(scores, statistic=statistic, resamples=20_000)
    expected = stats.bootstrap(
        (scores,), statistic, n_resamples=20_000, method="percentile", rng=np.random.default_rng(3)
    )
    np.testing.assert_allclose(found, expected.confidence_interval, atol=0.12 * expected.standard_error)


def test_the_stratified_interval_is_scipys_of_two_samples() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=15), rng.normal(loc=5, size=25)

    def pooled(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(np.concatenate([x, y], axis=axis).mean(axis=axis))

    strata = np.repeat([0, 1], [len(a), len(b)])
    found = stratified_interval(np.concatenate([a, b]), strata, statistic=mean, resamples=20_000)
    expected = stats.bootstrap(
        (a, b),
        pooled,
        n_resamples=20_000,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(5),
    )
    np.testing.assert_allclose(found, expected.confidence_interval, atol=0.12 * expected.standard_error)


def test_an_estimate_is_the_mean_and_its_interval() -> None:
    scores = [1.0, 2.0, 6.0, 7.0]
    assert estimate(scores) == Estimate(4.0, *interval(scores, [0] * 4))


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Estimate(-24.42, -24.51, -24.33), "−24.4 [−24.5, −24.3]"),
        (Estimate(0.5, -0.25, 1), "0.50 [−0.25, 1.00]"),
        (Estimate(18696.2, 18560, 18822), "18,696 [18,560, 18,822]"),
    ],
)
def test_an_estimate_is_rounded_to_be_read(found: Estimate, text: str) -> None:
    assert str(found) == text


def test_an_estimate_in_per_cent() -> None:
    assert Estimate(-0.008, -0.018, 0.001).to("+.1%") == "−0.8% [−1.8%, +0.1%]"


def test_columns_of_any_shape() -> None:
    scores = np.random.default_rng(0).normal(size=(5, 2, 3))
    low, high = stratified_interval(scores, resamples=50)
    assert low.shape == high.shape == (2, 3)
    assert low[1, 2] == stratified_interval(scores[:, 1, 2], resamples=50)[0]


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one score"):
        iqm([])
    with pytest.raises(ValueError, match="NaN"):
        iqm([1.0, float("nan")])
    with pytest.raises(ValueError, match="one stratum for each of 2"):
        stratified_interval([1.0, 2.0], [0])
    with pytest.raises(ValueError, match="confidence"):
        stratified_interval([1.0, 2.0], [0, 0], confidence=95)
