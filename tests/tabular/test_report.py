"""Trials, their storage, and findings whose words follow the numbers."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from lfo.datasets import LfoError
from lfo.datasets import load as load_dataset
from lfo.datasets import save as save_dataset
from lfo.reporting.statistics import estimate
from lfo.tabular import EXPERIMENTS, experiments, learning, make_grid, run_experiments, write_report
from lfo.tabular.dataset import random_walk_dataset
from lfo.tabular.experiments import Task, load_trial, run_trial, save_trial, trial_path
from lfo.tabular.learning import episodes_to_learn
from lfo.tabular.report import FINDINGS, Summary

TINY = Task("equivalence", 0, 0, 20, 0)


def summary(name="x", *, learned_at=(100, 110, 90), final=-18.0, predicted=-1.0, true=-1.0, best=-18.0, **kw):
    learned_at = np.array(learned_at, dtype=float)
    full = np.full_like(learned_at, 1)
    grid = make_grid(windy_cliff=best > 0)
    return Summary(name, grid, best, learned_at, final * full, predicted * full, true * full, 1000, **kw)


SLOWER = summary(learned_at=(400, 410, 390))
NEVER = summary(learned_at=(np.inf,) * 3, final=-500.0)


# -------------------------------------------------------------------------------------------------- numbers


def test_an_interval_of_equal_trials_has_no_width():
    found = estimate(np.full(7, 3.0))
    assert [found.mean, found.low, found.high] == pytest.approx([3, 3, 3])


def test_a_bootstrap_interval_is_about_that_of_the_normal_law():
    values = np.random.default_rng(1).normal(size=50)
    found = estimate(values)
    expected = 1.96 * values.std(ddof=0) / np.sqrt(50)
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.1)
    assert found.low < values.mean() < found.high


def test_episodes_to_learn_by_hand():
    returns = np.full(1001, -500.0)
    returns[400] = -18  # once, by chance
    returns[600:] = -18
    assert episodes_to_learn(returns, -500, -18) == 600
    assert episodes_to_learn(np.r_[-500.0, np.full(20_000, -18.0)], -500, -18) == 1  # not 0
    assert episodes_to_learn(returns[:600], -500, -18) == np.inf
    returns[990:] = -500  # lost again
    assert episodes_to_learn(returns, -500, -18) == np.inf


@pytest.mark.parametrize("episodes", [1, 2, 7, 300, 50_000])
def test_windows_cover_every_evaluation_once(episodes):
    ends = learning.report_points(episodes)
    assert ends[0] == 1
    assert ends[-1] == episodes + 1
    assert (np.diff(ends) > 0).all()
    returns = np.arange(episodes + 1, dtype=float)[None]
    means = learning.window_means(returns, ends)
    widths = np.diff(ends, prepend=0)
    assert (means * widths).sum() == pytest.approx(returns.sum())
    assert means[0, 0] == 0


# -------------------------------------------------------------------------------------------------- findings


@pytest.mark.parametrize(
    ("experiment", "curves", "verdict", "words"),
    [
        ("equivalence", [summary(), summary()], "agrees", "the two learn alike"),
        ("equivalence", [SLOWER, summary()], "disagrees", "the two do not learn alike"),
        ("equivalence", [summary(final=-20.0), summary()], "disagrees", "not all trials end optimal"),
        ("equivalence", [NEVER, summary()], "undecided", "too few episodes"),
        ("redundant", [summary()] * 4 + [SLOWER, NEVER], "agrees", "QSS does not slow down"),
        ("redundant", [summary()] * 6, "disagrees", "QSA does not slow down"),
        ("redundant", [summary(), SLOWER, *[summary()] * 2, SLOWER, NEVER], "disagrees", "changes its speed"),
        ("redundant", [summary(), NEVER, *[summary()] * 2, SLOWER, NEVER], "disagrees", "QSS slows down"),
        ("redundant", [NEVER] * 6, "undecided", "too few episodes"),
        ("permuted", [summary(), summary(), SLOWER, SLOWER, SLOWER], "agrees", "Only I has to be relearned"),
        ("permuted", [summary(), NEVER, SLOWER, SLOWER, SLOWER], "disagrees", "I alone does not suffice"),
        ("permuted", [SLOWER, SLOWER, summary(), SLOWER, SLOWER], "disagrees", "Only I has to be relearned"),
        ("permuted", [summary(), NEVER, NEVER, SLOWER, SLOWER], "undecided", "Too few episodes"),
    ],
)
def test_findings_say_what_was_measured(experiment, curves, verdict, words):
    finding = FINDINGS[experiment](curves)
    assert finding.verdict == verdict
    assert words in finding.text


@pytest.mark.parametrize(
    ("qss", "verdict", "words"),
    [
        ({"final": 0.01, "predicted": 0.9, "true": 0.01}, "agrees", "is over-optimistic"),
        ({"final": 0.5, "predicted": 0.45, "true": 0.45}, "disagrees", "no more optimistic"),
    ],
)
def test_the_cliffs_finding_follows_beliefs_and_returns(qss, verdict, words):
    qsa = summary(final=0.5, predicted=0.45, true=0.45, best=0.5)
    finding = FINDINGS["cliff"]([summary(best=0.5, **qss), qsa])
    assert finding.verdict == verdict
    assert words in finding.text
    lost = replace(qsa, learned_at=np.full(3, np.inf))
    assert FINDINGS["cliff"]([summary(best=0.5, **qss), lost]).verdict == "undecided"


@pytest.mark.parametrize(("final", "words"), [(-18.0, "QSS holds"), (-300.0, "QSS breaks")])
def test_slips_are_said_to_break_qss_only_where_they_do(final, words):
    pair = [summary("QSS, 25% slips", final=final), summary("QSA, 25% slips")]
    finding = FINDINGS["stochastic"](pair)
    assert words in finding.text
    assert finding.verdict == "no claim"


# -------------------------------------------------------------------------------------------------- trials


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_same_seed_same_curve_and_another_seed_another(name):
    for curve in range(len(EXPERIMENTS[name].curves)):
        one = run_trial(Task(name, curve, 1, 30, 5))
        same = run_trial(Task(name, curve, 1, 30, 5))
        other = run_trial(Task(name, curve, 2, 30, 5))
        np.testing.assert_array_equal(one.returns, same.returns)
        np.testing.assert_array_equal(one.values, same.values)
        assert not np.array_equal(one.values, other.values)


def test_a_transferred_frozen_q_is_the_one_learned_before():
    """Phase 1 of a trial learns the same Q whether it goes on or stays frozen; frozen, only I is learned."""
    labels = [curve.label for curve in EXPERIMENTS["permuted"].curves]
    frozen = labels.index("QSS, transferred, Q frozen")
    before = run_trial(Task("permuted", frozen, 0, 40, 0))
    again = run_trial(Task("permuted", labels.index("QSS, transferred"), 0, 40, 0))
    assert before.returns[0] == again.returns[0]
    assert not np.array_equal(before.values, again.values)


def test_a_trial_is_stored_and_read_back(tmp_path):
    trial = run_trial(TINY)
    path = trial_path(tmp_path, TINY)
    save_trial(path, trial)
    back = load_trial(path, TINY)
    np.testing.assert_array_equal(back.returns, trial.returns)
    np.testing.assert_array_equal(back.policy, trial.policy)
    assert back.policy_return == trial.policy_return
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_damaged_trial_is_named_in_one_line(tmp_path):
    path = trial_path(tmp_path, TINY)
    save_trial(path, run_trial(TINY))
    whole = path.read_bytes()
    for damage in (b"", b"nonsense", whole[: len(whole) // 2]):
        path.write_bytes(damage)
        with pytest.raises(LfoError, match=r"0-000.npz: trial: expected .* delete the file") as caught:
            load_trial(path, TINY)
        assert "\n" not in str(caught.value)
    path.write_bytes(whole)
    with pytest.raises(LfoError, match="expected 31 finite numbers"):
        load_trial(path, replace(TINY, episodes=30))


def test_more_trials_can_be_added_later(tmp_path):
    run_experiments(tmp_path, ["equivalence"], trials=1, episodes=20)
    first = trial_path(tmp_path, TINY).read_bytes()
    calls = []
    run_experiments(
        tmp_path, ["equivalence"], trials=2, episodes=20, progress=lambda *counts: calls.append(counts)
    )
    assert calls == [(2, 4), (3, 4), (4, 4)]
    assert trial_path(tmp_path, TINY).read_bytes() == first


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_unreadable_settings_are_refused(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(LfoError, match=r"run.json: settings: expected seed and episodes"):
        run_experiments(tmp_path, ["equivalence"], trials=1, episodes=20)


def test_the_report_has_curves_figures_and_numbers(tmp_path):
    tasks = run_experiments(tmp_path, list(EXPERIMENTS), trials=2, episodes=15)
    text = write_report(tmp_path, tasks)
    assert (tmp_path / "findings.md").read_text() == text
    results = json.loads((tmp_path / "results.json").read_text())
    for name, experiment in EXPERIMENTS.items():
        assert f"## {name}: {experiment.title}" in text
        assert set(results[name]["curves"]) == {curve.name for curve in experiment.curves}
        rows = (tmp_path / f"{name}.csv").read_text().splitlines()
        assert rows[0] == "curve,episodes,evaluations,trials,mean,low,high"
        assert len(rows) == 1 + len(experiment.curves) * len(learning.report_points(15))
        for figure in (f"{name}.png", f"{name}-values.png"):
            assert (tmp_path / figure).read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.rglob("*.tmp"))
    assert "Smaller than published" in text


# -------------------------------------------------------------------------------------------------- data set


def test_the_random_walk_is_a_data_set_without_actions(tmp_path):
    data = random_walk_dataset(2000, seed=3, slip=0.25)
    file = save_dataset(data, tmp_path / "walk.h5")
    back = load_dataset(file)
    np.testing.assert_array_equal(back.states, data.states)
    np.testing.assert_array_equal(back.terminated, data.terminated)
    assert back.states.shape == (2000, 2)
    assert not back.metadata.has_actions
    assert back.metadata.env_id == "lfo.tabular:lfo/GridWorld-v0"
    assert back.metadata.random_frac == 1
    assert np.abs(back.next_states - back.states).sum(axis=1).max() == 1
    goal = (back.next_states == 10).all(axis=1)
    np.testing.assert_array_equal(goal, back.terminated)


def test_a_data_set_needs_steps():
    with pytest.raises(LfoError, match="steps: expected at least 1"):
        random_walk_dataset(0)


def test_importing_the_package_loads_no_heavy_library():
    code = "import sys, lfo.tabular; print({'numba', 'torch', 'matplotlib.figure', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "set()"


def test_every_curve_of_the_table_is_there():
    """The published variations and trial numbers."""
    assert {name: e.trials for name, e in experiments.EXPERIMENTS.items()} == {
        "equivalence": 50,
        "stochastic": 10,
        "cliff": 10,
        "redundant": 50,
        "permuted": 50,
    }
    slips = [curve.grid["slip"] for curve in EXPERIMENTS["stochastic"].curves]
    assert slips == [0.25, 0.25, 0.5, 0.5, 0.75, 0.75]
    actions = {4 * curve.grid["redundancy"] for curve in EXPERIMENTS["redundant"].curves}
    assert actions == {4, 40, 400}
