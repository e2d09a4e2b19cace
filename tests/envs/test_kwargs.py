"""``env_kwargs``: what an environment is made with is recorded, and whoever makes it again uses it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from shell import TINY, TINY_ROUNDS, error, must

from lfo import D3G, D3GOnline, evaluate, load_policy
from lfo.acting.video import record_video
from lfo.datasets import LfoError, Transitions, load
from lfo.datasets.collect import collect
from lfo.envs.make import WithKwargs, kwargs_of, make_env, make_envs, name_of, with_kwargs
from lfo.runs.folder import RunFolder

ENV = "TestPaid-v0"


class Paid(gym.Env[Any, Any]):
    """A random walk on a line that pays the same in every step.

    Args:
        wage: the reward.
        bonus: added to it, if there is one.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012
    observation_space = gym.spaces.Box(-100, 100, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, wage: float = 1.0, bonus: Any = None, render_mode: str | None = None) -> None:
        self.pay, self.render_mode = wage + (0 if bonus is None else float(np.sum(bonus))), render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self.place, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.place = np.clip(self.place + action, -100, 100).astype(np.float32)
        return self.place, self.pay, False, False, {}

    def render(self) -> Any:
        return np.full((16, 16, 3), min(255, int(self.pay)), np.uint8)


@pytest.fixture(autouse=True)
def paid() -> Iterator[None]:
    gym.register(ENV, Paid, max_episode_steps=10)
    yield
    del gym.registry[ENV]


def pay(env: Any) -> float:
    made = make_env(env)
    made.reset(seed=0)
    return float(made.step(np.zeros(1, np.float32))[1])


def test_ids_and_functions_are_made_with_them() -> None:
    assert pay(with_kwargs(ENV, {"wage": 3})) == 3
    assert pay(with_kwargs(Paid, {"wage": 4})) == 4
    assert [one.unwrapped.pay for one in make_envs(with_kwargs(ENV, {"wage": 3}), 2)] == [3, 3]
    assert with_kwargs(ENV, None) == with_kwargs(ENV, {}) == ENV
    assert name_of(WithKwargs(ENV, {"wage": 3})) == ENV
    with pytest.raises(
        LfoError, match=r"env_kwargs: .* found the environment TestPaid-v0; make it with these"
    ):
        with_kwargs(gym.make(ENV), {"wage": 3})
    with pytest.raises(LfoError, match=r"'TestPaid-v0' fails to start: TypeError: .*'wages'"):
        make_env(with_kwargs(ENV, {"wages": 3}))


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        (lambda: ENV, {}),
        (lambda: gym.make(ENV), {}),
        (lambda: gym.make(ENV, wage=1.5), {"wage": 1.5}),
        (lambda: gym.make(ENV, render_mode="rgb_array", max_episode_steps=7), {"max_episode_steps": 7}),
        (lambda: gym.make(ENV, bonus=np.ones(2)), {}),  # JSON has no arrays
        (lambda: with_kwargs(ENV, {"wage": 2, "bonus": (1, 2)}), {"wage": 2, "bonus": [1, 2]}),
        (lambda: with_kwargs(Paid, {"wage": 2}), {"wage": 2}),
    ],
)
def test_what_is_recorded(env: Any, expected: dict[str, Any]) -> None:
    given = env()
    assert kwargs_of(given, make_env(given)) == expected


def test_what_json_cannot_hold_is_refused_where_it_would_be_recorded() -> None:
    with pytest.raises(
        LfoError, match="env_kwargs: bonus: expected a value that can be kept as JSON, found ndarray"
    ):
        collect(ENV, env_kwargs={"bonus": np.ones(2)}, policy="random", steps=20)


