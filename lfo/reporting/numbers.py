"""How reports print numbers. Negative ones get a real minus sign (U+2212), as in the figures."""

from __future__ import annotations

import numpy as np

__all__ = ["NONE", "ascii_minus", "compact", "mean_std", "number", "spread", "whole_range"]

NONE = "–"
"""Stands for a number that does not exist."""
_MINUS = "−"


def number(value: float) -> str:
    """Two decimal places; one from 100 up."""
    return f"{value:.{1 if abs(value) >= 100 else 2}f}".replace("-", _MINUS)


def compact(value: float) -> str:
    """As few digits as it needs, at most six."""
    return f"{value:g}".replace("-", _MINUS)


def mean_std(mean: float, std: float, places: int | None = None) -> str:
    """``mean ± std``; by default with two decimal places, or one if either is 100 or more."""
    if places is None:
        places = 1 if max(abs(mean), std) >= 100 else 2
    return f"{mean:.{places}f} ± {std:.{places}f}".replace("-", _MINUS)


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
