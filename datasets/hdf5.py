"""HDF5 in D4RL's flat layout: this project's own files, and any D4RL file.

One array per column at the file's root: ``observations``, ``rewards``, ``terminals`` and/or ``timeouts``, and
optionally ``next_observations`` and ``actions``. Anything else is ignored. Links, virtual data sets and
external storage are refused, as they could name any file of the machine that reads them.

A damaged file can make the HDF5 library crash or loop. So only another process opens the file with it. That one reads
what is stored in chunks; of columns that are plain arrays of numbers, it says where they lie, and they are read here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from lfo.datasets.columns import COLUMNS, Columns, read_columns
from lfo.datasets.transitions import Metadata
from lfo.errors import LfoError, one_line
from lfo.processes import isolated

SIGNATURE = b"\x89HDF\r\n\x1a\n"
SCHEMA_VERSION = 1
"""Version of this project's attributes. Files of other origin have none."""

_OWN_ATTRIBUTES = {"schema_version", "env_id", "random_frac", "policy", "seed"}


def read(source: str, with_actions: bool = False) -> Columns:
    """The columns of the HDF5 file at path ``source``.

    Raises:
        LfoError: the file is damaged, or a column is missing, not in the file itself, or malformed.
    """
    path = Path(source)
    found = isolated(_read, path, source, with_actions)
    if isinstance(found, Columns):
        return found
    columns, metadata = found
    with refuse_unreadable(path):
        return read_columns(columns, metadata, with_actions)


def _read(path: Path, source: str, with_actions: bool) -> Columns | tuple[dict[str, Any], Metadata]:
    """The columns; or, if all of them are plain arrays, where they lie."""
    with refuse_unreadable(path), _opened(path) as file:
        metadata = _metadata(file, path, source)
        if "observations" not in file and "data" in file:
            raise LfoError(
                f"{path}: observations: expected D4RL's flat layout, found a group `data`; if it is robomimic's, give "
                f"it as robomimic:{source}"
            )
        if "observations" not in file and "episode_0" in file:
            raise LfoError(
                f"{path}: observations: expected D4RL's flat layout, found a group for each episode; if Minari wrote "
                "it, give its id: minari:ID"
            )
        found = {name: plain_dataset(path, file, name) if name in COLUMNS else None for name in file}
        plain = {name: _plain_array(path, column) for name, column in found.items() if column is not None}
        if None not in plain.values():
            return found | plain, metadata
        return read_columns(found, metadata, with_actions)


@dataclass(frozen=True)
class PlainArray:
    """An array that is one piece of a file, read without the HDF5 library. Used as an h5py data set."""

    path: Path
    offset: int
    """Of the first byte in the file."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """A copy of some rows."""
        start, stop, _ = rows.indices(self.shape[0])
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        self.read_direct(out, rows, np.s_[:])
        return out

    def read_direct(self, out: NDArray[Any], rows: slice, to: slice) -> None:
        """Read some rows into the rows ``to`` of ``out``, an array in C's order of this ``dtype``.

        Raises:
            OSError: the file ends before.
        """
        wanted = out[to].reshape(-1).view(np.uint8).data
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.offset + rows.start * row)
            while len(wanted):
                count = file.readinto(wanted)
                if not count:
                    raise OSError(f"the file ends {len(wanted)} bytes too early")
                wanted = wanted[count:]


def _plain_array(path: Path, column: Any) -> PlainArray | None:
    """Where the values of an h5py data set lie; None if they are not plain numbers in one piece."""
    offset, dtype = column.id.get_offset(), column.dtype
    if offset is None or dtype.kind not in "biuf" or column.id.get_type() != h5py.h5t.py_create(dtype):
        return None
    return PlainArray(path, offset, column.shape, dtype)


def plain_dataset(path: Path, group: Any, name: str) -> Any:
    """The data set ``name`` of ``group``, whose data must be in the file itself.

    Raises:
        LfoError: it is a group, a link, virtual, stored in another file, or was never written.
    """
    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        kind = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
        raise _elsewhere(path, name, kind)
    column = group[name]
    if not isinstance(column, h5py.Dataset):
        raise LfoError(
            f"{path}: {name}: expected an array, found a group; store states as one array of shape [N, dimensions]"
        )
    if column.is_virtual or column.external:
        raise _elsewhere(
            path, name, "a virtual data set" if column.is_virtual else "data in an external file"
        )
    if column.shape is None or (column.size and column.id.get_storage_size() == 0):
        raise LfoError(
            f"{path}: {name}: expected stored values, found only a declaration; check that the recording was finished"
        )
    return column


@contextmanager
def refuse_unreadable(path: Path) -> Iterator[None]:
    """Turn errors of HDF5 on damaged data into an :class:`LfoError` about the file at ``path``."""
    try:
        yield
    except PermissionError:
        raise
    except MemoryError as error:
        raise LfoError(
            f"{path}: contents: expected data that fits into memory, found {one_line(error)}; check that the file "
            "is what it should be, split it, or free some memory"
        ) from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise LfoError(
            f"{path}: contents: expected readable HDF5 data, found {one_line(error)}; it is damaged, cut short, "
            "or needs a compression filter that is not installed: copy it again"
        ) from error


def _opened(path: Path) -> Any:
    try:
        return h5py.File(path, "r")
    except (OSError, RuntimeError) as error:
        raise LfoError(
            f"{path}: file: expected a complete HDF5 file, found {one_line(error)}; it was cut short or damaged: "
            "copy or record it again"
        ) from error


def _elsewhere(path: Path, name: str, kind: str) -> LfoError:
    return LfoError(
        f"{path}: {name}: expected data inside the file, found {kind}; links are not followed, as they may name any "
        "file: copy the data into one file with h5copy"
    )


def _metadata(file: Any, path: Path, source: str) -> Metadata:
    attributes = _scalars(file)
    version = attributes.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise LfoError(
            f"{path}: schema_version: expected at most {SCHEMA_VERSION}, found {version}; a newer d3g-lfo wrote the "
            "file: upgrade d3g-lfo"
        )
    env_id, policy, seed = attributes.get("env_id"), attributes.get("policy"), attributes.get("seed")
    random_frac, warnings = attributes.get("random_frac"), list[str]()
    if random_frac is not None and not (isinstance(random_frac, int | float) and 0 <= random_frac <= 1):
        warnings.append(
            f"attribute random_frac: expected a number from 0 to 1, found {random_frac!r}; ignored"
        )
        random_frac = None
    return Metadata(
        source=source,
        path=path,
        env_id=env_id if isinstance(env_id, str) else None,
        random_frac=None if random_frac is None else float(random_frac),
        warnings=tuple(warnings),
        policy=policy if isinstance(policy, str) else None,
        seed=seed if isinstance(seed, int) else None,
        attributes={key: value for key, value in attributes.items() if key not in _OWN_ATTRIBUTES},
    )


def _scalars(file: Any) -> dict[str, str | int | float]:
    """The root's attributes that are a text or a number; control characters become spaces."""
    scalars: dict[str, str | int | float] = {}
    for key in file.attrs:
        try:
            value = file.attrs[key]
        except (OSError, TypeError, ValueError):  # a type that h5py cannot express
            continue
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, str):
            value = "".join(c if c.isprintable() else " " for c in value)
        if isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value)):
            scalars[str(key)] = value
    return scalars
