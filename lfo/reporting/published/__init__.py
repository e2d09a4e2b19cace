"""Published numbers to compare with, each with its source.

``table1.csv`` is Table 1 of Edwards et al. 2020, *Estimating Q(s,s') with Deep Deterministic Dynamics Gradients*
(arXiv 2002.09505): the return of π_o, BCO and D3G, mean and standard deviation over 10 seeds, on data with a fraction
of random actions. Its environments are gym's -v2. Ten seeds fit the numbers: 602.1 ± 487.4 and 900.2 ± 299.2 are what
six and nine of ten at 1000 give, with the others at about 3.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources
from typing import NamedTuple

SOURCE = "Edwards et al. 2020, arXiv 2002.09505, Table 1"
SEEDS = 10
"""Seeds behind each mean and standard deviation of the table."""


class Published(NamedTuple):
    """A published return."""

    mean: float
    std: float


@cache
def table1() -> dict[tuple[str, float, str], Published]:
    """Table 1 by environment without its version, random_frac, and ``pi_o``, ``bco`` or ``d3g``."""
    text = (resources.files("lfo.reporting.published") / "table1.csv").read_text(encoding="utf-8")
    return {
        (_family(row["env"]), float(row["random_frac"]), row["agent"].lower()): Published(
            float(row["mean"]), float(row["std"])
        )
        for row in csv.DictReader(text.splitlines())
    }


def published(env_id: str, random_frac: float, algo: str) -> Published | None:
    """The entry of Table 1 for an environment of any version; None if there is none."""
    return table1().get((_family(env_id), round(random_frac, 6), algo))


def _family(env_id: str) -> str:
    return env_id.rpartition("-v")[0] or env_id
