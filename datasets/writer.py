"""Writing data sets: as HDF5, or, with actions, into Minari's local store."""

from __future__ import annotations

import json
import warnings
from importlib import metadata as packages
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from lfo.atomic import atomic_path, check_output, utf8
from lfo.datasets.hdf5 import SCHEMA_VERSION
from lfo.datasets.transitions import Transitions, first_non_finite
from lfo.errors import LfoError, one_line

_PACKAGES = ("d3g-lfo", "gymnasium", "mujoco", "numpy", "h5py")


def save(
    data: Transitions, path: str | Path, *, actions: ArrayLike | None = None, overwrite: bool = False
) -> Path:
    """Write transitions as HDF5 in D4RL's flat layout. The same data gives the same bytes.

    The file appears whole or not at all.

    Args:
        data: the transitions. ``env_id``, ``random_frac``, ``policy``, ``seed`` and ``attributes`` of the
            metadata become attributes of the file.
        path: of the file.
        actions: [N, A] actions to store too; by default none are.
        overwrite: replace an existing file.

    Returns:
        The path.

    Raises:
        LfoError: the file exists, cannot be written, or ``actions`` do not fit.
    """
    path = Path(path)
    columns = _columns(data, actions)
    check_output(path, overwrite=overwrite)
    try:
        with atomic_path(path) as temporary:
            _write(temporary, columns, _attributes(data))
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise LfoError(
            f"{path}: cannot be written: {reason}; free some space, or choose another place"
        ) from error
    return path


def export_minari(
    data: Transitions, actions: ArrayLike, dataset_id: str, *, low: ArrayLike, high: ArrayLike
) -> None:
    """Add transitions to Minari's local store.

    Minari stores T + 1 observations for an episode of T steps, so inside an episode, s' of a row must equal s
    of the next row.

    Args:
        data: the transitions. A last episode with neither flag is stored as truncated.
        actions: [N, A]; Minari requires them.
        dataset_id: Minari's id, such as ``name-v0``; it must be new.
        low: lowest action, a number or [A].
        high: highest action, a number or [A].

    Raises:
        LfoError: Minari is not installed, the id exists or is malformed, or an s' is not the next row's s.
    """
    try:
        import minari
        from minari.data_collector import EpisodeBuffer
    except ImportError as error:
        raise LfoError("export to Minari needs its package; run `pip install 'minari[hdf5]'`") from error
    from gymnasium.spaces import Box

    kept = _columns(data, actions)["actions"]
    starts, lengths = data.episode_starts, data.episode_lengths()
    inside = np.ones(len(data), dtype=bool)
    inside[starts + lengths - 1] = False
    rows = np.flatnonzero(inside)
    if not np.array_equal(data.next_states[rows], data.states[rows + 1]):
        raise LfoError(
            f"minari:{dataset_id}: next_states: expected the next row's state inside an episode, found "
            "another; Minari cannot store that: keep the HDF5 file"
        )
    buffers = [
        EpisodeBuffer(
            observations=np.concatenate([data.states[a:b], data.next_states[b - 1 : b]]),
            actions=kept[a:b],
            rewards=data.rewards[a:b],
            terminations=data.terminated[a:b],
            truncations=data.truncated[a:b] | ((np.arange(a, b) == len(data) - 1) & ~data.terminated[a:b]),
            infos={},
        )
        for a, b in zip(starts, starts + lengths, strict=True)
    ]
    zero = np.zeros(kept.shape[1], np.float32)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that no author is named
            minari.create_dataset_from_buffers(
                dataset_id,
                buffers,
                observation_space=Box(-np.inf, np.inf, (data.state_dim,), np.float32),
                action_space=Box(np.asarray(low, np.float32) + zero, np.asarray(high, np.float32) + zero),
                algorithm_name=data.metadata.policy,
                description=f"Recorded in {data.metadata.env_id or 'an unnamed environment'}",
            )
    except ValueError as error:
        raise LfoError(f"minari:{dataset_id}: cannot be created: {one_line(error)}") from error


def _columns(data: Transitions, actions: ArrayLike | None) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {
        "observations": data.states,
        "next_observations": data.next_states,
        "rewards": data.rewards,
        "terminals": data.terminated,
        "timeouts": data.truncated,
    }
    if actions is not None:
        kept = np.ascontiguousarray(actions, dtype=np.float32)
        if kept.ndim != 2 or len(kept) != len(data):
            raise LfoError(
                f"actions: expected shape [{len(data)}, A], found {list(kept.shape)}; keep one row a step"
            )
        if first_non_finite(kept) is not None:
            raise LfoError(
                "actions: expected finite numbers, found NaN or infinity; check the policy that was recorded"
            )
        columns["actions"] = kept
    return columns


def _attributes(data: Transitions) -> dict[str, str | int | float]:
    metadata = data.metadata
    known = {
        "env_id": metadata.env_id,
        "random_frac": metadata.random_frac,
        "policy": metadata.policy,
        "seed": metadata.seed,
    }
    return {
        **metadata.attributes,
        "versions": json.dumps({name: version for name in _PACKAGES if (version := _version(name))}),
        "schema_version": SCHEMA_VERSION,
        **{name: value for name, value in known.items() if value is not None},
    }


def _version(package: str) -> str | None:
    try:
        return packages.version(package)
    except packages.PackageNotFoundError:
        return None


def _write(path: Path, columns: dict[str, NDArray[Any]], attributes: dict[str, str | int | float]) -> None:
    with h5py.File(path, "w") as file:
        for name, value in attributes.items():
            file.attrs[name] = utf8(value) if isinstance(value, str) else value
        for name, values in columns.items():
            file.create_dataset(name, data=values)
