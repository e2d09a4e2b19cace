"""Collected data: exact size, exact reproducibility, whole episodes, true next states."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lfo.datasets.collect
from lfo.datasets import LfoError, Metadata, Transitions, load
from lfo.datasets.collect import GROUP_ROWS, STREAMS, _quotas, collect
from lfo.datasets.policies import RandomPolicy
from lfo.envs.make import full_id, make_env
from lfo.envs.spaces import ActionSpace

PENDULUM, REACHER = "InvertedPendulum-v5", "Reacher-v5"
BOUNDS = np.array([-3.0], np.float32), np.array([3.0], np.float32)
ARRAYS = ("states", "next_states", "rewards", "terminated", "truncated")


def assert_same(a: tuple[Transitions, np.ndarray], b: tuple[Transitions, np.ndarray]) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(a[0], name), getattr(b[0], name))
    np.testing.assert_array_equal(a[1], b[1])


@given(steps=st.integers(1, 3_000_000), horizon=st.integers(1, 5_000))
def test_rows_are_shared_out_exactly_and_in_whole_horizons(steps: int, horizon: int) -> None:
    groups = _quotas(steps, horizon)
    flat = [rows for group in groups for rows in group]
    assert sum(flat) == steps
    assert min(flat) > 0
    assert all(len(group) <= STREAMS and list(group) == sorted(group, reverse=True) for group in groups)
    assert sum(rows % horizon != 0 for rows in flat) <= 1
    assert len(groups) <= max(1, round(steps / GROUP_ROWS))


def test_same_seed_same_data_and_another_seed_other_data() -> None:
    first = collect(PENDULUM, random_frac=0.5, steps=2500, seed=3)
    assert_same(first, collect(PENDULUM, random_frac=0.5, steps=2500, seed=3))
    other, _ = collect(PENDULUM, random_frac=0.5, steps=2500, seed=4)
    assert not np.array_equal(first[0].states, other.states)


def test_the_number_of_processes_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lfo.datasets.collect, "GROUP_ROWS", 2_000)  # three groups, for two processes
    told: list[int] = []
    alone = collect(REACHER, random_frac=0.3, steps=6_010, seed=1, jobs=1)
    shared = collect(REACHER, random_frac=0.3, steps=6_010, seed=1, jobs=2, progress=told.append)
    assert_same(alone, shared)
    assert sum(told) == 6_010


def test_an_error_in_a_process_is_the_same_error() -> None:
    """What a process meets reaches the caller."""
    group = lfo.datasets.collect.Group(
        "NoSuchEnv-v0", RandomPolicy(ActionSpace(*BOUNDS)), 0.5, (10,), np.random.SeedSequence(0)
    )
    with pytest.raises(LfoError, match="unknown environment"):
        lfo.datasets.collect._record_all([group, group], 2, lambda rows: None)


@pytest.mark.parametrize("env_id", [PENDULUM, REACHER])
@pytest.mark.parametrize("random_frac", [0.0, 0.4, 1.0])
def test_no_transition_crosses_an_episode(env_id: str, random_frac: float) -> None:
    data, actions = collect(env_id, random_frac=random_frac, steps=1700, seed=5)
    assert len(data) == len(actions) == 1700
    inside = ~(data.terminated | data.truncated)[:-1]
    np.testing.assert_array_equal(data.next_states[:-1][inside], data.states[1:][inside])
    # Across an episode's end the next row is a reset, somewhere else.
    assert (data.next_states[:-1][~inside] != data.states[1:][~inside]).any(axis=1).all()


def test_every_row_is_what_the_simulator_does_with_that_action() -> None:
    """Set a bare pendulum to s (all of its state is observed) and step it: s', r and d, at ends too."""
    data, actions = collect(PENDULUM, random_frac=0.8, steps=1000, seed=5)
    bare: Any = gym.make(PENDULUM).unwrapped
    bare.reset(seed=0)
    assert data.terminated.sum() > 10
    for row in range(1000):
        state = data.states[row].astype(np.float64)
        bare.set_state(state[:2], state[2:])
        observation, reward, terminated, _, _ = bare.step(actions[row])
        np.testing.assert_allclose(observation, data.next_states[row], atol=1e-4)
        assert (reward, terminated) == (data.rewards[row], data.terminated[row])


