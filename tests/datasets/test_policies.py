"""Policies: what is loaded, what is refused, and that the built-in experts are as good as they say."""

from __future__ import annotations

import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lfo.acting.evaluation import evaluate_policy
from lfo.datasets import LfoError
from lfo.datasets.policies import MLPPolicy, RandomPolicy, expert_envs, load_policy
from lfo.envs.make import make_env

LOW, HIGH = np.array([-3.0], np.float32), np.array([3.0], np.float32)


def small(width: int = 5, **kwargs: str) -> MLPPolicy:
    """A policy with random weights that fits InvertedPendulum-v5."""
    rng = np.random.default_rng(0)
    shapes = [(4, width), (width, 1)]
    weights = tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)
    biases = tuple(rng.normal(size=shape[1]).astype(np.float32) for shape in shapes)
    return MLPPolicy(weights, biases, LOW, HIGH, **kwargs)  # type: ignore[arg-type]


@pytest.fixture
def pendulum() -> gym.Env:
    return make_env("InvertedPendulum-v5")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "policy.safetensors"
    path.write_bytes(small().to_bytes({"env_id": "InvertedPendulum-v5"}))
    return path


def test_worked_by_hand() -> None:
    """One hidden unit: relu(1·2 − 1·1 + 0.5) = 1.5, then −1·1.5 + 1 = −0.5, scaled to the bounds −1 and 3."""
    policy = MLPPolicy(
        (np.array([[2.0], [-1.0]], np.float32), np.array([[-1.0]], np.float32)),
        (np.array([0.5], np.float32), np.array([1.0], np.float32)),
        np.array([-1.0], np.float32),
        np.array([3.0], np.float32),
    )
    observations = np.array([[1.0, 1.0], [-1.0, 1.0]], np.float32)
    # The second row's hidden unit is off: the output is tanh(1), scaled to 1 ± 2.
    expected = 1 + 2 * np.tanh([[-0.5], [1.0]])
    np.testing.assert_allclose(policy.act(observations), expected, rtol=1e-6)


def test_clip_output_keeps_to_the_bounds() -> None:
    actions = small(output="clip").act(np.random.default_rng(1).normal(0, 50, (100, 4)).astype(np.float32))
    assert actions.min() == -3
    assert actions.max() == 3


def discrete() -> MLPPolicy:
    """Two observations to two choices, of 5 or 6 and of 0, 1 or 2."""
    weights = np.array([[1, 0, 0, 0, 1], [0, 1, 0, 1, 0]], np.float32)
    low, high = np.array([5, 0], np.float32), np.array([6, 2], np.float32)
    return MLPPolicy((weights,), (np.zeros(5, np.float32),), low, high, output="argmax")


def test_discrete_actions_worked_by_hand() -> None:
    """The first input is for 5 and 2, the second for 6 and 1."""
    actions = discrete().act(np.array([[1.0, 0.0], [0.0, 1.0]], np.float32))
    assert actions.dtype == np.float32
    assert actions.tolist() == [[5, 2], [6, 1]]


