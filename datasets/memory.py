"""Transitions from arrays and episodes in memory, checked by the same rules as files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lfo.datasets.columns import read_columns, to_transitions
from lfo.datasets.transitions import Metadata, Transitions
from lfo.errors import LfoError


def from_arrays(
    observations: ArrayLike,
    rewards: ArrayLike,
    *,
    terminals: ArrayLike | None = None,
    timeouts: ArrayLike | None = None,
    next_observations: ArrayLike | None = None,
    metadata: Metadata | None = None,
) -> Transitions:
    """Transitions from the columns of the flat layout; docs/formats.md has its rules.

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
    given = {
        "observations": observations,
        "rewards": rewards,
        "terminals": terminals,
        "timeouts": timeouts,
        "next_observations": next_observations,
    }
    found = {name: np.asarray(values) for name, values in given.items() if values is not None}
    return to_transitions(read_columns(found, metadata or Metadata()))[0]


def from_episodes(
    episodes: Iterable[tuple[ArrayLike, ArrayLike, bool]], metadata: Metadata | None = None
) -> Transitions:
    """Transitions from whole episodes.

    Args:
        episodes: for each, its states [T + 1, S], rewards [T], and whether it terminated: True if the task ended,
            False if only the record did.
        metadata: as for :func:`from_arrays`.

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
                f"{metadata.source}: episode {index}: expected states [T + 1, {width or 'S'}] and rewards [T], T ≥ 1, "
                f"found {list(path.shape)} and {list(gains.shape)}; give one more state than rewards"
            )
        parts.append((path, gains, bool(terminated)))
    if not parts:
        raise LfoError(f"{metadata.source}: episodes: expected at least one, found none; add one")
    ends = np.cumsum([len(gains) for _, gains, _ in parts]) - 1
    terminals, timeouts = np.zeros((2, ends[-1] + 1), dtype=bool)
    for end, (_, _, terminated) in zip(ends, parts, strict=True):
        (terminals if terminated else timeouts)[end] = True
    return from_arrays(
        np.concatenate([path[:-1] for path, _, _ in parts]),
        np.concatenate([gains for _, gains, _ in parts]),
        next_observations=np.concatenate([path[1:] for path, _, _ in parts]),
        terminals=terminals,
        timeouts=timeouts,
        metadata=metadata,
    )