def test_one_stream_is_one_seeded_environment() -> None:
    """The same seed, stepped by hand in a bare environment, bit for bit, through resets and time limits."""
    data, actions = collect(REACHER, random_frac=0.5, steps=99, seed=9)
    rng = np.random.default_rng(np.random.SeedSequence(9).spawn(1)[0])
    env = gym.make(REACHER)
    observation, _ = env.reset(seed=int(rng.integers(2**31, size=1)[0]))
    for row in range(99):
        np.testing.assert_array_equal(data.states[row], observation.astype(np.float32))
        observation, reward, terminated, truncated, _ = env.step(actions[row])
        np.testing.assert_array_equal(data.next_states[row], observation.astype(np.float32))
        assert np.float32(reward) == data.rewards[row]
        assert (terminated, truncated or row == 98) == (data.terminated[row], data.truncated[row])
        if terminated or truncated:
            observation, _ = env.reset()
    assert data.episode_lengths().tolist() == [50, 49]


def test_flags_are_kept_apart() -> None:
    falls, _ = collect(PENDULUM, random_frac=1.0, steps=2000, seed=0)
    assert falls.terminated.sum() > 100
    assert falls.truncated.sum() <= 2  # the two streams' last rows
    stands, _ = collect(PENDULUM, random_frac=0.0, steps=2000, seed=0)
    assert stands.terminated.sum() == 0
    assert np.flatnonzero(stands.truncated).tolist() == [999, 1999]


def test_fully_random_actions_are_uniform_whatever_the_policy() -> None:
    data, actions = collect(PENDULUM, random_frac=1.0, steps=20_000, seed=2)
    counts, _ = np.histogram(actions, bins=10, range=(-3, 3))
    assert counts.sum() == len(data)
    assert (np.abs(counts - 2000) < 5 * 42).all()  # binomial(20,000, 0.1)
    same = collect(PENDULUM, random_frac=1.0, steps=20_000, seed=2, policy="random")
    np.testing.assert_array_equal(actions, same[1])


@pytest.mark.parametrize("random_frac", [0.0, 0.25, 0.75])
def test_the_fraction_of_replaced_actions(random_frac: float) -> None:
    from lfo.datasets.policies import load_policy

    data, actions = collect(REACHER, random_frac=random_frac, steps=10_000, seed=6)
    policy = load_policy("expert", make_env(REACHER))
    own = policy.act(data.states, np.random.default_rng(0))
    replaced = (np.abs(actions - own) > 1e-4).any(axis=1)
    # Binomial: five standard deviations of 10,000 draws. At 0 none at all is replaced.
    assert abs(replaced.mean() - random_frac) <= 5 * np.sqrt(random_frac * (1 - random_frac) / 10_000)


def test_metadata_says_where_it_comes_from() -> None:
    data, _ = collect(REACHER, random_frac=0.25, steps=60, seed=8)
    metadata = data.metadata
    assert (metadata.env_id, metadata.random_frac, metadata.policy, metadata.seed) == (
        REACHER,
        0.25,
        "expert",
        8,
    )
    assert metadata.attributes["steps"] == 60
    assert float(metadata.attributes["policy_return_mean"]) >= -4.2


def test_any_mujoco_environment_with_random_actions() -> None:
    data, actions = collect("Hopper-v5", policy="random", random_frac=1.0, steps=300, seed=0)
    assert data.states.shape == (300, 11)
    assert actions.shape == (300, 3)


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("InvertedPendulm-v5", "did you mean InvertedPendulum-v5"),
        ("InvertedPendulum-v99", "did you mean InvertedPendulum-v5"),
        ("Zzzz-v0", "unknown environment 'Zzzz-v0'"),
        ("not an id", "unknown environment"),
        ("no_such_module:Env-v0", "module 'no_such_module' cannot be imported"),
        ("Reacher-v2", "cannot be imported|missing|unknown"),
        ("Blackjack-v1", "expected observations that are vectors"),
    ],
)
def test_environments_that_cannot_be_used(env_id: str, message: str) -> None:
    with pytest.raises(LfoError, match=message) as caught:
        collect(env_id, random_frac=1.0, steps=10, policy="random")
    assert "\n" not in str(caught.value)


