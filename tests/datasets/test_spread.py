"""Narrow or wide, on data whose answer is known."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lfo.datasets import Transitions, from_episodes, summarize
from lfo.datasets.spread import measure_spread, warn_of_chance


def walks(
    policy: float,
    *,
    noise: float = 0.0,
    actions: float = 0.0,
    episodes: int = 40,
    dim: int = 2,
    steps: int = 50,
) -> Transitions:
    """Episodes of a point that is pulled to the middle, pushed by random actions, and shaken by noise."""
    rng, found = np.random.default_rng(0), []
    for _ in range(episodes):
        states = [rng.normal(size=dim)]
        for _ in range(steps):
            push = -policy * states[-1] + actions * rng.uniform(-1, 1, dim) + noise * rng.normal(size=dim)
            states.append(states[-1] + push)
        found.append((np.array(states), np.zeros(steps), False))
    return from_episodes(found)


def test_one_policy_without_noise_is_narrow() -> None:
    spread = measure_spread(walks(0.1))
    assert spread.kind == "narrow"
    assert "nearly alike" in str(spread)


@pytest.mark.parametrize("way", ["actions", "noise"])
def test_random_actions_and_noise_are_wide_and_cannot_be_told_apart(way: str) -> None:
    spread = measure_spread(walks(0.1, **{way: 0.5}))  # type: ignore[arg-type]
    assert spread.kind == "wide"
    assert spread.share == pytest.approx(1, abs=0.25)
    assert "cannot tell which" in str(spread)


def test_a_little_of_it_is_between() -> None:
    assert measure_spread(walks(0.1, actions=0.03)).kind == "between"


def test_one_dimension_that_varies_is_enough() -> None:
    data = walks(0.1)
    rng = np.random.default_rng(1)
    extra = rng.uniform(-1, 1, (2, len(data), 1)).astype(np.float32)
    wide = Transitions(
        np.hstack([data.states, extra[0]]),
        np.hstack([data.next_states, extra[1]]),
        data.rewards,
        data.terminated,
        data.truncated,
    )
    assert measure_spread(wide).kind == "wide"


def test_what_cannot_be_told_is_unknown() -> None:
    assert measure_spread(walks(0.0, actions=1.0, dim=30, episodes=5)).kind == "unknown"  # too far apart
    assert measure_spread(walks(0.1, episodes=1, steps=20)).kind == "unknown"  # neighbours in time only
    still = Transitions(np.ones((9, 2)), np.ones((9, 2)), np.zeros(9), np.zeros(9, bool), np.arange(9) == 8)
    assert measure_spread(still).kind == "unknown"
    assert measure_spread(still).share is None


def test_the_scale_of_a_dimension_does_not_matter() -> None:
    data = walks(0.1, actions=0.05)
    scale = np.array([1e6, 1e-3], np.float32)
    scaled = Transitions(
        data.states * scale, data.next_states * scale, data.rewards, data.terminated, data.truncated
    )
    assert measure_spread(scaled).share == pytest.approx(measure_spread(data).share, rel=1e-2)


@pytest.mark.parametrize("gains", [(0.0, 1.0), (0.5, 0.5)])
def test_a_state_that_leads_to_different_returns_is_warned_of(gains: tuple[float, float]) -> None:
    """From 0 to 1 or to 2 by a coin, and there a reward."""
    rng = np.random.default_rng(0)
    sides = rng.integers(1, 3, 200)
    data = from_episodes(
        (np.array([[0.0], [side], [3.0]]), np.array([0.0, gains[side - 1]]), True) for side in sides
    )
    warnings = warn_of_chance(data)
    if gains[0] == gains[1]:
        assert not warnings
    else:
        assert re.search(r"mean returns from 0 to 1, .*Q\(s, s'\)", warnings[0])
        assert summarize(data)["warnings"][-1] == warnings[0]
