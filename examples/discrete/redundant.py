"""CartPole with each action repeated 1, 10 or 100 times and the numbers permuted, as ``redundant:CartPole10-v0``.

What is learned without actions does not see the difference; only I(s, s') has to be learned again:

    d3g-lfo train cart.h5 -o run
    d3g-lfo interact run --env redundant:CartPole100-v0
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

TIMES = (1, 10, 100)


class Redundant(gym.ActionWrapper[Any, Any, Any]):
    """Each action of a ``Discrete`` space under several numbers.

    Args:
        env: the environment.
        times: numbers for each action.
        seed: of the permutation.
    """

    def __init__(self, env: gym.Env[Any, Any], times: int, seed: int = 0) -> None:
        super().__init__(env)
        space: Any = env.action_space
        self.action_space = gym.spaces.Discrete(times * space.n)
        self.meaning = np.random.default_rng(seed).permutation(np.repeat(np.arange(space.n), times))

    def action(self, action: Any) -> Any:
        """The action that a number stands for."""
        return self.meaning[action]


def make(times: int, **kwargs: Any) -> gym.Env[Any, Any]:
    """CartPole-v1 with redundant actions."""
    return Redundant(gym.make("CartPole-v1", disable_env_checker=True, **kwargs), times)


for number in TIMES:
    gym.register(f"CartPole{number}-v0", make, kwargs={"times": number})
