"""The inverse stage: learn I(s, s') from rounds of interaction, and with it the policy.

Each round (Edwards et al. 2020, §3.3): every member takes ``interactions`` steps in an environment of its own
with its current policy plus noise N(0, 0.1 a_max), clipped (the first round of an algorithm that has learned nothing
yet: at random), or, where actions are discrete, a uniform one instead with probability 0.1; I is fitted to all of that
member's interactions so far; an algorithm that learns in rounds then takes its own steps; then the members are
evaluated. Environment steps are the budget: each is kept.

Differences
-----------
- The evaluation follows the round instead of preceding it, so that the last score is that of the final policy;
  its interactions are the rounds so far.
- A round starts from a fresh reset, and its draws are functions of (seed, round): a killed run repeats the round
  it was in and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lfo.acting.evaluation import NO_LIMIT_STEPS, Evaluation, evaluate_policy, evaluation_envs
from lfo.algorithms.inverse import Inverse, InverseConfig
from lfo.algorithms.protocol import Agent
from lfo.datasets import LfoError
from lfo.envs.faults import EnvironmentFault, close_all, opened
from lfo.envs.make import (
    Env,
    EnvLike,
    id_of,
    kwargs_of,
    name_of,
    observation_keys,
    require_state_dim,
    with_kwargs,
)
from lfo.envs.rollout import rollout
from lfo.envs.spaces import ActionSpace
from lfo.processes import require_memory
from lfo.runs.folder import RunFolder
from lfo.runs.loading import attach_inverse, restore
from lfo.settings import configure
from lfo.training.divergence import Divergence
from lfo.training.interrupts import interruptible
from lfo.training.loggers import logged
from lfo.training.loop import BLOCK, run_steps
from lfo.training.metrics import MetricsLog, columns
from lfo.training.progress import Progress, as_progress
from lfo.training.seeding import seeded
from lfo.training.sources import Mixture, ReplayBuffer, Table

_NOISE, _FIT, _RESET, _RANDOM = 1, 2, 3, 4  # streams of a member's seed; 0 is offline training's

Arrays = dict[str, np.ndarray]
"""The interactions of one round, as they are kept on disk: [M, n, ·] each."""


@dataclass(frozen=True)
class Round:
    """The result of one round."""

    number: int
    """1, 2, …"""
    interactions: int
    """Environment steps of each member so far."""
    evaluation: Evaluation


def learn_inverse(
    agent: Agent,
    env: EnvLike,
    *,
    env_kwargs: Mapping[str, Any] | None = None,
    config: InverseConfig | None = None,
    demonstrations: Table | None = None,
    out: RunFolder | None = None,
    resume: bool = False,
    progress: Progress | bool | None = True,
    log: Sequence[str] = (),
    on_round: Callable[[Round], object] = lambda round_: None,
    **settings: Any,
) -> list[Round]:
    """Learn I(s, s') by acting, for all members at once; the agent can act afterwards.

    Args:
        agent: trained members.
        env: where to act: an id, an environment or a function that makes one, see :func:`lfo.envs.make.make_env`. An
            object is used as it is for one member, and copied by its spec for more.
        env_kwargs: arguments that the environment is made with, where ``env`` is an id or a function.
        config: see :class:`~lfo.algorithms.inverse.InverseConfig`.
        demonstrations: the data the agent was trained on; needed by an algorithm that learns in rounds (BCO).
        out: the run folder to keep interactions, evaluations and checkpoints in; None keeps nothing.
        resume: continue after the last round in ``out``; ``rounds`` counts those already done.
        progress: told of every environment and gradient step; True shows a bar, False nothing.
        log: loggers to write returns and losses to as well, such as ``tensorboard``; needs ``out``. See
            :data:`lfo.training.loggers.LOGGERS`.
        on_round: called with each finished round.
        **settings: fields of the config to change, such as ``rounds=5``.

    Returns:
        The rounds run by this call, in order.

    Raises:
        LfoError: the environment does not fit the agent or misbehaves, I diverged, or another process is writing
            to the run.
        KeyboardInterrupt: after Ctrl-C; finished rounds are kept.
    """
    env = with_kwargs(env, env_kwargs)
    config = configure(config or InverseConfig(), settings, where="learn_inverse")
    if demonstrations is None and not (agent.learns_offline or agent.learns_online):
        raise LfoError(
            f"{agent.name} learns from its data in the rounds: pass the data set as demonstrations"
        )
    shown = as_progress(progress)
    with ExitStack() as stack:
        if progress is True:
            stack.callback(shown.close)
        if out is not None:
            stack.enter_context(out.claim("interact"))
        space, stage = stage_record(agent, env, config, shown)
        state = {} if out is None else out.load_checkpoint(agent.units.device)
        if agent.inverse is None or not resume:
            attach_inverse(agent, config, space)
        done = 0 if out is None else begin(agent, out, state, stage, resume=resume)
        agent.record = {**agent.record, "interact": stage}
        rounds = Stage(agent, config, env, stage, space, demonstrations, out, shown)
        stack.callback(close_all, rounds.envs)
        stack.enter_context(logged(shown, log, out))
        return rounds.run_all(done, on_round)


def begin(agent: Agent, out: RunFolder, state: dict[str, Any], stage: dict[str, Any], *, resume: bool) -> int:
    """Write the stage into the record, and go back to the last round or forget those there are; the rounds done."""
    done = int(state["inverse"]["rounds_done"]) if resume and "inverse" in state else 0
    if done:
        _check_same_stage(out, state["inverse"], stage)
    out.write_info({**out.info(), "interact": stage})
    if done:
        restore(agent, out, state)
    elif "inverse" in state:  # a stage without rounds takes the old one's place: no resume goes back to that
        out.save_agent(agent, inverse={**stage, "rounds_done": 0})
        out.write_rows("evaluations.csv", [])
        out.forget_interactions()
    return done


def stage_record(
    agent: Agent, env: EnvLike, config: InverseConfig, progress: Progress
) -> tuple[ActionSpace, dict[str, Any]]:
    """The actions of an environment that fits the agent, and what the run records of the stage."""
    with opened(env) as made:
        require_state_dim(made, agent.units.state_dim, of="the run")
        name, kwargs = id_of(env) or name_of(made), kwargs_of(env, made)
        if not (made.spec and made.spec.max_episode_steps):
            progress.note(
                f"{name} has no time limit: evaluation episodes are cut after {NO_LIMIT_STEPS:,} steps"
            )
        space, keys = ActionSpace.of(made), observation_keys(made)
    stage = {"env": name, "space": space.to_record(), "config": asdict(config)}
    return space, (
        stage | ({"env_kwargs": kwargs} if kwargs else {}) | ({"observation_keys": keys} if keys else {})
    )


def fit_inverse(
    inverse: Inverse,
    buffer: ReplayBuffer,
    steps: int,
    generators: Sequence[torch.Generator],
    *,
    on_step: Callable[[], object] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Tensor | None:
    """Gradient steps of I on minibatches of its interactions, drawn uniformly.

    Args:
        inverse: the members.
        buffer: their interactions.
        steps: gradient steps.
        generators: one a member; its draws decide that member's minibatches.
        on_step: called after each step, for a progress bar.
        should_stop: asked before each step.

    Returns:
        The losses [M] of the last step, or None if ``should_stop`` said so.
    """
    units, losses = inverse.units, None
    for start in range(0, steps, BLOCK):
        for index in buffer.draw(generators, min(BLOCK, steps - start), inverse.config.batch_size):
            if should_stop():
                return None
            losses = inverse.update(buffer.batch(index, units))
            on_step()
    return losses


def evaluate(
    agent: Agent,
    env: EnvLike,
    *,
    env_kwargs: Mapping[str, Any] | None = None,
    episodes: int = 10,
    seed: int = 0,
    max_steps: int | None = None,
    envs: Sequence[Env] | None = None,
    on_episodes: Callable[[int], object] = lambda episodes: None,
) -> Evaluation:
    """Measure every member of an agent, without exploration noise.

    Args:
        agent: members that can act (see :func:`learn_inverse`).
        env: an id, an environment or a function that makes one, see :func:`lfo.envs.make.make_env`.
        env_kwargs: arguments that the environment is made with, where ``env`` is an id or a function.
        episodes: whole episodes of each member.
        seed: of the starts, together with each member's own seed: agents of any algorithm that have the same
            seeds face the same starts, the members of one agent different ones.
        max_steps: cut episodes here; by default at the environment's limit, or after 10,000 steps without one.
        envs: environments to use again, see :func:`~lfo.acting.evaluation.evaluate_policy`.
        on_episodes: called with the number of episodes that just finished.

    Raises:
        LfoError: the environment is unknown, or its observations or actions do not fit the agent.
    """
    env = with_kwargs(env, env_kwargs)
    if envs is None:
        require_fit(agent, env)
    return evaluate_policy(
        lambda observations: act(agent, observations),
        env,
        members=len(agent.seeds),
        episodes=episodes,
        seed=seed,
        streams=agent.seeds,
        state_dim=agent.units.state_dim,
        max_steps=max_steps,
        envs=envs,
        stopped=agent.stopped,
        progress=on_episodes,
    )


def require_fit(agent: Agent, env: EnvLike) -> None:
    """Check that an environment's observations, and its actions once they are learned, are the agent's.

    Raises:
        LfoError: naming both.
    """
    with opened(env) as made:
        require_state_dim(made, agent.units.state_dim, of="the run")
        found = ActionSpace.of(made)
    learned = found if agent.inverse is None else agent.inverse.space
    use = "use the environment that it has interacted with"
    if learned.size != found.size:
        raise LfoError(
            f"environment {name_of(env)}: expected actions of length {learned.size}, as the run has learned, found "
            f"{found.size}; {use}"
        )
    if "discrete" in (learned.kind, found.kind) and not learned.same_as(found):
        raise LfoError(
            f"environment {name_of(env)}: expected actions with {learned}, as the run has learned, found {found}; {use}"
        )


def act(agent: Agent, observations: np.ndarray) -> np.ndarray:
    """Actions [M, B, A] of observations [M, B, S], from numpy to numpy."""
    return numpy_policy(agent, agent.act, observations)


def numpy_policy(agent: Agent, policy: Callable[[Tensor], Tensor], observations: np.ndarray) -> np.ndarray:
    """What ``policy``, such as ``agent.act``, makes of observations, from numpy to numpy."""
    states = torch.from_numpy(np.ascontiguousarray(observations, dtype=np.float32))
    actions: np.ndarray = policy(states.to(agent.units.device)).cpu().numpy()
    return actions


@dataclass
class Stage:
    """The inverse stage in progress: what one round leaves to the next."""

    agent: Agent
    config: InverseConfig
    env: EnvLike
    stage: dict[str, Any]
    space: ActionSpace
    demonstrations: Table | None
    out: RunFolder | None
    progress: Progress

    def __post_init__(self) -> None:
        """Make the buffer and the environments."""
        count, members = self.config.rounds * self.config.interactions, len(self.agent.seeds)
        row = 4 * (2 * self.agent.units.state_dim + self.space.size + 1) + 2
        require_memory(
            members * count * row, f"{count:,} interactions", "make them fewer, or use fewer seeds"
        )
        self.divergence = Divergence(self.agent)
        self.buffer = ReplayBuffer(self.agent.units, self.space.size, count)
        self.envs = evaluation_envs(self.env, members, self.config.episodes)
        self.latest: Arrays = {}
        self.inverse_loss: list[float] = []
        self.rows: list[dict[str, Any]] = []
        kept = None if self.agent.learns_offline else self.out
        self.metrics = MetricsLog(self.agent.seeds, kept, resumed_at=self.agent.updates)

    def run_all(self, done: int, on_round: Callable[[Round], object]) -> list[Round]:
        """The rounds that are missing after ``done``, which are kept already."""
        finished: list[Round] = []
        if self.out is not None:
            rows = self.out.rows("evaluations.csv")
            self.rows = [dict(row) for row in rows if int(row["round"]) <= done]
        try:
            if self.out is not None and done:
                self._remember(_read_interactions(self.out, done, done * self.config.interactions))
            with interruptible() as stop:
                for number in range(done + 1, self.config.rounds + 1):
                    round_ = self._run(number, stop)
                    if round_ is None:
                        break
                    finished.append(round_)
                    on_round(round_)
        except EnvironmentFault as error:
            kept = done + len(finished)
            if self.out is None or not kept:
                raise
            raise LfoError(f"{error}; continue after round {kept} with --resume") from error
        return finished

    def _run(self, number: int, stop: Callable[[], bool]) -> Round | None:
        """One round: act, fit, learn, evaluate, and write it to disk. None if it was interrupted."""
        if not self._work(number, stop):
            return None
        env = self.stage["env"]
        evaluation = evaluate(
            self.agent, env, episodes=self.config.episodes, seed=10_000 + number, envs=self.envs
        )
        round_ = Round(number, len(self.buffer), evaluation)
        self._record(round_)
        if self.out is not None:  # the checkpoint last: it marks the round as done
            self.out.write_interactions(number, self.latest, {"env": env})
            self.out.write_rows("evaluations.csv", self.rows)
            self.metrics.write()
            self.out.save_agent(self.agent, inverse={**self.stage, "rounds_done": number})
        return round_

    def _work(self, number: int, stop: Callable[[], bool]) -> bool:
        """Everything but the evaluation; False if interrupted."""
        return self._act(number, stop) and self._fit(number, stop) and self._learn(number, stop)

    def _record(self, round_: Round) -> None:
        """Add the episodes of a round to the table of all."""
        members = self.agent.record.get("members")
        datasets = [member["dataset"] for member in members] if members else [0] * len(self.agent.seeds)
        self.rows += round_.evaluation.rows(
            self.agent.seeds, datasets, round=round_.number, interactions=round_.interactions
        )
        self.agent.evaluations = columns(self.rows)
        figures = {"return": round_.evaluation.member_means.tolist(), "inverse_loss": self.inverse_loss}
        self.progress.log("rounds", round_.interactions, figures)

    def _act(self, number: int, stop: Callable[[], bool]) -> bool:
        """``interactions`` steps of each member with its current policy and noise; False if interrupted."""
        agent, space, steps = self.agent, self.space, self.config.interactions
        self.progress.start("act", steps, round=number)
        members = len(agent.seeds)
        resets = [int(draws(seed, _RESET, number).integers(2**31)) for seed in agent.seeds]
        noise = np.stack(
            [space.noise(draws(seed, _NOISE, number), steps, self.config.noise) for seed in agent.seeds]
        )
        new = empty_arrays(members, steps, agent.units.state_dim, space.size)
        at_random = agent.starts_at_random and number == 1
        if at_random:
            new["actions"] = np.stack([space.sample(draws(seed, _RANDOM), steps) for seed in agent.seeds])
        t, totals = 0, np.zeros(members)

        def choose(observations: np.ndarray, running: list[int]) -> np.ndarray:
            new["observations"][:, t] = observations
            if not at_random:
                chosen = numpy_policy(agent, agent.explore, observations[:, None])[:, 0]
                # A member that has just diverged acts somehow until it is found and stopped
                new["actions"][:, t] = space.clip(np.nan_to_num(chosen) + noise[:, t])
            return new["actions"][:, t]

        for step in rollout(self.envs[:members], choose, resets, [steps] * members):
            new["next_observations"][:, t] = step.next_observations
            new["rewards"][:, t] = step.rewards
            new["terminals"][:, t], new["timeouts"][:, t] = step.terminated, step.truncated
            self._stepped(new, t)
            t += 1
            totals += step.rewards
            for m in np.flatnonzero(step.terminated | step.truncated):
                if not at_random:
                    agent.episode_over(int(m), float(totals[m]))
                totals[m] = 0
            self.progress.step()
            if stop():
                return False
        self.latest = new
        return True

    def _stepped(self, new: Arrays, t: int) -> None:
        """Hear of step ``t`` of a round; its interactions are in ``new``."""

    def _remember(self, new: Arrays) -> None:
        """Append interactions to the buffer."""
        names = ("observations", "next_observations", "rewards", "terminals", "timeouts", "actions")
        self.buffer.append(*(torch.from_numpy(new[name]).to(self.agent.units.device) for name in names))

    def _fit(self, number: int, stop: Callable[[], bool]) -> bool:
        """``grad_steps`` steps of I on everything seen so far; False if interrupted."""
        steps = self.config.grad_steps
        self._remember(self.latest)
        self.progress.start("fit I", steps, round=number)
        generators = [seeded(seed, _FIT, number) for seed in self.agent.seeds]
        assert self.agent.inverse is not None
        losses = fit_inverse(
            self.agent.inverse, self.buffer, steps, generators, on_step=self.progress.step, should_stop=stop
        )
        if losses is None:
            return False
        self.inverse_loss = losses.tolist()
        self._tell_stopped(self.divergence.check(["inverse_loss"], losses[None, None], steps * number - 1))
        self.divergence.require_members()
        return True

    def _learn(self, number: int, stop: Callable[[], bool]) -> bool:
        """The steps of an algorithm that learns in rounds; False if interrupted."""
        if self.demonstrations is None or self.agent.learns_offline:
            return True
        target, replay = number * self.config.grad_steps, self.agent.replay
        if replay and number == 1:
            self._compare_rewards(self.demonstrations)
        self.progress.start("learn", self.config.grad_steps, round=number)
        run_steps(
            self.agent,
            Mixture(self.demonstrations, self.buffer, replay) if replay else self.demonstrations,
            target,
            divergence=self.divergence,
            on_log=self._log,
            on_stopped=self._tell_stopped,
            on_step=self.progress.step,
            should_stop=stop,
        )
        self.agent.history = self.metrics.columns()
        return self.agent.updates >= target

    def _compare_rewards(self, demonstrations: Table) -> None:
        """Tell of rewards that cannot be those of the data; both would be learned from."""
        for (low, high), found in zip(
            demonstrations.reward_range.tolist(), self.latest["rewards"], strict=True
        ):
            if found.max() < low or found.min() > high:
                self.progress.note(
                    f"{self.stage['env']} gives rewards from {found.min():.4g} to {found.max():.4g}, the data has "
                    f"{low:.4g} to {high:.4g}: are they the same? If not, train with --set replay=0"
                )
                return

    def _log(self, step: int, metrics: dict[str, list[float]]) -> None:
        self.metrics.row(step, metrics)
        self.progress.log("train", step, metrics)

    def _tell_stopped(self, members: list[int]) -> None:
        for m in members:
            self.progress.note(
                f"seed {self.agent.seeds[m]} stopped: {self.agent.stopped[m]}; its last good state is kept"
            )


def empty_arrays(members: int, steps: int, state_dim: int, action_dim: int) -> Arrays:
    """Room for the interactions of a round."""
    states = np.empty((members, steps, state_dim), np.float32)
    return {
        "observations": states,
        "next_observations": np.empty_like(states),
        "rewards": np.empty((members, steps), np.float32),
        "terminals": np.zeros((members, steps), bool),
        "timeouts": np.zeros((members, steps), bool),
        "actions": np.empty((members, steps, action_dim), np.float32),
    }


def draws(seed: int, *stream: int) -> np.random.Generator:
    """A generator that is a function of a member's seed and of what it is for."""
    return np.random.default_rng([seed, *stream])


def _check_same_stage(out: RunFolder, saved: dict[str, Any], stage: dict[str, Any]) -> None:
    """Refuse settings that differ from those of the stage so far; only ``rounds`` and ``episodes`` may."""
    wanted, found = (
        {"env": one["env"], "env_kwargs": one.get("env_kwargs", {}), **one["config"]}
        for one in (stage, saved)
    )
    for key, value in found.items():
        if key not in ("rounds", "episodes") and wanted[key] != value:
            raise LfoError(
                f"{out.path}: --resume: {key}: expected {value} as the stage was started, found {wanted[key]}; "
                "pass that, or start the stage again with --overwrite"
            )


def _read_interactions(out: RunFolder, rounds: int, count: int) -> Arrays:
    arrays = out.interactions(rounds)
    names = ("observations", "next_observations", "actions")
    if any(name not in arrays or arrays[name].shape[1] < count for name in names):
        raise LfoError(
            f"{out.path}: interactions: expected {count} of each member, found fewer; "
            "start the stage again with --overwrite"
        )
    shape = arrays["actions"].shape[:2]
    zeros = {
        "rewards": np.float32,
        "terminals": bool,
        "timeouts": bool,
    }  # earlier versions did not store these; I does not need them
    arrays = {**{name: np.zeros(shape, kind) for name, kind in zeros.items()}, **arrays}
    return {name: array[:, :count] for name, array in arrays.items()}
