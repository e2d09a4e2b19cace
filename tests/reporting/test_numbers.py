"""How numbers are printed."""

from __future__ import annotations

import numpy as np

from lfo.reporting.numbers import ascii_minus, mean_std, number, spread, whole_range


def test_numbers() -> None:
    assert (number(-4.125), number(99.994), number(-1234.56)) == ("−4.12", "99.99", "−1234.6")
    assert (number(950.0, "g"), number(-3.75, "g")) == ("950", "−3.75")
    assert (mean_std(-4, 0.5), mean_std(5, 100), mean_std(-1000, 0, ".0f")) == (
        "−4.00 ± 0.50",
        "5.0 ± 100.0",
        "−1000 ± 0",
    )
    assert (spread(np.array([1.0, 3.0])), spread(np.zeros(0))) == ("2.00 ± 1.00", "–")
    assert [whole_range(np.array(values)) for values in ([1000, 1000], [900, 1000], [])] == [
        "1,000",
        "900 to 1,000",
        "–",
    ]
    assert ascii_minus("−1 – a") == "-1 – a"
