"""Warnings about data that is legal but looks wrong, one line each.

Tests on states look at a sample where that is enough, so that reading stays about as fast as the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lfo.datasets.transitions import Transitions

Bools = NDArray[np.bool_]
States = NDArray[np.float32]

_BLOCK = 1 << 12  # rows compared at a time
_SAMPLE = 4096  # steps that the size of a usual step is taken from
_EPISODES = 1024  # episodes whose first and last steps are looked at
_JUMP = 4.0  # a jump is longer than this many medians of the usual step ...
_JUMP_OF_MEAN = 2.0  # ... and this many means, which matters where most steps stand still


def in_flags(terminals: Bools | None, timeouts: Bools | None) -> list[str]:
    """Warnings about the two flag columns, [N] each, as the source has them."""
    if terminals is None:
        return [
            "there are no `terminals`: nothing stops bootstrapping, which is right only if the task never ends"
        ]
    ends = terminals if timeouts is None else terminals | timeouts
    if not ends.any():
        return [
            f"no flag is ever set: read as one episode of {len(ends)} rows; mark the resets, if there were any"
        ]
    share = np.count_nonzero(terminals) / len(terminals)
    if len(terminals) > 1 and share > 0.5:
        return [
            f"{share:.0%} of all rows are terminal: `terminals` looks inverted (true while the episode runs)"
        ]
    return _time_limit(terminals, ends)


def _time_limit(terminals: Bools, ends: Bools) -> list[str]:
    """Terminals on episodes of the greatest length: probably a time limit in the wrong column."""
    last = np.flatnonzero(ends)
    lengths = np.diff(last, prepend=-1)
    terminal = lengths[terminals[last]]
    longest = int(lengths.max())
    at_limit = int((terminal == longest).sum())
    near = int(((terminal >= 0.8 * longest) & (terminal < longest)).sum())
    always = at_limit == len(terminal) and at_limit >= 2 and longest > 1
    piled_up = at_limit >= 5 and longest >= 50 and at_limit > 5 * near
    if not (always or piled_up):
        return []
    which = "every terminal ends" if always else f"{at_limit} terminals end"
    return [
        f"{which} an episode of exactly {longest} steps: that looks like a time limit, which belongs in "
        "`timeouts` (a terminal says that nothing follows)"
    ]


def in_extrapolated_rows(terminals: Bools) -> Iterator[str]:
    """Terminal rows whose next states are not in the file."""
    if count := int(np.count_nonzero(terminals)):
        yield (
            f"the next states of {count} terminal rows are extrapolated, as there is no `next_observations`; store it "
            "if you can"
        )


def in_actions(actions: NDArray[np.float32], low: NDArray[Any], high: NDArray[Any]) -> Iterator[str]:
    """Actions [N, A] outside the bounds [A]."""
    if outside := int(((actions < low) | (actions > high)).any(axis=1).sum()):
        yield (
            f"{outside} of {len(actions)} actions are outside the bounds: the environment did something else with "
            "them, often a clip"
        )


def in_transitions(data: Transitions) -> list[str]:
    """Warnings about states, next states and rewards."""
    return [*_constant(data), *_jumps(data)]


def in_chain(states: States, next_states: States, ends: Bools) -> list[str]:
    """Rows inside an episode whose s' is not the next row's s; ``ends`` [N] is true on last rows."""
    last = np.flatnonzero(ends[:-1])
    at_ends = int(np.count_nonzero(next_states[last] != states[last + 1]))
    if sum(int(np.count_nonzero(block)) for block in _unequal(states, next_states)) == at_ends:
        return []
    broken = np.concatenate([block.any(axis=1) for block in _unequal(states, next_states)])
    broken[last] = False
    return [
        f"s' differs from the next row's s in {broken.sum()} of {len(broken) - len(last)} rows "
        "inside an episode: rows may be shuffled or left out, or ends of episodes not marked"
    ]


def in_resets(states: States, next_states: States, terminals: Bools) -> Iterator[str]:
    """Terminal rows whose s' is the next episode's first state, as an automatic reset leaves them."""
    last = np.flatnonzero(terminals[:-1])
    if leaked := int((next_states[last] == states[last + 1]).all(axis=1).sum()):
        yield (
            f"s' is the next episode's first state in {leaked} of {len(last)} terminal rows: an automatic reset "
            "overwrote the last state; leave `next_observations` out to have such rows dropped"
        )


def _unequal(states: States, next_states: States) -> Iterator[Bools]:
    """Where s' is not the next row's s, value by value: [N - 1, S], in blocks of rows."""
    for start in range(0, len(states) - 1, _BLOCK):
        stop = min(start + _BLOCK, len(states) - 1)
        yield next_states[start:stop] != states[start + 1 : stop + 1]


def _constant(data: Transitions) -> Iterator[str]:
    if len(data) < 2:
        return
    head = data.states[:1024]
    still = np.flatnonzero((head == head[0]).all(axis=0))
    still = still[(data.states[:, still] == data.states[0, still]).all(axis=0)]
    if len(still):
        yield f"state dimension {_listed(still)} never changes: there is nothing to learn from it"
    if all(bool((part == data.rewards[0]).all()) for part in (data.rewards[:1024], data.rewards)):
        yield f"rewards never vary: all are {data.rewards[0]:g}"


def _listed(indices: NDArray[np.intp]) -> str:
    return ", ".join(map(str, indices[:8])) + (f" and {len(indices) - 8} more" if len(indices) > 8 else "")


def _jumps(data: Transitions) -> list[str]:
    """First or last steps that are far longer than usual: they may hold a state of another episode.

    The length of a step is the mean over dimensions of |s' - s|, each divided by its usual mean. It is a jump
    if its median over episodes exceeds 4 times the usual median, twice the mean, and the 99th percentile.
    """
    starts, lengths = data.episode_starts, data.episode_lengths()
    long = np.flatnonzero(lengths >= 4)
    if len(long) < 3:
        return []
    long = long[np.linspace(0, len(long) - 1, min(len(long), _EPISODES)).astype(int)]
    first, last = starts[long], starts[long] + lengths[long] - 1
    rows = np.linspace(0, len(data) - 1, min(len(data), _SAMPLE)).astype(int)
    episode = np.searchsorted(starts, rows, side="right") - 1
    rows = rows[(rows > starts[episode]) & (rows < starts[episode] + lengths[episode] - 1)]
    if len(rows) == 0:
        return []
    usual = _step(data, rows)
    scale = usual.mean(axis=0)
    moving = scale > 0
    if not moving.any():
        return []
    lengths_usual = (usual[:, moving] / scale[moving]).mean(axis=1)
    typical, rare = np.percentile(lengths_usual, (50, 99))
    limit = max(_JUMP * typical, rare, _JUMP_OF_MEAN)
    notes = []
    for name, at in (("first", first), ("last", last)):
        median = float(np.median((_step(data, at)[:, moving] / scale[moving]).mean(axis=1)))
        if median > limit:
            notes.append(
                f"the {name} step of an episode is a jump, in the median {median:.3g} times the usual step: it may "
                "hold a state of another episode (check what the recorder does at a reset)"
            )
    return notes


def _step(data: Transitions, rows: NDArray[Any]) -> NDArray[np.float64]:
    size: NDArray[np.float64] = np.abs(data.next_states[rows].astype(np.float64) - data.states[rows])
    return size
