"""How reports print numbers. Negative ones get a real minus sign (U+2212), as in the figures."""

from __future__ import annotations

import numpy as np

NONE = "–"
"""Stands for a number that does not exist."""
_MINUS = "−"


def number(value: float, form: str | None = None) -> str:
    """A number in a format such as ``.1f``; by default with two decimal places, or one from 100 up."""
    return f"{value:{form or ('.1f' if abs(value) >= 100 else '.2f')}}".replace("-", _MINUS)


def mean_std(mean: float, std: float, form: str | None = None) -> str:
    """``mean ± std`` in a format; by default with two decimal places, or one if either is 100 or more."""
    form = form or (".1f" if max(abs(mean), std) >= 100 else ".2f")
    return f"{number(mean, form)} ± {number(std, form)}"


def spread(scores: np.ndarray) -> str:
    """Mean ± standard deviation of scores [n]; a dash for n = 0."""
    return mean_std(float(scores.mean()), float(scores.std())) if len(scores) else NONE


def whole_range(values: np.ndarray) -> str:
    """``1,000``, or ``900 to 1,000`` where the values [n] differ; a dash for n = 0."""
    if len(values) == 0:
        return NONE
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def ascii_minus(text: str) -> str:
    """The text with plain hyphens as minus signs, for terminals."""
    return text.replace(_MINUS, "-")
