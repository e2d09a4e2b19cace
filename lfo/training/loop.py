"""Offline training of all members at once, with logs, checkpoints and exact resume.

Random draws are functions of (member's seed, block of steps). So a resumed run needs no generator state and gives the
same numbers as an uninterrupted one.
"""

from __future__ import annotations

import ctypes
import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lfo.algorithms.protocol import Agent, Config
from lfo.datasets import LfoError, Transitions
from lfo.nn.scaling import Units
from lfo.runs.folder import RunFolder
from lfo.runs.hardware import pick_device, require_memory
from lfo.runs.loading import restore
from lfo.runs.record import Member, check_same_run, describe
from lfo.training.cuda_graphs import ReplayedSteps, eager_step
from lfo.training.divergence import Divergence
from lfo.training.interrupts import interruptible
from lfo.training.loggers import logged
from lfo.training.metrics import MetricsLog
from lfo.training.progress import Progress
from lfo.training.seeding import seeded
from lfo.training.sources import Mixture, Table

BLOCK = 256
"""Steps whose minibatches are drawn at once."""
LOG_EVERY = 1000
"""Steps that a row of metrics averages over. Divergence is checked at each row."""
CHECKPOINT_SECONDS = 30.0
"""Time between two checkpoints, at least. A killed run loses about this much."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # as in glibc's <malloc.h>


def run_steps(
    agent: Agent,
    table: Table | Mixture,
    steps: int,
    *,
    divergence: Divergence,
    history: Tensor | None = None,
    on_log: Callable[[int, dict[str, list[float]]], object] = lambda step, metrics: None,
    on_stopped: Callable[[list[int]], object] = lambda members: None,
    on_step: Callable[[], object] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Update until ``agent.updates`` is ``steps``, or until ``should_stop`` says so.

    Divergence is checked whenever a row of metrics is complete, and before this returns.

    Args:
        agent: the members.
        table: their data.
        steps: gradient steps in all, those already done included.
        divergence: finds members that diverge.
        history: the metrics of an incomplete row, as returned by a call that was stopped.
        on_log: called with the step and each metric's mean over the row [M].
        on_stopped: called with the members newly stopped.
        on_step: called after each step, for a progress bar.
        should_stop: asked before each step.

    Returns:
        The metrics since the last complete row, [steps, K, M].

    Raises:
        LfoError: every member has diverged.
    """
    keep_freed_memory()
    step = ReplayedSteps(agent, table) if table.rows.is_cuda else eager_step(agent, table)
    rows, names = [] if history is None else list(history), list[str]()

    def check() -> Tensor:
        recent = torch.stack(rows)
        stopped = divergence.check(names, recent, agent.updates - len(rows))
        if stopped:
            on_stopped(stopped)
            divergence.require_members()
        return recent

    while agent.updates < steps and not should_stop():
        block, offset = divmod(agent.updates, BLOCK)
        generators = [seeded(seed, 0, block) for seed in agent.seeds]
        drawn = table.draw(generators, BLOCK, agent.config.batch_size)
        for index in drawn[offset : offset + steps - agent.updates]:
            names, values = step(index)
            rows.append(values)
            on_step()
            if agent.updates % LOG_EVERY == 0 or agent.updates == steps:
                means = check().mean(dim=0).tolist()
                rows = []
                on_log(agent.updates, dict(zip(names, means, strict=True)))
            if should_stop():
                break
    if rows and names:
        return check()
    return torch.stack(rows) if rows else torch.empty(0)


