"""A third algorithm is one file and one line: it goes through every command, and nothing else is changed for it."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import plugin
import pytest
from forked import forked
from shell import TINY_ROUNDS, assert_same_weights, copy, d3g, error, must

from lfo.algorithms import registry

OFTEN = "import lfo.training.loop as t; t.CHECKPOINT_SECONDS = 0.05"
WORDS = ("--algo", "mean", "--hidden", "8", "--set", "batch_size=16", "--seeds", "0-1", "--device", "cpu")


@pytest.fixture(scope="module", autouse=True)
def mean(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The algorithm, installed."""
    with plugin.installed(plugin.install(tmp_path_factory.mktemp("site"))):
        yield


def test_it_is_short_and_registered() -> None:
    assert len(plugin.FILE.splitlines()) <= 48
    assert registry.names() == ("d3g", "bco", "qsi", "mean")
    assert registry.spec("mean").label == "mean"
    assert "[d3g|bco|qsi|mean]" in must("train", "--help")


@pytest.fixture(scope="module")
def interacted(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("mean") / "run"
    must("train", dataset, "-o", run, "--steps", "40", *WORDS)
    must("interact", run, *TINY_ROUNDS)
    return run


def test_killed_and_resumed_it_is_the_same_run(dataset: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    words = (*WORDS, "--steps", "2000")
    must("train", dataset, "-o", whole, *words)
    with forked("train", dataset, "-o", broken, *words, patch=OFTEN) as process:
        process.until((broken / "checkpoint.pt").is_file)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    must("train", "-o", broken, "--resume", "--device", "cpu")
    assert_same_weights(broken, whole, least=10)


def test_it_is_measured_and_compared(interacted: Path, tmp_path: Path) -> None:
    found = json.loads(must("eval", interacted, "--episodes", "2", "--json"))
    assert found["algo"] == "mean"
    assert len(found["members"]) == 2
    must("interact", copy(interacted, tmp_path), "--resume", "--rounds", "3")
    table = must("compare", interacted, "-o", tmp_path / "report")
    assert "mean" in table
    assert (tmp_path / "report" / "report.png").is_file()


def test_it_is_a_row_of_a_study(tmp_path: Path) -> None:
    """In a process of the study, which finds it by its entry point."""
    toml = tmp_path / "s.toml"
    toml.write_text(
        'envs = ["Reacher-v5"]\nrandom_frac = [1.0]\nalgos = ["mean"]\nseeds = [0, 1]\n'
        "transitions = 300\ndatasets = 1\nsteps = 20\nrounds = 1\ninteractions = 20\ngrad_steps = 5\n"
        "episodes_per_round = 1\nfinal_episodes = 2\nhidden = 8\n[mean]\nbatch_size = 16\n"
    )
    done = d3g("study", toml, "-o", tmp_path / "s", "--jobs", "1")
    assert done.code == 0, done.err
    with open(tmp_path / "s" / "results.csv", newline="") as file:
        algos = [row["algo"] for row in csv.DictReader(file) if row["score_final"]]
    assert algos.count("mean") == 2
    assert "mean" in (tmp_path / "s" / "report.md").read_text()
    told = error("study", tmp_path / "s", "--set", "mean.batch_size=8")
    assert "mean: expected {'batch_size': 16}, as the study was started, found {'batch_size': 8}" in told


def test_a_misspelt_name_and_one_that_is_not_installed(
    dataset: Path, interacted: Path, tmp_path: Path
) -> None:
    done = d3g("train", dataset, "-o", tmp_path / "run", "--algo", "meen")
    assert done.code == 2
    assert "expected one of d3g, bco, qsi, mean" in done.err
    run = copy(interacted, tmp_path)
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "algo": "gone"}))
    told = error("eval", run)
    assert "run.json: algo: expected one of d3g, bco, qsi, mean, d3g-online, found 'gone'" in told
