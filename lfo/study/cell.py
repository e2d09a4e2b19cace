"""One cell of a study: train, learn I, evaluate, portray; each only as far as the cell's folder lacks it."""

from __future__ import annotations

import shlex
import sys
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

from lfo.acting.evaluation import Evaluation
from lfo.acting.rounds import evaluate, learn_inverse
from lfo.algorithms import registry
from lfo.algorithms.protocol import Agent
from lfo.atomic import write_csv
from lfo.datasets import LfoError, Transitions, load
from lfo.runs.folder import RunFolder
from lfo.runs.loading import load_agent
from lfo.runs.record import Member
from lfo.study.spec import (
    Cell,
    Status,
    Study,
    algorithm_config,
    inverse_config,
    read_status,
    write_status,
)
from lfo.training.loop import train
from lfo.training.progress import Progress
from lfo.training.sources import Table

__all__ = ["run_cell", "work_on", "work_units"]

FINAL_SEED = 1_000_000
"""Of the final evaluation's starts; a round's is 10,000 + its number."""
STATUS_SECONDS = 1.0
"""Least time between two writings of a status."""

UNITS = {"train": 5.0, "act": 0.2, "fit I": 2.0, "learn": 2.0, "episode step": 0.1}
"""Units of work of one step, in proportion to their usual time; they matter for estimates only."""


def work_on(study: Study, cell: Cell, folder: Path, device: str) -> None:
    """:func:`run_cell`, with its ``status.json``."""
    told = _Told(study, cell, folder)
    try:
        run_cell(study, cell, folder, device, told)
    except BaseException:
        told.write("waiting")
        raise
    told.write("done")


def run_cell(study: Study, cell: Cell, folder: Path, device: str, told: _Told) -> None:
    """Train, learn I, evaluate, portray: whatever of it is missing.

    Raises:
        LfoError: the data or the folder is not this study's, or every member diverged.
        KeyboardInterrupt: told to stop; what is finished is kept.
    """
    out = RunFolder(folder / cell.path)
    data = [_load(folder / name, study, cell) for name in cell.data_names(study)]
    members = [Member(seed, m % len(data)) for m, seed in enumerate(study.seeds)]
    if _inverse_begun(out):
        agent = load_agent(out, device)
    else:
        agent, _ = train(
            data,
            algorithm=registry.spec(cell.algo).cls,
            config=algorithm_config(study, cell.algo),
            members=members,
            steps=study.steps,
            device=device,
            out=out,
            resume=(out.path / "run.json").is_file(),
            command=f"d3g-lfo study {shlex.quote(folder.name)}",
            progress=told,
        )
    learn_inverse(
        agent,
        cell.env,
        config=inverse_config(study),
        demonstrations=_demonstrations(agent, data, members, device),
        out=out,
        resume=True,
        progress=told,
    )
    told.evaluating()
    final = evaluate(agent, cell.env, episodes=study.final_episodes, seed=FINAL_SEED)
    write_csv(out.path / "scores.csv", _scores(final, members))
    if cell.algo == "d3g":
        from lfo.reporting.portraits import save as save_portrait

        save_portrait(out, cell.env)


def _load(path: Path, study: Study, cell: Cell) -> Transitions:
    """A data set of the study, which is checked to be the cell's."""
    data = load(path)
    wanted = {"env": cell.env, "random_frac": cell.random_frac, "transitions": study.transitions}
    found = {
        "env": data.metadata.env_id,
        "random_frac": data.metadata.random_frac,
        "transitions": len(data),
    }
    if wanted != found:
        raise LfoError(f"{path}: expected {wanted}, found {found}; delete the file, it is collected again")
    return data


def _inverse_begun(out: RunFolder) -> bool:
    """Whether training is over: the checkpoint knows of the inverse stage."""
    return out.checkpoint_path.is_file() and "inverse" in out.load_checkpoint()


def _demonstrations(
    agent: Agent, data: list[Transitions], members: list[Member], device: str
) -> Table | None:
    """The data as an algorithm that imitates takes them; the others do without."""
    if agent.learns_offline:
        return None
    which = [member.dataset for member in members]
    return Table(data, which, deepcopy(agent.units).cpu()).to(agent.units.device)


def _scores(final: Evaluation, members: list[Member]) -> list[dict[str, Any]]:
    return [
        {
            "member": m,
            "seed": member.seed,
            "dataset": member.dataset,
            "episode": episode,
            "return": float(final.returns[m, episode]),
            "length": int(final.lengths[m, episode]),
        }
        for m, member in enumerate(members)
        for episode in range(final.returns.shape[1])
    ]


def work_units(study: Study, cell: Cell) -> tuple[float, float, float]:
    """Units of work of training, of one round, and of the final evaluation."""
    import gymnasium

    limit = gymnasium.spec(cell.env).max_episode_steps or 1_000
    share = len(study.seeds) / 10 * UNITS["episode step"] * limit * (1 if cell.algo == "d3g" else 0.25)
    train = UNITS["train"] * study.steps if cell.algo == "d3g" else 0
    fit = UNITS["fit I"] + (UNITS["learn"] if cell.algo == "bco" else 0)
    act = UNITS["act"] * study.interactions
    return (
        train,
        act + fit * study.grad_steps + share * study.episodes_per_round,
        share * study.final_episodes,
    )


class _Told(Progress):
    """Keeps ``status.json`` while the trainer and the inverse stage tell what they do."""

    def __init__(self, study: Study, cell: Cell, folder: Path) -> None:
        self.study, self.cell, self.folder = study, cell, folder
        self.train, self.round, self.final = work_units(study, cell)
        self.total = round(self.train + study.rounds * self.round + self.final)
        self.before = read_status(folder, cell)
        self.started, self.written = time.monotonic(), 0.0
        self.done, self.each = float(self.before.done), 0.0
        self.state = "training"
        self.write(self.state)

    def start(self, stage: str, total: int, done: int = 0, *, round: int = 0) -> None:
        """A stage of training or of a round begins."""
        self.state = "interacting" if round else "training"
        self.each = UNITS[stage]
        if stage in ("train", "act"):
            self.done = self.train + (round - 1) * self.round if round else self.each * done
        self.write(self.state)

    def step(self, count: int = 1) -> None:
        """So many more steps are done."""
        self.done += self.each * count
        if time.monotonic() - self.written > STATUS_SECONDS:
            self.write(self.state)

    def note(self, text: str) -> None:
        """Goes to the log."""
        print(f"note: {text}", file=sys.stderr, flush=True)

    def evaluating(self) -> None:
        """Nothing but the final evaluation and the portrait is left."""
        self.done = self.train + self.study.rounds * self.round
        self.write("evaluating")

    def write(self, state: str) -> None:
        """Write the status."""
        self.written = time.monotonic()
        spent = self.before.seconds + self.written - self.started
        done = self.total if state == "done" else min(round(self.done), self.total)
        write_status(self.folder, self.cell, Status(state, done, self.total, round(spent, 1)))
