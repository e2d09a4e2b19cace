"""Narrow or wide: whether near-equal states of a data set go on alike, and whether it matters how equal ones do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfo.datasets.transitions import Transitions

__all__ = ["Spread", "measure_spread", "warn_of_chance"]

_ROWS = 20_000  # that a neighbour is looked for in
_ASKED = 1_000  # rows whose neighbour is looked for
_AT_ONCE = 100
_APART = 25  # steps: rows nearer in time are no neighbours, as a controller goes on with what it does
_NEAR = 0.3  # of the distance of any two states: neighbours further apart say nothing
_NARROW, _WIDE = 0.1, 0.4
_VISITS = 20  # of a transition whose value is compared
_APART_IN_VALUE = 0.5  # standard deviations of the return ahead
_ERRORS = 4  # standard errors of a difference that is no accident


@dataclass(frozen=True)
class Spread:
    """How much the steps of neighbouring states differ."""

    share: float | None
    """Mean square difference of s' − s between neighbours, in shares of that between any two rows; of the dimension
    where it is largest. None if it cannot be told."""

    @property
    def kind(self) -> str:
        """``narrow``, ``wide``, ``between`` or ``unknown``."""
        if self.share is None:
            return "unknown"
        return "narrow" if self.share < _NARROW else "wide" if self.share > _WIDE else "between"

    def __str__(self) -> str:
        """In one line."""
        if self.share is None:
            return "unknown: no two states are near enough to compare how they go on"
        how = {
            "narrow": "near-equal states go on nearly alike",
            "between": "near-equal states go on somewhat differently",
            "wide": "near-equal states go on differently",
        }[self.kind]
        why = (
            "" if self.kind == "narrow" else ", by varied actions or by noise: states alone cannot tell which"
        )
        return f"{self.kind}: {how} (spread {self.share:.0%}){why}"


def measure_spread(data: Transitions) -> Spread:
    """Compare the steps of states that lie close together but not in time.

    States are compared in units of their standard deviation, on a sample of 20,000 rows.
    """
    rows = np.unique(np.linspace(0, len(data) - 1, min(len(data), _ROWS)).astype(np.int64))
    states = data.states[rows].astype(np.float64)
    steps = data.next_states[rows] - states
    states, steps = _scaled(states), _scaled(steps)
    if not steps.shape[1] or not states.shape[1]:
        return Spread(None)
    asked = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _ASKED)).astype(np.int64))
    neighbour, distance = _neighbours(states, rows, data.episode_ids[rows], asked)
    typical = np.sqrt(
        2 * states.shape[1]
    )  # of two states drawn at random: each dimension has a variance of 1
    near = distance < _NEAR * typical
    if np.count_nonzero(near) < max(30, 0.2 * len(asked)):
        return Spread(None)
    differences = np.square(steps[asked[near]] - steps[neighbour[near]]).mean(axis=0) / 2
    return Spread(float(differences.max()))


def warn_of_chance(data: Transitions) -> list[str]:
    """A warning if the very same state leads to next states after which very different returns followed.

    If the action decides which of them comes next, there is nothing wrong; if chance does, Q(s, s') is too high.
    Equal states are looked for in a sample of 20,000 rows, so the warning is for states that are counted or on a grid.
    """
    rows = np.unique(np.linspace(0, len(data) - 1, min(len(data), _ROWS)).astype(np.int64))
    _, state = np.unique(data.states[rows], axis=0, return_inverse=True)
    if np.bincount(state.ravel()).max() < 2 * _VISITS:
        return []
    pairs = np.concatenate([data.states[rows], data.next_states[rows]], axis=1)
    _, first, pair = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    ahead = _return_ahead(data)[rows]
    visits = np.bincount(pair.ravel())
    mean = np.bincount(pair.ravel(), ahead) / visits
    variance = np.bincount(pair.ravel(), ahead**2) / visits - mean**2
    error = np.sqrt(np.maximum(variance, 0) / visits)
    often = np.flatnonzero(visits >= _VISITS)
    from_state = state.ravel()[first[often]]
    worst: tuple[float, int, int] | None = None
    for one in np.unique(from_state):
        ends = often[from_state == one]
        low, high = ends[mean[ends].argmin()], ends[mean[ends].argmax()]
        gap = float(mean[high] - mean[low])
        if gap > max(_APART_IN_VALUE * ahead.std(), _ERRORS * np.hypot(error[low], error[high])) and (
            worst is None or gap > worst[0]
        ):
            worst = gap, int(low), int(high)
    if worst is None:
        return []
    _, low, high = worst
    return [
        f"the same state is followed by mean returns from {mean[low]:.3g} to {mean[high]:.3g}, depending on the next "
        "state: if chance decides which one comes, and not the action, Q(s, s') is too high"
    ]


def _return_ahead(data: Transitions) -> NDArray[np.float64]:
    """The rewards from each row to the end of its episode [N]."""
    so_far = np.concatenate([[0.0], np.cumsum(data.rewards, dtype=np.float64)])
    ends = (data.episode_starts + data.episode_lengths())[data.episode_ids]
    ahead: NDArray[np.float64] = so_far[ends] - so_far[:-1]
    return ahead


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The columns that vary, with a mean of 0 and a standard deviation of 1."""
    mean, std = values.mean(axis=0), values.std(axis=0)
    moving = std > 1e-6 * np.maximum(np.abs(values).max(axis=0, initial=0), 1e-12)
    scaled: NDArray[np.float64] = (values[:, moving] - mean[moving]) / std[moving]
    return scaled


def _neighbours(
    states: NDArray[np.float64],
    rows: NDArray[np.int64],
    episodes: NDArray[np.int64],
    asked: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest of the states to each that is asked for, and its distance."""
    squares = np.square(states).sum(axis=1)
    nearest, distance = np.empty(len(asked), np.int64), np.empty(len(asked))
    for start in range(0, len(asked), _AT_ONCE):
        some = asked[start : start + _AT_ONCE]
        found = squares[some, None] + squares - 2 * states[some] @ states.T
        same = (np.abs(rows[some, None] - rows) < _APART) & (episodes[some, None] == episodes)
        found[same] = np.inf
        place = np.s_[start : start + len(some)]
        nearest[place] = found.argmin(axis=1)
        distance[place] = np.sqrt(np.maximum(found.min(axis=1), 0))
    return nearest, distance