class Camera(gym.Env[np.ndarray, np.ndarray]):
    observation_space = gym.spaces.Box(0, 255, (8, 8, 3), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)


class Unbounded(Camera):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)


class Shaped(Unbounded):
    """Remembers the action that it was given."""

    observation_space = gym.spaces.Box(-5, 5, (2,), np.float32)
    action_space = gym.spaces.Box(np.float32([[-1, -2]]), np.float32([[3, 4]]))

    def reset(self, **kwargs: object) -> tuple[np.ndarray, dict[str, object]]:
        return np.zeros(2, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, object]]:
        assert action.shape == self.action_space.shape
        return np.resize(action, 2).astype(np.float32), 0.0, False, False, {}


class UnboundedShaped(Shaped):
    action_space = gym.spaces.Box(-np.inf, np.inf, (1, 2), np.float32)


class UnboundedVector(Shaped):
    action_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)


class Unstable(Camera):
    """Gives NaN from the fifth step on; has no time limit."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, **kwargs: object) -> tuple[np.ndarray, dict[str, object]]:
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, object]]:
        self.steps += 1
        return np.full(2, np.nan if self.steps > 4 else 0.5, np.float32), 0.0, False, False, {}


@pytest.fixture
def registered() -> object:
    kinds = {
        "TestCamera-v0": Camera,
        "TestUnbounded-v0": Unbounded,
        "TestUnstable-v0": Unstable,
        "space/TestUnboundedShaped-v0": UnboundedShaped,
        "TestUnboundedVector-v0": UnboundedVector,
    }
    for name, kind in kinds.items():
        gym.register(name, kind)
    yield kinds
    for name in kinds:
        del gym.registry[name]


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("TestCamera-v0", r"expected observations that are vectors.*\(8, 8, 3\).*images"),
        ("TestUnbounded-v0", "finite bounds"),
        ("TestUnstable-v0", "step 5: expected a finite observation, dimension 0, found nan"),
    ],
)
def test_spaces_and_values_that_cannot_be_used(env_id: str, message: str) -> None:
    with pytest.raises(LfoError, match=message):
        collect(env_id, random_frac=1.0, steps=10, policy="random")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("env_id", "low", "high"),
    [
        ("space/TestUnboundedShaped-v0", [-1, -1], [1, 1]),
        ("TestUnboundedVector-v0", [-1, -1], [1, 1]),
    ],
)
def test_the_remedy_for_actions_that_cannot_be_used_works(
    env_id: str, low: list[float], high: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Do exactly what the error says: write the line into the file, and use the id."""
    with pytest.raises(LfoError, match="vectors with finite bounds") as caught:
        make_env(env_id)
    line, new_id = re.findall("`(.*?)`", str(caught.value))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "wrapped", raising=False)
    Path("wrapped.py").write_text(line)
    importlib.invalidate_caches()
    data, actions = collect(new_id, policy="random", steps=400)
    assert data.metadata.env_id == new_id
    np.testing.assert_allclose(actions.min(axis=0), low, atol=0.1)
    np.testing.assert_allclose(actions.max(axis=0), high, atol=0.1)
    np.testing.assert_array_equal(data.next_states, actions)  # what the environment was given
    del gym.registry[new_id.partition(":")[2]]


MODULE = """
import gymnasium
gymnasium.register("FromModule-v3", "gymnasium.envs.mujoco.reacher_v5:ReacherEnv", max_episode_steps=50)
"""


