"""Offline training of all members at once, with logs, checkpoints and exact resume.

Random draws are functions of (member's seed, block of steps), so that a resumed run needs no generator state:
it goes on bit for bit from the step its checkpoint names.
"""

from __future__ import annotations

import ctypes
import math
import platform
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from threading import current_thread, main_thread
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lfo.algorithms import ALGORITHMS, Agent, Config
from lfo.datasets import LfoError, Transitions
from lfo.graphs import ReplayedSteps, eager_step
from lfo.machine import machine
from lfo.run import RunFolder
from lfo.units import Table, Units

__all__ = [
    "Divergence",
    "Member",
    "Progress",
    "build",
    "check_same_run",
    "checkpoint",
    "describe",
    "fit",
    "interruptible",
    "pick_device",
    "run_steps",
    "seeded",
    "train",
]

BLOCK = 256
"""Steps whose minibatches are drawn at once."""
LOG_EVERY = 1000
"""Steps a row of metrics averages over; divergence is looked for as often."""
CHECKPOINT_SECONDS = 30.0
"""Least time between two checkpoints; a killed run loses about this much."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # as in glibc's <malloc.h>


class Progress:
    """What a caller may want to be told while it waits; this one keeps silent."""

    def start(self, what: str, total: int, done: int = 0) -> None:
        """A stage begins: ``total`` units of work, ``done`` of them done before."""

    def step(self, count: int = 1) -> None:
        """So much more of the stage is done."""

    def show(self, values: Mapping[str, float]) -> None:
        """The latest figures."""

    def note(self, text: str) -> None:
        """Something the user should read."""


def seeded(seed: int, *stream: int) -> torch.Generator:
    """A CPU generator that is a function of a member's seed and of what it is for."""
    state = np.random.SeedSequence([seed, *stream]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Hold SIGINT and SIGTERM back until the step in hand is done: yields a function that says one has come.

    On leaving the block a held signal is raised as KeyboardInterrupt. A second Ctrl-C is not held back.
    """
    caught: list[int] = []

    def hold(number: int, frame: Any) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    if current_thread() is not main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught:
        raise KeyboardInterrupt


class Divergence:
    """Watches for members whose losses or weights are no longer finite, and puts back their last good state.

    Members never mix, so the others go on unharmed. ``stopped`` maps a member's index to the reason.
    """

    def __init__(self, agent: Agent, stopped: Mapping[int, str] | None = None) -> None:
        self.agent, self.stopped = agent, dict(stopped or {})
        self._good = [tensor.clone() for tensor in self._state()]

    def check(self, names: Sequence[str], history: Tensor, first_step: int) -> list[int]:
        """Look at the metrics [steps, K, M] since ``first_step`` and at the weights; newly stopped members."""
        finite = torch.isfinite(history)
        weights = torch.stack([torch.isfinite(t).flatten(1).all(dim=1) for t in self._state()]).all(dim=0)
        healthy = (finite.all(dim=0).all(dim=0) & weights).tolist()
        new = [m for m, fine in enumerate(healthy) if not fine and m not in self.stopped]
        for member in new:
            self.stopped[member] = self._reason(names, finite[:, :, member], first_step)
        self._keep()
        return new

    def restore(self) -> None:
        """Put the last good state of every stopped member back."""
        # An optimiser has no moments before its first step; they come last, so the parameters still pair up.
        for tensor, good in zip(self._state(), self._good, strict=False):
            for member in self.stopped:
                tensor[member] = good[member]

    def _keep(self) -> None:
        self.restore()
        self._good = [tensor.clone() for tensor in self._state()]

    def _reason(self, names: Sequence[str], finite: Tensor, first_step: int) -> str:
        bad = (~finite).nonzero()
        if len(bad) == 0:
            return f"weights not finite after step {first_step + len(finite)}"
        step, metric = bad[0].tolist()
        return f"{names[metric]} not finite at step {first_step + step + 1}"

    @torch.no_grad()
    def _state(self) -> list[Tensor]:
        """Every tensor that training changes; the first axis of each is the members'."""
        moments = [
            value
            for optimiser in self.agent.optimisers()
            for slots in optimiser.state.values()
            for name, value in slots.items()
            if name != "step"
        ]
        return [parameter.detach() for parameter in self.agent.parameters()] + moments


def run_steps(
    agent: Agent,
    table: Table,
    steps: int,
    *,
    divergence: Divergence,
    history: Tensor | None = None,
    on_log: Callable[[int, dict[str, list[float]], list[int]], None] = lambda step, metrics, stopped: None,
    on_step: Callable[[], object] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Update until ``agent.updates`` is ``steps``, or until ``should_stop`` says so.

    Args:
        agent: the members.
        table: their data.
        steps: gradient steps in all, those already done included.
        divergence: the watch; consulted whenever a row of metrics is complete.
        history: the metrics of an incomplete row, as returned by a call that was stopped.
        on_log: called with the step, each metric's mean over the row [M] and the members newly stopped.
        on_step: called after each step, for a progress bar.
        should_stop: asked before each step.

    Returns:
        The metrics since the last complete row, [steps, K, M].

    Raises:
        LfoError: every member has diverged.
    """
    _keep_freed_memory()
    step = ReplayedSteps(agent, table) if table.rows.is_cuda else eager_step(agent, table)
    rows = [] if history is None else list(history)
    while agent.updates < steps and not should_stop():
        block, offset = divmod(agent.updates, BLOCK)
        generators = [seeded(seed, 0, block) for seed in agent.seeds]
        drawn = table.draw(generators, BLOCK, agent.config.batch_size)
        for index in drawn[offset : offset + steps - agent.updates]:
            names, values = step(index)
            rows.append(values)
            on_step()
            if agent.updates % LOG_EVERY == 0 or agent.updates == steps:
                recent = torch.stack(rows)
                stopped = divergence.check(names, recent, agent.updates - len(rows))
                means = dict(zip(names, recent.mean(dim=0).tolist(), strict=True))
                rows = []
                on_log(agent.updates, means, stopped)
                if len(divergence.stopped) == len(agent.seeds):
                    raise LfoError(f"every member has diverged: {_listed(agent, divergence.stopped)}")
            if should_stop():
                break
    return torch.stack(rows) if rows else torch.empty(0)


def _keep_freed_memory() -> None:
    """Tell glibc to hand freed blocks out again instead of returning them to the system.

    A step allocates the same blocks as the one before, and would fetch their pages anew each time. Other C
    libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # bytes; the greatest that glibc allows
        mallopt(_M_TRIM_THRESHOLD, 256 << 20)


def _listed(agent: Agent, stopped: Mapping[int, str]) -> str:
    return "; ".join(f"seed {agent.seeds[m]}: {why}" for m, why in sorted(stopped.items()))


@dataclass(frozen=True)
class Member:
    """One member of a run: its seed and which of the run's data sets it learns from."""

    seed: int
    dataset: int = 0


def build(
    algo: str,
    config: Config,
    datasets: Sequence[Transitions],
    members: Sequence[Member],
    device: torch.device | str,
) -> tuple[Agent, Table]:
    """An untrained agent and its data on the device.

    Raises:
        LfoError: the data sets' states differ in length, or in every dimension nothing ever changes.
    """
    sizes = sorted({data.state_dim for data in datasets})
    if len(sizes) > 1:
        raise LfoError(
            f"data sets of one run: expected states of one length, found {sizes}; train them apart"
        )
    if any(bool((data.states == data.next_states).all()) for data in datasets):
        raise LfoError(
            "data set: expected states that change, found s' = s in every row; nothing can be learned"
        )
    which = [member.dataset for member in members]
    units = Units.of(datasets, which, standardise=config.standardise)
    table = Table(datasets, which, units, stop_at_timeouts=getattr(config, "stop_at_timeouts", False))
    ranges = torch.tensor([[float(data.rewards.min()), float(data.rewards.max())] for data in datasets])
    algorithm: Any = ALGORITHMS[algo][0]
    agent: Agent = algorithm(config, units, ranges[which], [member.seed for member in members], device)
    return agent, table.to(device)


def train(
    datasets: Sequence[Transitions],
    *,
    algo: str = "d3g",
    config: Config | None = None,
    members: Sequence[Member],
    steps: int,
    device: str = "auto",
    out: RunFolder | None = None,
    resume: bool = False,
    command: str | None = None,
    progress: Progress | None = None,
) -> tuple[Agent, Table]:
    """Fit an algorithm to data sets, all members at once.

    Args:
        datasets: what to learn from.
        algo: a name in :data:`~lfo.algorithms.ALGORITHMS`.
        config: its settings; the defaults if None.
        members: seeds and data sets.
        steps: gradient steps in all.
        device: ``auto``, ``cpu`` or ``cuda``.
        out: the run folder, made by the caller (or, with ``resume``, holding a run); None keeps nothing.
        resume: go on from the checkpoint in ``out``.
        command: the command line, for the record.
        progress: told of every step and every row of metrics.

    Returns:
        The agent, trained (for an algorithm that does not learn offline: prepared), and its data.

    Raises:
        LfoError: every member diverged, or the folder holds another run than the one to resume.
        KeyboardInterrupt: after Ctrl-C, the checkpoint written.
    """
    config = config or ALGORITHMS[algo][1]()
    where = pick_device(device)
    if where.type == "cuda":
        torch.set_float32_matmul_precision("high" if getattr(config, "tf32", False) else "highest")
    agent, table = build(algo, config, datasets, members, where)
    info = describe(algo, config, datasets, members, steps, command, where)
    state: dict[str, Any] = {}
    if out is not None and resume:
        check_same_run(out, info)
        if out.checkpoint_path.is_file():
            state = _unfinished(out, where)
            agent.load_state_dict(state["agent"])
        out.write_info({**out.info(), "steps": steps})
    elif out is not None:
        out.write_info(info)
    if agent.learns_offline:
        _fit(agent, table, steps, out, state, progress or Progress())
    if out is not None:
        out.save_checkpoint(checkpoint(agent))
    return agent, table


def _unfinished(out: RunFolder, device: torch.device) -> dict[str, Any]:
    """The checkpoint of a run whose inverse stage has not begun."""
    state = out.load_checkpoint(device)
    if "inverse" in state:
        raise LfoError(
            f"{out.path}: --resume: expected a run in training, found one whose inverse dynamics are learned "
            f"already; go on with `d3g-lfo interact {out.path} --resume`, or train into another folder"
        )
    return state


def fit(
    algo: str,
    data: Transitions,
    *,
    seeds: Iterable[int] = (0,),
    steps: int = 50_000,
    device: str = "auto",
    progress: Progress | None = None,
    **settings: Any,
) -> Any:
    """Train one member a seed on one data set, keeping nothing on disk. ``D3G.fit`` is this.

    Args:
        algo: a name in :data:`~lfo.algorithms.ALGORITHMS`.
        data: from :func:`lfo.datasets.load`.
        seeds: one member each.
        steps: gradient steps.
        device: ``auto``, ``cpu`` or ``cuda``.
        progress: told of every step.
        **settings: fields of the algorithm's config, such as ``hidden=128``.
    """
    config = ALGORITHMS[algo][1](**settings)
    members = [Member(seed) for seed in seeds]
    agent, _ = train(
        [data], algo=algo, config=config, members=members, steps=steps, device=device, progress=progress
    )
    return agent


def checkpoint(
    agent: Agent, history: Tensor | None = None, stopped: Mapping[int, str] | None = None, **more: Any
) -> dict[str, Any]:
    """What ``checkpoint.pt`` holds of an agent in training."""
    kept = {} if history is None else {"history": history}
    return {"agent": agent.state_dict(), "stopped": dict(stopped or {}), **kept, **more}


def pick_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is a usable GPU, else the CPU.

    Raises:
        LfoError: ``cuda`` is asked for and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise LfoError(f"--device {name}: expected a CUDA GPU, found none; use --device cpu")
    return torch.device(name)


def describe(
    algo: str,
    config: Config,
    datasets: Sequence[Transitions],
    members: Sequence[Member],
    steps: int,
    command: str | None,
    device: torch.device,
) -> dict[str, Any]:
    """What ``run.json`` says: everything needed to run it again, and to know what it was run on."""
    packages = ["d3g-lfo", "torch", "numpy", "gymnasium", "mujoco", "h5py"]
    return {
        "algo": algo,
        "env": next((data.metadata.env_id for data in datasets if data.metadata.env_id), None),
        "state_dim": datasets[0].state_dim,
        "steps": steps,
        "config": asdict(config),
        "members": [asdict(member) for member in members],
        "datasets": [_describe_data(data) for data in datasets],
        "command": command,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "machine": machine(device),
    }


def _describe_data(data: Transitions) -> dict[str, Any]:
    returns = data.episode_returns()
    path = data.metadata.path
    return {
        "source": str(data.metadata.source),
        "path": None if path is None else str(path.resolve()),
        "sha256": data.metadata.sha256,
        "env": data.metadata.env_id,
        "random_frac": data.metadata.random_frac,
        "policy": data.metadata.policy,
        "transitions": len(data),
        "episodes": data.num_episodes,
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
    }


def check_same_run(out: RunFolder, info: Mapping[str, Any]) -> None:
    """Refuse to resume a run as another one.

    Raises:
        LfoError: algorithm, settings, members or data differ from those in ``run.json``.
    """
    found = out.info()
    for key in ("algo", "config", "members"):
        if found[key] != info[key]:
            raise LfoError(
                f"{out.path}: --resume: {key}: expected {_difference(found[key], info[key])} as the run was "
                "started; start it as before, or train into another folder"
            )
    for number, (old, new) in enumerate(zip(found["datasets"], info["datasets"], strict=False)):
        if old["sha256"] != new["sha256"] or old["transitions"] != new["transitions"]:
            raise LfoError(
                f"{out.path}: --resume: data set {number}: expected the file the run was started on "
                f"({old['source']}, SHA-256 {str(old['sha256'])[:12]}…), found {new['source']} "
                f"({str(new['sha256'])[:12]}…); pass the first, or train into another folder"
            )


def _difference(old: Any, new: Any) -> str:
    """What two settings differ in, in words."""
    if isinstance(old, dict) and isinstance(new, dict):
        changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        return ", ".join(f"{key} {old.get(key)} (found {new.get(key)})" for key in changed)
    return f"{old} (found {new})"


def _fit(
    agent: Agent,
    table: Table,
    steps: int,
    out: RunFolder | None,
    state: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Run the steps that are missing, logging and keeping checkpoints."""
    divergence = Divergence(agent, state.get("stopped"))
    log = _Log(agent, out, resumed_at=agent.updates)
    history = state.get("history")
    progress.start("train", steps, agent.updates)

    def on_log(step: int, metrics: dict[str, list[float]], stopped: list[int]) -> None:
        log.row(step, metrics)
        progress.show({name: float(np.nanmean(values)) for name, values in metrics.items()})
        for member in stopped:
            progress.note(
                f"seed {agent.seeds[member]} stopped: {divergence.stopped[member]}; its last good state is kept"
            )

    with interruptible() as stop:
        while agent.updates < steps and not stop():
            pause = _Pause(stop, math.inf if out is None else CHECKPOINT_SECONDS, progress)
            history = run_steps(
                agent,
                table,
                steps,
                divergence=divergence,
                history=history,
                on_log=on_log,
                on_step=pause.step,
                should_stop=pause,
            )
            if out is not None:
                log.write()
                out.save_checkpoint(checkpoint(agent, history, divergence.stopped))


class _Pause:
    """Whether to pause: ``seconds`` have passed and a step was done, or the run is to stop."""

    def __init__(self, stop: Callable[[], bool], seconds: float, progress: Progress) -> None:
        self.stop, self.progress, self.due = stop, progress, False
        self.until = time.monotonic() + seconds

    def step(self) -> None:
        """A step is done."""
        self.progress.step()
        self.due = time.monotonic() >= self.until

    def __call__(self) -> bool:
        """Asked before each step."""
        return self.due or self.stop()


class _Log:
    """``metrics.csv``, a row a log step and member; and TensorBoard where that is installed."""

    def __init__(self, agent: Agent, out: RunFolder | None, *, resumed_at: int) -> None:
        self.agent, self.out = agent, out
        self.rows: list[Mapping[str, Any]] = []
        self.board: Any = None
        if out is None:
            return
        self.rows = [row for row in out.rows("metrics.csv") if int(row["step"]) <= resumed_at]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # its dependencies' own, nothing a user can mend
                from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(out.path / "tensorboard", purge_step=resumed_at + 1)
        except ImportError:
            pass

    def row(self, step: int, metrics: Mapping[str, Sequence[float]]) -> None:
        """Take one row of each member."""
        for member, seed in enumerate(self.agent.seeds):
            values = {name: value[member] for name, value in metrics.items()}
            self.rows.append({"step": step, "member": member, "seed": seed, **values})
            if self.board is not None:
                for name, value in values.items():
                    self.board.add_scalar(f"{name}/member{member}", value, step)

    def write(self) -> None:
        """Put what was taken so far on disk."""
        if self.out is not None:
            self.out.write_rows("metrics.csv", self.rows)
        if self.board is not None:
            self.board.flush()
