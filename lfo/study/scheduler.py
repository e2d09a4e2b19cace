"""Running a study: which tasks are missing, and in which order they are done.

A task is something to make: a data set, the experts' returns, or a cell. Data first, then cells, the longest first. If
a task fails, only the tasks that depend on it are skipped. Where tasks run is the executor's business, see
:mod:`lfo.study.executors`; the files that they leave are the same everywhere.
"""

from __future__ import annotations

import heapq
import shlex
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from lfo.atomic import check_folder, make_folder, read_csv, remove_unused, write_whole
from lfo.datasets import LfoError
from lfo.locks import locked
from lfo.study.cell import time_limit, work_units
from lfo.study.executors import executor_class
from lfo.study.executors.protocol import Executor, Note, Resources
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
from lfo.study.status import Overview, is_done, overview, read_all, read_status, write_status, write_totals
from lfo.training.interrupts import interruptible

WAIT_SECONDS = 0.2
"""How long a stop may stay unnoticed."""
TELL_SECONDS = 1.0
SHARE = 0.05
"""Of its time that the scheduler spends on telling, and on writing results, at most."""
LOCK_SECONDS = 2.0
"""How long a start waits for the study's lock, which ``--status`` holds for a moment."""


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
    executor: str = "local",
    address: str | None = None,
    cores: int = 1,
    gpus: float | None = None,
    on_change: Callable[[Overview], object] = lambda overview: None,
    note: Note = lambda text: print(f"note: {text}", file=sys.stderr),
) -> dict[str, str]:
    """Do what is missing of a study, then write its results and its report.

    Args:
        study: the fields. If the folder has a study already, its environments, fractions and algorithms are
            added to that study, and only the cells of this call are run.
        folder: created if it does not exist.
        jobs: tasks at a time; None means one per core, or with Ray as many as the cluster has room for. Results
            depend on it by rounding at most.
        device: ``auto``, ``cpu`` or ``cuda``; with Ray ``auto`` is ``cuda`` if ``gpus`` is given, else ``cpu``.
        executor: ``local`` or ``ray``.
        address: Ray: ``auto`` or HOST:PORT of a cluster; None starts a Ray on this machine.
        cores: Ray: CPU cores of each task.
        gpus: Ray: the share of a GPU that each task has; None means 1 with ``device="cuda"``, else 0.
        on_change: called about once a second with where the study stands.
        note: called with a line about a task that is begun again; by default it is printed on stderr.

    Returns:
        The tasks that failed, each with the reason.

    Raises:
        LfoError: a wrong setting; the folder holds another study, something else, or is being run already; there is
            no Ray, or no such cluster.
        KeyboardInterrupt: after Ctrl-C, when all tasks have written their checkpoints.
    """
    folder = Path(folder).resolve()
    require_ready(study, folder)
    for row in study.rows.values():
        time_limit(row)
    start, resources = executor_class(executor), Resources(jobs, device, address, cores, gpus)
    check_folder(folder, owner="study.toml", overwrite=False, resume=True)
    with _claimed(folder):
        workers = start(folder, resources, note)
        try:
            whole = _agree(folder, study)
            failed = _Work(folder, whole, workers, on_change).do(_missing(folder, study))
        finally:
            workers.stop()
        from lfo.study.report import write_report

        write_report(folder)
    return failed


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Keep other starts out for the block. A folder that is made for it goes again if nothing is written to it."""
    new = not folder.exists()
    make_folder(folder)
    with locked(folder / ".lock", timeout=LOCK_SECONDS) as mine:
        if not mine:
            raise LfoError(
                f"{folder}: expected a study that nothing is working on, found it running; "
                f"watch it with `d3g-lfo study {shlex.quote(str(folder))} --status`"
            )
        try:
            yield
        finally:
            if new:
                remove_unused(folder)


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

    What is left of earlier failures and of processes that were killed is cleared.
    """
    unfinished: list[Task] = []
    users: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells(study):
        before = read_status(folder, cell)
        if before.state == "done" and is_done(folder, cell):
            continue
        train, round_, final = work_units(study, cell)
        total = train + study.sized(cell.algo).rounds * round_ + final
        if before.state != "waiting" or before.error:
            write_status(folder, cell, replace(before, state="waiting", total=round(total), error=None))
        needs = study.files(cell.data)
        for name in needs:
            users[name].append(cell)
        unfinished.append(Task(cell.path, needs, (cell,), total))
    write_totals(folder, {task.cells[0]: round(task.cost) for task in unfinished})
    wanted = [name for row in study.rows for name in study.files(row)]
    data = [Task(name, (), tuple(users[name])) for name in wanted if not (folder / name).is_file()]
    known = {row["env"] for row in read_csv(folder / "experts.csv")}
    experts = [] if set(load_study(folder / "study.toml").experts) <= known else [Task("experts.csv")]
    return [*data, *experts, *sorted(unfinished, key=lambda task: -task.cost)]


