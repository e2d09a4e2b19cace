"""The two tabular learners, compiled: QSS, which values state transitions, and QSA, which is Q-learning.

``function.py_func`` is the uncompiled form of a function.

A deterministic greedy rollout that returns to a state circles until the time limit. It stops there and adds the
remaining steps' rewards, which are all equal, at once: the return is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from lfo.errors import LfoError
from lfo.tabular import grid as world
from lfo.tabular.grid import CAP, Grid

try:
    import numba
except ImportError as error:
    raise LfoError("gridworld: the package numba is not installed; run `pip install numba`") from error

F = TypeVar("F", bound=Callable[..., object])


def _compiled(function: F) -> F:
    """``numba.njit``, with the function's own type kept for the type checker."""
    return cast(F, numba.njit(function))


_step = _compiled(world.step)


class Settings(NamedTuple):
    """The settings of the published experiments (Edwards et al. 2020)."""

    gamma: float = 0.99
    """Discount γ."""
    alpha: float = 0.01
    """Learning rate α."""
    epsilon_start: float = 1.0
    """Probability of a random action at the first step."""
    epsilon_end: float = 0.1
    """... and after ``epsilon_steps`` steps, falling linearly."""
    epsilon_steps: int = 100_000
    q_init: float = 0.001
    """Every entry of Q at the start; optimistic where each step costs 1."""
    cap: int = CAP
    """Steps after which an episode is cut off. This is no termination: the last step still bootstraps."""
    rollouts: int = 10
    """Greedy rollouts that an evaluation averages where dynamics are random; elsewhere it is one."""


class Inverse(NamedTuple):
    """I(s, s'): the actions known to lead from s to its k-th neighbour s'. The agent draws one of them uniformly."""

    known: NDArray[np.int64]
    """[S, 4]: how many."""
    actions: NDArray[np.int64]
    """[S, 4, A]: which, in the order they were seen; only the first ``known`` entries count."""
    seen: NDArray[np.bool_]
    """[S, 4, A]: the same as a mask."""


class QssTable(NamedTuple):
    """What QSS learns. Only entries Q(s, s') with s' in N(s) are used."""

    q: NDArray[np.float64]
    """[S, S]: Q(s, s')."""
    inverse: Inverse


class QsaTable(NamedTuple):
    """What Q-learning learns."""

    q: NDArray[np.float64]
    """[S, A]: Q(s, a)."""
    greedy: NDArray[np.int64]
    """[S]: the first argmax of each row, kept up to date by :func:`update_qsa`."""


def unknown_inverse(grid: Grid) -> Inverse:
    """I before any transition was seen."""
    shape = (len(grid.moves), 4, len(grid.direction))
    return Inverse(np.zeros(shape[:2], np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.bool_))


def given_inverse(grid: Grid) -> Inverse:
    """I of the noise-free dynamics: every action that leads from s to s' where nothing slips."""
    inverse = unknown_inverse(grid)
    for state in range(len(grid.moves)):
        for action, direction in enumerate(grid.direction):
            observe(inverse, grid.moves, state, action, grid.moves[state, direction])
    return inverse


def qss_table(grid: Grid, settings: Settings, inverse: Inverse) -> QssTable:
    """Q(s, s') at its initial value, with an I(s, s')."""
    states = len(grid.moves)
    return QssTable(np.full((states, states), settings.q_init), inverse)


def qsa_table(grid: Grid, settings: Settings) -> QsaTable:
    """Q(s, a) at its initial value; the first action is greedy everywhere."""
    states = len(grid.moves)
    return QsaTable(np.full((states, len(grid.direction)), settings.q_init), np.zeros(states, dtype=np.int64))


@_compiled
def epsilon_at(steps: int, settings: Settings) -> float:
    """ε after a number of steps: linear from start to end, then constant."""
    fraction = min(1.0, steps / settings.epsilon_steps)
    return settings.epsilon_start + fraction * (settings.epsilon_end - settings.epsilon_start)


@_compiled
def best_neighbour(q: NDArray[np.float64], neighbours: NDArray[np.int64], state: int) -> int:
    """The place in N(s) of τ(s) = argmax_{s' in N(s)} Q(s, s'), the first where several are best."""
    best = 0
    for k in range(1, 4):
        if q[state, neighbours[state, k]] > q[state, neighbours[state, best]]:
            best = k
    return best