@pytest.mark.parametrize("asked", ["own_envs:FromModule-v3", "own_envs:FromModule"])
def test_an_environment_of_a_module_is_recorded_so_that_it_can_be_made_again(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another process, which has not imported the module, from the folder that the module is in."""
    (tmp_path / "own_envs.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    code = (
        "import sys; from lfo.datasets.collect import collect; from lfo.datasets import save; "
        "save(collect(sys.argv[1], policy='random', steps=60)[0], 'd.h5')"
    )
    subprocess.run(
        [sys.executable, "-P" if sys.version_info >= (3, 11) else "-s", "-c", code, asked], check=True
    )
    env_id = load("d.h5").metadata.env_id
    assert env_id == "own_envs:FromModule-v3"
    again = (
        "import sys; from lfo.envs.make import make_env; print(make_env(sys.argv[1]).spec.max_episode_steps)"
    )
    done = subprocess.run([sys.executable, "-c", again, env_id], check=True, capture_output=True, text=True)
    assert done.stdout == "50\n"


def test_full_ids() -> None:
    assert full_id("Reacher", make_env("Reacher")) == "Reacher-v5"
    assert (
        full_id("gymnasium.envs:Reacher", make_env("gymnasium.envs:Reacher")) == "gymnasium.envs:Reacher-v5"
    )


def test_the_grid_of_a_data_set_is_made_again() -> None:
    """What `gridworld dataset` records names the environment and its arguments."""
    metadata = Metadata(
        env_id="lfo.tabular:lfo/GridWorld-v0",
        attributes={"env_kwargs": '{"slip": 0.25, "windy_cliff": true}'},
    )
    assert metadata.env_kwargs == {"slip": 0.25, "windy_cliff": True}
    grid: Any = make_env(str(metadata.env_id), **metadata.env_kwargs).unwrapped
    assert grid.grid.slip == 0.25
    with pytest.raises(LfoError, match="env_kwargs: expected a JSON object"):
        _ = Metadata(attributes={"env_kwargs": "[1]"}).env_kwargs
    assert Metadata().env_kwargs == {}


@dataclass(frozen=True)
class Constant:
    """A policy of one's own."""

    action: tuple[float, ...]
    name: str = "constant"

    def act(self, observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.tile(np.float32(self.action), (len(observations), 1))


def test_any_object_that_acts_can_be_the_policy() -> None:
    data, actions = collect(REACHER, policy=Constant((0.25, -0.5)), random_frac=0, steps=60)
    assert (actions == np.float32([0.25, -0.5])).all()
    assert (data.metadata.policy, data.metadata.random_frac) == ("constant", 0)
    with pytest.raises(
        LfoError, match=r"policy constant: expected actions of shape \[2, 2\].*found \[2, 1\]"
    ):
        collect(REACHER, policy=Constant((0.25,)), random_frac=0, steps=60)


def test_no_policy_is_loaded_that_is_not_used() -> None:
    """Hopper has no expert, and the path is of nothing: with only random actions neither is needed."""
    expected = collect("Hopper-v5", policy="random", random_frac=1, steps=30)
    for arguments in ({}, {"policy": "gone.zip"}):
        found = collect("Hopper-v5", random_frac=1, steps=30, **arguments)
        assert_same(expected, found)
        assert found[0].metadata.policy == "random"
    assert_same(expected, collect("Hopper-v5", policy="random", steps=30))
    with pytest.raises(LfoError, match=r"random_frac: expected .* found None"):
        collect(REACHER, steps=30)


@pytest.mark.usefixtures("registered")
def test_an_environment_without_a_time_limit_is_cut_at_the_end() -> None:
    data, _ = collect("TestUnstable-v0", random_frac=1.0, steps=3, policy="random")
    assert data.truncated.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("name", "value"), [("random_frac", 1.5), ("random_frac", -0.1), ("steps", 0), ("seed", -1), ("jobs", 0)]
)
def test_arguments_out_of_range(name: str, value: float) -> None:
    arguments = {"random_frac": 1.0, "steps": 10, "policy": "random", name: value}
    with pytest.raises(LfoError, match=f"{name}: expected"):
        collect(PENDULUM, **arguments)  # type: ignore[arg-type]


@settings(max_examples=15, deadline=None)
@given(steps=st.integers(1, 400), seed=st.integers(0, 2**40), random_frac=st.floats(0, 1))
def test_exactly_the_rows_asked_for(steps: int, seed: int, random_frac: float) -> None:
    data, actions = collect(REACHER, random_frac=random_frac, steps=steps, seed=seed)
    assert len(data) == len(actions) == steps
    assert data.episode_lengths().max() <= 50
    assert data.truncated[-1]
