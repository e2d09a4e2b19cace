"""``robomimic:FILE``, robomimic's HDF5: ``data/demo_K/obs/KEY``, ``rewards``, ``dones``. Images are not read.

``robomimic:FILE#KEY,KEY`` names the observations that make the state; all vectors do if none is named.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lfo.datasets.columns import Columns, read_columns, refuse_if_larger_than_memory
from lfo.datasets.hdf5 import plain_dataset, refuse_unreadable
from lfo.datasets.transitions import Metadata
from lfo.errors import data_error
from lfo.processes import isolated
from lfo.settings import suggest

__all__ = ["read"]


def read(source: str, with_actions: bool = False) -> Columns:
    """The columns of robomimic's HDF5 file.

    ``dones`` end the task. Without ``next_obs``, the last row of a demonstration is dropped unless it is terminal.

    Raises:
        LfoError: the file is damaged, of another layout, or lacks a key in a demonstration.
    """
    name, _, chosen = source.partition("#")
    return isolated(_read, Path(name), name, chosen, with_actions)


def _read(path: Path, name: str, chosen: str, with_actions: bool) -> Columns:
    where = f"robomimic:{name}"
    with refuse_unreadable(path), h5py.File(path, "r") as file:
        demos = _demos(where, file)
        keys = chosen.split(",") if chosen else _vectors(demos[0])
        for demo in demos:
            _check(where, demo, keys)
        refuse_if_larger_than_memory(where, sum(8 * demo["obs"][key].size for demo in demos for key in keys))
        parts = [_columns(path, demo, keys, with_actions) for demo in demos]
        names = [name for key in keys for name in _names(key, demos[0]["obs"][key])]
    shared = set.intersection(*map(set, parts))
    found: dict[str, Any] = {
        name: np.concatenate([part[name] for part in parts]) for name in shared - {"actions"}
    }
    if "actions" in shared:
        found["actions"] = np.concatenate([part["actions"] for part in parts]) if with_actions else None
    attributes: dict[str, str | int | float] = {"state_names": json.dumps(names)}
    again = f"robomimic:{path.absolute()}" + (f"#{chosen}" if chosen else "")
    return read_columns(found, Metadata(source=again, path=path, attributes=attributes), with_actions)


def _demos(where: str, file: Any) -> list[Any]:
    """The groups ``demo_K``, in the order of K."""
    data = file.get("data")
    names = [name for name in data if re.fullmatch(r"demo_\d+", name)] if isinstance(data, h5py.Group) else []
    demos = [data[name] for name in sorted(names, key=lambda name: int(name[5:]))]
    if not demos or not isinstance(demos[0].get("obs"), h5py.Group):
        raise data_error(
            where,
            "data",
            expected="groups data/demo_0/obs, data/demo_1/obs, …",
            found=", ".join(list(file)[:8]) or "an empty file",
            remedy="a file without `obs` first goes through robomimic's dataset_states_to_obs.py"
            if demos
            else "check that it is robomimic's",
        )
    return demos


def _vectors(demo: Any) -> list[str]:
    """The observations that are numbers or vectors of numbers, by name."""
    return sorted(
        key
        for key, values in demo["obs"].items()
        if isinstance(values, h5py.Dataset) and len(values.shape) in (1, 2) and values.dtype.kind in "iuf"
    )


def _check(where: str, demo: Any, keys: list[str]) -> None:
    known = _vectors(demo) if isinstance(demo.get("obs"), h5py.Group) else []
    short = demo.name.rpartition("/")[2]
    for key in keys or ["obs"]:
        if key not in known:
            raise data_error(
                where,
                f"{short}/obs/{key}",
                expected="an array of numbers [T] or [T, k]",
                found=", ".join(known)[:200] or "none",
                remedy=suggest(key, known),
            )
    lengths = {key: len(demo["obs"][key]) for key in keys}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        found = ", ".join(f"{key} {length}" for key, length in lengths.items())
        raise data_error(
            where, short, expected="rows in every key, as many in each", found=found, remedy="copy it again"
        )


def _columns(path: Path, demo: Any, keys: list[str], with_actions: bool) -> dict[str, Any]:
    """One demonstration in the flat layout."""

    def joined(group: Any) -> Any:
        columns = [np.asarray(plain_dataset(path, group, key)) for key in keys]
        return np.column_stack([column.reshape(len(column), -1) for column in columns])

    found: dict[str, Any] = {"observations": joined(demo["obs"])}
    length = len(found["observations"])
    found["timeouts"] = np.arange(length) == length - 1
    if "next_obs" in demo:
        found["next_observations"] = joined(demo["next_obs"])
    for source, name in (("rewards", "rewards"), ("dones", "terminals"), ("actions", "actions")):
        if source in demo:
            read = name != "actions" or with_actions
            found[name] = np.asarray(plain_dataset(path, demo, source)) if read else np.empty(0)
    for name, values in found.items():
        if len(values) != length and (name != "actions" or with_actions):
            raise data_error(
                path,
                f"{demo.name}/{name}",
                expected=f"{length} rows, as obs has",
                found=f"{len(values)}",
                remedy="copy it again",
            )
    return found


def _names(key: str, values: Any) -> list[str]:
    width = 1 if len(values.shape) == 1 else values.shape[1]
    return [key] if width == 1 else [f"{key}[{i}]" for i in range(width)]
