"""Measuring policies: a fixed number of whole episodes, from fixed starts, all members at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lfo.envs.make import Env, action_bounds, make_env, make_envs, observation_length, require_state_dim
from lfo.errors import LfoError

__all__ = ["Act", "Evaluation", "evaluate_policy", "starts"]

Act = Callable[[np.ndarray], np.ndarray]
"""Observations [M, E, S] float32 of M members in E environments each → actions [M, E, A]."""

MAX_ENVS = 512
"""So many environments at once at most (or M, if that is more); more episodes are run in turns."""
NO_LIMIT_STEPS = 10_000
"""Steps after which an episode is cut where neither the environment nor the caller has a limit."""


@dataclass(frozen=True)
class Evaluation:
    """The returns of M members over E episodes each."""

    env_id: str
    returns: np.ndarray
    """[M, E] float64, undiscounted sums of rewards."""
    lengths: np.ndarray
    """[M, E] int64, in environment steps."""
    threshold: float | None = None
    """The return from which the environment calls itself solved, where it says so."""

    @property
    def mean(self) -> float:
        """Mean return over all episodes of all members."""
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        """Standard deviation of the return over all episodes of all members."""
        return float(self.returns.std())

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
        """The fraction of episodes whose return reaches ``threshold``; None where there is no threshold."""
        return None if self.threshold is None else float((self.returns >= self.threshold).mean())

    def __str__(self) -> str:
        """The line that says it all."""
        members, episodes = self.returns.shape
        solved = "" if self.success_rate is None else f", {self.success_rate:.0%} ≥ {self.threshold:g}"
        return f"{self.env_id}: {self.mean:.2f} ± {self.std:.2f} ({members} × {episodes} episodes{solved})"


def starts(seed: int, stream: int, episodes: int) -> np.ndarray:
    """The seeds [E] uint32 that a member's episodes are reset with, a function of (``seed``, ``stream``, e)."""
    return np.random.SeedSequence([seed, stream]).generate_state(episodes)


