"""Measuring policies: a fixed number of whole episodes, from fixed starts, all members at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lfo.envs.faults import close_all
from lfo.envs.make import Env, EnvLike, id_of, make_envs, name_of, require_state_dim
from lfo.envs.rollout import rollout, starts
from lfo.envs.spaces import ActionSpace
from lfo.errors import LfoError
from lfo.processes import require_memory

Act = Callable[[np.ndarray], np.ndarray]
"""Observations [M, E, S] float32 of M members in E environments each → actions [M, E, A]."""

MAX_ENVS = 512
"""Environments at once, at most (or M, if that is more). Further episodes run in turns."""
NO_LIMIT_STEPS = 10_000
"""Steps after which an episode is cut if neither the environment nor the caller sets a limit."""


@dataclass(frozen=True)
class Evaluation:
    """The returns of M members over E episodes each.

    Members that have diverged are measured, but count in no mean.
    """

    env_id: str
    returns: np.ndarray
    """[M, E] float64, undiscounted sums of rewards."""
    lengths: np.ndarray
    """[M, E] int64, in environment steps."""
    threshold: float | None = None
    """The return from which the environment counts as solved; None if it has none."""
    stopped: Mapping[int, str] = field(default_factory=dict)
    """Members that have diverged, and why."""
    cut: int = 0
    """Episodes cut after 10,000 steps, because neither the environment nor the caller sets a limit."""

    @property
    def counted(self) -> np.ndarray:
        """[m, E] the returns of the members that have not diverged."""
        return self.returns[[m for m in range(len(self.returns)) if m not in self.stopped]]

    @property
    def mean(self) -> float:
        """Mean return over all episodes of the members that count."""
        return float(self.counted.mean())

    @property
    def std(self) -> float:
        """Standard deviation of the return over all episodes of the members that count."""
        return float(self.counted.std())

    @property
    def member_means(self) -> np.ndarray:
        """[M] mean return of each member over its episodes."""
        return np.asarray(self.returns.mean(axis=1))

    @property
    def member_stds(self) -> np.ndarray:
        """[M] standard deviation of each member's return over its episodes."""
        return np.asarray(self.returns.std(axis=1))

    @property
    def success_rate(self) -> float | None:
        """The fraction of counted episodes whose return reaches ``threshold``; None where there is no threshold."""
        return None if self.threshold is None else float((self.counted >= self.threshold).mean())

    def rows(self, seeds: Sequence[int], datasets: Sequence[int], **more: Any) -> list[dict[str, Any]]:
        """A row for each episode of each member; the columns ``more`` stand before the episode's."""
        return [
            {
                "member": m,
                "seed": seed,
                "dataset": datasets[m],
                **more,
                "episode": episode,
                "return": float(self.returns[m, episode]),
                "length": int(self.lengths[m, episode]),
            }
            for m, seed in enumerate(seeds)
            for episode in range(self.returns.shape[1])
        ]

    def __str__(self) -> str:
        """The result in one line."""
        members, episodes = self.counted.shape
        solved = "" if self.success_rate is None else f", {self.success_rate:.0%} ≥ {self.threshold:g}"
        lost = f", {len(self.stopped)} diverged and not counted" if self.stopped else ""
        return (
            f"{self.env_id}: {self.mean:.2f} ± {self.std:.2f} ({members} × {episodes} episodes{solved}{lost})"
        )


def evaluate_policy(
    act: Act,
    env: EnvLike,
    *,
    members: int = 1,
    episodes: int = 10,
    seed: int = 0,
    streams: Sequence[int] | None = None,
    state_dim: int | None = None,
    max_steps: int | None = None,
    envs: Sequence[Env] | None = None,
    stopped: Mapping[int, str] | None = None,
    progress: Callable[[int], object] = lambda episodes: None,
) -> Evaluation:
    """Run ``episodes`` episodes of each member, stepping all of them together.

    Every (member, episode) has its own environment, which runs exactly one episode: short episodes are not
    over-counted. Every member has starts of its own (:func:`lfo.envs.rollout.starts`), so that the spread over members
    includes the luck of the starts. Once an environment has finished, no more actions are computed for it.

    Args:
        act: all members' actions in one call, [M, E, S] float32 → [M, E, A], from observations alone: which
            episode a row belongs to changes, as does E, while episodes finish. A member with fewer running
            episodes than another has rows that are ignored. Actions are clipped to the action space.
        env: an id, an environment or a function that makes one, see :func:`lfo.envs.make.make_env`. An object is
            used as it is for one member, one episode after the other, and copied for more.
        members: M.
        episodes: E, per member.
        seed: of the starts.
        streams: [M], what a member's starts are drawn with besides ``seed``: two policies with the same
            stream face the same. By default 0, 1, …
        state_dim: the length S that the members take, checked against the environment's.
        max_steps: cut episodes here. By default the environment's own limit, or 10,000 where it has none.
        envs: environments of ``env`` to use, as from :func:`lfo.envs.make.make_envs`, so that repeated
            evaluations need not make them anew; as many as fit M are used at a time, at least M.
        stopped: members that have diverged, and why.
        progress: called with the number of episodes that just finished.

    Raises:
        LfoError: the environment is unknown or not supported, its observations do not have length
            ``state_dim``, or a member's action is not finite.
    """
    if members < 1 or episodes < 1:
        raise ValueError(f"expected at least one member and one episode, found {members} and {episodes}")
    own = envs is None
    if envs is None:
        envs = evaluation_envs(env, members, episodes)
    try:
        if state_dim is not None:
            require_state_dim(envs[0], state_dim, of="the policy")
        resets = np.stack([starts(seed, stream, episodes) for stream in streams or range(members)])
        spec = envs[0].spec
        limit = max_steps or (spec.max_episode_steps if spec else None)
        returns, lengths, ended = _in_turns(act, envs, resets, limit or NO_LIMIT_STEPS, progress)
        return Evaluation(
            spec.id if spec else id_of(env) or name_of(envs[0]),
            returns,
            lengths,
            spec.reward_threshold if spec else None,
            dict(stopped or {}),
            int((~ended).sum()) if limit is None else 0,
        )
    finally:
        if own:
            close_all(envs)


