"""Processes of this machine."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

from lfo.processes import available_cores
from lfo.runs.hardware import pick_device
from lfo.study.executors.process import FORKS, WorkerProcess
from lfo.study.executors.protocol import Note, Resources

POLL_SECONDS = 0.2


class Local:
    """Does tasks in ``jobs`` processes at a time, by default one per core. The cores are shared out among them.

    Args:
        folder: of the study.
        resources: ``jobs`` and ``device`` count.
        note: not called.

    Raises:
        LfoError: the device is not there.
    """

    def __init__(self, folder: Path, resources: Resources, note: Note) -> None:
        pick_device(resources.device)
        jobs = resources.jobs or available_cores()
        threads = max(1, available_cores() // jobs)
        asked = os.environ.get("OMP_NUM_THREADS", "")
        threads = min(threads, int(asked)) if asked.isdigit() and int(asked) else threads
        self._idle = [WorkerProcess(folder, resources.device, threads) for _ in range(jobs)]
        self._busy: list[WorkerProcess] = []

    def room(self) -> int:
        """How many more tasks can start now."""
        return len(self._idle)

    def start(self, task: str) -> None:
        """Begin a task."""
        worker = self._idle.pop()  # the last one that ended: it has imported what a task needs
        worker.start(task)
        self._busy.append(worker)

    def ended(self, seconds: float) -> list[tuple[str, str | None]]:
        """Wait for a task to end, and give those that did, each with the reason if it failed."""
        if FORKS and self._busy:
            select.select(self._busy, [], [], seconds)
        else:
            time.sleep(min(seconds, POLL_SECONDS))
        found: list[tuple[str, str | None]] = []
        for worker in list(self._busy):
            code, task = worker.poll(), worker.task
            if code is not None and task is not None:
                found.append((task, worker.finish(code)))
                self._busy.remove(worker)
                self._idle.append(worker)
        return found

    def stop(self) -> None:
        """Tell all tasks to write their checkpoints and end, and wait. A second Ctrl-C kills them."""
        workers = [*self._busy, *self._idle]
        for worker in workers:
            worker.close()
        try:
            for worker in workers:
                worker.wait()
        except KeyboardInterrupt:
            for worker in workers:
                worker.kill()
            for worker in workers:
                worker.wait()
            raise
