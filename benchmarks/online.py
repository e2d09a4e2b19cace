"""Online learning: a step of it against its matrix products and the environment's; against Stable-Baselines3's TD3."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from acting import step_bare
from floor import Floor, d3g_online_passes
from rows import Effort, Row
from timing import interleaved, ratio

from lfo import D3GOnline, D3GOnlineConfig, OnlineConfig, learn_online
from lfo.datasets.collect import collect
from lfo.envs.make import make_env

__all__ = ["online"]

ENV, S, A = "Hopper-v5", 11, 3
START = 300


def online(effort: Effort) -> list[Row]:
    """A step in the environment and one of the learner, as ``d3g-lfo online`` does them."""
    config = D3GOnlineConfig(hidden=effort.hidden)
    count = 400 if effort.seconds else 20
    effort = replace(effort, rounds=min(effort.rounds, 5))
    rows = []
    for members in (1, 3):
        works: dict[str, Callable[[], object]] = {
            "online": learner(config, members, count),
            "floor": floor(config, members, count),
        }
        if members == 3 and importlib.util.find_spec("stable_baselines3"):
            works["peer"] = peer(effort.hidden, count)
        seconds = interleaved(works, effort, once=True)
        found = ratio(seconds, "online", "floor")
        what = f"steps of D3G online, {ENV}, M={members}"
        rows.append(Row(what, "its matrix products and bare steps", **found, reach=1.3))
    against = "TD3 of Stable-Baselines3 at the same widths and batch"
    what = f"speed of D3G online a member, {ENV}, M=3"
    if "peer" not in works:
        return [*rows, Row(what, against, None, note="stable-baselines3 is not installed")]
    seconds["member"] = seconds["online"] / 3
    return [*rows, Row(what, against, **ratio(seconds, "peer", "member"), reach=2.0, at_least=True)]


def learner(config: D3GOnlineConfig, members: int, count: int) -> Callable[[], object]:
    """A call of it makes ``members`` anew, and takes ``count`` steps of learning; a short evaluation is in it."""
    settings = OnlineConfig(steps=START + count, start=START, eval_every=count, episodes=1)
    return partial(
        learn_online,
        ENV,
        algorithm=D3GOnline,
        config=config,
        online=settings,
        seeds=range(members),
        device="cpu",
        progress=False,
    )


def floor(config: D3GOnlineConfig, members: int, count: int) -> Callable[[], object]:
    """The products of as many updates, and as many steps of each member's environment."""
    products = Floor(d3g_online_passes(config, S, A), members, config.batch_size, config.hidden)
    steps, env = collect(ENV, policy="random", steps=members * count), make_env(ENV)

    def work() -> None:
        for _ in range(count // config.predictor_every):
            products.steps(config.predictor_every)
        step_bare(env, *steps)

    return work


def peer(hidden: int, count: int) -> Callable[[], object]:
    """A call of it is ``count`` more steps of TD3."""
    from stable_baselines3 import TD3
    from stable_baselines3.common.noise import NormalActionNoise

    model: Any = TD3(
        "MlpPolicy",
        ENV,
        learning_starts=START,
        batch_size=256,
        train_freq=1,
        gradient_steps=1,
        policy_kwargs={"net_arch": [hidden, hidden]},
        action_noise=NormalActionNoise(np.zeros(A), np.full(A, 0.1)),
        seed=0,
        device="cpu",
    )
    model.learn(START + 10)
    return partial(model.learn, count, reset_num_timesteps=False)
