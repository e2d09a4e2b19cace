"""The parent's side of a worker process, see :mod:`lfo.study.worker`."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

FORKS = sys.platform == "linux"
"""Whether a worker forks for each task. Elsewhere it does one task and ends."""
STOPPED = 130
"""Exit code of a task that was told to stop."""
MACHINE_FAULT = 75
"""Exit code of a task that failed because of its machine, such as a full disk: another machine may do it."""

# In the parent's import path, whatever folder the worker is in.
_START = "import sys; sys.path[:] = sys.argv.pop(1).split(chr(10)); from lfo.study.worker import main; main()"


class WorkerProcess:
    """A process that does one task at a time. It starts with the first, and again if it was killed.

    The process has a session of its own, so Ctrl-C reaches only the parent.

    Args:
        folder: of the study.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: of each task.
        path: where it imports from; None means where this process does.
    """

    def __init__(self, folder: Path, device: str, threads: int, path: Sequence[str] | None = None) -> None:
        self.folder, self.device, self.threads = folder, device, threads
        self.path = list(sys.path if path is None else path)
        self.task: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, task: str, env: Mapping[str, str] | None = None) -> None:
        """Begin a task; none may be under way.

        Args:
            task: its path in the study's folder.
            env: environment variables for this task.
        """
        self.task = task
        request = {"task": task, "log": str(self._log(task)), "env": dict(env or {})}
        process = self._process = self._alive() or self._new(task)
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # killed a moment ago; poll() sees that
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()

    def poll(self, seconds: float = 0.0) -> int | None:
        """The exit code of the task: negative if a signal ended it; None while it is at work.

        Args:
            seconds: to wait for it, at most.
        """
        process = self._process
        if process is None or process.stdout is None or self.task is None:
            return None
        line = b""
        if FORKS:
            if not select.select([process.stdout], [], [], seconds)[0]:
                return None
            line = process.stdout.readline()
        elif process.poll() is None:
            return None
        if line:
            return int(line)
        code = process.wait()  # killed itself, or one that does only one task
        self.close()
        return code

    def finish(self, code: int) -> str | None:
        """Forget the task, which ended with this exit code, and give the reason if it failed."""
        assert self.task is not None
        log, self.task = self._log(self.task), None
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

    def close(self) -> None:
        """Tell it to write its checkpoint and end."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def wait(self) -> None:
        """Wait for its end, after :meth:`close`."""
        if self._process is not None:
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def kill(self) -> None:
        """End it and its task at once."""
        if self._process is not None and self._process.poll() is None:
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def fileno(self) -> int:
        """To wait for several with :func:`select.select`."""
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def _alive(self) -> subprocess.Popen[bytes] | None:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        self.wait()
        return None

    def _new(self, task: str) -> subprocess.Popen[bytes]:
        words = ["\n".join(self.path), str(self.folder), self.device]
        with open(self._log(task), "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-c", _START, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": str(self.threads)},
                start_new_session=True,
            )

    def _log(self, task: str) -> Path:
        return self.folder / "logs" / f"{Path(task).name}.log"


def another_machine_may_do(code: int) -> bool:
    """Whether a task with this exit code was killed, stopped or failed because of its machine."""
    return code < 0 or code in (STOPPED, MACHINE_FAULT)
