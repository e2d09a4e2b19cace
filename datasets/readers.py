"""The formats that can be read, and :func:`load`, which picks one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfo.datasets import d4rl, hdf5, lerobot, minari_reader, npz, robomimic
from lfo.datasets.columns import Columns, to_transitions
from lfo.datasets.tables import LOG_SUFFIXES
from lfo.datasets.transitions import Transitions
from lfo.errors import LfoError

READERS: dict[str, Callable[[str, bool], Columns]] = {
    "hdf5": hdf5.read,
    "npz": npz.read,
    "d4rl": d4rl.read,
    "minari": minari_reader.read,
    "lerobot": lerobot.read,
    "robomimic": robomimic.read,
}
"""Readers by format. Each takes what follows ``FORMAT:`` and whether to read actions, and returns the columns."""

SIGNATURES: dict[bytes, str] = {hdf5.SIGNATURE: "hdf5", npz.SIGNATURE: "npz"}
"""First bytes of a file to its format; the file's name does not matter."""

_STRANGERS = {
    b"\x80": "a Python pickle, which is never opened as that can run code",
    b"\x93NUMPY": "a single .npy array",
    b"version https://git-lfs": "a Git LFS pointer, not the data itself (run `git lfs pull`)",
    b"<": "a web page or XML",
    b"\x1f\x8b": "a gzip archive",
    b"PAR1": "a Parquet file",
}


def load(source: str | Path) -> Transitions:
    """Read the transitions of a file or a named data set, without actions.

    Args:
        source: a path to an HDF5 or ``.npz`` file, recognised by its content; ``minari:ID``; ``d4rl:NAME``;
            ``lerobot:FOLDER``; ``robomimic:FILE``.

    Returns:
        The transitions. What is legal but looks wrong is listed in :attr:`Transitions.warnings`.

    Raises:
        LfoError: the data cannot be read without guessing.
    """
    return to_transitions(_read(str(source), False))[0]


def load_with_actions(
    source: str | Path, bounds: tuple[NDArray[Any], NDArray[Any]] | None = None
) -> tuple[Transitions, NDArray[np.float32]]:
    """Read the transitions and, separately, the actions [N, A] that led from s to s'.

    Args:
        source: as for :func:`load`.
        bounds: lowest and highest action, [A] each, such as ``(space.low, space.high)``; actions outside
            cause a warning. Minari's data sets bring their own.

    Raises:
        LfoError: as for :func:`load`, or there are no actions.
    """
    columns = _read(str(source), True)
    if bounds is not None:
        columns.action_bounds = bounds
    data, actions = to_transitions(columns)
    assert actions is not None  # read_columns checks
    actions.flags.writeable = False
    return data, actions


def _read(source: str, with_actions: bool) -> Columns:
    prefix, colon, rest = source.partition(":")
    if colon and prefix in READERS:
        name = prefix
        if name in SIGNATURES.values():
            _signature(Path(rest))
        elif name == "robomimic":
            _signature(Path(rest.partition("#")[0]))
    else:
        name, rest = _format_of(Path(source)), source
    return READERS[name](rest, with_actions)


def _format_of(path: Path) -> str:
    head = _signature(path)
    for signature, name in SIGNATURES.items():
        if head.startswith(signature):
            return name
    stranger = next((what for magic, what in _STRANGERS.items() if head.startswith(magic)), None)
    text = head.decode("utf-8", "replace").split("\n")[0][:40]
    text_found = f"text that begins {text!r}" if text.isprintable() else "an unknown binary format"
    remedy = "it to HDF5 with observations, rewards, terminals, timeouts (see docs/formats.md)"
    if path.name.removesuffix(".gz").endswith(LOG_SUFFIXES):
        remedy = "it with `d3g-lfo convert` and a recipe (see docs/logs.md)"
    raise LfoError(
        f"{path}: file: expected an HDF5 or .npz file, found {stranger or text_found}; convert {remedy}"
    )


def _signature(path: Path) -> bytes:
    """The first bytes of a regular, non-empty file."""
    if path.is_dir():
        remedy = "name the file in it"
        if (path / "data" / "metadata.json").is_file() or (path / "metadata.json").is_file():
            remedy = "if Minari made it, give its id: minari:ID"
        elif (path / "meta" / "info.json").is_file():
            remedy = f"give it as lerobot:{path}"
        raise LfoError(f"{path}: path: expected a file, found a directory; {remedy}")
    if not path.exists():
        raise LfoError(
            f"{path}: path: expected a file, minari:ID or d4rl:NAME, found nothing there; check the spelling"
        )
    if not path.is_file():
        raise LfoError(f"{path}: path: expected a regular file, found a device or pipe; save it to a file")
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        found = error.strerror or "an error"
        raise LfoError(
            f"{path}: file: expected a readable file, found {found}; check its permissions"
        ) from error
    if not head:
        raise LfoError(f"{path}: file: expected a data set, found an empty file; record or copy it again")
    return head
