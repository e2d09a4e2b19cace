"""``d4rl:NAME``, a file in the d4rl package's download folder; and D4RL's reference scores.

The package itself is not needed, and nothing is downloaded. File names are those of its ``d4rl/infos.py``.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from lfo.datasets import hdf5
from lfo.datasets.columns import Columns
from lfo.errors import LfoError

REF_SCORES: dict[str, tuple[float, float]] = {
    "halfcheetah": (-280.178953, 12135.0),
    "hopper": (-20.272305, 3234.3),
    "walker2d": (1.629008, 4592.3),
    "ant": (-325.6, 3879.7),
    "antmaze": (0.0, 1.0),
    "maze2d-open": (0.01, 20.66),
    "maze2d-umaze": (23.85, 161.86),
    "maze2d-medium": (13.13, 277.39),
    "maze2d-large": (6.7, 273.99),
    "maze2d-open-dense": (11.17817, 27.166538620695782),
    "maze2d-umaze-dense": (68.537689, 193.66285642381482),
    "maze2d-medium-dense": (44.264742, 297.4552547777125),
    "maze2d-large-dense": (30.569041, 303.4857382709002),
    "pen": (96.262799, 3076.8331017826877),
    "hammer": (-274.856578, 12794.134825156867),
    "relocate": (-6.425911, 4233.877797728884),
    "door": (-56.512833, 2880.5693087298737),
    "kitchen": (0.0, 4.0),
}
"""Task to the mean returns of a random policy and of an expert: D4RL's table (J. Fu et al.,
"D4RL: Datasets for Deep Data-Driven Reinforcement Learning", arXiv:2004.07219; ``REF_MIN_SCORE`` and
``REF_MAX_SCORE`` in Farama-Foundation/D4RL ``d4rl/infos.py``)."""

_ANTMAZE = {
    "umaze": "u-maze_noisy_multistart_False_multigoal_False",
    "umaze-diverse": "u-maze_noisy_multistart_True_multigoal_True",
    "medium-play": "big-maze_noisy_multistart_True_multigoal_False",
    "medium-diverse": "big-maze_noisy_multistart_True_multigoal_True",
    "large-play": "hardest-maze_noisy_multistart_True_multigoal_False",
    "large-diverse": "hardest-maze_noisy_multistart_True_multigoal_True",
}
_LEVELS = ("random", "medium", "expert", "medium-replay", "full-replay", "medium-expert")

FILES: dict[str, str] = {
    **{
        f"{env}-{level}-{version}": f"{env}_{level.replace('-', '_')}-{version}.hdf5"
        for env in ("halfcheetah", "hopper", "walker2d", "ant")
        for level in _LEVELS
        for version in ("v1", "v2")
    },
    **{
        f"{env}-{level}-v0": f"{env}_{level.replace('-', '_')}.hdf5"
        for env in ("halfcheetah", "hopper", "walker2d", "ant")
        for level in ("random", "medium", "expert", "medium-expert")
    },
    "halfcheetah-medium-replay-v0": "halfcheetah_mixed.hdf5",
    "hopper-medium-replay-v0": "hopper_mixed.hdf5",
    "walker2d-medium-replay-v0": "walker_mixed.hdf5",
    "ant-medium-replay-v0": "ant_mixed.hdf5",
    **{
        f"antmaze-{maze}-{version}": f"Ant_maze_{file}_sparse{end}.hdf5"
        for maze, file in _ANTMAZE.items()
        for version, end in (("v0", ""), ("v2", "_fixed"))
    },
    "maze2d-open-v0": "maze2d-open-sparse.hdf5",
    "maze2d-open-dense-v0": "maze2d-open-dense.hdf5",
    **{
        f"maze2d-{maze}{kind}-v1": f"maze2d-{maze}{kind or '-sparse'}-v1.hdf5"
        for maze in ("umaze", "medium", "large")
        for kind in ("", "-dense")
    },
    **{
        f"{hand}-{level}-v1": f"{hand}-{level}-v1.hdf5"
        for hand in ("pen", "hammer", "relocate", "door")
        for level in ("human", "cloned", "expert")
    },
    **{
        f"{hand}-{level}-v0": file.format(hand)
        for hand in ("pen", "hammer", "relocate", "door")
        for level, file in (
            ("human", "{}-v0_demos_clipped.hdf5"),
            ("cloned", "{}-demos-v0-bc-combined.hdf5"),
            ("expert", "{}-v0_expert_clipped.hdf5"),
        )
    },
    "kitchen-complete-v0": "mini_kitchen_microwave_kettle_light_slider-v0.hdf5",
    "kitchen-partial-v0": "kitchen_microwave_kettle_light_slider-v0.hdf5",
    "kitchen-mixed-v0": "kitchen_microwave_kettle_bottomburner_light-v0.hdf5",
}
"""Name of a data set to the name of its file."""


def read(source: str, with_actions: bool = False) -> Columns:
    """The columns of the D4RL data set named ``source``, such as ``hopper-medium-v2``.

    Raises:
        LfoError: D4RL has no such name, or the file is missing or cannot be read.
    """
    path = _file(source)
    columns = hdf5.read(str(path), with_actions)
    columns.metadata = replace(columns.metadata, source=f"d4rl:{source}")
    return columns


def reference_scores(name: str) -> tuple[float, float] | None:
    """Returns of (random policy, expert) for a name such as ``hopper-medium-v2``; None if D4RL has none."""
    tasks = [task for task in REF_SCORES if name.startswith(f"{task}-")]
    return REF_SCORES[max(tasks, key=len)] if tasks else None


@overload
def normalized_return(name: str, returns: float) -> float: ...
@overload
def normalized_return(name: str, returns: NDArray[np.floating]) -> NDArray[np.floating]: ...
def normalized_return(name: str, returns: float | NDArray[np.floating]) -> float | NDArray[np.floating]:
    """D4RL's score, ``100 * (R - R_random) / (R_expert - R_random)``: 0 is random, 100 is an expert.

    Args:
        name: D4RL's name of the data set, such as ``hopper-medium-v2``.
        returns: undiscounted episode returns, or their mean.

    Raises:
        LfoError: D4RL has no reference scores for the name.
    """
    scores = reference_scores(name)
    if scores is None:
        raise LfoError(
            f"d4rl:{name}: reference scores: expected a task of D4RL ({', '.join(REF_SCORES)}), "
            f"found {name}; compare raw returns instead"
        )
    low, high = scores
    return 100 * (returns - low) / (high - low)


def name_of(source: str) -> str | None:
    """The NAME of ``d4rl:NAME``, or of a file that is named as D4RL names it; None for other sources."""
    if source.startswith("d4rl:"):
        return source.removeprefix("d4rl:")
    return next((name for name, file in FILES.items() if file == Path(source).name), None)


def _file(name: str) -> Path:
    folder = Path(os.environ.get("D4RL_DATASET_DIR", Path.home() / ".d4rl" / "datasets"))
    if name not in FILES:
        raise LfoError(
            f"d4rl:{name}: name: expected a name of D4RL's such as hopper-medium-v2, found {name!r}; check the "
            "spelling, or give the path of the file instead"
        )
    path = folder / FILES[name]
    if not path.is_file():
        raise LfoError(
            f"d4rl:{name}: file: expected the file {path}, found nothing there; download it with the d4rl package, or "
            "set D4RL_DATASET_DIR to the folder that it is in"
        )
    return path
