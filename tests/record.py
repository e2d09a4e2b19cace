"""What run.json holds, for tests that make a run folder by hand."""

from __future__ import annotations

from typing import Any

DATA = {
    "source": "d.h5",
    "path": "d.h5",
    "sha256": "aa",
    "env": "E-v0",
    "random_frac": 0.5,
    "policy": "expert",
    "transitions": 100,
    "episodes": 10,
    "return_mean": 4.0,
    "return_std": 1.0,
}
WHOLE = {"seed": 0, "dataset": 0, "episode": 0, "length": 1}
"""Columns of evaluations.csv that a test does not look at."""


def record(count: int = 1, **changes: Any) -> dict[str, Any]:
    """A run of D3G with so many members, changed."""
    return {
        "algo": "d3g",
        "env": "E-v0",
        "state_dim": 3,
        "steps": 5,
        "config": {},
        "members": [{"seed": m, "dataset": 0} for m in range(count)],
        "datasets": [DATA],
        **changes,
    }
