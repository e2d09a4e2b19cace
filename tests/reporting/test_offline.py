"""``compare --offline``: values of following τ worked out by hand; better aims rank higher; what cannot be ranked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from shell import d3g, error, must

from lfo.datasets import Transitions, from_episodes
from lfo.reporting.offline import GAMMA, Following


def line(steps: int = 400, seed: int = 0) -> Transitions:
    """A random walk on a line from 0; the reward is the place that is reached."""
    rng = np.random.default_rng(seed)
    walks = [
        np.concatenate([[0.0], rng.uniform(-1, 1, size=10)]).cumsum()[:, None] for _ in range(steps // 10)
    ]
    return from_episodes([(walk, walk[1:, 0], False) for walk in walks])


def test_one_step_that_ends_is_worth_its_reward() -> None:
    states = np.array([[0.0], [1.0]])
    data = from_episodes([(states, [3.0], True)] * 20 + [(-states, [3.0], True)] * 20)
    following = Following(data)
    assert following.value(following.states + 1) == pytest.approx(3.0)
    assert following.usual() == pytest.approx(3.0)


def test_a_reward_for_ever_is_worth_r_over_one_minus_gamma() -> None:
    data = from_episodes([(np.arange(51)[:, None] % 2 * 1.0, np.full(50, 2.0), False)])
    following = Following(data)
    assert following.value(following.states) == pytest.approx(2 / (1 - GAMMA), rel=1e-3)


def test_better_aims_are_worth_more() -> None:
    following = Following(line())
    up, still, down = (following.value(following.states + step) for step in (0.8, 0.0, -0.8))
    assert up > still > down
    assert up > following.usual() > down


def test_a_dimension_that_never_changes_does_not_count() -> None:
    data = line()
    wide = [np.concatenate([a, np.full_like(a, 5)], axis=1) for a in (data.states, data.next_states)]
    wider = Transitions(*wide, data.rewards, data.terminated, data.truncated)
    one, two = Following(data), Following(wider)
    assert two.value(two.states + torch.tensor([0.5, 9.0])) == pytest.approx(one.value(one.states + 0.5))


def test_the_command_ranks_and_says_what_it_is(trained: Path, dataset: Path) -> None:
    told = must("compare", trained, "--offline", "--data", dataset)
    assert "It ranks runs; it does not predict the return" in " ".join(told.split())
    assert str(trained) in told
    done = d3g("compare", trained, "--offline", "--json")
    assert "note: the runs have learned from this data" in done.err
    found = json.loads(done.out)
    assert len(found["runs"][0]["values"]) == 2
    assert 0 < found["data"] < 1 / (1 - GAMMA)


def test_what_cannot_be_ranked_is_one_line(trained: Path, bco: Path, tmp_path: Path) -> None:
    assert "bco learns nothing offline" in d3g("compare", bco, "--offline").err
    other = tmp_path / "other.h5"
    must("collect", "Pendulum-v1", "--policy", "random", "--steps", "300", "-o", other)
    assert "expected states of length 3" in error("compare", trained, "--offline", "--data", other)
    assert d3g("compare", trained, "--data", other).code == 2
    assert d3g("compare", trained, "--offline", "-o", tmp_path).code == 2
