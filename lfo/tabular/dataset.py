"""A random walk on the grid as a data set without actions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from lfo.datasets.transitions import Metadata, Transitions
from lfo.errors import LfoError
from lfo.processes import require_memory
from lfo.tabular.env import ENV_ID
from lfo.tabular.grid import CAP, coordinates, make_grid


def random_walk_dataset(steps: int, seed: int = 0, **variations: Any) -> Transitions:
    """Take uniformly random actions and record the transitions, without the actions.

    Args:
        steps: Transitions to record, over as many episodes as that takes; the last one is cut off.
        seed: Of the walk.
        **variations: Arguments of :func:`~lfo.tabular.grid.make_grid`, noted in the metadata.

    Returns:
        Transitions with states [steps, 2] = (row, column) in cells.

    Raises:
        LfoError: numba is not installed, ``steps`` is not positive, or a variation is out of its range.
    """
    from lfo.tabular.learners import random_walk

    if steps < 1:
        raise LfoError(f"gridworld: steps: expected at least 1, found {steps}; pass 1 or more")
    require_memory(22 * steps, f"{steps:,} steps", "record fewer")
    grid = make_grid(**variations)
    states, next_states, rewards, terminated, truncated = random_walk(
        grid, steps, CAP, np.random.default_rng(seed)
    )
    return Transitions(
        states=coordinates(grid, states),
        next_states=coordinates(grid, next_states),
        rewards=rewards.astype(np.float32),
        terminated=terminated,
        truncated=truncated,
        metadata=Metadata(
            env_id=f"lfo.tabular:{ENV_ID}",  # gymnasium.make imports what is before the colon
            random_frac=1.0,
            policy="random",
            seed=seed,
            attributes={"env_kwargs": json.dumps(variations)},
        ),
    )
