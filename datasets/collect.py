"""Recording a policy, with a fraction of uniform random actions, into transitions."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lfo.datasets.policies import MLPPolicy, Policy, load_policy
from lfo.datasets.transitions import Metadata, Transitions
from lfo.envs.faults import close_all, opened
from lfo.envs.make import (
    Env,
    EnvLike,
    copyable,
    full_id,
    id_of,
    kwargs_of,
    make_envs,
    name_of,
    observation_keys,
    observation_length,
    with_kwargs,
)
from lfo.envs.rollout import rollout
from lfo.envs.spaces import ActionSpace
from lfo.errors import LfoError, one_line
from lfo.processes import require_memory, share_out

STREAMS = 8
"""Environments in a group. They are stepped in turn and share one call of the policy."""
GROUP_ROWS = 50_000
"""Rows per group, about. Groups are what processes share out."""
HORIZON = 1_000
"""Steps that stand in for the time limit where the environment has none."""
BLOCK = 512
"""Steps whose random numbers are drawn at once; progress is told after each block."""

Progress = Callable[[int], object]


class Rows(NamedTuple):
    """What a group records: its streams one after the other, K rows in all."""

    states: np.ndarray
    """[K, S] float32"""
    next_states: np.ndarray
    """[K, S] float32"""
    rewards: np.ndarray
    """[K] float32"""
    terminated: np.ndarray
    """[K] bool"""
    truncated: np.ndarray
    """[K] bool"""
    actions: np.ndarray
    """[K, A] float32"""


@dataclass(frozen=True)
class Group:
    """A share of the work: a few environments, the policy, and a seed."""

    env: EnvLike
    policy: Policy
    random_frac: float
    quotas: tuple[int, ...]
    """Rows that each stream records, in descending order."""
    seed: np.random.SeedSequence


def collect(
    env: EnvLike,
    *,
    env_kwargs: Mapping[str, Any] | None = None,
    random_frac: float | None = None,
    steps: int,
    seed: int = 0,
    policy: str | Path | Policy = "expert",
    trust_pickle: bool = False,
    jobs: int = 1,
    progress: Progress | None = None,
) -> tuple[Transitions, np.ndarray]:
    """Record ``steps`` transitions of a policy, π_o, with a fraction of random actions.

    At each step, with probability ``random_frac``, the policy's action is replaced by one drawn uniformly
    from the action space (Edwards et al. 2020, section 5).

    The rows are split over *streams*. A stream is one environment that plays one episode after the other; it
    records a multiple of the time limit, so that few episodes are cut short. An episode that is still running
    when its stream is full is marked truncated. The split and all random numbers depend on ``steps`` and
    ``seed`` only, so the data is the same, bit for bit, for every ``jobs``.

    Args:
        env: a Gymnasium id, an environment or a function that makes one, with vector observations and bounded
            continuous actions; see :func:`lfo.envs.make.make_env`. An object is copied by its spec where more than one
            episode's worth of rows is asked for. For more than one job a function has to be picklable.
        env_kwargs: arguments that the environment is made with, where ``env`` is an id or a function. The data set
            keeps them.
        random_frac: fraction of random actions, in [0, 1]. May be left out where ``policy`` is ``random``.
            With 1, no policy is loaded.
        steps: number of rows N, exactly.
        seed: seed of everything random.
        policy: ``expert``, ``random``, a path (see :func:`lfo.datasets.policies.load_policy`), or any object
            that has a ``name`` and an ``act`` method, see :class:`lfo.datasets.policies.Policy`. For more
            than one job the object has to be picklable.
        trust_pickle: allow a Stable-Baselines3 zip, although loading one can run code hidden in it.
        jobs: processes at most. A script that asks for more than one needs the
            ``if __name__ == "__main__"`` guard, as they are spawned.
        progress: called with the number of rows recorded since the last call.

    Returns:
        The transitions, with their origin in the metadata; and the actions [N, A] float32, apart.

    Raises:
        LfoError: an argument is out of range, the environment or the policy cannot be used, or the
            environment returned NaN or infinity.
    """
    if random_frac is None and policy == "random":
        random_frac = 1.0
    if random_frac is None or not 0 <= random_frac <= 1:
        raise LfoError(f"random_frac: expected a fraction from 0 to 1, found {random_frac}; pass one")
    for name, value, least in (("steps", steps, 1), ("seed", seed, 0), ("jobs", jobs, 1)):
        if value < least:
            raise LfoError(f"{name}: expected a whole number of at least {least}, found {value}")
    env = with_kwargs(env, env_kwargs)
    with opened(env) as made:
        if random_frac == 1:
            policy = "random"
        if isinstance(policy, str | Path):
            policy = load_policy(policy, made, trust_pickle=trust_pickle)
        else:
            _check_acts(policy, made)
        row = 4 * (2 * observation_length(made) + ActionSpace.of(made).size + 1) + 2
        require_memory(2 * steps * row, f"{steps:,} steps", "record fewer, or several files")  # and joined
        quotas = _quotas(steps, (made.spec.max_episode_steps if made.spec else None) or HORIZON)
        seeds = np.random.SeedSequence(seed).spawn(len(quotas))
        source = env if sum(map(len, quotas)) == 1 else copyable(env)
        groups = [Group(source, policy, random_frac, q, s) for q, s in zip(quotas, seeds, strict=True)]
        metadata = Metadata(
            source=f"collected from {id_of(env) or name_of(made)}",
            env_id=full_id(env, made),
            random_frac=float(random_frac),
            policy=policy.name,
            seed=seed,
            attributes=_attributes(policy, steps, observation_keys(made), kwargs_of(env, made)),
        )
    recorded = _record_all(groups, jobs, progress or _ignore)
    rows = Rows(*(np.concatenate(arrays) for arrays in zip(*recorded, strict=True)))
    return Transitions(*rows[:5], metadata=metadata), rows.actions


def _ignore(rows: int) -> None:
    """Progress that nobody watches."""


def _check_acts(policy: Policy, env: Env) -> None:
    """Check that a policy's actions have the environment's shape."""
    observations = np.zeros((2, observation_length(env)), np.float32)
    found = np.shape(policy.act(observations, np.random.default_rng(0)))
    expected = (2, ActionSpace.of(env).size)
    if found != expected:
        raise LfoError(
            f"policy {policy.name}: expected actions of shape {list(expected)} for two observations, found "
            f"{list(found)}; use the environment that the policy was trained in"
        )


def _quotas(steps: int, horizon: int) -> list[tuple[int, ...]]:
    """Split ``steps`` rows: for each group, the rows of each of its streams.

    Every stream gets a multiple of ``horizon`` rows; the last one also gets the remainder.
    """
    whole = steps // horizon
    groups = min(max(1, round(steps / GROUP_ROWS)), max(1, whole // STREAMS))
    streams = min(max(1, whole), groups * STREAMS)
    units = [whole // streams + (i < whole % streams) for i in range(streams)]
    rows = [unit * horizon for unit in units]
    rows[-1] += steps - sum(rows)
    return [tuple(sorted(rows[g::groups], reverse=True)) for g in range(groups)]


def _attributes(
    policy: Policy, steps: int, keys: list[str], env_kwargs: dict[str, Any]
) -> dict[str, str | int | float]:
    """Further attributes: number of steps, order of a Dict's keys, the environment's arguments, the policy's return."""
    result: dict[str, str | int | float] = {"steps": steps}
    if keys:
        result["observation_keys"] = json.dumps(keys)
    if env_kwargs:
        result["env_kwargs"] = json.dumps(env_kwargs)
    if isinstance(policy, MLPPolicy):
        measured = {
            key: policy.metadata[key] for key in ("return_mean", "return_std") if key in policy.metadata
        }
        result |= {f"policy_{key}": float(value) for key, value in measured.items()}
        if "algorithm" in policy.metadata:
            result["policy_algorithm"] = policy.metadata["algorithm"]
    return result


