"""Discrete actions from the command line: a data set of π_o, the rounds, the score, and a grid that was recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
from shell import must

from lfo import RunFolder
from lfo.study.spec import load_study

STAGE = ("--rounds", 1, "--interactions", 30, "--grad-steps", 3, "--episodes", 1, "--hidden", 8)


def test_cartpole_from_data_to_a_score(tmp_path: Path) -> None:
    data, run = tmp_path / "d.h5", tmp_path / "run"
    told = must("collect", "CartPole-v1", "--random-frac", 0.5, "--steps", 300, "--jobs", 1, "-o", data)
    assert "300 transitions of CartPole-v1" in told
    must("train", data, "-o", run, "--algo", "qsi", "--seeds", "0-1", "--hidden", 8)
    must("interact", run, *STAGE)
    assert "solved" in must("eval", run, "--episodes", 1)
    assert "QSI" in must("compare", run)


def test_the_grid_that_was_recorded_is_acted_in(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    data, run = tmp_path / "walk.h5", tmp_path / "run"
    must("gridworld", "dataset", "--windy-cliff", "--slip", 0.5, "--steps", 300, "-o", data)
    must("train", data, "-o", run, "--seeds", "0", "--hidden", 8, "--steps", 2)
    assert "30 interactions" in must("interact", run, *STAGE)
    stage = RunFolder(run).info()["interact"]
    assert (stage["env"], stage["env_kwargs"]) == (
        "lfo.tabular:lfo/GridWorld-v0",
        {"slip": 0.5, "windy_cliff": True},
    )


def test_a_study_takes_environments_with_discrete_actions(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text('envs = ["CartPole-v1", "Acrobot-v1"]\nrandom_frac = [0.5]\n')
    assert load_study(path).envs == ("CartPole-v1", "Acrobot-v1")
