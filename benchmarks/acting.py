"""Collecting and evaluating against bare ``env.step``: the same steps, the actions known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from rows import Effort, Row
from timing import interleaved, ratio
from updates import make_data

from lfo import D3G, D3GConfig, InverseConfig
from lfo.acting.evaluation import evaluate_policy
from lfo.acting.rounds import act
from lfo.datasets import Transitions
from lfo.datasets.collect import available_cores, collect
from lfo.envs.make import Env, make_env, make_envs, observation_length
from lfo.envs.spaces import ActionSpace
from lfo.runs.loading import attach_inverse
from lfo.runs.record import Member
from lfo.training.loop import build

__all__ = ["collecting", "evaluation"]

PENDULUM, REACHER = "InvertedPendulum-v5", "Reacher-v5"
_BALANCE = np.array([0.3, 9.0, 0.5, 1.5])
"""Gains with which the pendulum stands: action = gains · state."""


def collecting(effort: Effort) -> list[Row]:
    """``collect`` with the expert and half the actions random, against the same steps without a policy."""
    rows = []
    for env_id in (PENDULUM, REACHER):
        record = partial(collect, env_id, random_frac=0.5, steps=effort.env_steps)
        data, actions = record()
        with_bare = {"collect": record, "bare": partial(step_bare, make_env(env_id), data, actions)}
        found = ratio(interleaved(with_bare, effort, once=True), "bare", "collect")
        what = f"steps/s of `collect`, {env_id}, one process"
        rows.append(Row(what, "bare `env.step`", **found, reach=0.7, at_least=True))
    return [*rows, _scaling(effort)]


def _scaling(effort: Effort) -> Row:
    """All cores against one, the start of the processes included."""
    cores, steps = available_cores(), 10 * effort.env_steps
    what = f"steps/s of `collect --jobs {cores}`, {PENDULUM}, {steps:,} steps"
    record = partial(collect, PENDULUM, random_frac=0.5, steps=steps)
    works = {"one": record, "all": partial(record, jobs=cores)}
    seconds = interleaved(works, replace(effort, rounds=min(effort.rounds, 3)), once=True)
    reach = 0.7 * cores if cores > 1 else None
    return Row(what, "`--jobs 1`", **ratio(seconds, "one", "all"), reach=reach, at_least=True)


def step_bare(env: Env, data: Transitions, actions: np.ndarray) -> None:
    """The recorded actions again, with a reset wherever an episode of the record ended."""
    step = env.step
    ends = (data.terminated | data.truncated).tolist()
    env.reset(seed=0)
    for action, end in zip(actions, ends, strict=True):
        step(action)
        if end:
            env.reset()


def evaluation(effort: Effort) -> list[Row]:
    """Ten members, ten episodes each.

    What an untrained policy does would end the pendulum's episodes at once. So the members' actions are computed,
    which is what takes time, and then a linear controller's are taken, which keeps the pole up, as trained
    members do. Its episodes are cut at 100 steps, as all steps cost alike.
    """
    rows = []
    for env_id in (PENDULUM, REACHER):
        works = _evaluation_works(env_id, D3GConfig(hidden=effort.hidden), full=effort.seconds > 0)
        fewer = replace(effort, rounds=min(effort.rounds, 5))
        found = ratio(interleaved(works, fewer, once=True), "evaluation", "bare")
        what = f"evaluation of 10 members × 10 episodes, {env_id}"
        rows.append(Row(what, "bare steps of as many environments", **found, reach=1.6))
    return rows


def _evaluation_works(env_id: str, config: D3GConfig, *, full: bool) -> dict[str, Callable[[], Any]]:
    members, episodes, limit = (10, 10, 100) if full else (2, 2, 20)
    envs = make_envs(env_id, members * episodes)
    size, space = observation_length(envs[0]), ActionSpace.of(envs[0])
    agent, _ = build(D3G, config, [make_data(1000, size)], [Member(seed) for seed in range(members)], "cpu")
    attach_inverse(agent, InverseConfig(hidden=config.hidden), space)

    def policy(states: np.ndarray) -> np.ndarray:
        actions = act(agent, states)
        return (states @ _BALANCE)[..., None].astype(np.float32) if env_id == PENDULUM else actions

    def evaluate() -> Any:
        return evaluate_policy(policy, env_id, members=members, episodes=episodes, max_steps=limit, envs=envs)

    lengths = evaluate().lengths
    rng = np.random.default_rng(0)
    actions = space.sample(rng, int(lengths.max()) * len(envs)).reshape(-1, len(envs), space.size)
    return {"evaluation": evaluate, "bare": partial(_step_all, envs, actions, lengths.reshape(-1).tolist())}


def _step_all(envs: Sequence[Env], actions: np.ndarray, lengths: Sequence[int]) -> None:
    """As many steps of each environment as its episode had, all of them in turn."""
    for env in envs:
        env.reset(seed=0)
    steps = [env.step for env in envs]
    for t, now in enumerate(actions):
        for i, length in enumerate(lengths):
            if t < length:
                steps[i](now[i])
