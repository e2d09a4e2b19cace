"""The pendulum of examples/: its twin, and its recipe on recordings of the twin and, where found, of the real one."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from types import ModuleType

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from shell import must

from lfo.datasets import from_logs, load
from lfo.envs.make import make_env

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "pendulum"
RECORDINGS = Path(os.environ.get("D3G_LFO_RECORDINGS", ROOT.parent / "shared" / "data" / "recorded"))


@pytest.fixture
def twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, in a copy of the example's folder, which becomes the current one."""
    import importlib

    for name in ("pendulum_twin.py", "pendulum.toml"):
        shutil.copy(EXAMPLE / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "pendulum_twin", raising=False)
    gym.registry.pop("PendulumTwin-v0", None)
    return importlib.import_module("pendulum_twin")


def swing_up(angle: float, velocity: float) -> float:
    """Push along while the energy is too low."""
    energy = velocity**2 / 2 * 0.139625 - 0.6755 * 9.81 * 0.5 * math.cos(angle)
    return math.copysign(1.0, velocity) if energy < 3.3 else 0.0


def test_it_is_a_proper_environment(twin: ModuleType) -> None:
    env = make_env("pendulum_twin:PendulumTwin-v0", render_mode="rgb_array")
    check_env(twin.PendulumTwin(render_mode="rgb_array"), skip_render_check=True)
    env.reset(seed=0)
    steps, ended = 0, False
    while not ended:
        _, _, terminated, ended, _ = env.step(np.zeros(1, np.float32))
        assert not terminated
        steps += 1
    assert steps == 500
    assert env.render().shape == (240, 240, 3)
    assert twin.reward(math.pi, 2.0) == pytest.approx(-0.02)
    assert twin.reward(0.0, 0.0) == pytest.approx(-(math.pi**2))


def test_the_motor_is_too_weak_to_lift_it_directly_but_not_to_swing_it_up(twin: ModuleType) -> None:
    for lifts, policy in ((False, lambda *_: 1.0), (True, swing_up)):
        env = twin.PendulumTwin()
        env.reset(seed=0)
        highest = 0.0
        for _ in range(500):
            env.step([policy(env.angle, env.velocity)])
            highest = max(highest, abs(env.angle))
        assert (highest > 3) == lifts


def test_without_friction_energy_is_kept(twin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twin, "VISCOUS", 0.0)
    monkeypatch.setattr(twin, "COULOMB", 0.0)
    env = twin.PendulumTwin()
    env.angle = 2.0
    for _ in range(500):
        env.step([0.0])
    energy = twin.INERTIA / 2 * env.velocity**2 - twin.MASS * 9.81 * twin.LENGTH * math.cos(env.angle)
    assert energy == pytest.approx(-twin.MASS * 9.81 * twin.LENGTH * math.cos(2.0), rel=1e-4)


def test_the_recipe_gives_the_twins_own_states_and_rewards(twin: ModuleType) -> None:
    env = twin.PendulumTwin()
    observation, _ = env.reset(seed=3)
    rows, observations, rewards = [(0.0, env.angle, env.velocity, 0.0)], [observation], []
    for step in range(1, 301):
        torque = swing_up(env.angle, env.velocity)
        observation, reward, *_ = env.step([torque])
        rows.append((step * twin.STEP, env.angle, env.velocity, torque * twin.TORQUE))
        observations.append(observation)
        rewards.append(reward)
    np.savetxt("a.csv", rows, delimiter=",", header="time,position,velocity,torque", comments="")
    must("convert", "a.csv", "--recipe", "pendulum.toml", "-o", "d.h5")
    data = load("d.h5")
    assert data.metadata.env_id == "pendulum_twin:PendulumTwin-v0"
    np.testing.assert_allclose(data.states, observations[:-1], atol=1e-5)
    np.testing.assert_allclose(data.next_states, observations[1:], atol=1e-5)
    np.testing.assert_allclose(data.rewards, rewards, atol=1e-4)
    assert data.truncated.sum() == 1


def test_real_recordings() -> None:
    files = RECORDINGS / "torque_limited_pendulum" / "*.csv"
    if not files.parent.is_dir():
        pytest.skip("the recordings are not here; D3G_LFO_RECORDINGS names their folder")
    data = from_logs(files, EXAMPLE / "pendulum.toml")
    assert data.num_episodes == 8
    assert 8_000 < len(data) < 8_300
    assert np.allclose((data.states[:, :2] ** 2).sum(axis=1), 1, atol=1e-5)
    assert data.rewards.max() > -0.01  # some of the controllers reach the top
    assert data.rewards.min() > -(math.pi**2) - 0.005 * 20**2
    assert not data.terminated.any()
