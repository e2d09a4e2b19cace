"""Tasks shared out over fresh processes, which end when they are told to and never outlive their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import TypeVar

from lfo.errors import LfoError

Task = TypeVar("Task")
Result = TypeVar("Result")


def available_cores() -> int:
    """The CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_memory() -> int:
    """The bytes of memory that this process may have at most: the machine's, or the limit that it was started with."""
    if not hasattr(os, "sysconf"):
        return 1 << 40
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    import resource  # where there is sysconf, there is this

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return memory if limit == resource.RLIM_INFINITY else min(memory, limit)


def share_out(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    jobs: int,
    done: Callable[[int, Result], object],
    *,
    finish: bool = False,
) -> None:
    """Call ``function`` on every task, in ``jobs`` processes at most.

    Processes are spawned, not forked, since the caller may have threads: a script that asks for more than one
    needs the ``if __name__ == "__main__"`` guard.

    Args:
        function: picklable; with one job it runs in this process.
        tasks: picklable.
        jobs: at least 1.
        done: called with a task's index and its result, as tasks finish.
        finish: on an error or Ctrl-C, let the tasks under way finish; else they are stopped at once.

    Raises:
        LfoError: a process ended before its task did. Whatever ``function`` raises is raised here too.
    """
    if min(jobs, len(tasks)) <= 1:
        for index, task in enumerate(tasks):
            done(index, function(task))
        return
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)  # a worker ends when our end is closed, even by kill -9
    pool = ProcessPoolExecutor(
        min(jobs, len(tasks)), mp_context=context, initializer=_start_worker, initargs=(reader,)
    )
    try:
        with _children_ignore_ctrl_c():
            futures = {pool.submit(function, task): index for index, task in enumerate(tasks)}
        for future in as_completed(futures):
            done(futures[future], future.result())
    except BrokenProcessPool as error:
        raise LfoError(
            "a worker process ended before its work was done (out of memory?); try --jobs 1"
        ) from error
    except BaseException:
        if not finish:
            writer.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        writer.close()
        reader.close()


def _start_worker(parent: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where signals cannot be blocked

    def watch() -> None:
        try:
            parent.recv()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _children_ignore_ctrl_c() -> Iterator[None]:
    """Start processes that never see Ctrl-C, not even while they import; the parent handles it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
