"""InvertedPendulum with other actions for the same motions: redundant ones, and those of a rewired motor.

``inputs:TenInputs-v0``: ten inputs, and the cart is pushed by their mean.
``inputs:Rewired-v0``: the same, each input with another sign and weight.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box

INPUTS = 10
SIGNS = np.where(np.arange(INPUTS) % 3 == 0, -1.0, 1.0)
REWIRED = SIGNS * np.linspace(0.5, 1.5, INPUTS)


class Inputs(gym.ActionWrapper[Any, Any, Any]):
    """An environment with one input, pushed by a weighted mean of ten in the same range.

    Args:
        env: with one action.
        weights: [10] of the inputs; the mean of their sizes is 1.
    """

    def __init__(self, env: gym.Env[Any, Any], weights: np.ndarray) -> None:
        super().__init__(env)
        box = env.action_space
        assert isinstance(box, Box)
        self.weights = weights
        self.action_space = Box(np.repeat(box.low, INPUTS), np.repeat(box.high, INPUTS), dtype=np.float32)

    def action(self, action: np.ndarray) -> np.ndarray:
        """The push [1]."""
        return np.array([self.weights @ action / INPUTS], np.float32)


def make(weights: np.ndarray, **kwargs: Any) -> gym.Env[Any, Any]:
    """InvertedPendulum, pushed by ten inputs."""
    return Inputs(gym.make("InvertedPendulum-v5", **kwargs).unwrapped, weights)


for name, weights in (("TenInputs-v0", np.ones(INPUTS)), ("Rewired-v0", REWIRED)):
    gym.register(
        name, entry_point=make, kwargs={"weights": weights}, max_episode_steps=1000, reward_threshold=950.0
    )
