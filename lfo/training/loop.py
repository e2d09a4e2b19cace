"""Offline training of all members at once, with logs, checkpoints and exact resume.

Random draws are functions of (member's seed, block of steps), so that a resumed run needs no generator state:
it goes on bit for bit from the step its checkpoint names.
"""

from __future__ import annotations

import ctypes
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lfo.algorithms import registry
from lfo.algorithms.registry import Agent, Config
from lfo.datasets import LfoError, Transitions
from lfo.nn.scaling import Units
from lfo.runs.folder import RunFolder
from lfo.runs.hardware import pick_device
from lfo.runs.record import Member, check_same_run, describe
from lfo.training.cuda_graphs import ReplayedSteps, eager_step
from lfo.training.divergence import Divergence
from lfo.training.interrupts import interruptible
from lfo.training.metrics import MetricsLog
from lfo.training.progress import Progress
from lfo.training.seeding import seeded
from lfo.training.sources import Table

__all__ = ["BLOCK", "build", "checkpoint", "fit", "run_steps", "train"]

BLOCK = 256
"""Steps whose minibatches are drawn at once."""
LOG_EVERY = 1000
"""Steps a row of metrics averages over; divergence is looked for as often."""
CHECKPOINT_SECONDS = 30.0
"""Least time between two checkpoints; a killed run loses about this much."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # as in glibc's <malloc.h>


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
    algorithm: Any = registry.spec(algo).cls
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
        algo: a registered name, see :mod:`lfo.algorithms.registry`.
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
    config = config or registry.spec(algo).config()
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
        algo: a registered name, see :mod:`lfo.algorithms.registry`.
        data: from :func:`lfo.datasets.load`.
        seeds: one member each.
        steps: gradient steps.
        device: ``auto``, ``cpu`` or ``cuda``.
        progress: told of every step.
        **settings: fields of the algorithm's config, such as ``hidden=128``.
    """
    config = registry.spec(algo).config(**settings)
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
    log = MetricsLog(agent, out, resumed_at=agent.updates)
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
