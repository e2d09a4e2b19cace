"""Transitions (s, s', r, d) without actions: what readers give, what is written, what is learned from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lfo.errors import LfoError

_BLOCK = 1 << 18  # values looked at at a time


@dataclass(frozen=True)
class Metadata:
    """Where a data set comes from, and what was noticed while reading it. Everything is optional."""

    source: str = "memory"
    """The path or id it was read from, as the user gave it."""
    path: Path | None = None
    """The file that holds the data, or the folder, for a Minari data set of many files."""
    env_id: str | None = None
    """Gymnasium id of the recorded environment, with its module if it has one: what ``make_env`` takes."""
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
    """Why they are left out."""
    warnings: tuple[str, ...] = ()
    """What is legal but looks wrong, one line each."""
    attributes: Mapping[str, str | int | float] = field(default_factory=dict)
    """Other attributes of the source, such as package versions."""

    @cached_property
    def sha256(self) -> str | None:
        """SHA-256 of ``path``, see :func:`file_sha256`; computed when first asked for. None without a path."""
        return None if self.path is None else file_sha256(self.path)

    @property
    def env_kwargs(self) -> dict[str, Any]:
        """Arguments that the environment was made with: ``make_env(env_id, **env_kwargs)`` makes it again.

        Raises:
            LfoError: the attribute of that name is not a JSON object.
        """
        found = self.attributes.get("env_kwargs", "{}")
        try:
            return dict(json.loads(str(found)))
        except (ValueError, TypeError) as error:
            raise LfoError(
                f"{self.source}: attribute env_kwargs: expected a JSON object, found {found!r}; delete or rewrite it"
            ) from error

    @property
    def state_names(self) -> tuple[str, ...]:
        """[S] names of the state's dimensions, empty if the source has none."""
        return self._texts("state_names")

    @property
    def state_units(self) -> tuple[str, ...]:
        """[S] units of the state's dimensions, empty if the source has none."""
        return self._texts("state_units")

    def dimension(self, i: int, *, longest: int = 1000, between: str = " ") -> str:
        """What to call dimension ``i`` of the state: its name and unit, or ``s[i]``.

        Args:
            i: from 0.
            longest: a longer name is cut.
            between: what separates name and unit.
        """
        name = self.state_names[i] if i < len(self.state_names) else f"s[{i}]"
        unit = self.state_units[i] if i < len(self.state_units) else ""
        return (name if len(name) <= longest else f"{name[: longest - 1]}…") + (
            f"{between}({unit})" if unit else ""
        )

    def _texts(self, name: str) -> tuple[str, ...]:
        try:
            found = json.loads(str(self.attributes.get(name, "[]")))
        except ValueError:
            return ()
        return tuple(map(str, found)) if isinstance(found, list) else ()

    @property
    def behaviour(self) -> str:
        """The recorded policy in words, for tables; see :func:`behaviour_name`."""
        return behaviour_name(self.policy, self.random_frac)


def behaviour_name(policy: str | None, random_frac: float | None) -> str:
    """A recorded policy π_o in words: ``expert, 25% random actions``, ``random``, or ``not recorded``.

    Args:
        policy: its name, if known.
        random_frac: fraction of uniform random actions, in [0, 1], if known.
    """
    if random_frac == 1 or policy == "random":
        return "random"
    share = f"{random_frac:.0%} random actions" if random_frac else ""
    return ", ".join(part for part in (policy, share) if part) or "not recorded"


