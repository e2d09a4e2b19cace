"""Running a study: which tasks are missing, and the processes that do them.

A task is something to make: a data set, the experts' returns, or a cell. Each runs in a process of its own
(:mod:`lfo.study.worker`), ``jobs`` at a time: data first, then cells, the longest first. If a task fails, only the
tasks that depend on it are skipped.

The processes have a session of their own, so Ctrl-C reaches only the parent. It closes their standard input; they then
finish the current step, write their checkpoints and end. They do the same if the parent is killed.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from lfo.atomic import check_folder, make_folder, read_csv, write_whole
from lfo.datasets import LfoError
from lfo.locks import locked
from lfo.processes import available_cores
from lfo.runs.hardware import pick_device
from lfo.study.cell import time_limit, work_units
from lfo.study.results import Results
from lfo.study.spec import (
    Cell,
    Study,
    cells,
    load_study,
    require_ready,
    same_study,
    to_toml,
)
from lfo.study.status import Overview, overview, read_status, write_status
from lfo.study.worker import STOPPED
from lfo.training.interrupts import interruptible

POLL_SECONDS = 0.2
TELL_SECONDS = 1.0
LOCK_SECONDS = 2.0
"""How long a start waits for the study's lock, which ``--status`` holds for a moment."""

# In the parent's import path, whatever folder the worker is in; see :func:`lfo.study.worker.main`.
_START = "import sys; sys.path[:] = sys.argv.pop(1).split(chr(10)); from lfo.study.worker import main; main()"


@dataclass(frozen=True)
class Task:
    """Something to make. It is done when its file, or its cell, is."""

    name: str
    """Its path in the study's folder."""
    needs: tuple[str, ...] = ()
    """Tasks that have to be done before."""
    cells: tuple[Cell, ...] = ()
    """The cells that it is, or is for."""
    cost: float = field(default=0.0, compare=False)


