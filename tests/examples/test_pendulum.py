"""The pendulum of examples/: its twin, and its recipe on recordings of the twin and, where found, of the real one."""

from __future__ import annotations

import importlib
import math
import os
import runpy
import shlex
import shutil
import subprocess
import sys
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
    for name in ("pendulum_twin.py", "pendulum.toml", "replay.py", "stays.py"):
        shutil.copy(EXAMPLE / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("pendulum_twin", "replay", "stays"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    gym.registry.pop("PendulumTwin-v0", None)
    return importlib.import_module("pendulum_twin")


def swing_up(angle: float, velocity: float) -> float:
    """Push along while the energy is too low."""
    energy = velocity**2 / 2 * 0.139625 - 0.6755 * 9.81 * 0.5 * math.cos(angle)
    return math.copysign(1.0, velocity) if energy < 3.3 else 0.0


def by_hand(twin: ModuleType, angle: float, velocity: float) -> float:
    """The share of the torque by which an engineer would swing it up: push along while the energy is short, then hold."""
    upright = math.atan2(-math.sin(angle), -math.cos(angle))
    if abs(upright) < 0.35 and abs(velocity) < 3:
        return float(np.clip((-10 * upright - 1.5 * velocity) / twin.TORQUE, -1, 1))
    weight = twin.MASS * twin.GRAVITY * twin.LENGTH
    missing = 1.02 * weight - twin.INERTIA / 2 * velocity**2 + weight * math.cos(angle)
    return float(np.clip(10 * missing * math.copysign(1, velocity) / twin.TORQUE, -1, 1))


def test_the_return_of_an_engineers_controller(twin: ModuleType) -> None:
    """The reference of the page: up after 2.3 s, and it stays."""
    returns = []
    for seed in range(10):
        env = twin.PendulumTwin()
        env.reset(seed=seed)
        returns.append(sum(env.step([by_hand(twin, env.angle, env.velocity)])[1] for _ in range(500)))
        assert math.cos(env.angle) < -0.999
    assert np.mean(returns) == pytest.approx(-605, abs=0.5)
    assert (round(min(returns)), round(max(returns))) == (-609, -601)


def test_who_is_up_and_stays(twin: ModuleType) -> None:
    """The engineer's controller holds the rod; one that does nothing leaves it hanging."""
    watch = importlib.import_module("stays").watch
    times, held = watch(lambda o: np.array([by_hand(twin, math.atan2(o[1], o[0]), o[2])]), range(2))
    assert np.median(times) == pytest.approx(2.3, abs=0.1)
    assert held.max() < 2
    times, held = watch(lambda o: np.zeros(1), range(1))
    assert np.isnan(times).all()
    assert held == pytest.approx(180, abs=3)


def test_the_period_of_small_swings(twin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """2 π √(inertia / (mass · gravity · length)), 1.29 s."""
    for friction in ("VISCOUS", "COULOMB"):
        monkeypatch.setattr(twin, friction, 0.0)
    angle, velocity, path = 0.02, 0.0, []
    for _ in range(400):
        path.append(angle)
        angle, velocity = twin.advance(angle, velocity, 0.0)
    falls = np.flatnonzero((np.array(path[:-1]) > 0) & (np.array(path[1:]) <= 0))
    period = np.diff(falls).mean() * twin.STEP
    assert period == pytest.approx(2 * math.pi * math.sqrt(0.139625 / (0.6755 * 9.81 * 0.5)), rel=0.01)


def record_twin(twin: ModuleType, path: str | Path, steps: int) -> None:
    """Write a recording of swings in the lower half."""
    angle, velocity, rows = 0.3, 0.0, []
    for step in range(steps):
        torque = 0.4 * math.sin(4 * step * twin.STEP)
        rows.append((step * twin.STEP, angle, velocity, torque))
        angle, velocity = twin.advance(angle, velocity, torque)
    np.savetxt(path, rows, delimiter=",", header="time,position,velocity,torque", comments="")


def test_recorded_torques_are_replayed(twin: ModuleType) -> None:
    """A recording of the twin itself comes back; one with another friction does not."""
    replay = importlib.import_module("replay").replay
    record_twin(twin, "a.csv", 400)
    found = np.array(replay("a.csv"))
    assert len(found) > 20
    assert np.median(found[:, 0] / found[:, 1]) < 0.05
    twin.VISCOUS = 0.3
    assert np.median(np.array(replay("a.csv"))[:, 0] / found[:, 1]) > 0.1


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


SMALL = {
    "train": ("--steps", "5", "--seeds", "20", "--hidden", "8", "--device", "cpu"),
    "interact": ("--rounds", "1", "--interactions", "20", "--grad-steps", "2", "--episodes", "1"),
    "eval": ("--episodes", "1"),
}
"""Options that make a command of the page small; what is given last counts."""


def test_the_commands_of_the_page_run_from_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, on two recordings of the twin; `page.py` runs them at full size."""
    pytest.importorskip("imageio_ffmpeg")
    sys.path.insert(0, str(Path(__file__).parent))
    import page

    made, folder = tmp_path / "made", tmp_path / "folder"
    made.mkdir()
    folder.mkdir()
    page.copy(folder, made)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "pendulum_twin", raising=False)
    gym.registry.pop("PendulumTwin-v0", None)
    twin = importlib.import_module("pendulum_twin")
    gym.registry["PendulumTwin-v0"].max_episode_steps = 30
    for name in "ab":
        record_twin(twin, folder / "recordings" / f"{name}.csv", 400)
    lines, variables = page.commands()
    for line in lines:
        words = shlex.split(line, comments=True)
        words = [variables.get(word.removeprefix("$"), word) for word in words]
        if words[0] == "d3g-lfo":
            must(*words[1:], *SMALL.get(words[1], ()))
        elif words[1] == "-c":
            subprocess.run([sys.executable, *words[1:]], check=True)  # imageio leaves files open
        else:
            found = [str(path) for word in words[2:] for path in (sorted(Path().glob(word)) or [word])]
            monkeypatch.setattr(sys, "argv", [words[1], *found])
            runpy.run_path(words[1], run_name="__main__")
    made_here = {path.name for path in folder.iterdir()}
    assert {
        "pendulum.h5",
        "run",
        "bco",
        "d3g",
        "report",
        "swing-up.mp4",
        "swing-up.png",
        "worst.png",
    } <= made_here


def real_recordings() -> Path:
    """The pattern of their names."""
    files = RECORDINGS / "torque_limited_pendulum" / "*.csv"
    if not files.parent.is_dir():
        pytest.skip("the recordings are not here; D3G_LFO_RECORDINGS names their folder")
    return files


def test_the_twin_follows_the_real_one_for_a_second(twin: ModuleType) -> None:
    """Within 0.1 rad where the recording is good, with a motion of 0.3 to 0.7 rad."""
    folder, replay = real_recordings().parent, importlib.import_module("replay").replay
    for name, most in (("ddp", 0.07), ("sac", 0.12), ("energy_shaping", 0.12)):
        assert np.median(np.array(replay(folder / f"{name}.csv"))[:, 0]) < most, name


def test_real_recordings() -> None:
    files = real_recordings()
    data = from_logs(files, EXAMPLE / "pendulum.toml")
    assert data.num_episodes == 8
    assert 8_000 < len(data) < 8_300
    assert np.allclose((data.states[:, :2] ** 2).sum(axis=1), 1, atol=1e-5)
    assert data.rewards.max() > -0.01  # some of the controllers reach the top
    assert data.rewards.min() > -(math.pi**2) - 0.005 * 20**2
    assert not data.terminated.any()
