"""Measuring a portrait, and saving it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfo.acting.rounds import require_fit
from lfo.algorithms import registry
from lfo.atomic import atomic_file
from lfo.envs.make import EnvLike, make_envs, name_of, observation_length
from lfo.envs.rollout import rollout, starts
from lfo.envs.spaces import ActionSpace
from lfo.errors import LfoError
from lfo.reporting.figures import TITLE, save_figure
from lfo.reporting.numbers import number
from lfo.reporting.portraits import dimensions, pendulum, reacher
from lfo.reporting.portraits.pieces import Arrays, Learned, Scene
from lfo.runs.folder import RunFolder
from lfo.runs.loading import load_agent
from lfo.runs.scores import read_rounds, stopped_members

EPISODES = 4
"""Real trajectories, and imagined ones of each kind."""
STEPS = 200
"""Steps that are imagined, and that are kept of a real trajectory."""
SCENES: dict[str, Scene] = {"InvertedPendulum": pendulum.SCENE, "Reacher": reacher.SCENE}
"""By environment, without module and version."""


def portrait(run: RunFolder, env: EnvLike, member: int = 0) -> Arrays:
    """Measure what one member of a run learned. Takes seconds.

    The starts are those of :func:`lfo.envs.rollout.starts` for seed and stream 0.

    Args:
        run: trained, with an inverse dynamics, by an algorithm whose ``Spec.portrait`` is set.
        env: the environment to act in, see :func:`lfo.envs.make.make_env`.
        member: its index.

    Returns:
        ``env`` [] text; ``dimensions`` [S] names and units of the states, [0] if the data has none; ``member``,
        ``seed`` [] int64; ``returns`` [E] float64 and ``lengths`` [E] int64 of the whole real episodes; ``real``,
        ``cycle``, ``aim`` [E, T + 1, S] float32, the real trajectories and those imagined by C(s, τ(s)) and by the aim,
        in raw units, NaN after a real one's end. An environment with a plane adds ``plane_x`` [X], ``plane_y`` [Y] and
        ``plane_q`` [Y, X], NaN where there is no state. InvertedPendulum adds ``density`` [Y, X] int64, the number of
        the data's states nearest to each point, if the data can be read.

    Raises:
        LfoError: the algorithm has no portrait, there is no such member, the run has no inverse dynamics yet, or the
            environment does not fit.
    """
    agent = load_agent(run, "cpu")
    if not registry.spec(agent.name).portrait:
        fitting = " or ".join(name for name in registry.known() if registry.spec(name).portrait)
        raise LfoError(
            f"{run.path}: algo: expected one with a portrait, found {agent.name}; pass a run of {fitting}"
        )
    if not 0 <= member < len(agent.seeds):
        raise LfoError(
            f"{run.path}: member: expected 0 to {len(agent.seeds) - 1}, found {member}; pass one of those"
        )
    if agent.inverse is None:
        raise LfoError(
            f"{run.path}: expected a run that can act, found no inverse dynamics; "
            f"run `d3g-lfo interact {run.path}` first"
        )
    require_fit(agent, env)
    alone: Learned = agent.member(member)
    arrays = _real(alone, env)
    starts = torch.from_numpy(arrays["real"][:, 0])[None]
    steps = arrays["real"].shape[1] - 1
    arrays["cycle"] = _imagined(alone.imagine, starts, steps)
    arrays["aim"] = _imagined(alone.aim, starts, steps)
    scene = SCENES.get(_family(name_of(env)))
    if scene is not None:
        arrays |= scene.plane(alone, arrays, run, member)
    info = run.info()
    names = info["datasets"][info["members"][member]["dataset"]].get("dimensions", [])
    return {
        "env": np.array(name_of(env)),
        "dimensions": np.array(names, dtype=str),
        "member": np.array(member),
        "seed": np.array(agent.seeds[member]),
        **arrays,
    }


def draw(arrays: Arrays, path: str | Path, *, dpi: int = 160) -> Path:
    """Draw a portrait as a PNG, tall and narrow so that it can be read on a phone.

    Args:
        arrays: from :func:`portrait`.
        path: of the file. It appears when it is complete and replaces an older one.
        dpi: dots an inch; most pictures are 5.8 inches wide.
    """
    env, episodes = str(arrays["env"]), len(arrays["returns"])
    scene = SCENES.get(_family(env))
    figure = (dimensions.draw if scene is None else scene.draw)(arrays)
    figure.suptitle(
        f"{env}, seed {int(arrays['seed'])}\nreturn {number(float(arrays['returns'].mean()))} in "
        f"{arrays['lengths'].mean():,.0f} steps, mean of {episodes} episodes",
        fontsize=TITLE,
    )
    return save_figure(figure, Path(path), dpi=dpi)


def save(run: RunFolder, env: EnvLike, member: int | None = None) -> list[Path]:
    """Measure a portrait and write ``portrait.npz`` and ``portrait.png`` into the run's folder.

    Args:
        run: see :func:`portrait`.
        env: the environment to act in, see :func:`lfo.envs.make.make_env`.
        member: by default :func:`typical_member`.

    Returns:
        The paths of the two files.

    Raises:
        LfoError: see :func:`portrait`.
    """
    arrays = portrait(run, env, typical_member(run) if member is None else member)
    path = run.path / "portrait.npz"
    with atomic_file(path) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    return [path, draw(arrays, run.path / "portrait.png")]


def typical_member(run: RunFolder) -> int:
    """The member with the (lower) median score in the last round. Members that diverged are left out; 0 if none is left.

    Raises:
        LfoError: the folder is no run, or its evaluations are damaged.
    """
    rounds, stopped = read_rounds(run), stopped_members(run.info())
    scores = rounds.scores[:, -1] if rounds.scores.size else np.full(len(rounds), np.nan)
    ranked = [
        int(m) for m in np.argsort(scores, kind="stable") if np.isfinite(scores[m]) and m not in stopped
    ]
    return ranked[(len(ranked) - 1) // 2] if ranked else 0


def _family(env_id: str) -> str:
    return env_id.rpartition("-v")[0].rpartition(":")[2] or env_id


def _real(agent: Learned, env: EnvLike) -> Arrays:
    """What the policy does, E episodes to their end; the first T steps are kept."""
    envs = make_envs(env, EPISODES)
    space = ActionSpace.of(envs[0])
    limit = (envs[0].spec.max_episode_steps if envs[0].spec else None) or 1000
    real = np.full((EPISODES, min(STEPS, limit) + 1, observation_length(envs[0])), np.nan, np.float32)
    returns, lengths = np.zeros(EPISODES), np.zeros(EPISODES, np.int64)

    def act(observations: NDArray[np.float32], running: list[int]) -> NDArray[np.float32]:
        if not lengths.any():
            real[:, 0] = observations
        return space.clip(agent.act(torch.from_numpy(observations)[None])[0].numpy()[running])

    seeds = starts(0, 0, EPISODES).tolist()
    for t, step in enumerate(rollout(envs, act, seeds, [limit] * EPISODES, episodes=True), start=1):
        returns[step.running] += step.rewards[step.running]
        lengths[step.running] = t
        if t < real.shape[1]:
            real[step.running, t] = step.next_observations[step.running]
    for made in envs:
        made.close()
    return {"returns": returns, "lengths": lengths, "real": real}


def _imagined(step: Callable[[Tensor], Tensor], starts: Tensor, steps: int) -> NDArray[np.float32]:
    """Iterate a map of states from ``starts`` [1, E, S]: [E, T + 1, S], NaN once it is no longer finite."""
    states = [starts]
    for _ in range(steps):
        states.append(step(states[-1]))
    imagined: NDArray[np.float32] = torch.cat(states).transpose(0, 1).numpy().copy()
    imagined[~np.isfinite(imagined)] = np.nan
    return imagined
