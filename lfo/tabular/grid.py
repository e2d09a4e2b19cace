"""The gridworld as arrays: its dynamics and their exact solution.

A :class:`Grid` is a named tuple of arrays, so the same :func:`step` runs as plain Python (the Gymnasium
environment) and compiled by numba (the learners). States are numbered row by row: state = row·width + column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lfo.errors import LfoError

DIRECTIONS = ("up", "down", "left", "right")
"""A direction's number is its place here. Ties go to the first."""
UP, DOWN, LEFT, RIGHT = range(4)

CAP = 500
"""Steps after which an episode is cut off: a time limit, not a termination."""


class Grid(NamedTuple):
    """Dynamics of a gridworld with S states and A actions.

    ``moves[s, k]`` is the state that direction k leads to from s without noise, so its rows are N(s).
    """

    moves: NDArray[np.int64]
    """[S, 4]: the state that each direction leads to; s itself where a wall clips the move."""
    direction: NDArray[np.int64]
    """[A]: the direction of each action; redundancy and permutation are in this map."""
    reward: NDArray[np.float64]
    """[S]: the reward of arriving in a state."""
    terminal: NDArray[np.bool_]
    """[S]: whether arriving ends the episode."""
    wind: NDArray[np.float64]
    """[S]: the probability that the wind turns a move from s into 'down'."""
    slip: float
    """The probability that an action is replaced by one drawn uniformly."""
    start: int
    """The state in which every episode starts."""
    width: int
    """Columns of the grid."""

    @property
    def random(self) -> bool:
        """Whether the next state depends on chance."""
        return self.slip > 0 or bool(self.wind.any())


def make_grid(
    size: int = 11,
    *,
    slip: float = 0.0,
    windy_cliff: bool = False,
    redundancy: int = 1,
    permutation: Sequence[int] = (0, 1, 2, 3),
) -> Grid:
    """The size×size grid of the published experiments, and its variations.

    Start at (0, 0), goal at the opposite corner; each step costs −1 and reaching the goal gives +1 instead.

    Args:
        size: Rows and columns, at least 2.
        slip: Probability that the action is replaced by a uniformly random one.
        windy_cliff: Add a row of cliff below the grid. From the bottom row the wind blows the agent off with
            probability ½, and 'down' always does: the episode is over with reward 0. Steps cost nothing, and
            the start is the bottom left corner.
        redundancy: How often each of the four actions is repeated: 4·redundancy actions, action a being a
            copy of action a mod 4.
        permutation: The direction (see :data:`DIRECTIONS`) of each of the four actions.

    Raises:
        LfoError: An argument out of its range.
    """
    _check(size, slip, redundancy, permutation)
    rows = size + 1 if windy_cliff else size
    row, column = np.divmod(np.arange(rows * size), size)
    moves = np.stack(
        [
            np.maximum(row - 1, 0) * size + column,
            np.minimum(row + 1, rows - 1) * size + column,
            row * size + np.maximum(column - 1, 0),
            row * size + np.minimum(column + 1, size - 1),
        ],
        axis=1,
    )
    goal = size * size - 1
    terminal = row >= size
    terminal[goal] = True
    reward = np.full(rows * size, 0.0 if windy_cliff else -1.0)
    reward[goal] = 1.0
    bottom = row == size - 1
    return Grid(
        moves=moves,
        direction=np.asarray(permutation, dtype=np.int64)[np.arange(4 * redundancy) % 4],
        reward=reward,
        terminal=terminal,
        wind=np.where(bottom, 0.5, 0.0) if windy_cliff else np.zeros(rows * size),
        slip=float(slip),
        start=size * (size - 1) if windy_cliff else 0,
        width=size,
    )