def _record_all(groups: list[Group], jobs: int, progress: Progress) -> list[Rows]:
    """What every group records, in the order of the groups."""
    if min(jobs, len(groups)) == 1:
        return [_record(group, progress) for group in groups]
    try:
        pickle.dumps(groups[0])
    except Exception as error:  # pickling can raise anything
        raise LfoError(
            "jobs: the environment or the policy cannot be sent to other processes "
            f"({type(error).__name__}: {one_line(error)}); pass jobs=1, or a function of a module"
        ) from error
    recorded: dict[int, Rows] = {}

    def done(index: int, rows: Rows) -> None:
        recorded[index] = rows
        progress(len(rows.states))

    share_out(partial(_record, progress=_ignore), groups, jobs, done)
    return [recorded[index] for index in range(len(groups))]


def _record(group: Group, progress: Progress) -> Rows:
    """Record one group. Buffers are [T, E, …] while it runs, and [E·T, …] at the end."""
    envs = make_envs(group.env, len(group.quotas))
    try:
        space = ActionSpace.of(envs[0])
        length, width = group.quotas[0], len(envs)
        rng = np.random.default_rng(group.seed)
        states = np.empty((length, width, observation_length(envs[0])), dtype=np.float32)
        buffers = Rows(
            states,
            np.empty_like(states),
            np.empty((length, width), dtype=np.float32),
            np.zeros((length, width), dtype=bool),
            np.zeros((length, width), dtype=bool),
            np.empty((length, width, space.size), dtype=np.float32),
        )
        seeds = rng.integers(2**31, size=width).tolist()
        act = _Actor(group, space, buffers, rng)
        for t, step in enumerate(rollout(envs, act, seeds, group.quotas)):
            buffers.next_states[t], buffers.rewards[t] = step.next_observations, step.rewards
            buffers.terminated[t], buffers.truncated[t] = step.terminated, step.truncated
            if (t + 1) % BLOCK == 0 or t + 1 == length:
                start = t // BLOCK * BLOCK
                progress(sum(min(t + 1, q) - min(start, q) for q in group.quotas))
    finally:
        close_all(envs)
    for i, quota in enumerate(group.quotas):
        buffers.truncated[quota - 1, i] = True  # the record ends here
    buffers.truncated[buffers.terminated] = False
    return Rows(*(np.concatenate([b[:quota, i] for i, quota in enumerate(group.quotas)]) for b in buffers))


