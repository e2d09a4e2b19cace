"""What a command costs before it works, and the memory that it takes at most.

This module imports little: a process that is started counts what its parent held when it began.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from rows import Effort, Row
from timing import interleaved, ratio

__all__ = ["memory", "show_help"]

_COMMAND = "from lfo.cli import main; main()"
_HELLO = """
import click
@click.command()
def hello():
    click.echo("Hello")
hello()
"""
_WRITE = """
import sys
from pathlib import Path
from reading import write_file
print(write_file(Path(sys.argv[1]), int(sys.argv[2]), next_observations=True))
"""
_IMPORT = "from lfo.datasets import load"
_READ = "import sys; from lfo.datasets import load; load(sys.argv[1])"
_MB = 2**20


def show_help(effort: Effort) -> list[Row]:
    """``d3g-lfo --help`` against the least that a command made with click can be."""
    works = {"help": partial(_run, _COMMAND, "--help"), "hello": partial(_run, _HELLO)}
    found = ratio(interleaved(works, effort), "help", "hello")
    return [Row("`d3g-lfo --help`", "a hello-world of click", **found, reach=2.5)]


def memory(effort: Effort) -> list[Row]:
    """The greatest size of processes that read a file, and that train on it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "d.h5"
        data = int(_run(_WRITE, str(path), str(effort.rows)))
        size = f"{effort.rows:,} × 11"
        reading = peak(_READ, str(path)) - peak(_IMPORT)
        words = ("train", str(path), "-o", str(Path(folder) / "run"), "--device", "cpu")
        settings = ("--steps", str(effort.train_steps), "--hidden", str(effort.hidden))
        training = peak(_COMMAND, *words, *settings)
    bound = 700 * _MB + 2 * data
    return [
        Row(
            f"memory of reading {size}",
            "the arrays' bytes",
            *3 * [reading / data],
            note=f"{reading / _MB:.0f} MB",
        ),
        Row(
            f"peak memory of `d3g-lfo train`, {size}",
            "700 MB + 2 × the arrays' bytes",
            *3 * [training / bound],
            reach=1,
            note=f"{training / _MB:.0f} MB",
        ),
    ]


def _run(code: str, *words: str) -> str:
    """Run Python in a process; what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    return done.stdout


def peak(code: str, *words: str) -> int:
    """Run Python in a process; the greatest size it had, in bytes.

    Raises:
        RuntimeError: it failed.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parent,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: exit code {process.returncode}")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