def _check(size: int, slip: float, redundancy: int, permutation: Sequence[int]) -> None:
    """Refuse arguments that make no grid."""
    if size < 2:
        raise LfoError(f"gridworld: size: expected at least 2, found {size}; pass 2 or more")
    if not 0 <= slip <= 1:
        raise LfoError(f"gridworld: slip: expected a probability, found {slip}; pass a number from 0 to 1")
    if redundancy < 1:
        raise LfoError(
            f"gridworld: redundancy: expected at least 1, found {redundancy}; pass 1 for 4 actions"
        )
    if sorted(permutation) != [0, 1, 2, 3]:
        raise LfoError(
            f"gridworld: permutation: expected 0, 1, 2, 3 in some order, found {tuple(permutation)}; "
            "pass (0, 1, 2, 3) for the usual actions"
        )


def step(grid: Grid, state: int, action: int, rng: np.random.Generator) -> tuple[int, float, bool]:
    """Act once: the next state, its reward, and whether that ends the episode.

    Plain arithmetic on the arrays of ``grid``, so that numba compiles it as it stands.
    """
    if grid.slip > 0 and rng.random() < grid.slip:
        action = int(rng.integers(0, len(grid.direction)))
    direction = grid.direction[action]
    if grid.wind[state] > 0 and rng.random() < grid.wind[state]:
        direction = DOWN
    next_state = int(grid.moves[state, direction])
    return next_state, float(grid.reward[next_state]), bool(grid.terminal[next_state])


def coordinates(grid: Grid, states: NDArray[np.int64]) -> NDArray[np.float32]:
    """(row, column) of each state: [..., 2] float32, in cells."""
    return np.stack(np.divmod(states, grid.width), axis=-1).astype(np.float32)


def transition_probabilities(grid: Grid) -> NDArray[np.float64]:
    """P(s' | s, direction): [S, 4, S]. A slip is uniform over actions, which is uniform over directions."""
    states = len(grid.moves)
    executed = (1 - grid.slip) * np.eye(4) + grid.slip / 4
    executed = (1 - grid.wind)[:, None, None] * executed
    executed[:, :, DOWN] += grid.wind[:, None]
    leads_to = np.eye(states)[grid.moves]
    result: NDArray[np.float64] = executed @ leads_to
    return result


def value_iteration(grid: Grid, gamma: float, *, optimistic: bool = False) -> NDArray[np.float64]:
    """Q(s, k) = E[r + γ(1−d) max_k' Q(s', k')] for each direction k: [S, 4], exact to 1e-12.

    With ``optimistic``, every direction succeeds. This is what Q(s, s') learns in a random world: the value of a
    transition that happened, however unlikely it was (Edwards et al. 2020, eq. 3).
    """
    p = np.eye(len(grid.moves))[grid.moves] if optimistic else transition_probabilities(grid)
    q = np.zeros(grid.moves.shape)
    while True:
        values = grid.reward + gamma * np.where(grid.terminal, 0.0, q.max(axis=1))
        new: NDArray[np.float64] = p @ values
        if np.abs(new - q).max() < 1e-12:
            return new
        q = new


def policy_value(grid: Grid, policy: NDArray[np.float64], gamma: float) -> NDArray[np.float64]:
    """Discounted value in each state, [S], of a policy over directions ([S, 4], rows sum to 1), exact."""
    p = np.einsum("sk,skn->sn", policy, transition_probabilities(grid))
    bootstrap = gamma * p * ~grid.terminal
    values: NDArray[np.float64] = np.linalg.solve(np.eye(len(p)) - bootstrap, p @ grid.reward)
    return values


def best_return(grid: Grid, cap: int = CAP) -> float:
    """The best expected undiscounted return of an episode of at most ``cap`` steps, by backward induction."""
    p = transition_probabilities(grid)
    values = np.zeros(len(grid.moves))
    for _ in range(cap):
        values = (p @ (grid.reward + np.where(grid.terminal, 0.0, values))).max(axis=1)
    return float(values[grid.start])


def policy_return(grid: Grid, policy: NDArray[np.float64], cap: int = CAP) -> float:
    """Expected undiscounted return of an episode of at most ``cap`` steps under a policy ([S, 4])."""
    p = np.einsum("sk,skn->sn", policy, transition_probabilities(grid))
    values = np.zeros(len(grid.moves))
    for _ in range(cap):
        values = p @ (grid.reward + np.where(grid.terminal, 0.0, values))
    return float(values[grid.start])