def run(
    study: Study,
    folder: str | Path,
    *,
    jobs: int | None = None,
    device: str = "auto",
    on_change: Callable[[Overview], object] = lambda overview: None,
) -> dict[str, str]:
    """Do what is missing of a study, then write its results and its report.

    Args:
        study: the fields. If the folder has a study already, its environments, fractions and algorithms are
            added to that study, and only the cells of this call are run.
        folder: created if it does not exist.
        jobs: processes at a time; None means one per core. Results depend on it by rounding at most.
        device: ``auto``, ``cpu`` or ``cuda``.
        on_change: called about once a second with where the study stands.

    Returns:
        The tasks that failed, each with the reason.

    Raises:
        LfoError: a wrong setting; the folder holds another study, something else, or is being run already.
        KeyboardInterrupt: after Ctrl-C, when all processes have written their checkpoints.
    """
    folder = Path(folder).resolve()
    require_ready(study, folder)
    for row in study.rows.values():
        time_limit(row)
    pick_device(device)
    check_folder(folder, owner="study.toml", overwrite=False, resume=True)
    make_folder(folder)
    with _claimed(folder):
        whole = _agree(folder, study)
        tasks = _missing(folder, study)
        results = Results(folder, whole)
        results.write()
        on_change(overview(folder, running=True))
        workers = _Workers(folder, jobs or available_cores(), device)
        failed = _work_off(folder, tasks, workers, results, on_change)
        on_change(overview(folder, running=False))
        from lfo.study.report import write_report

        write_report(folder)
    return failed


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Keep other starts out for the block."""
    with locked(folder / ".lock", timeout=LOCK_SECONDS) as mine:
        if not mine:
            raise LfoError(
                f"{folder}: expected a study that nothing is working on, found it running; "
                f"watch it with `d3g-lfo study {shlex.quote(str(folder))} --status`"
            )
        yield


def _agree(folder: Path, study: Study) -> Study:
    """Write the study that the folder holds from now on: the old one, with what this start adds."""
    path = folder / "study.toml"
    whole = same_study(load_study(path), study, path) if path.is_file() else study
    write_whole(path, to_toml(whole, folder))
    for name in ("data", "cells", "logs"):
        (folder / name).mkdir(exist_ok=True)
    return whole


def _missing(folder: Path, study: Study) -> list[Task]:
    """What to make, in the order of starting: data, the experts, then cells, the longest first.

    Every cell gets a status, so that the live table has all of them from the start.
    """
    unfinished: list[Task] = []
    users: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells(study):
        before = read_status(folder, cell)
        if before.state == "done" and (folder / cell.path / "scores.csv").is_file():
            continue
        train, round_, final = work_units(study, cell)
        total = train + study.sized(cell.algo).rounds * round_ + final
        write_status(folder, cell, replace(before, state="waiting", total=round(total), error=None))
        needs = study.files(cell.data)
        for name in needs:
            users[name].append(cell)
        unfinished.append(Task(cell.path, needs, (cell,), total))
    wanted = [name for row in study.rows for name in study.files(row)]
    data = [Task(name, (), tuple(users[name])) for name in wanted if not (folder / name).is_file()]
    known = {row["env"] for row in read_csv(folder / "experts.csv")}
    experts = [] if set(load_study(folder / "study.toml").experts) <= known else [Task("experts.csv")]
    return [*data, *experts, *sorted(unfinished, key=lambda task: -task.cost)]


class _Workers:
    """The processes at work."""

    def __init__(self, folder: Path, jobs: int, device: str) -> None:
        self.folder, self.jobs, self.device = folder, jobs, device
        self.running: dict[Task, subprocess.Popen[bytes]] = {}
        threads = max(1, available_cores() // jobs)
        asked = os.environ.get("OMP_NUM_THREADS", "")
        self.threads = min(threads, int(asked)) if asked.isdigit() and int(asked) else threads

    def start(self, task: Task) -> None:
        """Begin a task."""
        words = ["\n".join(sys.path), str(self.folder), self.device, task.name]
        with open(self._log(task), "wb") as log:
            self.running[task] = subprocess.Popen(
                [sys.executable, "-c", _START, *words],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": str(self.threads)},
                start_new_session=True,  # Ctrl-C is the parent's to handle
            )

    def ended(self) -> list[tuple[Task, str | None]]:
        """The tasks that ended since the last call, each with the reason if it failed."""
        found = [(task, process) for task, process in self.running.items() if process.poll() is not None]
        for task, process in found:
            del self.running[task]
            if process.stdin is not None:
                process.stdin.close()
        return [(task, self._reason(task, process.returncode)) for task, process in found]

    def stop(self) -> None:
        """Tell all of them to write their checkpoints and end, and wait. A second Ctrl-C kills them."""
        for process in self.running.values():
            if process.stdin is not None:
                process.stdin.close()
        try:
            for process in self.running.values():
                process.wait()
        except KeyboardInterrupt:
            for process in self.running.values():
                process.kill()
            for process in self.running.values():
                process.wait()
            raise

    def _log(self, task: Task) -> Path:
        return self.folder / "logs" / f"{Path(task.name).name}.log"

    def _reason(self, task: Task, code: int) -> str | None:
        log = self._log(task)
        if code == 0:
            if log.stat().st_size == 0:
                log.unlink()
            return None
        if code < 0:
            memory = ", perhaps because memory ran out" if code == -signal.SIGKILL else ""
            return f"its process was killed by {signal.Signals(-code).name}{memory}"
        if code == STOPPED:
            return "its process was stopped from outside this study"
        last = (log.read_text(encoding="utf-8", errors="replace").splitlines() or [""])[-1]
        return last.removeprefix("Error: ") or f"its process ended with exit code {code}"


def _work_off(
    folder: Path,
    tasks: Sequence[Task],
    workers: _Workers,
    results: Results,
    on_change: Callable[[Overview], object],
) -> dict[str, str]:
    """Run all tasks, and return the failed ones with the reason."""
    waiting, failed, told = list(tasks), dict[str, str](), 0.0
    with interruptible() as stop:
        try:
            while (waiting or workers.running) and not stop():
                _drop_hopeless(folder, results.study, waiting, failed)
                changed = _start_ready(folder, waiting, workers)
                for task, reason in workers.ended():
                    changed = True
                    if reason is not None:
                        failed[task.name] = reason
                    _tell_cells(folder, results.study, task, reason)
                    results.write()
                if changed or time.monotonic() - told > TELL_SECONDS:
                    told = time.monotonic()
                    on_change(overview(folder, running=True))
                else:
                    time.sleep(POLL_SECONDS)
        finally:
            workers.stop()
    return failed


def _drop_hopeless(folder: Path, study: Study, waiting: list[Task], failed: dict[str, str]) -> None:
    """Fail the tasks that depend on a failed one."""
    for task in list(waiting):
        lost = next((name for name in task.needs if name in failed), None)
        if lost is not None:
            waiting.remove(task)
            failed[task.name] = f"no {lost}: {failed[lost]}"
            _tell_cells(folder, study, task, failed[task.name])


def _start_ready(folder: Path, waiting: list[Task], workers: _Workers) -> bool:
    """Start as many tasks as there are free places, and return whether any was started."""
    before = len(waiting)
    for task in list(waiting):
        if len(workers.running) >= workers.jobs:
            break
        if all((folder / name).is_file() for name in task.needs):
            waiting.remove(task)
            workers.start(task)
            if task.name.startswith("data/"):
                for cell in task.cells:
                    status = read_status(folder, cell)
                    if status.state == "waiting":
                        write_status(folder, cell, replace(status, state="collecting"))
    return len(waiting) < before


def _tell_cells(folder: Path, study: Study, task: Task, reason: str | None) -> None:
    """Tell a task's cells that it ended: they have all of their data, or have failed."""
    for cell in task.cells:
        before = read_status(folder, cell)
        if task.name.startswith("data/"):
            if all((folder / name).is_file() for name in study.files(cell.data)):
                write_status(folder, cell, replace(before, state="waiting"))
        elif reason is not None:
            write_status(folder, cell, replace(before, state="failed", error=reason))
