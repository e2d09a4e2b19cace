"""Writing data sets: this project's HDF5, and Minari where actions were kept."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from importlib import metadata as packages
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from lfo.datasets.hdf5 import SCHEMA_VERSION
from lfo.datasets.transitions import Transitions, first_non_finite
from lfo.errors import LfoError, data_error

__all__ = ["check_output", "export_minari", "save"]

_PACKAGES = ("d3g-lfo", "gymnasium", "mujoco", "numpy", "h5py")


def save(
    data: Transitions, path: str | Path, *, actions: ArrayLike | None = None, overwrite: bool = False
) -> Path:
    """Write the transitions as HDF5 in D4RL's flat layout; the same data gives the same bytes.

    The file appears whole or not at all: it is written beside its place and renamed.

    Args:
        data: what to write; ``env_id``, ``random_frac``, ``policy``, ``seed`` and the further attributes of
            its metadata become attributes of the file.
        path: where to.
        actions: [N, A] actions to keep beside the transitions; none are written otherwise.
        overwrite: replace an existing file.

    Returns:
        The path.

    Raises:
        LfoError: the file exists, cannot be written, or ``actions`` do not fit.
    """
    path = Path(path)
    columns = _columns(data, actions)
    check_output(path, overwrite=overwrite)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        _write(Path(temporary), columns, _attributes(data))
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except (OSError, RuntimeError, ValueError) as error:
        raise data_error(
            path,
            "output",
            expected="a place to write to",
            found=getattr(error, "strerror", None) or " ".join(str(error).split()),
            remedy="check that the folder exists, is yours and has room",
        ) from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
    return path


def check_output(path: str | Path, *, overwrite: bool = False) -> None:
    """Check that a file can be written at ``path``; worth doing before long work, not only after it.

    Raises:
        LfoError: it is a directory, it exists and ``overwrite`` is not set, or its folder is missing or not
            writable.
    """
    path = Path(path)
    if path.is_dir():
        raise data_error(
            path, "output", expected="a file name", found="a directory", remedy="add a name ending in .h5"
        )
    if path.exists() and not overwrite:
        raise data_error(
            path,
            "output",
            expected="no such file yet",
            found="one",
            remedy="choose another name or say --overwrite",
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise data_error(
            path,
            "output",
            expected="a place to write to",
            found="a folder that is not writable" if path.parent.is_dir() else "no such folder",
            remedy="check that the folder exists, is yours and has room",
        )


def export_minari(
    data: Transitions, actions: ArrayLike, dataset_id: str, *, low: ArrayLike, high: ArrayLike
) -> None:
    """Add the transitions to Minari's local store, under ``dataset_id`` (``name-v0``).

    Minari keeps T + 1 observations for an episode of T steps, so s' of a row has to be s of the next.

    Args:
        data: what to write; its last episode is stored as truncated if it is not ended.
        actions: [N, A]; Minari has no data sets without them.
        dataset_id: Minari's id; an existing one is refused.
        low: lowest action, a number or [A].
        high: highest action, a number or [A].

    Raises:
        LfoError: no Minari, an id that exists or is malformed, or rows that are not a chain.
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
            f"minari:{dataset_id}: next_states: expected each to be the next row's state, found others; "
            "keep the data set as HDF5, which can hold them"
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
        raise LfoError(f"minari:{dataset_id}: cannot be created: {' '.join(str(error).split())}") from error


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
        file.attrs.update(attributes)
        for name, values in columns.items():
            file.create_dataset(name, data=values)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
