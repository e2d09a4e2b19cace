"""The loop that steps environments. Collecting, interacting, evaluating and filming use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lfo.envs.make import Env, observation_length

__all__ = ["Act", "Step", "rollout", "starts"]

Act = Callable[[np.ndarray, list[int]], np.ndarray]
"""(observations [E, S] float32, the numbers of the n running environments) → their actions [n, A], inside the bounds.

Ignore the rows of environments that are not running. The array is reused for the next step.
"""


class Step(NamedTuple):
    """One step of every running environment. The arrays are reused: copy what you keep."""

    running: list[int]
    """[n] the environments that were stepped."""
    next_observations: np.ndarray
    """[E, S] float32; the row of a running environment is what its step led to, never a reset's observation."""
    rewards: np.ndarray
    """[E] float64"""
    terminated: np.ndarray
    """[E] bool, the world ended; false where an environment is not running."""
    truncated: np.ndarray
    """[E] bool, the time limit was reached; false where an environment is not running."""


def starts(seed: int, stream: int, episodes: int) -> np.ndarray:
    """The seeds [E] uint32 that a member's episodes are reset with, a function of (``seed``, ``stream``, e)."""
    return np.random.SeedSequence([seed, stream]).generate_state(episodes)


def rollout(
    envs: Sequence[Env],
    act: Act,
    seeds: Sequence[int],
    quotas: Sequence[int],
    *,
    episodes: bool = False,
) -> Iterator[Step]:
    """Step environments side by side, each for as many steps as its quota.

    Args:
        envs: E environments.
        act: chooses the actions of the running ones.
        seeds: [E] of their first reset.
        quotas: [E] steps of each at most.
        episodes: stop each environment at the end of its episode. Otherwise it is reset and continues.

    Yields:
        Each step, until no environment is running.
    """
    count = len(envs)
    observations = np.empty((count, observation_length(envs[0])), dtype=np.float32)
    for i, (env, seed) in enumerate(zip(envs, seeds, strict=True)):
        observations[i] = env.reset(seed=int(seed))[0]
    next_observations = np.zeros_like(observations)
    rewards, terminated, truncated = np.zeros(count), np.zeros(count, bool), np.zeros(count, bool)
    steps, left = [env.step for env in envs], list(quotas)
    running = [i for i in range(count) if left[i] > 0]
    until = min((left[i] for i in running), default=0)  # before that, only the end of an episode stops one
    t = 0
    while running:
        actions = act(observations, running)
        ended = False
        for i, action in zip(running, actions, strict=True):
            next_observations[i], rewards[i], over, cut, _ = steps[i](action)
            if over or cut:
                terminated[i], truncated[i], ended = over, cut, True
        yield Step(running, next_observations, rewards, terminated, truncated)
        t += 1
        rows = slice(None) if len(running) == count else running
        observations[rows] = next_observations[rows]
        if ended:
            over_now = {i for i in running if terminated[i] or truncated[i]}
            terminated[:], truncated[:] = False, False
            if episodes:
                running = [i for i in running if i not in over_now]
            else:
                for i in sorted(over_now):
                    observations[i] = envs[i].reset()[0]
        if t >= until or (ended and episodes):
            running = [i for i in running if left[i] > t]
            until = min((left[i] for i in running), default=0)
