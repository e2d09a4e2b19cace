"""The inverse stage: learn I(s, s') from rounds of interaction, and with it the policy.

Each round (Edwards et al. 2020, §3.3): every member takes ``interactions`` steps in an environment of its own
with its current policy plus noise N(0, 0.1 a_max), clipped; I is fitted to all of that member's interactions so
far; BCO also refits its policy; then the members are evaluated. Environment steps are the budget: each is kept.

Differences
-----------
- The evaluation follows the round instead of preceding it, so that the last score is that of the final policy;
  its interactions are the rounds so far.
- A round starts from a fresh reset, and its draws are functions of (seed, round): a killed run repeats the round
  it was in and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lfo.acting.evaluation import Evaluation, evaluate_policy
from lfo.algorithms.inverse import Inverse, InverseConfig, make_inverse
from lfo.algorithms.registry import Agent
from lfo.datasets import LfoError
from lfo.envs.make import Env, action_bounds, make_env, make_envs, require_state_dim
from lfo.runs.folder import RunFolder
from lfo.training.divergence import Divergence
from lfo.training.interrupts import interruptible
from lfo.training.loop import BLOCK, checkpoint, run_steps
from lfo.training.progress import Progress
from lfo.training.seeding import seeded
from lfo.training.sources import Table

__all__ = ["Interactions", "Round", "act", "evaluate", "fit_inverse", "learn_inverse", "require_fit"]

_NOISE, _FIT, _RESET = 1, 2, 3  # streams of a member's seed; 0 is offline training's


@dataclass(frozen=True)
class Round:
    """What one round came to."""

    number: int
    """1, 2, …"""
    interactions: int
    """Environment steps of each member so far."""
    evaluation: Evaluation


@dataclass
class Interactions:
    """Every environment step of every member, raw; the arrays are [M, n, ·] on the device."""

    states: Tensor
    next_states: Tensor
    actions: Tensor

    def __len__(self) -> int:
        """Steps of each member, n."""
        return int(self.states.shape[1])

    def extend(self, more: Interactions) -> Interactions:
        """These, then ``more``."""
        pairs = [(getattr(self, name), getattr(more, name)) for name in ("states", "next_states", "actions")]
        return Interactions(*(torch.cat(pair, dim=1) for pair in pairs))


def learn_inverse(
    agent: Agent,
    env_id: str,
    *,
    config: InverseConfig | None = None,
    demonstrations: Table | None = None,
    out: RunFolder | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    on_round: Callable[[Round], object] = lambda round_: None,
    **settings: Any,
) -> list[Round]:
    """Learn I(s, s') by acting, for all members at once; the agent can act afterwards.

    Args:
        agent: trained members.
        env_id: where to act.
        config: see :class:`~lfo.algorithms.inverse.InverseConfig`.
        demonstrations: the data the agent was trained on; needed by an algorithm that learns from I (BCO).
        out: the run folder to keep interactions, evaluations and checkpoints in; None keeps nothing.
        resume: go on after the last round in ``out``; ``rounds`` counts those already done.
        progress: told of every environment and gradient step.
        on_round: called with each finished round.
        **settings: fields of the config to change, such as ``rounds=5``.

    Returns:
        The rounds run by this call, in order.

    Raises:
        LfoError: the environment does not fit the agent, or I diverged.
        KeyboardInterrupt: after Ctrl-C; finished rounds are kept.
    """
    config = InverseConfig(**{**asdict(config or InverseConfig()), **settings})
    progress = progress or Progress()
    probe = make_env(env_id)
    try:
        require_state_dim(probe, agent.units.mean.shape[-1], of="the run")
        low, high = action_bounds(probe)
    finally:
        probe.close()
    if demonstrations is None and not agent.learns_offline:
        raise LfoError(f"{agent.name} imitates its data: pass the data set as demonstrations")
    device = agent.units.mean.device
    state: dict[str, Any] = {}
    if out is not None:
        state = out.load_checkpoint(device)
    if agent.inverse is None or not resume:
        agent.attach(make_inverse(agent, config, low, high))
    done, interactions = 0, None
    if out is not None and resume and "inverse" in state:
        _check_same_stage(out, state["inverse"], config, env_id)
        agent.load_state_dict(state["agent"])
        done = int(state["inverse"]["rounds_done"])
        interactions = _read_interactions(out, done * config.interactions, device) if done else None
    elif out is not None and "inverse" in state:
        _forget_stage(out, agent, config, env_id, state)
    if out is not None:
        out.write_info({**out.info(), "interact": {"env": env_id, "config": asdict(config)}})
    stage = _Stage(agent, config, env_id, demonstrations, out, progress, state.get("stopped"), interactions)
    stage.drop_rows_after(done)
    rounds: list[Round] = []
    with interruptible() as stop:
        for number in range(done + 1, config.rounds + 1):
            round_ = stage.run(number, stop)
            if round_ is None:
                break
            rounds.append(round_)
            on_round(round_)
    return rounds


def fit_inverse(
    inverse: Inverse,
    rows: Tensor,
    steps: int,
    generators: Sequence[torch.Generator],
    *,
    on_step: Callable[[], object] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Tensor | None:
    """Gradient steps of I on minibatches of its interactions, drawn uniformly.

    Args:
        inverse: the members.
        rows: [M, n, 2 S + A], [state | delta | action] in the learner's units, a row an interaction.
        steps: gradient steps.
        generators: one a member; its draws decide that member's minibatches.
        on_step: called after each step, for a progress bar.
        should_stop: asked before each step.

    Returns:
        The losses [M] of the last step, or None if ``should_stop`` said so.
    """
    members, count, width = rows.shape
    size, batch_size = inverse.size, inverse.config.batch_size
    flat, first = rows.reshape(-1, width), count * torch.arange(members)[:, None]
    losses = None
    for start in range(0, steps, BLOCK):
        shape = (min(BLOCK, steps - start), batch_size)
        drawn = torch.stack([torch.randint(count, shape, generator=g) for g in generators], dim=1)
        for index in (drawn + first).flatten(1).to(flat.device):
            if should_stop():
                return None
            batch = flat.index_select(0, index).view(members, batch_size, width)
            states, deltas, actions = torch.split(batch, [size, size, width - 2 * size], dim=-1)
            losses = inverse.update(states, deltas, actions)
            on_step()
    return losses


def evaluate(
    agent: Agent,
    env_id: str,
    *,
    episodes: int = 10,
    seed: int = 0,
    envs: Sequence[Env] | None = None,
    on_episodes: Callable[[int], object] | None = None,
) -> Evaluation:
    """Measure every member of an agent, without exploration noise.

    Args:
        agent: members that can act (see :func:`learn_inverse`).
        env_id: a Gymnasium id.
        episodes: whole episodes of each member.
        seed: of the starts, together with each member's own seed: agents of any algorithm that have the same
            seeds face the same starts, the members of one agent different ones.
        envs: environments to use again, see :func:`~lfo.acting.evaluation.evaluate_policy`.
        on_episodes: called with the number of episodes that just finished.

    Raises:
        LfoError: the environment is unknown, or its observations or actions do not fit the agent.
    """
    if envs is None:
        require_fit(agent, env_id)
    return evaluate_policy(
        lambda observations: act(agent, observations),
        env_id,
        members=len(agent.seeds),
        episodes=episodes,
        seed=seed,
        streams=agent.seeds,
        state_dim=agent.units.mean.shape[-1],
        envs=envs,
        progress=on_episodes,
    )


def require_fit(agent: Agent, env_id: str) -> None:
    """Check that an environment's observations, and its actions once they are learned, are the agent's.

    Raises:
        LfoError: naming both lengths.
    """
    env = make_env(env_id)
    try:
        require_state_dim(env, agent.units.mean.shape[-1], of="the run")
        found = len(action_bounds(env)[0])
    finally:
        env.close()
    if agent.inverse is not None and found != len(agent.inverse.action_mid):
        raise LfoError(
            f"environment {env_id}: expected actions of length {len(agent.inverse.action_mid)}, as the run has "
            f"learned, found {found}; use the environment that it has interacted with"
        )


def act(agent: Agent, observations: np.ndarray) -> np.ndarray:
    """Actions [M, B, A] of observations [M, B, S], from numpy to numpy."""
    states = torch.from_numpy(np.ascontiguousarray(observations, dtype=np.float32))
    actions: np.ndarray = agent.act(states.to(agent.units.mean.device)).cpu().numpy()
    return actions


class _Stage:
    """The inverse stage in progress: what passes from one round to the next."""

    def __init__(
        self,
        agent: Agent,
        config: InverseConfig,
        env_id: str,
        demonstrations: Table | None,
        out: RunFolder | None,
        progress: Progress,
        stopped: dict[int, str] | None,
        interactions: Interactions | None,
    ) -> None:
        self.agent, self.config, self.env_id = agent, config, env_id
        self.demonstrations, self.out, self.progress = demonstrations, out, progress
        self.divergence, self.stopped = Divergence(agent), dict(stopped or {})
        self.interactions = interactions
        self.envs = make_envs(env_id, len(agent.seeds) * config.episodes)
        self.rows: list[dict[str, Any]] = []

    def drop_rows_after(self, round_number: int) -> None:
        """Start ``evaluations.csv`` with the rounds that the checkpoint knows."""
        if self.out is not None:
            kept = [row for row in self.out.rows("evaluations.csv") if int(row["round"]) <= round_number]
            self.rows = [dict(row) for row in kept]

    def run(self, number: int, stop: Callable[[], bool]) -> Round | None:
        """One round: act, fit, evaluate, keep. None if it was interrupted."""
        config = self.config
        self.progress.start("act", config.interactions, round=number)
        new = self._interact(number, stop)
        if new is None:
            return None
        self.interactions = new if self.interactions is None else self.interactions.extend(new)
        self.progress.start("fit I", config.grad_steps, round=number)
        if not self._fit(number, self.interactions, stop):
            return None
        if not self.agent.learns_offline and not self._imitate(number, stop):
            return None
        evaluation = evaluate(
            self.agent, self.env_id, episodes=config.episodes, seed=10_000 + number, envs=self.envs
        )
        self._save(number, evaluation)
        return Round(number, len(self.interactions), evaluation)

    @torch.no_grad()
    def _interact(self, number: int, stop: Callable[[], bool]) -> Interactions | None:
        """``interactions`` steps of each member with its current policy and noise."""
        agent, config = self.agent, self.config
        members, steps = len(agent.seeds), config.interactions
        envs = self.envs[:members]
        low, high = action_bounds(envs[0])
        sigma = config.noise * (high - low) / 2
        resets = [int(_draws(seed, _RESET, number).integers(2**31)) for seed in agent.seeds]
        noise = np.stack(
            [_draws(seed, _NOISE, number).normal(size=(steps, len(low))) for seed in agent.seeds], axis=1
        )
        size = agent.units.mean.shape[-1]
        states = np.empty((members, steps, size), np.float32)
        next_states = np.empty_like(states)
        actions = np.empty((members, steps, len(low)), np.float32)
        observations = np.stack([env.reset(seed=r)[0] for env, r in zip(envs, resets, strict=True)])
        for t in range(steps):
            if stop():
                return None
            states[:, t] = observations
            chosen = act(agent, observations[:, None])[:, 0]
            actions[:, t] = np.clip(chosen + sigma * noise[t], low, high)
            for m, env in enumerate(envs):
                observation, _, terminated, truncated, _ = env.step(actions[m, t])
                next_states[m, t] = observation
                observations[m] = env.reset()[0] if terminated or truncated else observation
            self.progress.step()
        device = agent.units.mean.device
        return Interactions(*(torch.from_numpy(a).to(device) for a in (states, next_states, actions)))

    def _fit(self, number: int, seen: Interactions, stop: Callable[[], bool]) -> bool:
        """``grad_steps`` steps of I on everything seen so far; False if interrupted."""
        agent, config = self.agent, self.config
        inverse = agent.inverse
        assert inverse is not None
        states = agent.units.states(seen.states)
        deltas = agent.units.deltas(seen.states, seen.next_states)
        rows = torch.cat([states, deltas, seen.actions], dim=-1)
        generators = [seeded(seed, _FIT, number) for seed in agent.seeds]
        losses = fit_inverse(
            inverse, rows, config.grad_steps, generators, on_step=self.progress.step, should_stop=stop
        )
        if losses is None:
            return False
        self._check(["inverse_loss"], losses[None, None], number)
        return True

    def _imitate(self, number: int, stop: Callable[[], bool]) -> bool:
        """BCO's own steps, on the demonstrations; False if interrupted."""
        assert self.demonstrations is not None
        target = number * self.config.grad_steps
        self.progress.start("learn", self.config.grad_steps, round=number)
        run_steps(
            self.agent,
            self.demonstrations,
            target,
            divergence=self.divergence,
            on_step=self.progress.step,
            should_stop=stop,
        )
        return bool(self.agent.updates >= target)

    def _check(self, names: Sequence[str], history: Tensor, number: int) -> None:
        for member in self.divergence.check(names, history, self.config.grad_steps * number - 1):
            self.progress.note(
                f"seed {self.agent.seeds[member]} stopped: {self.divergence.stopped[member]} of the inverse "
                "stage; its last good state is kept"
            )

    def _save(self, number: int, evaluation: Evaluation) -> None:
        """Keep the round on disk, the checkpoint last: it is what says that the round is done."""
        if self.out is None:
            return
        assert self.interactions is not None
        datasets = [member["dataset"] for member in self.out.info()["members"]]
        spent = len(self.interactions)
        for m, seed in enumerate(self.agent.seeds):
            for episode in range(evaluation.returns.shape[1]):
                self.rows.append(
                    {
                        "member": m,
                        "seed": seed,
                        "dataset": datasets[m],
                        "round": number,
                        "interactions": spent,
                        "episode": episode,
                        "return": float(evaluation.returns[m, episode]),
                        "length": int(evaluation.lengths[m, episode]),
                    }
                )
        arrays = {
            name: getattr(self.interactions, field).cpu().numpy()
            for name, field in (
                ("observations", "states"),
                ("next_observations", "next_states"),
                ("actions", "actions"),
            )
        }
        self.out.write_interactions(arrays, {"env": self.env_id, "rounds": number, "interactions": spent})
        self.out.write_rows("evaluations.csv", self.rows)
        stage = {"rounds_done": number, "env": self.env_id, "config": asdict(self.config)}
        stopped = {**self.stopped, **self.divergence.stopped}
        self.out.save_checkpoint(checkpoint(self.agent, stopped=stopped, inverse=stage))


def _draws(seed: int, *stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, *stream])


