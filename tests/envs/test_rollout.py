"""The one loop that steps environments: quotas, resets, episodes, starts; and the space that its actions come from."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space
from hypothesis import given, settings
from hypothesis import strategies as st

from lfo.envs.rollout import rollout, starts
from lfo.envs.spaces import ActionSpace


class Counter:
    """Observes (its number, episode, step); an episode has ``length`` steps, and terminates if that is even."""

    def __init__(self, number: int, length: int) -> None:
        self.number, self.length, self.episode, self.t = number, length, -1, 0
        self.observation_space = Box(-np.inf, np.inf, (3,), np.float32)
        self.action_space: Space[Any] = Box(
            np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32)
        )
        self.taken: list[Any] = []

    def _see(self) -> np.ndarray:
        return np.array([self.number, self.episode, self.t], np.float32)

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, dict[str, object]]:
        self.episode, self.t = self.episode + 1, 0
        return self._see(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, object]]:
        self.taken.append(np.array(action))
        self.t += 1
        over = self.t == self.length
        return self._see(), float(self.t), over and self.length % 2 == 0, over and self.length % 2 == 1, {}


def run(lengths: list[int], quotas: list[int], *, episodes: bool = False) -> tuple[list[Any], list[Counter]]:
    """What each step told, copied: (running, observations acted on, next observations, flags)."""
    envs: Any = [Counter(i, length) for i, length in enumerate(lengths)]
    seen: list[np.ndarray] = []

    def act(observations: np.ndarray, running: list[int]) -> np.ndarray:
        seen.append(observations.copy())
        return np.array([[i, 0.5] for i in running], np.float32)

    told = [
        (
            list(s.running),
            seen[-1],
            s.next_observations.copy(),
            s.rewards.copy(),
            s.terminated.copy(),
            s.truncated.copy(),
        )
        for s in rollout(envs, act, range(len(envs)), quotas, episodes=episodes)
    ]
    return told, envs


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 12)), min_size=1, max_size=4))
def test_every_environment_takes_its_quota_and_starts_again(pairs: list[tuple[int, int]]) -> None:
    lengths, quotas = (list(numbers) for numbers in zip(*pairs, strict=True))
    told, envs = run(lengths, quotas)
    assert [len(env.taken) for env in envs] == quotas
    assert len(told) == max(quotas)
    for t, (running, seen, after, rewards, terminated, truncated) in enumerate(told):
        assert running == [i for i, quota in enumerate(quotas) if quota > t]
        for i in running:
            episode, step = divmod(t, lengths[i])
            assert seen[i].tolist() == [i, episode, step]
            assert after[i].tolist() == [i, episode, step + 1]  # never the next episode's first
            assert rewards[i] == step + 1
            over = step + 1 == lengths[i]
            assert (terminated[i], truncated[i]) == (
                over and lengths[i] % 2 == 0,
                over and lengths[i] % 2 == 1,
            )
        for i in set(range(len(pairs))) - set(running):
            assert not terminated[i]
            assert not truncated[i]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 9)), min_size=1, max_size=4))
def test_of_episodes_each_environment_runs_one(pairs: list[tuple[int, int]]) -> None:
    lengths, quotas = (list(numbers) for numbers in zip(*pairs, strict=True))
    told, envs = run(lengths, quotas, episodes=True)
    expected = [min(length, quota) for length, quota in pairs]
    assert [len(env.taken) for env in envs] == expected
    assert [env.episode for env in envs] == [0] * len(envs)
    assert len(told) == max(expected)


def test_each_environment_gets_its_own_action() -> None:
    _, envs = run([3, 1, 2], [4, 0, 2])
    for i, env in enumerate(envs):
        assert all(action.tolist() == [i, 0.5] for action in env.taken)


def test_starts_are_functions_of_seed_and_stream() -> None:
    assert starts(1, 2, 3).tolist() == starts(1, 2, 5)[:3].tolist()
    assert len({*starts(1, 2, 50).tolist(), *starts(1, 3, 50).tolist(), *starts(2, 2, 50).tolist()}) == 150


@pytest.fixture
def space() -> ActionSpace:
    return ActionSpace.of(Counter(0, 1))  # type: ignore[arg-type]


def test_a_space_samples_clips_and_is_written_down(space: ActionSpace) -> None:
    rng = np.random.default_rng(0)
    drawn = space.sample(rng, 2000)
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn.mean(axis=0), [0.0, 0.5], atol=0.1)
    assert (drawn >= space.low).all()
    assert (drawn <= space.high).all()
    noise = space.noise(rng, 4000, 0.1)
    np.testing.assert_allclose(noise.std(axis=0), [0.2, 0.05], rtol=0.1)  # a tenth of half widths 2 and ½
    assert space.clip(np.array([[9.0, -9.0]])).tolist() == [[2.0, 0.0]]
    assert space.size == 2
    assert ActionSpace.from_record(space.to_record()).same_as(space)
    assert not ActionSpace(space.low, space.high + 1).same_as(space)
    with pytest.raises(ValueError, match="found words"):
        ActionSpace.from_record({"kind": "words", "n": 3})


def test_discrete_spaces_sample_explore_and_are_written_down() -> None:
    one, several = discrete(Discrete(3, start=5)), discrete(MultiDiscrete([2, 4]))
    rng = np.random.default_rng(0)
    for space, first, counts in ((one, [5], [3]), (several, [0, 0], [2, 4])):
        drawn = space.sample(rng, 4000)
        assert drawn.dtype == np.float32
        assert space.size == len(counts)
        for low, n, column in zip(first, counts, drawn.T, strict=True):
            values, found = np.unique(column, return_counts=True)
            assert values.tolist() == list(range(low, low + n))
            assert (np.abs(found - 4000 / n) < 5 * np.sqrt(4000 / n)).all()
        assert ActionSpace.from_record(json.loads(json.dumps(space.to_record()))).same_as(space)
    assert not one.same_as(ActionSpace(one.low, one.high))
    assert one.clip(np.array([[4.0], [7.2], [8.0]])).tolist() == [[7.0], [7.0], [5.0]]  # starts again
    assert str(one) == "choices [5] to [7]"


def test_discrete_noise_replaces_an_action_by_a_uniform_one() -> None:
    space = discrete(Discrete(3, start=5))
    taken = np.full((6000, 1), 7.0, np.float32)
    explored = space.clip(taken + space.noise(np.random.default_rng(0), 6000, 0.3))
    # ε = 0.3 goes to all three alike, that of the policy included: 600, 600, 4800, standard deviation 31 at most
    counts = [int((explored == value).sum()) for value in (5, 6, 7)]
    assert np.abs(np.array(counts) - [600, 600, 4800]).max() < 5 * 31
    assert (space.clip(taken + space.noise(np.random.default_rng(0), 6000, 0.0)) == 7).all()


@pytest.mark.parametrize(
    ("action_space", "given", "taken"),
    [
        (Discrete(3, start=5), [6.0], 6),
        (MultiDiscrete([2, 4]), [1.0, 3.0], [1, 3]),
        (MultiDiscrete([[2, 4], [3, 3]]), [1.0, 3.0, 2.0, 0.0], [[1, 3], [2, 0]]),
    ],
)
def test_an_environment_gets_whole_numbers_in_its_own_form(
    action_space: Space[Any], given: list[float], taken: Any
) -> None:
    env = Counter(0, 3)
    env.action_space = action_space
    act = lambda observations, running: np.array([given], np.float32)  # noqa: E731
    list(rollout([env], act, [0], [2]))  # type: ignore[list-item]
    for action in env.taken:
        assert action.tolist() == taken
        assert action_space.contains(action)


def discrete(action_space: Space[Any]) -> ActionSpace:
    env = Counter(0, 1)
    env.action_space = action_space
    return ActionSpace.of(env)  # type: ignore[arg-type]
