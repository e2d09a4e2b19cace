"""Two processes at once: the second is told in one line what is running, and nothing is mixed."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from forked import Forked, forked
from shell import TINY, assert_same_weights, copy, d3g, error, must

from lfo import RunFolder
from lfo.locks import output_lock

LONG = ("--hidden", "8", "--set", "batch_size=16", "--steps", "10000000")


@contextmanager
def at_work(run: Path, *words: object) -> Iterator[Forked]:
    """A command that goes on for hours."""
    with forked(*words) as process:
        process.until((run / ".run.lock.by").is_file)
        yield process


def test_a_run_in_training_is_left_alone(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with at_work(run, "train", dataset, "-o", run, *LONG) as process:
        process.until((run / "run.json").is_file)
        told = (
            f"{run}: d3g-lfo train (process {process.pid}) is writing to it; wait until that ends, or stop it"
        )
        assert told in error("train", dataset, "-o", run, "--overwrite", *TINY)
        assert told in error("train", "-o", run, "--resume")
        assert told in error("interact", run)
        process.send_signal(signal.SIGKILL)
        process.wait()
    must("train", dataset, "-o", run, "--overwrite", *TINY)  # the lock of the dead is free
    assert not (run / ".run.lock.by").exists()


@pytest.mark.parametrize("second", ["interact", "eval"])
def test_rounds_are_done_by_one(trained: Path, tmp_path: Path, second: str) -> None:
    run = copy(trained, tmp_path)
    with at_work(run, "interact", run, "--rounds", "1", "--interactions", "10000000", "--hidden", "8"):
        line = error(second, run, *(["--overwrite"] if second == "interact" else []))
        assert "d3g-lfo interact (process " in line
    assert_same_weights(run, trained)


def test_a_file_is_recorded_by_one(tmp_path: Path) -> None:
    path = tmp_path / "d [1].h5"
    words = ("collect", "Reacher-v5", "--policy", "random", "--steps", "50", "-o", path)
    left = tmp_path / ".d [1].h5.123.tmp"
    left.touch()
    with output_lock(path, "collect"):
        assert f"{path}: d3g-lfo collect (process " in error(*words)
    assert not left.exists()
    assert d3g(*words).code == 0
    assert sorted(tmp_path.iterdir()) == [path]


def test_one_object_may_claim_twice_and_clears_up(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    (run.path / "interactions").mkdir(parents=True)
    left = [run.path / ".checkpoint.pt.12.tmp", run.path / "interactions" / ".round-0001.h5.12.tmp"]
    for path in left:
        path.touch()
    with run.claim("train"), run.claim("interact"):
        assert not any(path.exists() for path in left)
        assert (run.path / ".run.lock.by").read_text().startswith("train (process ")
    assert sorted(path.name for path in run.path.iterdir()) == [".run.lock", "interactions"]


@pytest.mark.parametrize("command", [("train",), ("online", "InvertedPendulum-v5")])
def test_what_is_refused_leaves_no_folder(command: tuple[str, ...], dataset: Path, tmp_path: Path) -> None:
    data = [dataset] if command == ("train",) else []
    out, kept = tmp_path / "run", tmp_path / "kept"
    assert "found that 100,000,000 units" in error(*command, *data, "-o", out, "--hidden", "100000000")
    assert not out.exists()
    kept.mkdir()  # what the user made stays
    error(*command, *data, "-o", kept, "--hidden", "100000000")
    assert kept.is_dir()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there are no terminals to close")
def test_closing_the_terminal_keeps_the_work(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with at_work(run, "train", dataset, "-o", run, *LONG) as process:
        process.until((run / "run.json").is_file)
        time.sleep(1.0)
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "finished work is saved" in err
    assert (run / "checkpoint.pt").is_file()