class _Actor:
    """The policy's actions, some replaced by uniform ones. Writes states and actions into the buffers.

    Random numbers are drawn for a block of steps at once.
    """

    def __init__(self, group: Group, space: ActionSpace, buffers: Rows, rng: np.random.Generator) -> None:
        self.group, self.space, self.buffers, self.rng, self.t = group, space, buffers, rng, 0

    def __call__(self, observations: np.ndarray, running: list[int]) -> np.ndarray:
        """Actions [n, A] of the running environments."""
        place = self.t % BLOCK
        if place == 0:
            self._draw_block()
        actions = self.drawn[place]
        if not self.all_replaced:
            chosen = self.group.policy.act(observations, self.rng)
            actions = np.where(self.replaced[place, :, None], actions, chosen)
        self.buffers.states[self.t] = observations
        self.buffers.actions[self.t] = actions
        self.t += 1
        return np.asarray(actions if len(running) == len(actions) else actions[running])

    def _draw_block(self) -> None:
        steps, width = min(BLOCK, len(self.buffers.states) - self.t), len(self.group.quotas)
        self.replaced = self.rng.random((steps, width)) < self.group.random_frac
        self.drawn = self.space.sample(self.rng, steps * width).reshape(steps, width, -1)
        self.all_replaced = bool(self.replaced.all())