class _Work:
    """The tasks of one start.

    Args:
        folder: of the study.
        study: the whole of it.
        workers: do the tasks.
        on_change: told where the study stands.
    """

    def __init__(
        self, folder: Path, study: Study, workers: Executor, on_change: Callable[[Overview], object]
    ) -> None:
        self.folder, self.study, self.workers = folder, study, workers
        self.results = Results(folder, study)
        self.statuses = read_all(folder, study)
        self.failed: dict[str, str] = {}
        self.running: dict[str, Task] = {}
        self.ready: list[tuple[int, Task]] = []
        """A heap, by the order of starting."""
        self.waiting: dict[str, list[tuple[int, Task]]] = defaultdict(list)
        """By the data set that is missing."""
        self.missing: dict[Task, set[str]] = {}
        self.write = _Paced(self.results.write, 0.0)
        self.tell = _Paced(lambda: on_change(self._overview(running=True)), TELL_SECONDS)
        self.on_change = on_change

    def do(self, tasks: Sequence[Task]) -> dict[str, str]:
        """Run all tasks, and return the failed ones with the reason."""
        self._sort(tasks)
        self.results.write()
        with interruptible() as stop:
            try:
                self.tell(changed=True)
                while (self.ready or self.running) and not stop():
                    self._start_ready()
                    ended = self.workers.ended(WAIT_SECONDS)
                    for name, reason in ended:
                        self._end(self.running.pop(name), reason)
                    self.write(changed=bool(ended))
                    self.tell(changed=bool(ended))
            finally:
                self.results.write()
        self.on_change(self._overview(running=False))
        return self.failed

    def _sort(self, tasks: Sequence[Task]) -> None:
        """Find what is ready, and what waits for what."""
        made = {task.name for task in tasks}
        for index, task in enumerate(tasks):
            missing = made.intersection(task.needs)
            if not missing:
                self.ready.append((index, task))  # sorted by index, so a heap
                continue
            self.missing[task] = missing
            for name in missing:
                self.waiting[name].append((index, task))

    def _start_ready(self) -> None:
        """Start as many tasks as there is room for."""
        room = self.workers.room() if self.ready else 0
        while room > 0 and self.ready:
            room -= 1
            _, task = heapq.heappop(self.ready)
            self.workers.start(task.name)
            self.running[task.name] = task

    def _end(self, task: Task, reason: str | None) -> None:
        """Note that a task ended, and what that means for those that need it."""
        self._look(task)
        dependent = self.waiting.pop(task.name, [])
        if reason is not None:
            self._fail([task, *(other for _, other in dependent if other in self.missing)], reason)
            return
        for index, other in dependent:
            if other in self.missing:
                self.missing[other].discard(task.name)
                if not self.missing[other]:
                    del self.missing[other]
                    heapq.heappush(self.ready, (index, other))

    def _fail(self, tasks: Sequence[Task], reason: str) -> None:
        """A task failed, and with it those that need it."""
        first = tasks[0]
        for task in tasks:
            told = reason if task is first else f"no {first.name}: {reason}"
            self.failed[task.name] = told
            self.missing.pop(task, None)
            for cell in task.cells if task.name.startswith("cells/") else ():
                self.statuses[cell] = replace(self.statuses[cell], state="failed", error=told)
                write_status(self.folder, cell, self.statuses[cell])

    def _look(self, task: Task) -> None:
        """Read the status of the cell that a task is."""
        for cell in task.cells if task.name.startswith("cells/") else ():
            found = read_status(self.folder, cell)
            self.statuses[cell] = found if found.total else self.statuses[cell]

    def _overview(self, *, running: bool) -> Overview:
        """Where the study stands; only cells at work are read again."""
        for task in self.running.values():
            self._look(task)
        return overview(self.folder, running=running, study=self.study, known=self.statuses)


class _Paced:
    """Calls a function after a change, or every so many seconds, but not so often that it takes much time.

    Args:
        function: what it calls.
        seconds: between two calls if nothing has changed; 0 means never.
    """

    def __init__(self, function: Callable[[], object], seconds: float) -> None:
        self.function, self.seconds = function, seconds
        self.changed, self.last, self.took = False, time.monotonic(), 0.0

    def __call__(self, *, changed: bool) -> None:
        """Call it if it is time to."""
        self.changed |= changed
        now = time.monotonic()
        since = now - self.last
        if since < self.took / SHARE or not (self.changed or 0 < self.seconds < since):
            return
        self.function()
        self.changed, self.last = False, time.monotonic()
        self.took = self.last - now