def test_from_the_command_line_to_the_next_program(tmp_path: Path) -> None:
    """Collected with a wage of 2, which interact, resume and eval keep until they are told another one."""
    data, run = tmp_path / "d.h5", tmp_path / "run"
    must("collect", ENV, "--env-kwargs", "wage=2", "--policy", "random", "--steps", "60", "-o", data)
    assert load(data).metadata.env_kwargs == {"wage": 2}
    assert load(data).rewards.tolist() == [2] * 60
    must("train", data, "-o", run, *TINY)
    assert RunFolder(run).info()["env_kwargs"] == {"wage": 2}
    assert "return 20.00" in must("interact", run, *TINY_ROUNDS)
    assert RunFolder(run).info()["interact"]["env_kwargs"] == {"wage": 2}
    assert load_policy(run).record["env_kwargs"] == {"wage": 2}
    assert "return 20.00" in must("interact", run, "--resume", "--rounds", "3")
    refused = error("interact", run, "--resume", "--rounds", "4", "--env-kwargs", "wage=5")
    assert "--resume: env_kwargs: expected {'wage': 2} as the stage was started, found {'wage': 5}" in refused
    evaluated = [
        json.loads(must("eval", run, "--episodes", "1", "--json", *more))["return_mean"]
        for more in ((), ("--env", ENV), ("--env-kwargs", "wage=3", "--env-kwargs", "bonus=1"))
    ]
    assert evaluated == [20, 20, 40]
    assert "return 50.00" in must("interact", run, *TINY_ROUNDS, "--overwrite", "--env-kwargs", "wage=5")


def test_online_and_its_resume(tmp_path: Path) -> None:
    run = tmp_path / "run"
    few = ("--start", "20", "--eval-every", "10", "--episodes", "1", "--hidden", "8", "--set", "batch_size=8")
    shown = must("online", ENV, "--env-kwargs", "wage=2", "-o", run, "--steps", "30", *few)
    assert "return 20.00" in shown
    assert "return 20.00" in must("online", "-o", run, "--resume", "--steps", "40")
    assert '"return_mean": 20' in must("eval", run, "--episodes", "1", "--json")


def test_online_from_python_keeps_a_run(tmp_path: Path) -> None:
    """`online --resume` continues what ``fit`` began."""
    run, small = (
        tmp_path / "run",
        {"start": 20, "eval_every": 10, "episodes": 1, "hidden": 8, "batch_size": 8},
    )
    agent = D3GOnline.fit(
        ENV, env_kwargs={"wage": 2}, steps=30, progress=False, out=run, log=["tensorboard"], **small
    )
    assert agent.evaluations["return"] == [20]
    assert list(run.glob("tensorboard/events*"))
    assert "return 20.00" in must("online", "-o", run, "--resume", "--steps", "40")
    with pytest.raises(LfoError, match="already exists"):
        D3GOnline.fit(ENV, out=run)
    with pytest.raises(LfoError, match="lg: expected one of"):
        D3GOnline.fit(ENV, out=tmp_path / "other", lg=["tensorboard"])
    with pytest.raises(LfoError, match="log"):
        D3GOnline.fit(ENV, steps=30, log=["tensorboard"], progress=False, **small)
    assert not (tmp_path / "other").exists()


def test_a_recipe_names_them(tmp_path: Path) -> None:
    pytest.importorskip("polars")
    log, run = tmp_path / "a.csv", tmp_path / "run"
    log.write_text("x\n0\n1\n3\n6\n")
    recipe = f"state = ['x']\nreward = '1'\nenv = '{ENV}'\nenv_kwargs = {{ wage = 2 }}\n"
    (tmp_path / "r.toml").write_text(recipe)
    must("convert", log, "--recipe", tmp_path / "r.toml", "-o", tmp_path / "d.h5")
    must("train", tmp_path / "d.h5", "-o", run, *TINY)
    assert "return 20.00" in must("interact", run, *TINY_ROUNDS)


def test_fit_keeps_the_run_and_its_environment(tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    data = Transitions.from_episodes([(np.arange(11.0)[:, None] ** 2, np.ones(10), False)])
    small = {"hidden": 8, "batch_size": 8, "rounds": 1, "interactions": 20, "grad_steps": 2, "episodes": 1}
    run = tmp_path / "run"
    agent = D3G.fit(data, ENV, env_kwargs={"wage": 2}, steps=4, progress=False, out=run, **small)
    assert agent.evaluations["return"] == [20]
    assert evaluate(agent, ENV, env_kwargs={"wage": 4}, episodes=1).mean == 40
    assert '"return_mean": 20' in must("eval", run, "--episodes", "1", "--json")
    with pytest.raises(LfoError, match="already exists"):
        D3G.fit(data, steps=4, out=run)
    film = tmp_path / "film.mp4"
    assert record_video(lambda o: np.zeros(1), ENV, film, env_kwargs={"wage": 3}) == [30]
    assert film.stat().st_size > 0
