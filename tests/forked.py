"""Commands in processes of their own that begin at once: they are forked from one that has imported everything."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

IMPORTED = (
    "matplotlib.figure",
    "gymnasium.envs.mujoco",
    "lfo.acting.rounds",
    "lfo.algorithms.inverse",
    "lfo.cli.collect",
    "lfo.cli.interact",
    "lfo.cli.study",
    "lfo.cli.train",
    "lfo.datasets",
    "lfo.study.scheduler",
    "lfo.training.loop",
)


class Forked:
    """A command at work, with those methods of :class:`subprocess.Popen` that tests need.

    Args:
        folder: for what it prints.
        words: of the command.
        patch: statements that it executes before.
    """

    def __init__(self, folder: Path, words: tuple[object, ...], patch: str) -> None:
        self.folder = folder
        self.returncode: int | None = None
        """None until :meth:`poll` or another method has seen the end."""
        request = {
            "folder": str(folder),
            "words": list(map(str, words)),
            "patch": patch,
            "env": {**os.environ},
        }
        server = _server()
        assert server.stdin is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        while not (folder / "pid").exists():
            assert server.poll() is None
            time.sleep(0.002)
        self.pid = int((folder / "pid").read_text())

    def poll(self) -> int | None:
        """The exit code; None while it is at work."""
        path = self.folder / "code"
        if self.returncode is None and path.exists():
            self.returncode = int(path.read_text())
        return self.returncode

    def wait(self, timeout: float = 600) -> int:
        """Wait for its end; its exit code."""
        until = time.monotonic() + timeout
        while (code := self.poll()) is None:
            assert time.monotonic() < until, "does not end"
            time.sleep(0.005)
        return code

    def communicate(self, timeout: float = 600) -> tuple[str, str]:
        """Wait for its end; what it printed on stdout and on stderr."""
        self.wait(timeout)
        return (self.folder / "out").read_text(), (self.folder / "err").read_text()

    def until(self, what: Callable[[], bool]) -> None:
        """Wait until ``what()`` is true, and check that it is still at work then."""
        patience = time.monotonic() + 600
        while not what():
            assert self.poll() is None, self.communicate()
            assert time.monotonic() < patience, "took too long"
            time.sleep(0.01)

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """At once."""
        self.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def forked(*words: object, patch: str = "pass") -> Iterator[Forked]:
    """``d3g-lfo`` with these words, after the statements ``patch``; warnings are errors there too."""
    with tempfile.TemporaryDirectory() as folder:
        process = Forked(Path(folder), words, patch)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@cache
def _server() -> subprocess.Popen[str]:
    """The process that forks. It ends with this one."""
    code = f"import sys; sys.path.append({str(Path(__file__).parent)!r}); import forked; forked.serve()"
    elsewhere = tempfile.gettempdir()  # in the repository its folder lfo would shadow the installed package
    words = [sys.executable, "-W", "error", "-c", code]
    server = subprocess.Popen(words, stdin=subprocess.PIPE, text=True, cwd=elsewhere)
    atexit.register(server.communicate)
    return server


def serve() -> None:
    """Fork a command for every line of stdin."""
    for name in IMPORTED:
        __import__(name)
    while line := sys.stdin.readline():
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if os.fork() == 0:
            _keep(json.loads(line))


def _keep(request: dict[str, Any]) -> NoReturn:
    """Begin a command, and write down its process and its exit code."""
    folder = Path(request["folder"])
    child = os.fork()
    if child == 0:
        _work(folder, request)
    _write(folder / "pid", child)
    _write(folder / "code", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os._exit(0)


def _write(path: Path, number: int) -> None:
    path.with_suffix(".new").write_text(str(number))
    with contextlib.suppress(FileNotFoundError):  # nobody waits for it any more
        path.with_suffix(".new").replace(path)


def _work(folder: Path, request: dict[str, Any]) -> NoReturn:
    code: object = 0
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
        os.environ.clear()
        os.environ.update(request["env"])
        sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
        exec(request["patch"], {})
        sys.argv = ["d3g-lfo", *request["words"]]
        from lfo.__main__ import main

        main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        code = 1
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)