@dataclass(frozen=True, eq=False)
class Transitions:
    """N transitions of E episodes, one after the other. There are no actions here, by design.

    Arrays are converted to the types below and made C-contiguous and read-only. Every episode's last row is
    terminated or truncated, except that the very last row may be neither.

    Raises:
        LfoError: shapes do not agree, there are no rows, or a value is NaN or infinite.
    """

    states: NDArray[np.float32]
    """[N, S] state s before the step, in the environment's units."""
    next_states: NDArray[np.float32]
    """[N, S] state s' after the step; at an episode's end, the state it ended in, not the next reset's."""
    rewards: NDArray[np.float32]
    """[N] reward of the step."""
    terminated: NDArray[np.bool_]
    """[N] the episode ended here: no value follows."""
    truncated: NDArray[np.bool_]
    """[N] only the record ended here, as at a time limit: value goes on. False where ``terminated`` is set."""
    metadata: Metadata = field(default_factory=Metadata)
    """Source, environment, warnings."""
    known_finite: InitVar[bool] = False
    """Skip the search for NaN and infinity, if the caller has done it."""
    episode_starts: NDArray[np.int64] = field(init=False)
    """[E] index of each episode's first row, ascending from 0. Computed from the two flags."""

    @staticmethod
    def from_arrays(
        observations: ArrayLike,
        rewards: ArrayLike,
        *,
        terminals: ArrayLike | None = None,
        timeouts: ArrayLike | None = None,
        next_observations: ArrayLike | None = None,
        metadata: Metadata | None = None,
    ) -> Transitions:
        """Transitions from the columns of the flat layout, checked as a file is; docs/formats.md has the rules.

        Args:
            observations: [N, S] states, in the order of time.
            rewards: [N]
            terminals: [N] the task ended here. At least one of the two flags is needed.
            timeouts: [N] only the record ended here.
            next_observations: [N, S] states after the step. None: the next row's, inside an episode; the last row of
                an episode is then dropped unless it is terminal.
            metadata: what to say of the data; errors begin with its ``source``.

        Raises:
            LfoError: shapes do not agree, or a value is not finite.
        """
        from lfo.datasets.columns import read_columns, to_transitions  # which build on this class

        given = {
            "observations": observations,
            "rewards": rewards,
            "terminals": terminals,
            "timeouts": timeouts,
            "next_observations": next_observations,
        }
        found = {name: np.asarray(values) for name, values in given.items() if values is not None}
        return to_transitions(read_columns(found, metadata or Metadata()))[0]

    @staticmethod
    def from_episodes(
        episodes: Iterable[tuple[ArrayLike, ArrayLike, bool]], metadata: Metadata | None = None
    ) -> Transitions:
        """Transitions from whole episodes.

        Args:
            episodes: for each, its states [T + 1, S], rewards [T], and whether it terminated: True if the task ended,
                False if only the record did.
            metadata: as for :meth:`from_arrays`.

        Raises:
            LfoError: there is no episode, one has no step, shapes do not agree, or a value is not finite.
        """
        metadata = metadata or Metadata()
        parts: list[tuple[Any, Any, bool]] = []
        for index, (states, rewards, terminated) in enumerate(episodes):
            path, gains = np.asarray(states), np.asarray(rewards)
            width = parts[0][0].shape[1] if parts else None
            if (
                path.ndim != 2
                or len(path) < 2
                or gains.shape != (len(path) - 1,)
                or path.shape[1] != (width or path.shape[1])
            ):
                raise LfoError(
                    f"{metadata.source}: episode {index}: expected states [T + 1, {width or 'S'}] and rewards [T], "
                    f"T ≥ 1, found {list(path.shape)} and {list(gains.shape)}; give one more state than rewards"
                )
            parts.append((path, gains, bool(terminated)))
        if not parts:
            raise LfoError(f"{metadata.source}: episodes: expected at least one, found none; add one")
        ends = np.cumsum([len(gains) for _, gains, _ in parts]) - 1
        terminals, timeouts = np.zeros((2, ends[-1] + 1), dtype=bool)
        for end, (_, _, terminated) in zip(ends, parts, strict=True):
            (terminals if terminated else timeouts)[end] = True
        return Transitions.from_arrays(
            np.concatenate([path[:-1] for path, _, _ in parts]),
            np.concatenate([gains for _, gains, _ in parts]),
            next_observations=np.concatenate([path[1:] for path, _, _ in parts]),
            terminals=terminals,
            timeouts=timeouts,
            metadata=metadata,
        )

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
        """What is legal but looks wrong, one line each."""
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


from_arrays, from_episodes = Transitions.from_arrays, Transitions.from_episodes

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

    Works in blocks, to need little memory. A finite sum of squares proves that all terms are finite, and is
    fast; an infinite one may only be too large, so that block is searched.
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
    """SHA-256 in hexadecimal of a file's bytes, or of a folder's files: of their names and bytes, in order."""
    path = Path(path)
    digest = sha256()
    if path.is_dir():
        for name in sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()):
            digest.update(f"{name}\0{file_sha256(path / name)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
