"""Ctrl-C and kill -9 in real processes, then --resume: nothing finished is lost, and the result is the same."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from unittest import mock

import pytest
import torch
from forked import Forked, forked
from shell import TINY, assert_same_weights, copy, must

from lfo import RunFolder
from lfo.training import loop as trainer

ROUNDS = ("--rounds", "8", "--interactions", "30", "--grad-steps", "40", "--episodes", "2", "--hidden", "8")
OFTEN = """
import time, lfo.training.loop, lfo.runs.folder

lfo.training.loop.CHECKPOINT_SECONDS, lfo.training.loop.LOG_EVERY = 0.05, 50
save = lfo.runs.folder.RunFolder.save_agent

def and_rest(*words, **more):
    save(*words, **more)
    time.sleep(0.3)

lfo.runs.folder.RunFolder.save_agent = and_rest
"""
"""Checkpoints often, and time to end the command between them, however busy the machine is."""
STEPS = 400
WORDS = (*TINY[:-1], str(STEPS), "--seeds", "0-1", "--device", "cpu")


def end(process: Forked, number: signal.Signals) -> str:
    """Send a signal and give stderr."""
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == (1 if number == signal.SIGINT else -signal.SIGKILL), (out, err)
    if number == signal.SIGINT:
        assert len(err.splitlines()) == 1, err
        assert err.startswith("Error: interrupted; finished work is saved, continue with `d3g-lfo ")
        assert "--resume`" in err
    return err


def steps_done(run: Path) -> int:
    """By the checkpoint."""
    found: int = torch.load(run / "checkpoint.pt", weights_only=True)["agent"]["_extra_state"]["updates"]
    return found


@pytest.fixture(scope="module")
def steady(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training that nobody interrupts."""
    out = tmp_path_factory.mktemp("steady") / "run"
    with mock.patch.object(trainer, "LOG_EVERY", 50):
        must("train", dataset, "-o", out, *WORDS)
    return out


@pytest.fixture(scope="module", params=["d3g", "bco"])
def stages(
    request: pytest.FixtureRequest, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A run before and after the inverse stage that nobody interrupts."""
    folder = tmp_path_factory.mktemp("stages")
    before = folder / "run"
    must("train", dataset, "-o", before, "--seeds", "0-1", "--algo", request.param, *TINY)
    after = copy(before, folder / "after")
    must("interact", after, *ROUNDS)
    return before, after


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_train_goes_on_as_if_nothing_had_been(
    number: signal.Signals, dataset: Path, steady: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "LOG_EVERY", 50)
    broken = tmp_path / "broken"
    with forked("train", dataset, "-o", broken, *WORDS, patch=OFTEN) as process:
        process.until((broken / "checkpoint.pt").is_file)
        end(process, number)
    done = steps_done(broken)
    assert 0 < done < STEPS
    assert len(RunFolder(broken).rows("metrics.csv")) >= done // 50 * 2  # what was logged is on disk
    must("train", "-o", broken, "--resume", "--device", "cpu")
    assert steps_done(broken) == steps_done(steady) == STEPS
    assert_same_weights(broken, steady)
    assert (broken / "metrics.csv").read_text() == (steady / "metrics.csv").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interact_goes_on_as_if_nothing_had_been(
    number: signal.Signals, stages: tuple[Path, Path], tmp_path: Path
) -> None:
    fresh, whole = stages
    broken = copy(fresh, tmp_path)
    with forked("interact", broken, *ROUNDS, patch=OFTEN) as process:
        process.until(lambda: len(RunFolder(broken).rows("evaluations.csv")) >= 2 * 2 * 2)
        end(process, number)
    rows = RunFolder(broken).rows("evaluations.csv")
    finished = int(rows[-1]["round"])
    assert 2 <= finished < 8
    must("interact", broken, "--resume")
    assert RunFolder(broken).rows("evaluations.csv")[: len(rows)] == rows
    assert_same_weights(broken, whole)
    assert (broken / "evaluations.csv").read_text() == (whole / "evaluations.csv").read_text()
    for name, array in RunFolder(whole).interactions().items():
        assert (RunFolder(broken).interactions()[name] == array).all()


def test_ctrl_c_in_the_first_round_keeps_the_settings(trained: Path, tmp_path: Path) -> None:
    """There is no round to go on after; what was asked for is remembered all the same."""
    run = copy(trained, tmp_path)
    with forked("interact", run, "--rounds", "1", "--interactions", "1000000", "--hidden", "8") as process:
        process.until(lambda: "interact" in RunFolder(run).info())
        time.sleep(0.2)
        end(process, signal.SIGINT)
    kept = RunFolder(run).info()["interact"]["config"]
    assert (kept["rounds"], kept["interactions"], kept["hidden"]) == (1, 1_000_000, 8)
    assert RunFolder(run).rows("evaluations.csv") == []
    must("interact", run, "--resume", "--interactions", "20", "--grad-steps", "5")