def test_a_discrete_policy_is_read_back_where_its_actions_fit(tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    path.write_bytes(discrete().to_bytes({}))
    spaces = gym.spaces.MultiDiscrete([2, 3], start=[5, 0]), gym.spaces.MultiDiscrete([2, 3])
    fits, other = (Still(space) for space in spaces)
    assert load_policy(path, fits).act(np.ones((3, 2), np.float32), np.random.default_rng(0)).shape == (3, 2)
    with pytest.raises(LfoError, match=r"action choices \[0, 0\] to \[1, 2\], found choices \[5, 0\]"):
        load_policy(path, other)
    rewrite(path, lambda t, m: (m.update(output="argmax"), t.update(action_high=np.float32([6, 3]))))
    with pytest.raises(LfoError, match="follow on each other"):
        load_policy(path, fits)


class Still(gym.Env[np.ndarray, np.ndarray]):
    """Two observations, and the actions that it is told."""

    def __init__(self, actions: gym.Space[Any]) -> None:
        self.observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = actions


@pytest.mark.parametrize(
    ("algorithm", "actions"),
    [
        ("DQN", gym.spaces.Discrete(3)),
        ("PPO", gym.spaces.Discrete(3)),
        ("A2C", gym.spaces.MultiDiscrete([2, 4])),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_sb3_zip_with_discrete_actions_acts_as_its_model(
    algorithm: str, actions: gym.Space[Any], tmp_path: Path
) -> None:
    sb3 = pytest.importorskip("stable_baselines3", exc_type=ImportError)
    env, path = Still(actions), tmp_path / "model.zip"
    model = getattr(sb3, algorithm)("MlpPolicy", env, policy_kwargs={"net_arch": [8, 8]}, device="cpu")
    model.save(path)
    policy = load_policy(path, env, trust_pickle=True)
    observations = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    expected, _ = model.predict(observations, deterministic=True)
    np.testing.assert_array_equal(
        policy.act(observations, np.random.default_rng(0)), expected.reshape(50, -1)
    )


def test_a_saved_policy_is_read_back(saved: Path, pendulum: gym.Env) -> None:
    observations = np.random.default_rng(1).normal(size=(7, 4)).astype(np.float32)
    policy = load_policy(saved, pendulum)
    assert isinstance(policy, MLPPolicy)
    assert policy.metadata["env_id"] == "InvertedPendulum-v5"
    np.testing.assert_array_equal(policy.act(observations), small().act(observations))


def test_random_policy_covers_the_action_space(pendulum: gym.Env) -> None:
    policy = load_policy("random", pendulum)
    assert isinstance(policy, RandomPolicy)
    actions = policy.act(np.zeros((20_000, 4), np.float32), np.random.default_rng(0))
    assert actions.dtype == np.float32
    counts, _ = np.histogram(actions, bins=10, range=(-3, 3))
    assert counts.sum() == 20_000
    # Each bin is binomial(20,000, 0.1), standard deviation 42.
    assert (np.abs(counts - 2000) < 5 * 42).all()


def test_experts_are_as_good_as_they_say() -> None:
    """The metadata holds the return over 100 episodes; 20 others agree within four standard errors."""
    least = {"Acrobot-v1": -82.0, "CartPole-v1": 500.0, "InvertedPendulum-v5": 1000.0, "Reacher-v5": -4.2}
    assert expert_envs() == list(least)
    for env_id, at_least in least.items():
        policy = load_policy("expert", make_env(env_id))
        assert isinstance(policy, MLPPolicy)
        mean, std = (float(policy.metadata[key]) for key in ("return_mean", "return_std"))
        assert mean >= at_least
        assert policy.metadata["episodes"] == "100"
        measured = evaluate_policy(lambda obs, p=policy: p.act(obs), env_id, episodes=20, seed=77)
        assert abs(measured.mean - mean) <= 4 * std / np.sqrt(20) + 1e-9


def test_expert_for_another_environment_lists_those_that_have_one() -> None:
    with pytest.raises(LfoError, match=r"no built-in expert for Hopper-v5.*CartPole-v1, InvertedPendulum-v5"):
        load_policy("expert", make_env("Hopper-v5"))


def test_observations_that_do_not_fit_name_both_lengths(saved: Path) -> None:
    with pytest.raises(
        LfoError, match=r"length 4.*found 11; use the environment that the policy was trained in"
    ):
        load_policy(saved, make_env("Hopper-v5"))


def test_reacher_hint_names_the_versions(tmp_path: Path) -> None:
    policy = load_policy("expert", make_env("Reacher-v5"))
    assert isinstance(policy, MLPPolicy)
    path = tmp_path / "r.safetensors"
    path.write_bytes(policy.to_bytes(policy.metadata))
    with pytest.raises(LfoError, match=r"length 10.*found 11.*up to v4 and 10 in v5"):
        load_policy(path, make_env("Reacher-v4"))


def test_action_bounds_have_to_fit(saved: Path, pendulum: gym.Env) -> None:
    narrow = gym.wrappers.RescaleAction(pendulum, np.float32(-1), np.float32(1))
    with pytest.raises(LfoError, match="action bounds"):
        load_policy(saved, narrow)


def rewrite(path: Path, change: Callable[[dict[str, np.ndarray], dict[str, str]], object]) -> None:
    metadata = {"format": "d3g-lfo policy", "version": "1", "activation": "relu", "output": "tanh"}
    tensors = load_file(path)
    change(tensors, metadata)
    save_file(tensors, path, metadata)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: m.update(format="else"), "metadata 'format'.*'else'"),
        (lambda t, m: m.update(version="2"), "metadata 'version'.*'1'.*'2'"),
        (lambda t, m: m.pop("activation"), "metadata 'activation'.*found nothing"),
        (lambda t, m: m.update(output="softmax"), "metadata 'output'.*'softmax'"),
        (lambda t, m: t.pop("biases.1"), "tensors: expected weights.k"),
        (lambda t, m: t.update(extra=np.zeros(1, np.float32)), "tensors: expected weights.k"),
        (lambda t, m: t.update({"biases.0": np.zeros(9, np.float32)}), "follow on each other"),
        (lambda t, m: t.update({"weights.0": np.zeros(4, np.float32)}), "follow on each other"),
        (lambda t, m: t.update({"weights.0": np.full((4, 5), np.nan, np.float32)}), "20 of them not finite"),
        (lambda t, m: t.update({"biases.0": np.zeros(5)}), "expected finite float32.*float64"),
    ],
)
def test_a_wrong_file_is_refused_with_the_field(
    saved: Path, pendulum: gym.Env, change: Callable[..., object], message: str
) -> None:
    rewrite(saved, change)
    with pytest.raises(LfoError, match=message) as caught:
        load_policy(saved, pendulum)
    assert str(saved) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"x", b"\x00" * 64, b"\xff" * 64])
