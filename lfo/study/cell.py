"""One cell of a study: train, learn I, evaluate, portray. Steps whose results are in its folder are skipped."""

from __future__ import annotations

import json
import shlex
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Event, Lock, Thread

from lfo.acting.rounds import evaluate, learn_inverse
from lfo.algorithms import registry
from lfo.atomic import write_csv
from lfo.datasets import LfoError, Transitions, load
from lfo.envs.faults import opened
from lfo.envs.make import with_kwargs
from lfo.runs.folder import RunFolder
from lfo.runs.loading import load_agent
from lfo.runs.record import Member
from lfo.study.spec import Cell, DataSet, Study, algorithm_config, inverse_config
from lfo.study.status import BEAT_SECONDS, Status, read_status, write_status
from lfo.training.loop import train
from lfo.training.progress import Progress
from lfo.training.sources import demonstrations

FINAL_SEED = 1_000_000
"""Of the final evaluation's starts; a round's is 10,000 + its number."""

ACT_UNITS, FIT_UNITS = 0.2, 2.0
"""Units of work of one interaction and of one step of I. Like an algorithm's costs, they only serve estimates."""


def work_on(study: Study, cell: Cell, folder: Path, device: str) -> None:
    """:func:`run_cell`, with its ``status.json``."""
    told = _Told(study, cell, folder)
    try:
        run_cell(study, cell, folder, device, told)
    except BaseException:
        told.end("waiting")
        raise
    told.end("done")


def run_cell(study: Study, cell: Cell, folder: Path, device: str, told: _Told) -> None:
    """Train, learn I, evaluate and portray, as far as that is missing.

    Raises:
        LfoError: the data or the folder belongs to another study, or every member diverged.
        KeyboardInterrupt: told to stop; finished work is saved.
    """
    out = RunFolder(folder / cell.path)
    row, data = study.rows[cell.data], [_load(folder / name, study, cell) for name in study.files(cell.data)]
    algorithm, sized = registry.spec(study.algorithm(cell.algo)), study.sized(cell.algo)
    members = [Member(seed, m % len(data)) for m, seed in enumerate(study.seeds)]
    if _inverse_begun(out):
        agent = load_agent(out, device)
    else:
        agent, _ = train(
            data,
            algorithm=algorithm.cls,
            config=algorithm_config(study, cell.algo),
            members=members,
            steps=sized.steps,
            device=device,
            out=out,
            resume=(out.path / "run.json").is_file(),
            command=f"d3g-lfo study {shlex.quote(folder.name)}",
            progress=told,
        )
    learn_inverse(
        agent,
        row.env,
        env_kwargs=row.env_kwargs,
        config=inverse_config(study, cell.algo),
        demonstrations=demonstrations(agent, data, [member.dataset for member in members]),
        out=out,
        resume=True,
        progress=told,
    )
    told.evaluating()
    final = evaluate(
        agent, row.env, env_kwargs=row.env_kwargs, episodes=study.final_episodes, seed=FINAL_SEED
    )
    write_csv(out.path / "scores.csv", final.rows(study.seeds, [member.dataset for member in members]))
    if algorithm.portrait:
        from lfo.reporting.portraits import save as save_portrait

        save_portrait(out, with_kwargs(row.env, row.env_kwargs))


def _load(path: Path, study: Study, cell: Cell) -> Transitions:
    """Load a data set of the study, and check that it is the cell's."""
    data, row = load(path), study.rows[cell.data]
    size = row.transitions or study.transitions
    wanted = {"env": row.env, "random_frac": row.random_frac, "transitions": size}
    origin = data.metadata
    found = {"env": origin.env_id, "random_frac": origin.random_frac, "transitions": len(data)}
    if not row.source and wanted != found:
        raise LfoError(f"{path}: expected {wanted}, found {found}; delete the file to collect it again")
    return data


def _inverse_begun(out: RunFolder) -> bool:
    """Whether training is over, which is when the checkpoint has an inverse stage."""
    return out.checkpoint_path.is_file() and "inverse" in out.load_checkpoint()


def time_limit(row: DataSet) -> int:
    """Steps of an episode of a row's environment, or 1,000 if it has no limit.

    Raises:
        LfoError: the environment cannot be used.
    """
    return _time_limit(row.env, json.dumps(row.env_kwargs))


@cache
def _time_limit(env: str, kwargs: str) -> int:
    with opened(with_kwargs(env, json.loads(kwargs))) as made:
        return (made.spec.max_episode_steps if made.spec else None) or 1_000


def work_units(study: Study, cell: Cell) -> tuple[float, float, float]:
    """Units of work of training, of one round, and of the final evaluation."""
    limit = time_limit(study.rows[cell.data])
    spec, study = registry.spec(study.algorithm(cell.algo)), study.sized(cell.algo)
    episode = len(study.seeds) / 10 * spec.act_cost * limit
    offline, learn = (spec.step_cost, 0.0) if spec.learns_offline else (0.0, spec.step_cost)
    round_ = ACT_UNITS * study.interactions + (FIT_UNITS + learn) * study.grad_steps
    return (
        offline * study.steps,
        round_ + episode * study.episodes_per_round,
        episode * study.final_episodes,
    )


class _Told(Progress):
    """Writes ``status.json``: at every change of state, and every second; after a minute every ten seconds."""

    def __init__(self, study: Study, cell: Cell, folder: Path) -> None:
        self.study, self.cell, self.folder = study.sized(cell.algo), cell, folder
        self.train, self.round, self.final = work_units(study, cell)
        self.total = round(self.train + self.study.rounds * self.round + self.final)
        step = registry.spec(study.algorithm(cell.algo)).step_cost
        self.units = {"train": step, "learn": step, "act": ACT_UNITS, "fit I": FIT_UNITS}
        self.before, self.state = read_status(folder, cell), "training"
        self.started = time.monotonic()
        self.done, self.each = float(self.before.done), 0.0
        self.writing, self.over = Lock(), Event()
        self.write()
        Thread(target=self._beat, daemon=True).start()

    def start(self, stage: str, total: int, done: int = 0, *, round: int = 0) -> None:
        """Begin a stage of training or of a round."""
        self.each = self.units.get(stage, 0.0)
        if stage in ("train", "act"):
            self.done = self.train + (round - 1) * self.round if round else self.each * done
        self.write("interacting" if round else "training")

    def step(self, count: int = 1) -> None:
        """Count steps."""
        self.done += self.each * count

    def note(self, text: str) -> None:
        """Write to the log."""
        print(f"note: {text}", file=sys.stderr, flush=True)

    def evaluating(self) -> None:
        """Only the final evaluation and the portrait are left."""
        self.done = self.train + self.study.rounds * self.round
        self.write("evaluating")

    def end(self, state: str) -> None:
        """Write the last status."""
        self.over.set()
        self.write(state)

    def write(self, state: str | None = None) -> None:
        """Write the status; without a state, the same again unless it was the last."""
        with self.writing:
            if state is None and self.over.is_set():
                return
            state = self.state = state or self.state
            spent = self.before.seconds + time.monotonic() - self.started
            done = self.total if state == "done" else min(round(self.done), self.total)
            write_status(self.folder, self.cell, Status(state, done, self.total, round(spent, 1)))

    def _beat(self) -> None:
        """Write the same state again and again, until the end."""
        while not self.over.wait(1.0 if time.monotonic() - self.started < 60 else BEAT_SECONDS):
            with suppress(OSError):  # the next one may succeed
                self.write()
