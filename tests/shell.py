"""The command line as a shell sees it: exit code, stdout, stderr; in this process, or in one of its own."""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch

from lfo.cli import main

TINY = ("--hidden", "8", "--set", "batch_size=16", "--steps", "40")
TINY_ROUNDS = (
    "--rounds",
    "2",
    "--interactions",
    "30",
    "--grad-steps",
    "20",
    "--episodes",
    "2",
    "--hidden",
    "8",
)


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str


def d3g(*words: object) -> Done:
    """Run ``d3g-lfo`` with these words through the same function as the installed script."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        mock.patch.object(sys, "argv", ["d3g-lfo", *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
    assert isinstance(code, int)
    return Done(code, out.getvalue(), err.getvalue())


def must(*words: object) -> str:
    """The same where nothing may go wrong; gives stdout."""
    done = d3g(*words)
    assert done.code == 0, done.err
    return done.out


def error(*words: object) -> str:
    """The same where something has to: exit code 1, nothing on stdout, one line on stderr, which it gives."""
    done = d3g(*words)
    assert done.code == 1, done
    assert done.out == ""
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("Error: ")
    assert "Traceback" not in done.err
    return lines[0]


@contextlib.contextmanager
def start(*words: object, patch: str = "pass") -> Iterator[subprocess.Popen[str]]:
    """``d3g-lfo`` in a process of its own, after the statements ``patch``; warnings are errors there too."""
    code = f"import sys; {patch}; from lfo.__main__ import main; sys.argv[0] = 'd3g-lfo'; main()"
    command = [sys.executable, "-W", "error", "-c", code, *map(str, words)]
    pipe = subprocess.PIPE
    elsewhere = tempfile.gettempdir()  # in the repository its folder lfo would shadow the installed package
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=elsewhere) as process:
        try:
            yield process
        finally:
            process.kill()


def copy(run: Path, folder: Path) -> Path:
    """A copy of a run that may be changed."""
    return Path(shutil.copytree(run, folder / run.name))


def tensors(run: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint, optimisers included, by its path in it."""
    found: dict[str, torch.Tensor] = {}

    def walk(value: object, name: str) -> None:
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, dict):
            for key, part in value.items():
                walk(part, f"{name}/{key}")
        elif isinstance(value, list | tuple):
            for key, part in enumerate(value):
                walk(part, f"{name}/{key}")

    walk(torch.load(run / "checkpoint.pt", weights_only=True), "")
    return found


def assert_same_weights(one: Path, other: Path, least: int = 20) -> None:
    """Bit for bit."""
    first, second = tensors(one), tensors(other)
    assert first.keys() == second.keys()
    assert len(first) > least
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different


def ancestors(pid: int) -> list[int]:
    """The processes that started a process, the nearest first; none if it has ended."""
    found = []
    while pid > 1 and Path(f"/proc/{pid}/stat").exists():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(pid)
    return found
