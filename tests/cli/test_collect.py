"""``d3g-lfo collect``, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from lfo.cli import cli
from lfo.datasets import load


def run(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: what a shell sees."""
    code = "import sys; from lfo.cli import main; sys.argv[0] = 'd3g-lfo'; main()"
    command = [sys.executable, "-W", "error", "-c", code, "collect", *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def test_collects_a_file_without_actions(tmp_path: Path) -> None:
    done = run("Reacher-v5", "--random-frac", "0.5", "-o", "d.h5", "--steps", "500", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no progress bar where nobody watches
    assert done.stdout.startswith("d.h5: 500 transitions of Reacher-v5 in 10 episodes, return -")
    assert "without actions" in done.stdout
    with h5py.File(tmp_path / "d.h5") as file:
        assert "actions" not in file
        assert file.attrs["policy_return_mean"] >= -4.2
    data = load(tmp_path / "d.h5")
    assert len(data) == 500
    assert (data.metadata.env_id, data.metadata.random_frac, data.metadata.policy) == (
        "Reacher-v5",
        0.5,
        "expert",
    )


def test_keeps_actions_when_told_and_overwrites_when_told(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    arguments = [
        "collect",
        "Reacher-v5",
        "--random-frac",
        "1",
        "-o",
        str(path),
        "--steps",
        "100",
        "--seed",
        "3",
    ]
    first = CliRunner().invoke(cli, [*arguments, "--keep-actions"], catch_exceptions=False)
    assert first.exit_code == 0
    assert "with actions" in first.output
    with h5py.File(path) as file:
        assert file["actions"].shape == (100, 2)
    before = load(path)
    again = CliRunner().invoke(cli, [*arguments, "--overwrite"], catch_exceptions=False)
    assert again.exit_code == 0
    with h5py.File(path) as file:
        assert "actions" not in file
    np.testing.assert_array_equal(before.states, load(path).states)


def put(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["InvertedPendulm-v5", "-o", "d.h5"], "did you mean InvertedPendulum-v5"),
        (["CartPole-v1", "-o", "d.h5"], "not supported yet"),
        (["Hopper-v5", "-o", "d.h5"], "no built-in expert for Hopper-v5"),
        (["Reacher-v5", "-o", "none/d.h5"], "no such folder"),
        (["Reacher-v5", "-o", "."], "found a directory"),
        (["Reacher-v5", "-o", "there.h5"], "--overwrite"),
        (["Reacher-v5", "-o", "d.h5", "--policy", "gone.zip"], "gone.zip: expected a file, found nothing"),
        (["Reacher-v5", "-o", "d.h5", "--policy", "model.zip"], "--trust-pickle"),
        (["Reacher-v5", "-o", "d.h5", "--policy", "there.h5"], "found neither"),
    ],
)
def test_errors_are_one_line_and_exit_1(tmp_path: Path, arguments: list[str], message: str) -> None:
    put(tmp_path / "there.h5", "not to be lost")
    (tmp_path / "model.zip").write_bytes(b"PK\x05\x06" + bytes(18))  # an empty zip archive
    before = sorted(os.listdir(tmp_path))
    # A million steps: a check that came after the work would be felt.
    done = run(*arguments, "--random-frac", "0.5", "--steps", "1000000", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: ")
    assert message in lines[0]
    assert "Traceback" not in done.stderr
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "there.h5").read_text() == "not to be lost"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    done = run("Reacher-v5", "--random-frac", "0", "-o", "locked/d.h5", cwd=tmp_path)
    assert done.returncode == 1
    assert "not writable" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["Reacher-v5", "-o", "d.h5"],
        ["Reacher-v5", "--random-frac", "1"],
        ["Reacher-v5", "--random-frac", "1.5", "-o", "d.h5"],
        ["Reacher-v5", "--random-frac", "1", "-o", "d.h5", "--steps", "0"],
        ["Reacher-v5", "--random-frac", "1", "-o", "d.h5", "--jobs", "0"],
        ["Reacher-v5", "--random-frac", "1", "-o", "d.h5", "--seed", "-1"],
        ["--random-frac", "1", "-o", "d.h5"],
    ],
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, ["collect", *arguments]).exit_code == 2


def test_the_command_line_records_what_python_records(tmp_path: Path) -> None:
    """Two processes from the command line, one in Python: the same data."""
    from lfo.datasets.collect import collect

    arguments = ["--random-frac", "0.5", "--jobs", "2", "--seed", "7", "--steps", "76000"]  # two groups
    done = run("Reacher-v5", *arguments, "-o", "d.h5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    data, _ = collect("Reacher-v5", random_frac=0.5, steps=76_000, seed=7)
    np.testing.assert_array_equal(data.states, load(tmp_path / "d.h5").states)
