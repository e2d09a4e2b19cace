"""Learning online, with actions: every member acts in an environment of its own, and learns a step for each step of it.

Edwards et al. 2020, §5.3, and TD3 (Fujimoto et al. 2018): uniform random actions at the start, then the policy with
noise N(0, 0.1 a_max), clipped, and one gradient step on the replay buffer for each environment step.

Differences
-----------
- The stretch between two evaluations is a round. It starts from a fresh reset, and its draws are functions of (seed,
  round): a killed run repeats the round it was in and nothing else.
- Each member has starts of its own in the evaluations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lfo.acting.rounds import Arrays, Round, Stage, begin, draws, stage_record
from lfo.algorithms.inverse import InverseConfig
from lfo.algorithms.protocol import Agent, Config
from lfo.datasets import LfoError, Metadata, Transitions
from lfo.datasets import save as save_data
from lfo.datasets.collect import collect
from lfo.envs.faults import close_all
from lfo.envs.make import EnvLike, with_kwargs
from lfo.nn.scaling import Units
from lfo.runs.folder import RunFolder
from lfo.runs.hardware import pick_device, require_memory
from lfo.runs.loading import attach_inverse
from lfo.runs.record import Member, check_same_run, describe
from lfo.settings import Count, NonNegative
from lfo.training.loggers import logged
from lfo.training.loop import LOG_EVERY, keep_freed_memory
from lfo.training.metrics import MetricsLog
from lfo.training.progress import Progress, as_progress
from lfo.training.seeding import seeded
from lfo.training.sources import ReplayBuffer

__all__ = ["OnlineConfig", "learn_online"]

_START, _LEARN = 11, 12  # streams of a member's seed


@dataclass(frozen=True)
class OnlineConfig:
    """Settings of online learning; the number in brackets is the published one where it differs.

    Attributes:
        steps: environment steps of each member, those at the start included [1,000,000].
        start: the first of them, with uniform random actions and without learning.
        eval_every: steps from one evaluation to the next. A killed run loses at most so many.
        episodes: episodes of each evaluation.
        noise: standard deviation of the exploration noise, in units of a_max.
    """

    steps: Count = 100_000
    start: Count = 10_000
    eval_every: Count = 5_000
    episodes: Count = 10
    noise: NonNegative = 0.1

    def __post_init__(self) -> None:
        """Refuse a run that ends before it learns."""
        if self.steps <= self.start:
            raise LfoError(
                f"steps: expected more than the {self.start:,} random steps at the start, found {self.steps:,}; "
                "pass more steps, or a smaller start"
            )

    @property
    def rounds(self) -> int:
        """Evaluations; the last one is at ``steps`` or up to ``eval_every`` − 1 steps later."""
        return max(1, math.ceil((self.steps - self.start) / self.eval_every))


def learn_online(
    env: EnvLike,
    *,
    env_kwargs: Mapping[str, Any] | None = None,
    algorithm: type[Any],
    config: Config,
    online: OnlineConfig,
    seeds: Sequence[int],
    device: str = "auto",
    out: RunFolder | None = None,
    resume: bool = False,
    command: str | None = None,
    progress: Progress | bool | None = True,
    log: Sequence[str] = (),
    record: str | Path | None = None,
    keep_actions: bool = False,
    on_round: Callable[[Round], object] = lambda round_: None,
) -> Agent:
    """Train all members at once, each in an environment of its own.

    Args:
        env: an id, an environment or a function that makes one, see :func:`lfo.envs.make.make_env`.
        env_kwargs: arguments that the environment is made with, where ``env`` is an id or a function.
        algorithm: a class that learns online, such as :class:`~lfo.algorithms.d3g_online.D3GOnline`.
        config: its settings.
        online: see :class:`OnlineConfig`.
        seeds: one member each.
        device: ``auto``, ``cpu`` or ``cuda``.
        out: the run folder to keep interactions, evaluations and checkpoints in; None keeps nothing.
        resume: continue after the last evaluation in ``out``.
        command: the command line, for the record.
        progress: told of every step; True shows a bar, False nothing.
        log: loggers to write losses and returns to as well; needs ``out``.
        record: a data set to write all steps of all members to at the end; needs ``out``.
        keep_actions: whether that holds the actions, too.
        on_round: called after each evaluation.

    Raises:
        LfoError: the environment cannot be used or misbehaves, the folder holds another run, every member diverged,
            or another process is writing to the run.
        KeyboardInterrupt: after Ctrl-C; the rounds that are finished are kept.
    """
    env = with_kwargs(env, env_kwargs)
    shown = as_progress(progress)
    with ExitStack() as stack:
        if progress is True:
            stack.callback(shown.close)
        stack.enter_context(nullcontext() if out is None else out.claim("online"))
        starts = [_start(env, seed, online.start) for seed in seeds]
        pooled = _pooled([data for data, _ in starts], online.start)
        require_memory(config, len(seeds), pooled.state_dim, where="settings")
        units = Units.of([data for data, _ in starts], range(len(seeds)), standardise=config.standardise)
        agent: Agent = algorithm(config, units.to(pick_device(device)), list(seeds))
        rounds = _rounds(config, online)
        space, stage = stage_record(agent, env, rounds, shown)
        attach_inverse(agent, rounds, space)
        info = describe(agent, [pooled], [Member(seed) for seed in seeds], online.steps, command)
        info |= {"interact": stage, "online": asdict(online)}
        done = 0
        if out is not None and resume:
            check_same_run(out, info)
            state = out.load_checkpoint(agent.units.device) if out.checkpoint_path.is_file() else {}
            done = begin(agent, out, state, stage, resume=True)
            info = {**out.info(), "steps": online.steps, "online": asdict(online)}
        if out is not None:
            out.write_info(info)
        agent.record = info
        learning = _Online(agent, rounds, env, stage, space, None, out, shown, starts)
        stack.callback(close_all, learning.envs)
        stack.enter_context(logged(shown, log, out))
        learning.run_all(done, on_round)
        if record is not None and out is not None:
            _save_steps(out, starts, Path(record), pooled.metadata, keep_actions=keep_actions)
        return agent


def _rounds(config: Any, online: OnlineConfig) -> InverseConfig:
    """The rounds of the run: a gradient step for each environment step."""
    return InverseConfig(
        rounds=online.rounds,
        interactions=online.eval_every,
        grad_steps=online.eval_every,
        episodes=online.episodes,
        noise=online.noise,
        hidden=config.hidden,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
    )


def _start(env: EnvLike, seed: int, steps: int) -> tuple[Transitions, np.ndarray]:
    """The random steps of a member at the start, and their actions [steps, A]."""
    return collect(env, policy="random", steps=steps, seed=int(draws(seed, _START).integers(2**31)))


def _pooled(starts: Sequence[Transitions], steps: int) -> Transitions:
    """The random steps of all members, for the record."""
    metadata = replace(starts[0].metadata, source=f"{steps:,} random steps of each seed", seed=None)
    arrays = (
        np.concatenate([getattr(data, name) for data in starts])
        for name in ("states", "next_states", "rewards", "terminated", "truncated")
    )
    states, next_states, rewards, terminated, truncated = arrays
    return Transitions(states, next_states, rewards, terminated, truncated, metadata=metadata)


@dataclass
class _Online(Stage):
    """Rounds in which each environment step is followed by a gradient step."""

    starts: Sequence[tuple[Transitions, np.ndarray]]

    def __post_init__(self) -> None:
        """Fill the buffer with the random steps at the start."""
        super().__post_init__()
        first = len(self.starts[0][0])
        self.buffer = ReplayBuffer(self.agent.units, self.space.size, first + self.buffer.capacity)
        self._remember(_arrays(self.starts))
        self.metrics = MetricsLog(self.agent.seeds, self.out, resumed_at=self.agent.updates)

    def _work(self, number: int, stop: Callable[[], bool]) -> bool:
        """Act, and learn a step after each; False if interrupted."""
        keep_freed_memory()
        self.generators = [seeded(seed, _LEARN, number) for seed in self.agent.seeds]
        self.names, self.recent = list[str](), list[Tensor]()
        if not self._act(number, stop):
            return False
        self.agent.history = self.metrics.columns()
        return True

    def _stepped(self, new: Arrays, t: int) -> None:
        """Put a step into the buffer, and take a gradient step."""
        agent = self.agent
        self._remember({name: array[:, t : t + 1] for name, array in new.items()})
        index = self.buffer.draw(self.generators, 1, agent.config.batch_size)[0]
        metrics = agent.update(self.buffer.batch(index, agent.units))
        self.names = list(metrics)
        self.recent.append(torch.stack(list(metrics.values())))
        if agent.updates % LOG_EVERY == 0 or t == self.config.interactions - 1:
            self._check(torch.stack(self.recent))
            self.recent = []

    def _check(self, recent: Tensor) -> None:
        """Stop members that diverged, and write a row of metrics; ``recent`` is [steps, K, M]."""
        self._tell_stopped(self.divergence.check(self.names, recent, self.agent.updates - len(recent)))
        self.divergence.require_members()
        metrics = dict(zip(self.names, recent.mean(dim=0).tolist(), strict=True))
        self.inverse_loss = metrics.get("inverse_loss", [math.nan] * len(self.agent.seeds))
        self._log(self.agent.updates, metrics)
        self.progress.show({name: float(np.nanmean(values)) for name, values in metrics.items()})


def _arrays(starts: Sequence[tuple[Transitions, np.ndarray]]) -> Arrays:
    """The random steps of each member as a round's arrays [M, n, ·]."""
    names = {
        "observations": "states",
        "next_observations": "next_states",
        "rewards": "rewards",
        "terminals": "terminated",
        "timeouts": "truncated",
    }
    arrays = {name: np.stack([getattr(data, field) for data, _ in starts]) for name, field in names.items()}
    return {**arrays, "actions": np.stack([actions for _, actions in starts])}


def _save_steps(
    out: RunFolder,
    starts: Sequence[tuple[Transitions, np.ndarray]],
    path: Path,
    metadata: Metadata,
    *,
    keep_actions: bool,
) -> None:
    """Write every step of every member to a data set, one member after the other."""
    first, rounds = _arrays(starts), out.interactions()
    joined = {name: np.concatenate([first[name], rounds[name]], axis=1) for name in first}
    start, every = len(starts[0][0]), out.info()["online"]["eval_every"]
    joined["timeouts"][:, start + every - 1 :: every] = True  # a round starts from a reset
    joined["timeouts"] &= ~joined["terminals"].astype(bool)
    flat = {name: array.reshape(-1, *array.shape[2:]) for name, array in joined.items()}
    data = Transitions(
        flat["observations"],
        flat["next_observations"],
        flat["rewards"],
        flat["terminals"],
        flat["timeouts"],
        metadata=replace(
            metadata, source=f"replay buffer of {out.path.name}", policy=str(out.path.name), random_frac=None
        ),
    )
    try:
        save_data(data, path, actions=flat["actions"] if keep_actions else None, overwrite=True)
    except LfoError as error:
        raise LfoError(f"{error}; the run itself is finished") from error