def keep_freed_memory() -> None:
    """Tell glibc to hand freed blocks out again instead of returning them to the system.

    A step allocates the same blocks as the one before, and would fetch their pages anew each time. Other C
    libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # bytes; the greatest that glibc allows
        mallopt(_M_TRIM_THRESHOLD, 256 << 20)


def build(
    algorithm: type[Any],
    config: Config,
    datasets: Sequence[Transitions],
    members: Sequence[Member],
    device: torch.device | str,
) -> tuple[Agent, Table]:
    """An untrained agent and its data, both on the device.

    Raises:
        LfoError: the data sets' states differ in length, the settings need more memory than there is, or
            in every dimension nothing ever changes.
    """
    sizes = sorted({data.state_dim for data in datasets})
    if len(sizes) > 1:
        raise LfoError(
            f"data sets of one run: expected states of one length, found {sizes}; train them in separate runs"
        )
    if any(bool((data.states == data.next_states).all()) for data in datasets):
        raise LfoError(
            "data set: expected states that change, found s' = s in every row; there is nothing to learn from"
        )
    require_memory(config, len(members), sizes[0], where="settings")
    which = [member.dataset for member in members]
    units = Units.of(datasets, which, standardise=config.standardise)
    if bool((units.moving.sum(dim=-1) == 0).any()):
        raise LfoError(
            "data set: expected steps s' − s that differ, found the same one in every row; there is nothing to learn from"
        )
    table = Table(datasets, which, units)
    agent: Agent = algorithm(config, units.to(device), [member.seed for member in members])
    agent.prepare(table)
    return agent, table.to(device)


def train(
    datasets: Sequence[Transitions],
    *,
    algorithm: type[Any],
    config: Config,
    members: Sequence[Member],
    steps: int,
    device: str = "auto",
    out: RunFolder | None = None,
    resume: bool = False,
    command: str | None = None,
    progress: Progress | None = None,
    log: Sequence[str] = (),
) -> tuple[Agent, Table]:
    """Fit an algorithm to data sets, all members at once.

    Args:
        datasets: what to learn from.
        algorithm: a class such as :class:`~lfo.algorithms.d3g.D3G`.
        config: its settings.
        members: seeds and data sets.
        steps: gradient steps in all.
        device: ``auto``, ``cpu`` or ``cuda``.
        out: the run folder, made by the caller (or, with ``resume``, holding a run); None keeps nothing.
        resume: continue from the checkpoint in ``out``.
        command: the command line, for the record.
        progress: told of every step and every row of metrics.
        log: loggers to write the metrics to as well, such as ``tensorboard``; needs ``out``. See
            :data:`lfo.training.loggers.LOGGERS`.

    Returns:
        The agent, trained (for an algorithm that does not learn offline: prepared), and its data.

    Raises:
        LfoError: every member diverged; the folder holds another run than the one to resume, or one of more
            steps; another process is writing to it.
        KeyboardInterrupt: after Ctrl-C, the checkpoint written.
    """
    with nullcontext() if out is None else out.claim("train"):
        where = pick_device(device)
        agent, table = build(algorithm, config, datasets, members, where)
        if where.type == "cuda":
            torch.set_float32_matmul_precision("high" if agent.precision == "tf32" else "highest")
        info = describe(agent, datasets, members, steps, command)
        agent.record = info
        history = None
        if out is not None and resume:
            check_same_run(out, info)
            if steps < (most := int(out.info()["steps"])):
                raise LfoError(
                    f"{out.path}: --resume: steps: expected at least the {most:,} that the run was started for, found "
                    f"{steps:,}; leave --steps out, or train into another folder"
                )
            if out.checkpoint_path.is_file():
                history = _restore(agent, out)
            out.write_info({**out.info(), "steps": steps})
        elif out is not None:
            out.write_info(info)
        if agent.learns_offline:
            progress = progress or Progress()
            with logged(progress, log, out):
                _fit(agent, table, steps, out, history, progress)
        if out is not None:
            out.save_agent(agent)
        return agent, table


def _restore(agent: Agent, out: RunFolder) -> Tensor | None:
    """Take the checkpoint of a run whose inverse stage has not begun; its incomplete row of metrics."""
    state = out.load_checkpoint(agent.units.device)
    if "inverse" in state:
        raise LfoError(
            f"{out.path}: --resume: expected a run in training, found one whose inverse dynamics are learned "
            f"already; continue with `d3g-lfo interact {out.path} --resume`, or train into another folder"
        )
    restore(agent, out, state)
    history: Tensor | None = state.get("history")
    return history


def _fit(
    agent: Agent,
    table: Table,
    steps: int,
    out: RunFolder | None,
    history: Tensor | None,
    progress: Progress,
) -> None:
    """Run the steps that are missing, logging and keeping checkpoints."""
    divergence = Divergence(agent)
    log = MetricsLog(agent.seeds, out, resumed_at=agent.updates)
    progress.start("train", steps, agent.updates)

    def on_log(step: int, metrics: dict[str, list[float]]) -> None:
        log.row(step, metrics)
        progress.log("train", step, metrics)
        progress.show({name: float(np.nanmean(values)) for name, values in metrics.items()})

    def on_stopped(members: list[int]) -> None:
        for m in members:
            progress.note(f"seed {agent.seeds[m]} stopped: {agent.stopped[m]}; its last good state is kept")

    with interruptible() as stop:
        while agent.updates < steps and not stop():
            seconds = math.inf if out is None else CHECKPOINT_SECONDS
            history = run_steps(
                agent,
                table,
                steps,
                divergence=divergence,
                history=history,
                on_log=on_log,
                on_stopped=on_stopped,
                on_step=progress.step,
                should_stop=_pause(agent, stop, seconds),
            )
            agent.history = log.columns()
            if out is not None:
                log.write()
                out.save_agent(agent, history=history)


def _pause(agent: Agent, stop: Callable[[], bool], seconds: float) -> Callable[[], bool]:
    """Whether to pause before a step: ``seconds`` have passed and a step was done, or the run is to stop."""
    begun, until = agent.updates, time.monotonic() + seconds
    return lambda: stop() or (agent.updates > begun and time.monotonic() >= until)
