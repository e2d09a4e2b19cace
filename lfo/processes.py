"""Tasks shared out over fresh processes, which end when they are told to and never outlive their parent."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, NoReturn, TypeVar

from lfo.errors import LfoError

Task = TypeVar("Task")
Result = TypeVar("Result")

LOOK_SECONDS, SLOWEST = 5, 100_000
"""Computing time that reading any file may take at least, and the bytes a second that it reads then, at least."""


def available_cores() -> int:
    """The CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_memory() -> int:
    """The bytes of memory that this process may have at most: the machine's, or the limit that it was started with."""
    if not hasattr(os, "sysconf"):
        return 1 << 40
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(memory, memory_limit() or memory)


def memory_limit() -> int | None:
    """The bytes of address space that this process was limited to, as by ``ulimit -v``; None without a limit."""
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def require_memory(need: int, what: str, remedy: str) -> None:
    """Check, before anything is allocated, that so many bytes can fit.

    Raises:
        LfoError: the memory here is less.
    """
    memory = usable_memory()
    if need > memory:
        raise LfoError(
            f"{what}: expected at most the {memory / 2**30:.1f} GiB of memory here, found that they need "
            f"{need / 2**30:,.1f} GiB; {remedy}"
        )


def isolated(function: Callable[..., Result], path: Path, *arguments: object) -> Result:
    """Call ``function(path, *arguments)``, which reads a file with a library that may crash or loop on a damaged one.

    On Linux it runs in a forked process, so that only that process crashes, is ended at Ctrl-C, or is ended because it
    has computed for more than 5 seconds and 10 more for each megabyte of the file. Elsewhere it runs here.

    Args:
        function: what it returns or raises is sent back, pickled.
        path: of the file.
        *arguments: more arguments of the function.

    Raises:
        LfoError: the process crashed or did not come to an end. Whatever ``function`` raises is raised here too.
    """
    if not _can_fork():
        return function(path, *arguments)
    child, status = 0, None
    with open(os.memfd_create("answer"), "w+b") as answer:
        try:
            with _children_ignore_ctrl_c(), warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", DeprecationWarning
                )  # of fork beside threads: h5py prepares for it
                child = os.fork()
                if child == 0:
                    _answer(answer, function, path, *arguments)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        finally:
            if child and status is None:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        if status != 0:
            raise LfoError(
                f"{path}: contents: expected data that its library can read, found {_end(status)}; the file is damaged: "
                "copy or record it again"
            )
        answer.seek(0)
        fine, value = pickle.load(answer)  # written by this program
    if not fine:
        raise value
    result: Result = value
    return result


def _can_fork() -> bool:
    return sys.platform == "linux"


def _answer(answer: IO[bytes], function: Callable[..., object], path: Path, *arguments: object) -> NoReturn:
    """In the forked process: write whether the function returned, and what it returned or raised; then end."""
    try:
        import resource

        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            _limit_computing(LOOK_SECONDS + path.stat().st_size // SLOWEST)
            outcome = True, function(path, *arguments)
        except BaseException as error:
            outcome = False, error
        pickle.dump(outcome, answer, protocol=5)
        answer.flush()
        os._exit(0)
    finally:
        os._exit(1)


def _limit_computing(seconds: int) -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    most = seconds if hard == resource.RLIM_INFINITY else min(seconds, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (most, hard))


def _end(code: int) -> str:
    """How an isolated process ended, as what was found in its file."""
    if code == -signal.SIGXCPU:
        return "some on which it computes without end"
    return (
        f"some on which it ends by {signal.Signals(-code).name}"
        if code < 0
        else "some on which it ends early"
    )


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
