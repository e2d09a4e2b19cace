"""What everything here reads, writes and learns from: transitions (s, s', r, d) without actions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfo.errors import LfoError

__all__ = ["Metadata", "Transitions", "file_sha256", "first_non_finite"]

_BLOCK = 1 << 18  # values looked at at a time


@dataclass(frozen=True)
class Metadata:
    """Where a data set comes from and what was noticed on the way. Everything is optional."""

    source: str = "memory"
    """The path or id it was read from, as the user gave it."""
    path: Path | None = None
    """The file that holds the data, where there is one."""
    env_id: str | None = None
    """Gymnasium id of the environment that was recorded."""
    random_frac: float | None = None
    """Fraction of uniform random actions in the recorded policy, in [0, 1]."""
    policy: str | None = None
    """Name of the recorded policy."""
    seed: int | None = None
    """Seed of the recording."""
    has_actions: bool = False
    """Whether the source holds actions; they are read by :func:`~lfo.datasets.load_with_actions` only."""
    dropped: int = 0
    """Rows of the source that are left out."""
    dropped_reason: str = ""
    """Why they are left out, in words."""
    warnings: tuple[str, ...] = ()
    """What looks suspicious though it is legal, a line each."""
    attributes: Mapping[str, str | int | float] = field(default_factory=dict)
    """The source's other attributes, such as package versions."""

    @cached_property
    def sha256(self) -> str | None:
        """SHA-256 of the file's bytes in hexadecimal, computed when first asked for; None without a file."""
        return None if self.path is None else file_sha256(self.path)


@dataclass(frozen=True, eq=False)
class Transitions:
    """N transitions of E episodes, one after the other. There are no actions here, by design.

    The arrays are converted to the types below, made C-contiguous and read-only. The last row of every
    episode is terminated or truncated; the last episode of a recording may be neither.

    Raises:
        LfoError: shapes that do not agree, no rows, NaN or infinite values.
    """

    states: NDArray[np.float32]
    """[N, S] state s before the step, in the environment's units."""
    next_states: NDArray[np.float32]
    """[N, S] state s' after the step; at an episode's end the state it ended in, never the next reset's."""
    rewards: NDArray[np.float32]
    """[N] reward of the step."""
    terminated: NDArray[np.bool_]
    """[N] the world ended here: no value follows."""
    truncated: NDArray[np.bool_]
    """[N] only the record ended here (time limit, cut): value goes on. Never set where ``terminated`` is."""
    metadata: Metadata = field(default_factory=Metadata)
    """Source, environment, warnings."""
    known_finite: InitVar[bool] = False
    """Spares the search for NaN and infinity where the caller has made it."""
    episode_starts: NDArray[np.int64] = field(init=False)
    """[E] index of each episode's first row, rising, the first 0. Worked out from the two flags."""

    def __post_init__(self, known_finite: bool) -> None:
        """Convert, check, freeze."""
        for name, dtype in _DTYPES.items():
            self._set(name, np.ascontiguousarray(getattr(self, name), dtype=dtype))
        _check_shapes(self)
        for name in () if known_finite else ("states", "next_states", "rewards"):
            _check_finite(name, getattr(self, name))
        if bool((self.terminated & self.truncated).any()):
            self._set("truncated", self.truncated & ~self.terminated)
        ends = np.flatnonzero(self.terminated[:-1] | self.truncated[:-1])
        self._set("episode_starts", np.concatenate([np.zeros(1, np.int64), ends + 1]))

    def _set(self, name: str, array: NDArray[Any]) -> None:
        view = array.view()  # freezing a view leaves the caller's own array writable
        view.flags.writeable = False
        object.__setattr__(self, name, view)

    def __len__(self) -> int:
        """Number of transitions, N."""
        return len(self.states)

    @property
    def state_dim(self) -> int:
        """Size of a state, S."""
        return int(self.states.shape[1])

    @property
    def num_episodes(self) -> int:
        """Number of episodes, E."""
        return len(self.episode_starts)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What looks suspicious though it is legal, a line each."""
        return self.metadata.warnings

    @property
    def episode_ids(self) -> NDArray[np.int64]:
        """[N] index of each row's episode."""
        return np.repeat(np.arange(self.num_episodes), self.episode_lengths())

    def episode_lengths(self) -> NDArray[np.int64]:
        """[E] rows of each episode."""
        return np.diff(self.episode_starts, append=len(self))

    def episode_returns(self) -> NDArray[np.float64]:
        """[E] undiscounted sum of each episode's rewards, in double precision."""
        returns: NDArray[np.float64] = np.add.reduceat(self.rewards, self.episode_starts, dtype=np.float64)
        return returns


_DTYPES: dict[str, type] = {
    "states": np.float32,
    "next_states": np.float32,
    "rewards": np.float32,
    "terminated": np.bool_,
    "truncated": np.bool_,
}


def _check_shapes(data: Transitions) -> None:
    if data.states.ndim != 2 or data.states.size == 0:
        raise LfoError(f"states: expected shape [N, S] with N, S ≥ 1, found {list(data.states.shape)}")
    n = len(data.states)
    wanted = {"next_states": data.states.shape, "rewards": (n,), "terminated": (n,), "truncated": (n,)}
    for name, shape in wanted.items():
        found = getattr(data, name).shape
        if found != shape:
            raise LfoError(
                f"{name}: expected shape {list(shape)}, as states have {list(data.states.shape)}, "
                f"found {list(found)}"
            )


def _check_finite(name: str, array: NDArray[np.float32]) -> None:
    bad = first_non_finite(array)
    if bad is not None:
        row = bad * len(array) // array.size
        raise LfoError(f"{name}: expected finite numbers, found {array.flat[bad]} in row {row}")


def first_non_finite(array: NDArray[np.float32]) -> int | None:
    """Flat index of the first NaN or infinity of a C-contiguous array, None if there is none.

    Works block by block, so that no second array of the data's size is made. A sum of squares that is finite
    has only finite terms, and is computed at the speed of memory; one that is not may just be too large.
    """
    flat = array.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        with np.errstate(over="ignore", invalid="ignore"):
            squares = float(np.dot(block, block))
        if not math.isfinite(squares):
            finite = np.isfinite(block)
            if not finite.all():
                return start + int(np.argmin(finite))
    return None


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal, read a mebibyte at a time."""
    digest = sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
