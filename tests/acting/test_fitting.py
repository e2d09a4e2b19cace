"""An algorithm as an estimator: fit, history, save, load."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from shell import must

from lfo import BCO, D3G, evaluate, load_policy
from lfo.acting.rounds import act
from lfo.datasets import LfoError, load

ENV = "InvertedPendulum-v5"
SMALL = {"hidden": 8, "batch_size": 8, "device": "cpu"}
ROUNDS = {"rounds": 2, "interactions": 20, "grad_steps": 3, "episodes": 2}


@pytest.mark.parametrize("algorithm", [D3G, BCO])
def test_fit_save_and_load(
    algorithm: type[D3G] | type[BCO], dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lfo.training.loop.LOG_EVERY", 5)
    data = load(dataset)
    agent = algorithm.fit(data, ENV, seeds=range(2), steps=10, **SMALL, **ROUNDS)
    expected = {"step": [5, 5, 10, 10], "member": [0, 1, 0, 1]}
    if algorithm is BCO:  # three steps in each of two rounds
        expected = {"step": [3, 3, 5, 5, 6, 6], "member": [0, 1, 0, 1, 0, 1]}
    loss = "critic_loss" if algorithm is D3G else "policy_loss"
    assert {name: agent.history[name] for name in expected} == expected
    assert np.isfinite(agent.history[loss]).all()
    assert len({len(column) for column in agent.history.values()}) == 1
    assert agent.evaluations["round"] == [1] * 4 + [2] * 4
    assert agent.evaluations["interactions"] == [20] * 4 + [40] * 4
    assert min(agent.evaluations["return"]) > 0

    agent.save(tmp_path / "run")
    again = algorithm.load(tmp_path / "run", device="cpu")
    assert again.history == agent.history
    assert again.evaluations == agent.evaluations
    observations = np.random.default_rng(0).normal(size=(2, 3, 4))
    np.testing.assert_array_equal(act(agent, observations), act(again, observations))
    with pytest.raises(LfoError, match="already exists"):
        agent.save(tmp_path / "run")
    again.save(tmp_path / "run", overwrite=True)
    assert load_policy(tmp_path / "run", 1).record["dataset"]["sha256"] == data.metadata.sha256
    assert "2 × 1 episodes" in str(evaluate(again, ENV, episodes=1))


def test_the_command_line_takes_what_was_saved(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    D3G.fit(load(dataset), ENV, steps=4, **SMALL, **ROUNDS).save(run)
    assert "after 40 interactions" in must("eval", run, "--episodes", "1")
    assert "D3G" in must("compare", run)
    D3G.fit(load(dataset), steps=4, **SMALL).save(run, overwrite=True)
    must("interact", run, "--rounds", "1", "--interactions", "20", "--grad-steps", "3", "--episodes", "1")
    assert D3G.load(run).evaluations["round"] == [1]


def test_wrong_settings_name_the_nearest(dataset: Path) -> None:
    data = load(dataset)
    for name, nearest in (("hiden", "hidden"), ("round", "rounds"), ("gama", "gamma")):
        with pytest.raises(LfoError, match=rf"D3G\.fit: {name}: .*did you mean {nearest}\?"):
            D3G.fit(data, ENV, **{name: 8})
    with pytest.raises(LfoError, match="hidden: expected a whole number from 1 up, found -1"):
        D3G.fit(data, hidden=-1)
    with pytest.raises(LfoError, match="as rounds needs one, found none; pass env"):
        D3G.fit(data, rounds=2)
    with pytest.raises(LfoError, match="BCO, which learns in rounds of interaction, needs one"):
        BCO.fit(data)


def test_the_wrong_class_and_a_new_agent(bco: Path, tmp_path: Path) -> None:
    with pytest.raises(LfoError, match="expected a run of d3g, found one of bco"):
        D3G.load(bco)
    agent = BCO.load(bco)
    assert set(agent.evaluations["round"]) == {1, 2}
    agent.record = {}
    with pytest.raises(LfoError, match="call fit first"):
        agent.save(tmp_path / "run")


@pytest.mark.parametrize("progress", [True, False])
def test_a_bar_is_shown_on_a_terminal(
    dataset: Path, progress: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    D3G.fit(load(dataset), ENV, steps=4, progress=progress, **SMALL, **ROUNDS)
    told = capsys.readouterr().err
    assert ("train" in told and "round 2: act" in told) == progress
    assert bool(told) == progress