@_compiled
def inverse_action(inverse: Inverse, state: int, neighbour: int, rng: np.random.Generator) -> int:
    """π(s) = I(s, s'), drawn uniformly from the actions seen for (s, s'), or from all where none was."""
    known = inverse.known[state, neighbour]
    if known == 0:
        return int(rng.integers(0, inverse.actions.shape[2]))
    choice = 0 if known == 1 else rng.integers(0, known)
    return int(inverse.actions[state, neighbour, choice])


@_compiled
def observe(
    inverse: Inverse, neighbours: NDArray[np.int64], state: int, action: int, next_state: int
) -> None:
    """Learn I(s, s'): note that this action led from s to s'."""
    k = 0
    while neighbours[state, k] != next_state:
        k += 1
    if not inverse.seen[state, k, action]:
        inverse.seen[state, k, action] = True
        inverse.actions[state, k, inverse.known[state, k]] = action
        inverse.known[state, k] += 1


@_compiled
def update_qss(
    q: NDArray[np.float64],
    neighbours: NDArray[np.int64],
    transition: tuple[int, int, float, bool],
    gamma: float,
    alpha: float,
) -> None:
    """Q(s,s') += α [ r + γ(1−d) max_{s'' in N(s')} Q(s',s'') − Q(s,s') ] for one (s, s', r, d)."""
    state, next_state, reward, terminated = transition
    target = reward
    if not terminated:
        best = neighbours[next_state, best_neighbour(q, neighbours, next_state)]
        target += gamma * q[next_state, best]
    q[state, next_state] += alpha * (target - q[state, next_state])


@_compiled
def update_qsa(
    table: QsaTable, action: int, transition: tuple[int, int, float, bool], gamma: float, alpha: float
) -> None:
    """Q(s,a) += α [ r + γ(1−d) max_a' Q(s',a') − Q(s,a) ] for one (s, a, s', r, d)."""
    state, next_state, reward, terminated = transition
    q, greedy = table.q, table.greedy
    target = reward
    if not terminated:
        target += gamma * q[next_state, greedy[next_state]]
    q[state, action] += alpha * (target - q[state, action])

    best = greedy[state]
    if action == best:
        greedy[state] = np.argmax(q[state])
    elif q[state, action] > q[state, best] or (q[state, action] == q[state, best] and action < best):
        greedy[state] = action


@_compiled
def rollout_qss(grid: Grid, table: QssTable, cap: int, chance: bool, rng: np.random.Generator) -> float:
    """Undiscounted return of π(s) = I(s, τ(s)) from the start; ``chance`` says that dynamics are random."""
    visited = np.full(len(grid.moves), -1)
    draws = 0
    total, state = 0.0, grid.start
    for t in range(cap):
        neighbour = best_neighbour(table.q, grid.moves, state)
        if chance or table.inverse.known[state, neighbour] == 0:
            draws += 1
        elif visited[state] == draws:  # no chance event since the last time here: a circle
            return float(total + (cap - t) * grid.reward[state])
        visited[state] = draws
        action = inverse_action(table.inverse, state, neighbour, rng)
        state, reward, terminated = _step(grid, state, action, rng)
        total += reward
        if terminated:
            break
    return total


@_compiled
def rollout_qsa(grid: Grid, table: QsaTable, cap: int, chance: bool, rng: np.random.Generator) -> float:
    """Undiscounted return of argmax_a Q(s, a) from the start; ``chance`` says that dynamics are random."""
    visited = np.zeros(len(grid.moves), dtype=np.bool_)
    total, state = 0.0, grid.start
    for t in range(cap):
        if visited[state] and not chance:
            return float(total + (cap - t) * grid.reward[state])
        visited[state] = True
        state, reward, terminated = _step(grid, state, int(table.greedy[state]), rng)
        total += reward
        if terminated:
            break
    return total


