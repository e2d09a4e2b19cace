"""``d3g-lfo collect``, as a user runs it."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from forked import forked
from shell import d3g, error, must

from lfo.cli import cli
from lfo.datasets import load, load_with_actions
from lfo.envs.make import make_env
from lfo.runs.policy import load_run_policy


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
        (["Blackjack-v1", "-o", "d.h5"], "not supported yet"),
        (["Hopper-v5", "-o", "d.h5"], "no built-in expert for Hopper-v5"),
        (["Reacher-v5", "-o", "none/d.h5"], "no such folder"),
        (["Reacher-v5", "-o", "."], "found a directory"),
        (["Reacher-v5", "-o", "there.h5"], "--overwrite"),
        (["Reacher-v5", "-o", "d.h5", "--policy", "gone.zip"], "gone.zip: expected a file, found nothing"),
        (["Reacher-v5", "-o", "d.h5", "--policy", "model.zip"], "--trust-pickle"),
        (["Reacher-v5", "-o", "d.h5", "--policy", "there.h5"], "found neither"),
    ],
)
def test_errors_are_one_line_and_exit_1(
    tmp_path: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "there.h5", "not to be lost")
    (tmp_path / "model.zip").write_bytes(b"PK\x05\x06" + bytes(18))  # an empty zip archive
    before = sorted(os.listdir(tmp_path))
    # A million steps: a check that came after the work would be felt.
    assert message in error("collect", *arguments, "--random-frac", "0.5", "--steps", "1000000")
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


def test_random_data_needs_no_expert_and_no_fraction(tmp_path: Path) -> None:
    for number, arguments in enumerate((["--random-frac", "1"], ["--policy", "random"])):
        out = must("collect", "Hopper-v5", *arguments, "--steps", "30", "-o", tmp_path / f"{number}.h5")
        assert "policy random, random_frac 1" in out
    np.testing.assert_array_equal(load(tmp_path / "0.h5").states, load(tmp_path / "1.h5").states)
    done = d3g("collect", "Reacher-v5", "-o", tmp_path / "d.h5")
    assert done.code == 2
    assert "Missing option '--random-frac'" in done.err


def test_progress_is_told_where_there_is_no_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lfo.cli._progress.FIRST_SECONDS", 0.0)
    done = d3g("collect", "Reacher-v5", "--policy", "random", "--steps", "600", "-o", tmp_path / "d.h5")
    assert re.match(r"collect Reacher-v5: \d+% of 600 steps, \S+/s, .* left\n$", done.err)


def test_a_trained_run_is_the_policy(interacted: Path, tmp_path: Path) -> None:
    """What is recorded are the actions of the member asked for, without noise."""
    from lfo.runs.folder import RunFolder
    from lfo.runs.loading import load_agent

    agent = load_agent(RunFolder(interacted), "cpu")
    arguments = ["--random-frac", "0", "--steps", "100", "--keep-actions"]
    for member in (0, 1):
        path = tmp_path / f"{member}.h5"
        more = ["--member", member] if member else []
        out = must("collect", "InvertedPendulum-v5", "--policy", interacted, *more, *arguments, "-o", path)
        assert f"policy {interacted.name}, seed {member}, random_frac 0" in out
        data, actions = load_with_actions(path)
        states = torch.from_numpy(data.states.copy()).expand(2, -1, -1)
        np.testing.assert_allclose(actions, agent.act(states)[member].numpy(), atol=1e-5)


def test_a_run_acts_in_other_processes_too(interacted: Path) -> None:
    policy = load_run_policy(interacted, make_env("InvertedPendulum-v5"), member=1)
    states = np.ones((3, 4), np.float32)
    copied = pickle.loads(pickle.dumps(policy))
    assert "agent" not in vars(copied)
    np.testing.assert_array_equal(copied.act(states), policy.act(states))


def test_runs_that_cannot_be_the_policy(trained: Path, interacted: Path, tmp_path: Path) -> None:
    words = ["--random-frac", "0", "-o", tmp_path / "d.h5"]
    told = error("collect", "InvertedPendulum-v5", "--policy", trained, *words)
    assert f"run `d3g-lfo interact {trained}` first" in told
    told = error("collect", "InvertedPendulum-v5", "--policy", interacted, "--member", "2", *words)
    assert "member: expected 0 to 1, found 2" in told
    told = error("collect", "Hopper-v5", "--policy", interacted, *words)
    assert "length 4" in told
    assert "use the environment that the run has interacted with" in told
    done = d3g("collect", "Reacher-v5", "--member", "1", *words)
    assert done.code == 2
    assert "--member" in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_is_one_line_and_leaves_no_file(number: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    words = ["--random-frac", "1", "--steps", "50000000", "--jobs", "2", "-o", path]
    with forked("collect", "Reacher-v5", *words) as process:
        time.sleep(1.5)  # its processes have begun, or are beginning
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert out == ""
    assert process.returncode == (1 if number == signal.SIGINT else -signal.SIGKILL)
    assert len(err.splitlines()) == (1 if number == signal.SIGINT else 0), err
    assert list(tmp_path.iterdir()) == []


def test_the_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        must("collect", "Reacher-v5", "--policy", "random", "--steps", "10", "-o", tmp_path / "d.h5")
    finally:
        os.umask(before)
    assert (tmp_path / "d.h5").stat().st_mode & 0o777 == 0o640
    told = error("collect", "Reacher-v5", "--policy", "random", "-o", tmp_path / "d.h5")
    assert told == f"Error: {tmp_path / 'd.h5'}: already exists; pass --overwrite to replace it"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        with open("/dev/full", "wb") as file:
            file.write(b"x")

    monkeypatch.setattr("lfo.datasets.writer._write", full)
    told = error("collect", "Reacher-v5", "--policy", "random", "--steps", "10", "-o", tmp_path / "d.h5")
    assert "cannot be written: No space left on device" in told
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_records_what_python_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes from the command line, one in Python: the same data."""
    from lfo.datasets.collect import collect

    monkeypatch.setattr("lfo.datasets.collect.GROUP_ROWS", 1_000)
    arguments = ["--random-frac", "0.5", "--jobs", "2", "--seed", "7", "--steps", "1600"]  # two groups
    must("collect", "Reacher-v5", *arguments, "-o", tmp_path / "d.h5")
    data, _ = collect("Reacher-v5", random_frac=0.5, steps=1_600, seed=7)
    np.testing.assert_array_equal(data.states, load(tmp_path / "d.h5").states)
