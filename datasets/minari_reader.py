"""``minari:ID``, a data set in Minari's local store. Nothing is downloaded."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from lfo.datasets.columns import Columns, read_columns, refuse_if_larger_than_memory
from lfo.datasets.hdf5 import plain_dataset, refuse_unreadable
from lfo.datasets.transitions import Metadata
from lfo.envs.make import kwargs_of_spec
from lfo.errors import LfoError, one_line
from lfo.processes import isolated


def read(source: str, with_actions: bool = False) -> Columns:
    """The columns of the local Minari data set with the id ``source``.

    An episode of T steps has T + 1 observations in Minari, so every row has its next state. An episode whose
    last step has neither flag is read as truncated.

    Raises:
        LfoError: the id is unknown, the data is damaged or of another version, or a space is not a 1-D Box.
    """
    where = f"minari:{source}"
    minari = _import_minari(where)
    data_path = _data_path(where, source)
    main = data_path / "main_data.hdf5"
    return isolated(_read, main if main.is_file() else data_path, minari, source, data_path, with_actions)


def _read(path: Path, minari: Any, source: str, data_path: Path, with_actions: bool) -> Columns:
    where = f"minari:{source}"
    _check_files(where, data_path)
    try:
        dataset = minari.load_dataset(source)
    except Exception as error:  # Minari raises many kinds
        raise LfoError(
            f"{where}: cannot be opened by Minari {minari.__version__}: {one_line(error)}"
        ) from error
    _check_space(where, "observations", dataset.observation_space)
    if with_actions:
        _check_space(where, "actions", dataset.action_space)
    with refuse_unreadable(data_path / "main_data.hdf5"):
        found, truncated_ends = _concatenated(where, dataset, with_actions)
    env_spec = dataset.env_spec
    kwargs = {} if env_spec is None else kwargs_of_spec(env_spec)
    metadata = Metadata(
        source=where,
        path=path,
        env_id=None if env_spec is None else str(env_spec.id),
        attributes={
            "minari_version": str(dataset.minari_version),
            **({"env_kwargs": json.dumps(kwargs)} if kwargs else {}),
        },
    )
    columns = read_columns(found, metadata, with_actions)
    if with_actions:
        columns.action_bounds = dataset.action_space.low, dataset.action_space.high
    assert columns.terminals is not None
    assert columns.timeouts is not None
    columns.timeouts[truncated_ends] |= ~columns.terminals[truncated_ends]
    return columns


def _import_minari(where: str) -> Any:
    try:
        return importlib.import_module("minari")
    except ImportError as error:
        raise LfoError(f"{where}: needs the minari package; run `pip install 'minari[hdf5]'`") from error


def _data_path(where: str, dataset_id: str) -> Path:
    """The folder of the data set, as Minari finds it."""
    from minari.storage.datasets_root_dir import get_dataset_path

    path = Path(get_dataset_path(dataset_id)) / "data"
    if not dataset_id or not path.is_dir():
        raise LfoError(
            f"{where}: data set: expected a local Minari data set in {path}, found nothing there; run `minari "
            f"download {dataset_id or 'ID'}`, or `minari list local` to see what is there"
        )
    return path


def _check_files(where: str, data_path: Path) -> None:
    """Refuse files that would make Minari build the environment that they name, or follow a link."""
    try:
        metadata = json.loads((data_path / "metadata.json").read_text("utf-8"))
        spaces = {"observation_space", "action_space"} & set(metadata)
    except (OSError, ValueError, TypeError) as error:
        raise LfoError(
            f"{where}: metadata.json: expected Minari's description, found {one_line(error)}; download it again"
        ) from error
    if len(spaces) < 2:
        raise LfoError(
            f"{where}: metadata.json: expected observation_space and action_space, found "
            f"{', '.join(sorted(spaces)) or 'neither'}; convert it with a current Minari"
        )
    main = data_path / "main_data.hdf5"
    if not main.is_file():
        return
    import h5py

    with refuse_unreadable(main), h5py.File(main, "r") as file:
        for name in file:
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise LfoError(f"{main}: {name}: expected an episode, found a link; download it again")
            for column in ("observations", "rewards", "terminations", "truncations"):
                if isinstance(file[name].get(column), h5py.Group):
                    continue  # Dict or Tuple, refused later for its space
                if column in file[name]:
                    plain_dataset(main, file[name], column)


def _check_space(where: str, field: str, space: Any) -> None:
    from gymnasium.spaces import Box

    if isinstance(space, Box) and len(space.shape) == 1:
        return
    found, unsupported = type(space).__name__, "Discrete, Dict and Tuple spaces"
    if isinstance(space, Box):
        found += str(list(space.shape))
        unsupported = "images" if len(space.shape) > 1 else unsupported
    raise LfoError(
        f"{where}: {field}: expected a Box of one dimension, found {found}; {unsupported} are not supported yet"
    )


def _concatenated(
    where: str, dataset: Any, with_actions: bool
) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    """The columns of all episodes in the flat layout, and the index of each episode's last row."""
    total, dim = int(dataset.total_steps), int(dataset.observation_space.shape[0])
    refuse_if_larger_than_memory(where, 8 * total * dim)
    columns: dict[str, Any] = {
        "observations": np.empty((total, dim), dataset.observation_space.dtype),
        "next_observations": np.empty((total, dim), dataset.observation_space.dtype),
        "rewards": np.empty(total),
        "terminals": np.empty(total, bool),
        "timeouts": np.empty(total, bool),
        "actions": np.empty((total, *dataset.action_space.shape), dataset.action_space.dtype)
        if with_actions
        else None,
    }
    stop, ends = 0, []
    for episode in dataset.iterate_episodes():
        start, stop = stop, stop + len(episode.rewards)
        observations = np.asarray(episode.observations)
        parts = {
            "observations": observations[:-1],
            "next_observations": observations[1:],
            "rewards": np.asarray(episode.rewards).reshape(-1),
            "terminals": np.asarray(episode.terminations),
            "timeouts": np.asarray(episode.truncations),
        }
        if with_actions:
            parts["actions"] = np.asarray(episode.actions)
        for name, part in parts.items():
            if part.shape != columns[name][start:stop].shape:
                raise LfoError(
                    f"{where}: {name}: expected shape {list(columns[name][start:stop].shape)} in episode "
                    f"{episode.id}, found {list(part.shape)}; the data set is damaged: download or record it again"
                )
            columns[name][start:stop] = part
        ends.append(stop - 1)
    if stop != total:
        raise LfoError(f"{where}: total_steps: expected {total}, found {stop}; download it again")
    return columns, np.array(ends, dtype=np.intp)
