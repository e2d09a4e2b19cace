"""``lerobot:FOLDER``, a LeRobot data set (v2.0, v2.1 or v3.0) on this machine. Videos are not read.

``lerobot:FOLDER#KEY,KEY`` takes other features than ``observation.state`` as the state.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from lfo.datasets.columns import Columns, read_columns, refuse_if_larger_than_memory
from lfo.datasets.tables import require_polars
from lfo.datasets.transitions import Metadata
from lfo.errors import data_error
from lfo.settings import suggest

__all__ = ["logs", "read"]

_KINDS = ("float32", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")


def read(source: str, with_actions: bool = False) -> Columns:
    """The columns of the LeRobot data set in a folder.

    Frames have no next state of their own: the last one of an episode is dropped unless it is terminal, see
    :func:`~lfo.datasets.columns.to_transitions`. ``next.done`` is read as the end of the task, where it exists.

    Raises:
        LfoError: the folder is no LeRobot data set, lacks frames or rewards, or polars is missing.
    """
    where = f"lerobot:{source}"
    folder, _, chosen = source.partition("#")
    info = _info(where, Path(folder))
    features: dict[str, Any] = info["features"]
    keys = chosen.split(",") if chosen else ["observation.state"]
    for key in [*keys, "next.reward", *(["action"] if with_actions else [])]:
        _check_feature(where, key, features)
    width = sum(math.prod(features[key]["shape"]) for key in keys)
    refuse_if_larger_than_memory(where, 8 * int(info["total_frames"]) * width)
    extra = [key for key in ("next.reward", "next.done", "action" if with_actions else "") if key in features]
    table = _frames(where, Path(folder), info, [*keys, *extra])
    episode = table["episode_index"].to_numpy()
    found = {
        "observations": np.column_stack([_values(table, key) for key in keys]),
        "rewards": _values(table, "next.reward").reshape(-1),
        "timeouts": np.append(episode[1:] != episode[:-1], True),
    }
    if "next.done" in extra:
        found["terminals"] = _values(table, "next.done").reshape(-1)
    if "action" in features:
        found["actions"] = _values(table, "action") if with_actions else None
    names = [name for key in keys for name in _names(key, features[key])]
    metadata = Metadata(
        source=f"lerobot:{Path(folder).absolute()}" + (f"#{chosen}" if chosen else ""),
        path=Path(folder) / "data",
        attributes={
            "codebase_version": str(info["codebase_version"]),
            "dt": 1 / float(info["fps"]),
            "state_names": json.dumps(names),
        },
    )
    return read_columns(found, metadata, with_actions)


def logs(source: str) -> list[Path]:
    """The Parquet files of a LeRobot data set, to convert with a recipe.

    Raises:
        LfoError: the folder is no LeRobot data set.
    """
    _info(f"lerobot:{source}", Path(source))
    return _files(f"lerobot:{source}", Path(source))


def _info(where: str, folder: Path) -> dict[str, Any]:
    path = folder / "meta" / "info.json"
    try:
        info: dict[str, Any] = json.loads(path.read_text("utf-8"))
        missing = {"codebase_version", "features", "fps", "total_frames"} - set(info)
    except (OSError, ValueError, TypeError) as error:
        raise data_error(
            where,
            "meta/info.json",
            expected="LeRobot's description",
            found=getattr(error, "strerror", None) or " ".join(str(error).split())[:120],
            remedy="name the folder of the data set, which holds meta/ and data/",
        ) from error
    version = str(info.get("codebase_version", ""))
    if missing or not version.startswith(("v2.", "v3.")):
        raise data_error(
            where,
            "meta/info.json",
            expected="codebase_version v2.0, v2.1 or v3.0, features, fps and total_frames",
            found=f"version {version or 'unknown'}"
            + (f" without {', '.join(sorted(missing))}" if missing else ""),
            remedy="convert it with LeRobot's own scripts",
        )
    return info


def _check_feature(where: str, key: str, features: dict[str, Any]) -> None:
    usable = [name for name, feature in features.items() if feature["dtype"] in _KINDS]
    if key in usable:
        return
    remedy = suggest(key, usable)
    if key == "next.reward":
        remedy = "give it one with `d3g-lfo convert lerobot:FOLDER --recipe R.toml`"
    elif key == "action":
        remedy = "this data set is action-free: use `load` instead of `load_with_actions`"
    raise data_error(
        where,
        key,
        expected="a feature of numbers of that name",
        found=f"a {features[key]['dtype']}" if key in features else ", ".join(usable)[:200],
        remedy=remedy,
    )


def _files(where: str, folder: Path) -> list[Path]:
    """The Parquet files, whose order is that of the episodes."""
    files = sorted((folder / "data").glob("*/*.parquet"))
    if not files:
        raise data_error(
            where, "data", expected="data/chunk-000/*.parquet", found="none", remedy="download it again"
        )
    return files


def _frames(where: str, folder: Path, info: dict[str, Any], keys: list[str]) -> Any:
    polars = require_polars()
    try:
        wanted = ["episode_index", "frame_index", *keys]
        table = polars.concat([polars.read_parquet(file, columns=wanted) for file in _files(where, folder)])
    except (polars.exceptions.PolarsError, OSError) as error:
        raise data_error(
            where,
            "data",
            expected="Parquet files with the features of meta/info.json",
            found=" ".join(str(error).split())[:120],
            remedy="download it again",
        ) from error
    table = table.sort("episode_index", "frame_index")
    if len(table) != int(info["total_frames"]):
        raise data_error(
            where,
            "total_frames",
            expected=f"{info['total_frames']} frames, as meta/info.json says",
            found=f"{len(table)}",
            remedy="download it again",
        )
    return table


def _values(table: Any, key: str) -> Any:
    """[N, width] of one feature."""
    values = table[key].to_numpy()
    return np.stack(values) if values.dtype == object else values.reshape(len(table), -1)


def _names(key: str, feature: dict[str, Any]) -> list[str]:
    """The names of a feature's numbers: LeRobot has them in a list, in a list of one list, or in a dict of one."""
    width, names = math.prod(feature["shape"]), feature.get("names")
    if isinstance(names, dict) and len(names) == 1:
        names = next(iter(names.values()))
    if isinstance(names, list) and len(names) == 1 and isinstance(names[0], list):
        names = names[0]
    if isinstance(names, list) and len(names) == width:
        return [str(name) for name in names]
    return [key] if width == 1 else [f"{key}[{i}]" for i in range(width)]
