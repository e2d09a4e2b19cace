"""The loop that steps environments. Collecting, interacting, evaluating and filming use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, NoReturn

import numpy as np

from lfo.envs.faults import blamed, check_step, is_number, refuse, reset
from lfo.envs.make import Env, observation_length
from lfo.envs.spaces import ActionSpace

Act = Callable[[np.ndarray, list[int]], np.ndarray]
"""(observations [E, S] float32, the numbers of the n running environments) → their actions [n, A], inside the bounds.

Ignore the rows of environments that are not running. The array is reused for the next step.
"""


_PLAIN = {float, int, np.float64, np.float32}


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

    Raises:
        EnvironmentFault: an environment raises an error, or returns something else than five values, an observation
            of another length, or a number that is not finite.
    """
    world = _World(envs)
    for i, seed in zip(range(len(envs)), seeds, strict=True):
        world.observations[i] = reset(envs[i], seed=int(seed))
    left = list(quotas)
    running = [i for i in range(len(envs)) if left[i] > 0]
    until = min((left[i] for i in running), default=0)  # before that, only the end of an episode stops one
    while running:
        ended = world.step(running, act(world.observations, running))
        yield Step(running, world.next_observations, world.rewards, world.terminated, world.truncated)
        over_now = world.take_over(running, ended)
        if episodes:
            running = [i for i in running if i not in over_now] if over_now else running
        else:
            for i in sorted(over_now):
                world.observations[i] = reset(envs[i], f"reset after step {world.steps}")
        if world.steps >= until or (ended and episodes):
            running = [i for i in running if left[i] > world.steps]
            until = min((left[i] for i in running), default=0)


class _World:
    """E environments, where they are, and what their last step returned."""

    def __init__(self, envs: Sequence[Env]) -> None:
        self.envs = envs
        self.steps = 0
        self.length = observation_length(envs[0])
        self.observations = np.empty((len(envs), self.length), dtype=np.float32)
        self.next_observations = np.zeros_like(self.observations)
        self.rewards = np.zeros(len(envs))
        self.terminated, self.truncated = np.zeros(len(envs), bool), np.zeros(len(envs), bool)
        self._step = [env.step for env in envs]
        self._to_env = ActionSpace.of(envs[0]).to_env
        self._finite = [
            (array, np.empty(array.shape, bool)) for array in (self.next_observations, self.rewards)
        ]
        self._all = [np.ones(array.shape, bool).tobytes() for array, _ in self._finite]

    def step(self, running: list[int], actions: np.ndarray) -> bool:
        """Step the running environments; whether an episode ended."""
        next_observations, rewards, length = self.next_observations, self.rewards, self.length
        ended, result, i = False, None, 0
        try:
            for i, action in zip(running, self._to_env(actions), strict=True):
                result = self._step[i](action)
                next_observation, reward, over, cut, _ = result
                if len(next_observation) != length or (type(reward) not in _PLAIN and not is_number(reward)):
                    raise TypeError
                next_observations[i], rewards[i] = next_observation, reward
                if over or cut:
                    self.terminated[i], self.truncated[i], ended = over, cut, True
        except Exception as error:
            self._explain(i, result, error)
        self.steps += 1
        for (array, finite), fine in zip(self._finite, self._all, strict=True):
            if np.isfinite(array, finite).tobytes() != fine:
                self._refuse_non_finite(array, finite)
        return ended

    def take_over(self, running: list[int], ended: bool) -> set[int]:
        """Make the next observations the current ones; the environments whose episode ended."""
        rows = slice(None) if len(running) == len(self.envs) else running
        self.observations[rows] = self.next_observations[rows]
        if not ended:
            return set()
        over_now = {i for i in running if self.terminated[i] or self.truncated[i]}
        self.terminated[:], self.truncated[:] = False, False
        return over_now

    def _explain(self, i: int, result: object, error: Exception) -> NoReturn:
        env, call = self.envs[i], f"step {self.steps + 1}"
        inside = error.__traceback__ is not None and error.__traceback__.tb_next is not None
        if not inside:  # the loop's own lines failed on what the environment returned
            check_step(env, call, result)
        with blamed(env, call):
            raise error

    def _refuse_non_finite(self, array: np.ndarray, finite: np.ndarray) -> NoReturn:
        place = np.argwhere(~finite)[0].tolist()
        what = "reward" if array is self.rewards else f"observation, dimension {place[1]}"
        refuse(
            self.envs[place[0]],
            f"step {self.steps}",
            f"expected a finite {what}, found {array[tuple(place)]}, so the simulation is unstable under these actions "
            "or its code is wrong",
        )
