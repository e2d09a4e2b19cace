"""Reading a large file in D4RL's layout: against raw HDF5 reads, and against D4RL's own way of making transitions."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from rows import Effort, Row
from timing import interleaved, ratio

from lfo.datasets import load

__all__ = ["DIM", "reading", "write_file"]

DIM = 11
_EPISODE = 1000
_CONVERTER_ROWS = 200_000
"""Rows that the row by row conversion is timed on; its time is proportional to them."""


def write_file(path: Path, rows: int, *, next_observations: bool) -> int:
    """A file as D4RL's: smooth states, whole episodes that end by their time limit, a few terminals.

    Returns:
        The bytes of the arrays that training reads from it.
    """
    rng = np.random.default_rng(0)
    first = rng.normal(size=DIM)
    states = (first + np.cumsum(rng.normal(size=(rows + 1, DIM)) * 0.01, axis=0)).astype(np.float32)
    step = np.arange(1, rows + 1)
    columns: dict[str, np.ndarray] = {
        "observations": states[:-1],
        "rewards": rng.normal(size=rows).astype(np.float32),
        "terminals": step % (7 * _EPISODE) == _EPISODE // 2,
        "timeouts": step % _EPISODE == 0,
    }
    if next_observations:
        columns["next_observations"] = states[1:]
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file.create_dataset(name, data=values)
        file.create_dataset("actions", data=np.zeros((rows, 3), np.float32))
    return sum(values.nbytes for values in columns.values())


def read_raw(path: Path) -> dict[str, np.ndarray]:
    """The same arrays by h5py alone."""
    with h5py.File(path, "r") as file:
        return {name: file[name][()] for name in file if name != "actions"}


def convert_by_rows(path: Path, rows: int) -> dict[str, np.ndarray]:
    """What D4RL's ``qlearning_dataset`` does: read everything, then go through it row by row into lists.

    Every row but the last becomes a transition, unless the record ended there by a time limit; the next state is
    the next row's.
    """
    with h5py.File(path, "r") as file:
        data = {name: file[name][:rows] for name in file}
    kept: dict[str, list[Any]] = {
        name: [] for name in ("observations", "next_observations", "actions", "rewards", "terminals")
    }
    steps = 0
    for i in range(len(data["rewards"]) - 1):
        state = data["observations"][i].astype(np.float32)
        next_state = data["observations"][i + 1].astype(np.float32)
        action = data["actions"][i].astype(np.float32)
        reward = data["rewards"][i].astype(np.float32)
        done = bool(data["terminals"][i])
        if data["timeouts"][i]:
            steps = 0
            continue
        steps = 0 if done else steps + 1
        kept["observations"].append(state)
        kept["next_observations"].append(next_state)
        kept["actions"].append(action)
        kept["rewards"].append(reward)
        kept["terminals"].append(done)
    return {name: np.array(values) for name, values in kept.items()}


def reading(effort: Effort) -> list[Row]:
    """Files with and without ``next_observations``."""
    size = f"{effort.rows:,} × {DIM}"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for given in (True, False):
            path = Path(folder) / f"{given}.h5"
            write_file(path, effort.rows, next_observations=given)
            seconds = interleaved({"load": partial(load, path), "raw": partial(read_raw, path)}, effort)
            which = f"{'with' if given else 'without'} `next_observations`"
            found = ratio(seconds, "load", "raw")
            rows.append(Row(f"reading {size} {which}", "raw h5py reads", **found, reach=2.5))
        few = min(effort.rows, _CONVERTER_ROWS)
        path = Path(folder) / "few.h5"
        write_file(path, few, next_observations=False)
        works = {"load": partial(load, path), "rows": partial(convert_by_rows, path, few)}
        seconds = interleaved(works, replace(effort, rounds=min(effort.rounds, 5)))
        found = ratio(seconds, "rows", "load")
        what = f"speed of reading, {few:,} × {DIM}"
        rows.append(Row(what, "D4RL's conversion row by row", **found, reach=20, at_least=True))
    return rows
