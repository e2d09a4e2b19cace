"""Tasks in processes: results, errors, sudden ends, and that nothing is left behind."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lfo import processes
from lfo.errors import LfoError
from lfo.processes import isolated, share_out

SCRIPT = """
import sys, time
from pathlib import Path
from lfo.processes import share_out

def work(task):
    Path(f"started{task}").touch()
    time.sleep(SECONDS)
    Path(f"finished{task}").touch()

if __name__ == "__main__":
    try:
        share_out(work, range(4), 2, lambda index, result: None, finish=FINISH)
    except KeyboardInterrupt:
        sys.exit("interrupted")
"""


@pytest.mark.parametrize("jobs", [1, 2, 9])
def test_every_result_arrives_with_its_index(jobs: int) -> None:
    found: dict[int, float] = {}
    share_out(math.sqrt, [0, 1, 4, 9, 16], jobs, found.__setitem__)
    assert found == {0: 0, 1: 1, 2: 2, 3: 3, 4: 4}


def test_nothing_to_do() -> None:
    share_out(math.sqrt, [], 2, lambda index, result: None)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_is_raised_here(jobs: int) -> None:
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        share_out(math.sqrt, [1, -1, 4], jobs, lambda index, result: None)


def test_a_process_that_ends_suddenly_is_one_line() -> None:
    with pytest.raises(LfoError, match=r"ended before its work was done.*--jobs 1") as caught:
        share_out(os._exit, [3, 3], 2, lambda index, result: None)
    assert "\n" not in str(caught.value)


def start(folder: Path, seconds: float, finish: bool) -> subprocess.Popen[str]:
    """The script in a session of its own, so that all of its processes can be asked for."""
    script = folder / "script.py"
    script.write_text(SCRIPT.replace("SECONDS", str(seconds)).replace("FINISH", str(finish)))
    return subprocess.Popen(
        [sys.executable, script], stderr=subprocess.PIPE, text=True, cwd=folder, start_new_session=True
    )


def wait_for(what: Path) -> None:
    until = time.monotonic() + 60
    while not what.exists():
        assert time.monotonic() < until
        time.sleep(0.01)


def all_ended(session: int) -> bool:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups")
@pytest.mark.parametrize("everybody", [False, True])
def test_ctrl_c_ends_at_once_and_leaves_no_process(tmp_path: Path, everybody: bool) -> None:
    """A terminal sends Ctrl-C to the parent and to its children, ``kill -INT`` to the parent alone."""
    process = start(tmp_path, seconds=600, finish=False)
    wait_for(tmp_path / "started0")
    (os.killpg if everybody else os.kill)(process.pid, signal.SIGINT)
    assert process.communicate(timeout=30)[1] == "interrupted\n"
    assert all_ended(process.pid)
    assert not list(tmp_path.glob("finished*"))


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups")
def test_ctrl_c_while_processes_start_shows_no_traceback(tmp_path: Path) -> None:
    process = start(tmp_path, seconds=600, finish=False)
    time.sleep(0.6)  # about when they import
    os.killpg(process.pid, signal.SIGINT)
    error = process.communicate(timeout=30)[1]
    assert error == "interrupted\n" or "spawn_main" not in error, error
    assert all_ended(process.pid)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups")
def test_ctrl_c_with_finish_lets_tasks_under_way_finish(tmp_path: Path) -> None:
    process = start(tmp_path, seconds=1.5, finish=True)
    wait_for(tmp_path / "started0")
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=30)[1] == "interrupted\n"
    started, finished = list(tmp_path.glob("started*")), list(tmp_path.glob("finished*"))
    assert len(finished) == len(started) > 0


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups")
def test_processes_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    process = start(tmp_path, seconds=600, finish=False)
    wait_for(tmp_path / "started0")
    process.kill()
    process.communicate(timeout=30)
    assert all_ended(process.pid)


def crash(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def loop(path: Path) -> None:
    while True:
        pass


def refuse(path: Path, reason: str) -> None:
    raise LfoError(reason)


linux = pytest.mark.skipif(sys.platform != "linux", reason="nothing is forked here")


@linux
@pytest.mark.parametrize(("function", "found"), [(crash, "ends by SIGSEGV"), (loop, "computes without end")])
def test_a_library_that_crashes_or_loops_on_a_file_is_one_line(
    function: Callable[..., None], found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOOK_SECONDS", 1)
    with pytest.raises(LfoError, match=f"contents: expected data .* {found}; the file is damaged"):
        isolated(function, tmp_path)


@linux
def test_ctrl_c_works_while_a_library_reads(tmp_path: Path) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            isolated(loop, tmp_path)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_what_an_isolated_function_returns_or_raises_arrives(tmp_path: Path) -> None:
    assert isolated(lambda path, more: (path, more), tmp_path, 3) == (tmp_path, 3)
    with pytest.raises(LfoError, match="no such column"):
        isolated(refuse, tmp_path, "no such column")


def test_what_cannot_fit_is_refused_before_it_is_allocated() -> None:
    processes.require_memory(1, "1 step", "record fewer")
    with pytest.raises(
        LfoError, match=r"^9 steps: expected at most the .* GiB of memory here, found .*; record fewer$"
    ):
        processes.require_memory(1 << 60, "9 steps", "record fewer")
