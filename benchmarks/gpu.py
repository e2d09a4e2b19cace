"""Many members on one GPU: what fifty cost beside one, and how long a million steps of them take.

Nothing here is particular to a GPU but the wish for one: :func:`measure` runs on any device.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from rows import Effort, Row
from timing import interleaved, ratio, spread
from updates import make_data

from lfo import D3G, D3GConfig
from lfo.runs.record import Member
from lfo.training.divergence import Divergence
from lfo.training.loop import build, run_steps

__all__ = ["gpu", "measure"]

_MEMBERS = 50
_STEPS = 1_000_000


def gpu(effort: Effort) -> list[Row]:
    """The rows of a GPU; open, where there is none."""
    if torch.cuda.is_available():
        return measure(effort, "cuda", _MEMBERS)
    return [replace(row, value=None, note="no GPU was at hand") for row in _rows(_MEMBERS)]


def measure(effort: Effort, device: str, members: int) -> list[Row]:
    """The same rows on any device."""
    steps = 1024 if effort.seconds else 4
    works = {"many": _trainer(effort, members, device, steps), "one": _trainer(effort, 1, device, steps)}
    for work in works.values():
        work()  # compilation and capture are paid once
    seconds = interleaved(works, effort, once=True)
    rates = []
    start = time.perf_counter()
    while not rates or time.perf_counter() - start < effort.gpu_seconds:
        before = time.perf_counter()
        works["many"]()
        rates.append((time.perf_counter() - before) / steps)
    against_one, whole = _rows(members)
    return [
        replace(against_one, **ratio(seconds, "many", "one")),
        replace(whole, **spread(np.asarray(rates) * _STEPS / 60)),
    ]


def _rows(members: int) -> list[Row]:
    return [
        Row(f"a step of {members} members on one GPU, S=11", "a step of one member", None, reach=6),
        Row(
            f"{_STEPS:,} steps of {members} members on one GPU, S=11",
            "extrapolated from 60 s or more",
            None,
            reach=30,
            unit="min",
        ),
    ]


def _trainer(effort: Effort, members: int, device: str, steps: int) -> Callable[[], None]:
    """A call of it trains so many steps and waits for the device to be done."""
    config, data = D3GConfig(hidden=effort.hidden), make_data(effort.rows, 11)
    agent, table = build(D3G, config, [data], [Member(seed) for seed in range(members)], device)
    divergence = Divergence(agent)

    def train() -> None:
        run_steps(agent, table, agent.updates + steps, divergence=divergence)
        if device == "cuda":
            torch.cuda.synchronize()

    return train