def evaluation_envs(env: EnvLike, members: int, episodes: int) -> list[Env]:
    """The environments that an evaluation of so many members and episodes uses at once.

    Raises:
        LfoError: what is measured does not fit into memory, or an environment cannot be made.
    """
    row = 20  # start, return, length
    require_memory(row * members * episodes, f"{episodes:,} episodes", "make them fewer, or use fewer seeds")
    return make_envs(env, members * min(episodes, max(1, MAX_ENVS // members)), least=members)


def _in_turns(
    act: Act, envs: Sequence[Env], resets: np.ndarray, limit: int, progress: Callable[[int], object]
) -> list[np.ndarray]:
    """Returns and lengths, and which episodes ended before the limit, [M, E] each."""
    members, episodes = resets.shape
    at_once = len(envs) // members
    if at_once < 1:
        raise ValueError(f"expected at least {members} environments, one for each member, found {len(envs)}")
    turns = [resets[:, first : first + at_once] for first in range(0, episodes, at_once)]
    done = [_run(act, envs[: turn.size], turn, limit, progress) for turn in turns]
    return [np.concatenate(parts, axis=1) for parts in zip(*done, strict=True)]


def _run(
    act: Act, envs: Sequence[Env], resets: np.ndarray, limit: int, progress: Callable[[int], object]
) -> list[np.ndarray]:
    """One episode in each environment, reset with ``resets`` [M, E]; as :func:`_in_turns`."""
    batch = _Batch(act, resets.shape, ActionSpace.of(envs[0]))
    returns, lengths = np.zeros(len(envs)), np.zeros(len(envs), dtype=np.int64)
    ended = np.zeros(len(envs), dtype=bool)
    alive = len(envs)
    for step in rollout(envs, batch, resets.ravel().tolist(), [limit] * len(envs), episodes=True):
        if len(step.running) < alive:
            progress(alive - len(step.running))
        alive = len(step.running)
        rows = slice(None) if alive == len(envs) else step.running
        returns[rows] += step.rewards[rows]
        lengths[rows] += 1
        ended |= step.terminated | step.truncated
    progress(alive)
    return [array.reshape(resets.shape) for array in (returns, lengths, ended)]


class _Batch:
    """Puts the running environments' observations side by side for all members, and takes the actions apart again.

    The batch is as wide as the member with the most running episodes needs.
    """

    def __init__(self, act: Act, shape: tuple[int, ...], space: ActionSpace) -> None:
        self.act, self.shape, self.space = act, shape, space
        self.running: list[int] = []
        self.steps = 0

    def __call__(self, observations: np.ndarray, running: list[int]) -> np.ndarray:
        """Actions [n, A] of the running environments, inside the bounds."""
        if len(running) != len(self.running):
            self.running = running
            self.slots, self.places = _slots(running, self.shape)
        self.steps += 1
        actions = np.asarray(self.act(observations[self.slots]), dtype=np.float32)
        expected = (*self.slots.shape, self.space.size)
        if actions.shape != expected:
            raise ValueError(f"expected actions {expected}, found {actions.shape}")
        if not np.isfinite(actions).all():
            bad = np.flatnonzero(~np.isfinite(actions).all(axis=(1, 2))).tolist()
            raise LfoError(
                f"evaluation: expected finite actions, found NaN or inf from member {bad} at step {self.steps}; "
                "its training has diverged: train it again or leave its seed out"
            )
        return self.space.clip(actions.reshape(-1, self.space.size)[self.places])


def _slots(running: list[int], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The environment in each place of the batch [M, width], and the place of each running one [n].

    Places that are left over show the member's first environment.
    """
    members, episodes = shape
    each = [[i for i in running if i // episodes == m] for m in range(members)]
    width = max(map(len, each))
    slots = np.array(
        [[*own, *[m * episodes] * (width - len(own))] for m, own in enumerate(each)], dtype=np.intp
    )
    places = np.array([m * width + e for m, own in enumerate(each) for e in range(len(own))], dtype=np.intp)
    return slots, places
