"""The gridworld as the Gymnasium environment ``lfo/GridWorld-v0``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from lfo.tabular.grid import CAP, coordinates, make_grid, step

ENV_ID = "lfo/GridWorld-v0"


class GridWorldEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """The 11×11 grid of the published tabular experiments; its arguments are those of :func:`lfo.tabular.make_grid`.

    An observation is (row, column) in cells, float32 [2]. (0, 0) is the top left corner; with ``windy_cliff``
    there is one more row at the bottom, the cliff. There are 4·redundancy actions: 0 is up, 1 down, 2 left,
    3 right, unless they are permuted. Reaching the goal or the cliff terminates an episode; ``gymnasium.make``
    truncates it after 500 steps.

    Raises:
        LfoError: An argument is out of its range.
    """

    def __init__(
        self,
        size: int = 11,
        slip: float = 0.0,
        windy_cliff: bool = False,
        redundancy: int = 1,
        permutation: Sequence[int] = (0, 1, 2, 3),
    ) -> None:
        """Build the grid; see the class."""
        self.grid = make_grid(
            size, slip=slip, windy_cliff=windy_cliff, redundancy=redundancy, permutation=permutation
        )
        self.state = self.grid.start
        highest = np.array([len(self.grid.moves) // size - 1, size - 1], dtype=np.float32)
        self.observation_space = spaces.Box(np.zeros(2, dtype=np.float32), highest, dtype=np.float32)
        self.action_space = spaces.Discrete(len(self.grid.direction))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Back to the start."""
        super().reset(seed=seed, options=options)
        self.state = self.grid.start
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Act once; see :func:`lfo.tabular.grid.step`."""
        self.state, reward, terminated = step(self.grid, self.state, int(action), self.np_random)
        return self._observation(), float(reward), bool(terminated), False, {}

    def _observation(self) -> NDArray[np.float32]:
        return coordinates(self.grid, np.asarray(self.state))


def register() -> None:
    """Register ``lfo/GridWorld-v0`` with Gymnasium. Importing ``lfo.tabular`` does this."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(ENV_ID, entry_point="lfo.tabular.env:GridWorldEnv", max_episode_steps=CAP)