def evaluate_policy(
    act: Act,
    env_id: str,
    *,
    members: int = 1,
    episodes: int = 10,
    seed: int = 0,
    streams: Sequence[int] | None = None,
    state_dim: int | None = None,
    max_steps: int | None = None,
    envs: Sequence[Env] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Run ``episodes`` episodes of each member, stepping all of them together.

    Every (member, episode) has its own environment, which runs exactly one episode: short episodes are not
    over-counted, as they are where M·E results are taken from fewer environments as they come. Every member
    has starts of its own (:func:`starts`): were they shared, so would be their luck, and the spread over
    members would not show it. A finished environment is stepped no more, nor are actions computed for it: the
    batch is as wide as the member with the most running episodes needs.

    Args:
        act: all members' actions in one call, [M, E, S] float32 → [M, E, A], from observations alone: which
            episode a row belongs to changes, as does E, while episodes finish; a member with fewer running
            ones than another has rows that stand for nothing. Actions are clipped to the action space.
        env_id: a Gymnasium id.
        members: M.
        episodes: E, per member.
        seed: of the starts.
        streams: [M], what a member's starts are drawn with besides ``seed``: two policies with the same
            stream face the same. By default 0, 1, …
        state_dim: the length S that the members take, checked against the environment's.
        max_steps: cut episodes here. By default the environment's own limit, or 10,000 where it has none.
        envs: environments of ``env_id`` to use, as from :func:`lfo.envs.make.make_envs`, so that repeated
            evaluations need not make them anew; as many as fit M are used at a time, at least M.
        progress: called with the number of episodes that just finished.

    Raises:
        LfoError: the environment is unknown or not supported, its observations do not have length
            ``state_dim``, or a member's action is not finite.
    """
    if members < 1 or episodes < 1:
        raise ValueError(f"expected at least one member and one episode, found {members} and {episodes}")
    own = envs is None
    if envs is None:
        envs = [make_env(env_id)]
    try:
        if state_dim is not None:
            require_state_dim(envs[0], state_dim, of="the policy")
        if own:
            envs = [*envs, *make_envs(env_id, members * min(episodes, max(1, MAX_ENVS // members)) - 1)]
        resets = np.stack([starts(seed, stream, episodes) for stream in streams or range(members)])
        return _in_turns(act, envs, resets, max_steps, progress)
    finally:
        if own:
            for env in envs:
                env.close()


def _in_turns(
    act: Act,
    envs: Sequence[Env],
    resets: np.ndarray,
    max_steps: int | None,
    progress: Callable[[int], object] | None,
) -> Evaluation:
    members, episodes = resets.shape
    at_once = len(envs) // members
    if at_once < 1:
        raise ValueError(f"expected at least {members} environments, one for each member, found {len(envs)}")
    spec = envs[0].spec
    limit = max_steps or (spec.max_episode_steps if spec else None) or NO_LIMIT_STEPS
    returns = np.zeros((members, episodes))
    lengths = np.zeros((members, episodes), dtype=np.int64)
    for first in range(0, episodes, at_once):
        turn = slice(first, min(first + at_once, episodes))
        used = envs[: members * (turn.stop - turn.start)]
        returns[:, turn], lengths[:, turn] = _run(act, used, resets[:, turn], limit, progress)
    return Evaluation(spec.id if spec else "", returns, lengths, spec.reward_threshold if spec else None)


def _run(
    act: Act,
    envs: Sequence[Env],
    resets: np.ndarray,
    limit: int,
    progress: Callable[[int], object] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """One episode in each environment, reset with ``resets`` [M, E]; the result is [M, E] returns and lengths."""
    low, high = action_bounds(envs[0])
    observations = np.empty((len(envs), observation_length(envs[0])), dtype=np.float32)
    for i, (env, reset) in enumerate(zip(envs, resets.flat, strict=True)):
        observations[i] = env.reset(seed=int(reset))[0]
    members, episodes = resets.shape
    running = [list(range(m * episodes, (m + 1) * episodes)) for m in range(members)]
    slots, alive = _slots(running, episodes)
    returns, lengths = [0.0] * len(envs), [limit] * len(envs)
    steps = [env.step for env in envs]
    for t in range(1, limit + 1):
        actions = np.clip(_checked(act(observations[slots]), (*slots.shape, low.size), t), low, high)
        rows = actions.reshape(-1, low.size)
        finished = t == limit
        for i, row in alive:
            observations[i], reward, terminated, truncated, _ = steps[i](rows[row])
            returns[i] += float(reward)
            if terminated or truncated:
                lengths[i] = t
                finished = True
        if finished:
            before = len(alive)
            running = [[i for i in own if lengths[i] > t] for own in running]
            slots, alive = _slots(running, episodes)
            if progress is not None:
                progress(before - len(alive))
        if not alive:
            break
    return np.reshape(returns, resets.shape), np.reshape(lengths, resets.shape)


def _slots(running: list[list[int]], episodes: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Where the running environments' observations go in a batch.

    Returns:
        The environment in each place of the batch, [M, E]; and for each running environment its number and
        its place, counted through. Places that are left over show the member's first environment.
    """
    width = max(map(len, running))
    padded = [own + [m * episodes] * (width - len(own)) for m, own in enumerate(running)]
    slots = np.array(padded, dtype=np.intp).reshape(len(running), width)
    places = [(i, m * width + e) for m, own in enumerate(running) for e, i in enumerate(own)]
    return slots, places


def _checked(actions: np.ndarray, shape: tuple[int, ...], step: int) -> np.ndarray:
    actions = np.asarray(actions, dtype=np.float32)
    if actions.shape != shape:
        raise ValueError(f"expected actions {shape}, found {actions.shape}")
    if not np.isfinite(actions).all():
        bad = np.flatnonzero(~np.isfinite(actions).all(axis=(1, 2))).tolist()
        raise LfoError(
            f"evaluation: expected finite actions, found NaN or inf from member {bad} at step {step}; "
            "its training has diverged: train it again or leave its seed out"
        )
    return actions