def _check_same_stage(out: RunFolder, saved: dict[str, Any], config: InverseConfig, env_id: str) -> None:
    """Rounds may be added; everything else must be as it was."""
    wanted = {"env": env_id, **asdict(config)}
    found = {"env": saved["env"], **saved["config"]}
    for key, value in found.items():
        if key not in ("rounds", "episodes") and wanted[key] != value:
            raise LfoError(
                f"{out.path}: --resume: {key}: expected {value} as the stage was started, found {wanted[key]}; "
                "pass that, or start the stage again with --overwrite"
            )


def _forget_stage(
    out: RunFolder, agent: Agent, config: InverseConfig, env_id: str, state: dict[str, Any]
) -> None:
    """Put a stage without rounds in the place of the old one, so that no ``resume`` goes back to that."""
    stage = {"rounds_done": 0, "env": env_id, "config": asdict(config)}
    out.save_checkpoint(checkpoint(agent, stopped=state.get("stopped"), inverse=stage))
    out.write_rows("evaluations.csv", [])
    (out.path / "interactions.h5").unlink(missing_ok=True)


def _read_interactions(out: RunFolder, count: int, device: torch.device) -> Interactions:
    arrays = out.interactions()
    names = ("observations", "next_observations", "actions")
    if any(name not in arrays or arrays[name].shape[1] < count for name in names):
        raise LfoError(
            f"{out.path / 'interactions.h5'}: expected {count} interactions of each member, found fewer; "
            "start the stage again with --overwrite"
        )
    return Interactions(*(torch.from_numpy(arrays[name][:, :count]).to(device) for name in names))