@_compiled
def learn_qss(
    grid: Grid,
    table: QssTable,
    settings: Settings,
    episodes: int,
    rng: np.random.Generator,
    evaluation_rng: np.random.Generator,
    learn_values: bool = True,
    learn_inverse: bool = False,
) -> NDArray[np.float64]:
    """Learn Q(s, s') and, with ``learn_inverse``, I(s, s') in place, ε-greedily, for a number of episodes.

    Returns:
        [episodes + 1]: the greedy policy's return before each episode, and after the last.
    """
    chance = grid.slip > 0 or bool(grid.wind.any())
    rollouts = settings.rollouts if chance else 1
    returns = np.zeros(episodes + 1)
    steps = 0
    for episode in range(episodes + 1):
        for _ in range(rollouts):
            returns[episode] += rollout_qss(grid, table, settings.cap, chance, evaluation_rng) / rollouts
        if episode == episodes:
            break
        state = grid.start
        for _ in range(settings.cap):
            if rng.random() < epsilon_at(steps, settings):
                action = int(rng.integers(0, len(grid.direction)))
            else:
                neighbour = best_neighbour(table.q, grid.moves, state)
                action = inverse_action(table.inverse, state, neighbour, rng)
            next_state, reward, terminated = _step(grid, state, action, rng)
            transition = (state, next_state, reward, terminated)
            if learn_values:
                update_qss(table.q, grid.moves, transition, settings.gamma, settings.alpha)
            if learn_inverse:
                observe(table.inverse, grid.moves, state, action, next_state)
            state = next_state
            steps += 1
            if terminated:
                break
    return returns


@_compiled
def learn_qsa(
    grid: Grid,
    table: QsaTable,
    settings: Settings,
    episodes: int,
    rng: np.random.Generator,
    evaluation_rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Learn Q(s, a) in place, ε-greedily, for a number of episodes; returns as :func:`learn_qss`."""
    chance = grid.slip > 0 or bool(grid.wind.any())
    rollouts = settings.rollouts if chance else 1
    returns = np.zeros(episodes + 1)
    steps = 0
    for episode in range(episodes + 1):
        for _ in range(rollouts):
            returns[episode] += rollout_qsa(grid, table, settings.cap, chance, evaluation_rng) / rollouts
        if episode == episodes:
            break
        state = grid.start
        for _ in range(settings.cap):
            if rng.random() < epsilon_at(steps, settings):
                action = int(rng.integers(0, len(grid.direction)))
            else:
                action = int(table.greedy[state])
            next_state, reward, terminated = _step(grid, state, action, rng)
            transition = (state, next_state, reward, terminated)
            update_qsa(table, action, transition, settings.gamma, settings.alpha)
            state = next_state
            steps += 1
            if terminated:
                break
    return returns


def qss_policy(grid: Grid, table: QssTable) -> NDArray[np.float64]:
    """π(s) = I(s, τ(s)) as probabilities of directions: [S, 4], rows sum to 1."""
    policy = np.zeros(grid.moves.shape)
    for state in range(len(policy)):
        neighbour = best_neighbour(table.q, grid.moves, state)
        known = table.inverse.actions[state, neighbour, : table.inverse.known[state, neighbour]]
        actions = known if len(known) else np.arange(len(grid.direction))
        np.add.at(policy[state], grid.direction[actions], 1 / len(actions))
    return policy


def qsa_policy(grid: Grid, table: QsaTable) -> NDArray[np.float64]:
    """The greedy action as a direction, one-hot: [S, 4]."""
    return np.eye(4)[grid.direction[table.greedy]]


@_compiled
def random_walk(
    grid: Grid, steps: int, cap: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Walk uniformly at random for a number of steps, episode after episode.

    Returns:
        states, next_states, rewards, terminated, truncated: each [steps]. The last row is truncated unless it
        terminated.
    """
    states = np.empty(steps, dtype=np.int64)
    next_states = np.empty(steps, dtype=np.int64)
    rewards = np.empty(steps)
    terminated = np.zeros(steps, dtype=np.bool_)
    truncated = np.zeros(steps, dtype=np.bool_)
    state, length = grid.start, 0
    for t in range(steps):
        states[t] = state
        action = int(rng.integers(0, len(grid.direction)))
        state, rewards[t], terminated[t] = _step(grid, state, action, rng)
        next_states[t] = state
        length += 1
        truncated[t] = not terminated[t] and (length == cap or t == steps - 1)
        if terminated[t] or truncated[t]:
            state, length = grid.start, 0
    return states, next_states, rewards, terminated, truncated