def test_not_a_safetensors_file(saved: Path, pendulum: gym.Env, content: bytes) -> None:
    saved.write_bytes(content)
    with pytest.raises(LfoError, match="not a readable safetensors"):
        load_policy(saved, pendulum)


def test_missing_directory_and_unknown_kinds(tmp_path: Path, pendulum: gym.Env) -> None:
    with pytest.raises(LfoError, match="found nothing"):
        load_policy(tmp_path / "none.zip", pendulum)
    with pytest.raises(LfoError, match="found a directory"):
        load_policy(tmp_path, pendulum)
    text = tmp_path / "policy.txt"
    text.write_text("hello")
    with pytest.raises(LfoError, match="found neither"):
        load_policy(text, pendulum)


@pytest.mark.parametrize("algorithm", ["TD3", "SAC", "PPO", "A2C", "DDPG"])
@pytest.mark.filterwarnings("ignore")  # other libraries' notes on their own versions
def test_sb3_zip_needs_trust_and_acts_as_its_model(algorithm: str, tmp_path: Path, pendulum: gym.Env) -> None:
    sb3 = pytest.importorskip("stable_baselines3", exc_type=ImportError)
    model = getattr(sb3, algorithm)("MlpPolicy", pendulum, policy_kwargs={"net_arch": [8, 8]}, device="cpu")
    path = tmp_path / "model.zip"
    model.save(path)
    with pytest.raises(LfoError, match=r"can run code.*--trust-pickle"):
        load_policy(path, pendulum)
    policy = load_policy(path, pendulum, trust_pickle=True)
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    expected, _ = model.predict(observations, deterministic=True)
    np.testing.assert_allclose(policy.act(observations, np.random.default_rng(0)), expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_a_zip_that_is_not_a_model(tmp_path: Path, pendulum: gym.Env) -> None:
    pytest.importorskip("stable_baselines3", exc_type=ImportError)
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(LfoError, match="not a Stable-Baselines3 model"):
        load_policy(path, pendulum, trust_pickle=True)


def test_without_sb3_the_package_is_named(
    tmp_path: Path, pendulum: gym.Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", "{}")
    with pytest.raises(LfoError, match="run `pip install stable-baselines3`"):
        load_policy(path, pendulum, trust_pickle=True)


def test_nothing_here_imports_torch(tmp_path: Path) -> None:
    code = (
        "import sys, lfo.datasets.collect, lfo.acting.evaluation, lfo.acting.video;"
        "from lfo.envs.make import make_env; from lfo.datasets.policies import load_policy;"
        "load_policy('expert', make_env('Reacher-v5')); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=tmp_path).returncode == 0


def test_sb3_warnings_do_not_escape(tmp_path: Path, pendulum: gym.Env) -> None:
    """Loading is silent even where warnings are errors, as they are in this test."""
    sb3 = pytest.importorskip("stable_baselines3", exc_type=ImportError)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = sb3.TD3("MlpPolicy", pendulum, policy_kwargs={"net_arch": [4]}, device="cpu")
    model.save(tmp_path / "m.zip")
    load_policy(tmp_path / "m.zip", pendulum, trust_pickle=True)


def test_a_device_is_no_policy() -> None:
    with closing(make_env("Reacher-v5")) as env, pytest.raises(LfoError, match="/dev/zero"):
        load_policy("/dev/zero", env)
