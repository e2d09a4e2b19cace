"""Environments as ids, objects and functions; observations and actions of any shape become vectors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from lfo import D3G, evaluate, learn_inverse, load_policy
from lfo.acting.evaluation import evaluate_policy
from lfo.acting.video import headless_backend, record_video
from lfo.datasets import LfoError, Transitions, save
from lfo.datasets.collect import collect
from lfo.envs.make import full_id, make_env, make_envs, name_of, observation_keys

ENV = "InvertedPendulum-v5"
ROUND = {"rounds": 1, "interactions": 20, "grad_steps": 3, "episodes": 2, "hidden": 8, "batch_size": 8}


def pendulum() -> gym.Env[Any, Any]:
    return gym.make(ENV)


class Parts(gym.Env[dict[str, Any], np.ndarray]):
    """A Dict of Boxes, one of them a matrix, one in a Dict of its own; actions are a matrix. Remembers what it does."""

    observation_space = gym.spaces.Dict(
        {
            "speed": gym.spaces.Box(-9, 9, (2,), np.float32),
            "goal": gym.spaces.Dict({"x": gym.spaces.Box(-9, 9, (1,), np.float64)}),
            "arm": gym.spaces.Box(-9, 9, (1, 2), np.float32),
        }
    )
    action_space = gym.spaces.Box(np.float32([[-1, -2]]), np.float32([[3, 4]]))

    def __init__(self, offset: float = 0.0) -> None:
        self.offset, self.closed, self.resets = offset, False, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        self.last, self.t = np.zeros((1, 2), np.float32), 0
        self.resets += 1
        return self._see(), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        assert action.shape == (1, 2)
        self.last, self.t = action.astype(np.float32), self.t + 1
        return self._see(), float(self.offset), False, self.t >= 5, {}

    def close(self) -> None:
        self.closed = True

    def _see(self) -> dict[str, Any]:
        speed = np.float32([self.t, self.offset])
        return {"speed": speed, "goal": {"x": np.array([7.0])}, "arm": self.last}


class Whole(Parts):
    observation_space = gym.spaces.Box(-9, 9, (2, 2), np.float32)  # type: ignore[assignment]

    def _see(self) -> Any:
        return np.float32([[self.t, 7.0], [self.last[0, 0], self.last[0, 1]]])


KEYS = ["arm", "goal/x", "speed"]


def test_a_dict_is_flattened_in_a_recorded_order() -> None:
    env = make_env(Parts)
    assert observation_keys(env) == KEYS
    assert env.observation_space.shape == (5,)
    np.testing.assert_array_equal(env.action_space.low, [-1, -2])  # type: ignore[attr-defined]
    env.reset(seed=0)
    observation = env.step(np.float32([1, 3]))[0]
    np.testing.assert_array_equal(observation, [1, 3, 7, 1, 0])
    data, actions = collect(Parts, policy="random", steps=20)
    assert json.loads(str(data.metadata.attributes["observation_keys"])) == KEYS
    np.testing.assert_array_equal(data.next_states[:, :2], actions)
    assert observation_keys(make_env(ENV)) == []


def test_a_box_of_any_rank_is_flattened() -> None:
    env = make_env(Whole)
    env.reset(seed=0)
    np.testing.assert_array_equal(env.step(np.float32([1, 3]))[0], [1, 7, 1, 3])


def learned(env: Any, seeds: range = range(1), dim: int = 4) -> Any:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(100, dim))
    moved = states + rng.normal(size=(100, dim))
    flags = np.zeros(100, bool)
    data = Transitions(states, moved, rng.normal(size=100), flags, flags)
    agent = D3G.fit(data, seeds=seeds, steps=3, device="cpu", hidden=8, batch_size=8)
    learn_inverse(agent, env, **ROUND)
    return agent


@pytest.mark.parametrize("members", [1, 2])
def test_an_id_an_object_and_a_function_give_the_same(members: int) -> None:
    found = []
    for env in (ENV, pendulum(), pendulum):
        agent = learned(env, range(members))
        result = evaluate(agent, env, episodes=3)
        assert result.env_id == ENV
        found.append((agent.inverse.network.weight0.detach().numpy(), result.returns))
    for weights, returns in found[1:]:
        np.testing.assert_array_equal(weights, found[0][0])
        np.testing.assert_array_equal(returns, found[0][1])


def test_the_same_data_from_an_object_and_a_function() -> None:
    first, _ = collect(ENV, random_frac=0.5, steps=2100, seed=3)
    for env in (pendulum(), pendulum):
        same, _ = collect(env, random_frac=0.5, steps=2100, seed=3)
        np.testing.assert_array_equal(first.states, same.states)
        assert same.metadata.env_id == ENV


def test_several_jobs_take_an_object_and_refuse_what_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lfo.datasets.collect.GROUP_ROWS", 1_000)
    words = {"random_frac": 1.0, "steps": 16_000, "seed": 3, "jobs": 2}
    first, _ = collect(ENV, **words)
    same, _ = collect(pendulum(), **words)
    np.testing.assert_array_equal(first.states, same.states)
    with pytest.raises(LfoError, match=r"cannot be sent to other processes.*pass jobs=1"):
        collect(lambda: gym.make(ENV), **words)


def test_an_object_is_used_as_it_is_for_one_member_and_stays_open() -> None:
    env = Parts(offset=2.0)
    result = evaluate_policy(lambda obs: np.zeros((*obs.shape[:2], 2)), env, episodes=3)
    assert result.returns.tolist() == [[10.0, 10.0, 10.0]]
    assert (env.resets, env.closed, result.env_id) == (3, False, "Parts")
    learned(env, dim=5)
    data, _ = collect(env, policy="random", steps=10)
    assert (data.rewards == 2).all()
    assert not env.closed


def test_an_object_is_copied_with_its_wrappers_for_more() -> None:
    env = gym.wrappers.RescaleAction(pendulum(), np.float32(-1), np.float32(1))
    copies = make_envs(env, 2)
    assert len({id(one.unwrapped) for one in (env, *copies)}) == 3
    for one in copies:
        np.testing.assert_array_equal(one.action_space.high, [1])  # type: ignore[attr-defined]


class Lost(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps no arguments."""


@pytest.mark.parametrize(
    ("env", "reason"), [(Parts(), "not made by gymnasium.make"), (Lost(pendulum()), "keeps no arguments")]
)
def test_an_object_that_cannot_be_copied_names_the_remedy(env: gym.Env[Any, Any], reason: str) -> None:
    with pytest.raises(LfoError, match=f"{reason}.*pass a function that makes one"):
        make_envs(env, 2)
    assert len(make_envs(lambda: Lost(pendulum()), 2)) == 2


def test_functions_that_cannot_be_used() -> None:
    shared = pendulum()
    with pytest.raises(LfoError, match="found the same one twice; make it inside"):
        make_envs(lambda: shared, 2)
    with pytest.raises(LfoError, match=r"expected a gymnasium\.Env from the function, found int"):
        make_env(lambda: 3)  # type: ignore[arg-type,return-value]

    def broken() -> gym.Env[Any, Any]:
        raise ValueError("no such file")

    with pytest.raises(LfoError, match="environment 'broken' fails to start: ValueError: no such file"):
        make_env(broken)


def test_names() -> None:
    assert [name_of(env) for env in (ENV, pendulum(), Parts(), Parts, pendulum)] == [
        ENV,
        ENV,
        "Parts",
        "Parts",
        "pendulum",
    ]
    assert full_id(pendulum, make_env(pendulum)) == ENV
    assert full_id(Parts, make_env(Parts)) == "Parts"


def test_unbounded_actions_of_an_object_have_a_remedy_that_works() -> None:
    class Unbounded(Parts):
        action_space = gym.spaces.Box(-np.inf, np.inf, (1, 2))

    env = Unbounded()
    with pytest.raises(LfoError, match="finite bounds") as caught:
        make_env(env)
    load, line = re.findall("`(.*?)`", str(caught.value))
    names: dict[str, Any] = {"env": env}
    exec(load, names)
    bounded = make_env(eval(line, names))
    np.testing.assert_array_equal(bounded.action_space.high, [1, 1])  # type: ignore[attr-defined]
    bounded.reset(seed=0)
    bounded.step(np.float32([0.5, 0.25]))
    np.testing.assert_array_equal(env.last, [[0.5, 0.25]])


def test_images_in_a_dict_are_refused_by_name() -> None:
    class Camera(Parts):
        observation_space = gym.spaces.Dict({"eye": gym.spaces.Box(0, 255, (8, 8, 3), np.uint8)})

    with pytest.raises(LfoError, match=r"found Box of shape \(8, 8, 3\) under 'eye'; images"):
        make_env(Camera)


def test_an_object_is_filmed(tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    try:
        headless_backend()
    except LfoError as error:
        pytest.skip(str(error))
    zero = np.zeros(1, np.float32)
    found = [
        record_video(lambda obs: zero, env, tmp_path / f"{number}.mp4")
        for number, env in enumerate((ENV, pendulum(), lambda **kwargs: gym.make(ENV, **kwargs)))
    ]
    assert found[0] == found[1] == found[2]
    with pytest.raises(LfoError, match="render_mode"):
        record_video(lambda obs: zero, pendulum, tmp_path / "d.mp4")


def test_a_policy_takes_the_dictionary_of_its_environment(tmp_path: Path) -> None:
    from shell import must

    from lfo import RunFolder, load_agent

    data, _ = collect(Parts, policy="random", steps=60)
    save(data, tmp_path / "d.h5")
    run = tmp_path / "run"
    must("train", tmp_path / "d.h5", "-o", run, "--steps", "3", "--hidden", "8")
    agent = load_agent(RunFolder(run), "cpu")
    learn_inverse(agent, Parts, out=RunFolder(run), **ROUND)
    env = Parts()
    observation, _ = env.reset()
    policy = load_policy(run)
    flat = np.float32([0, 0, 7, 0, 0])
    observation["arm"] = observation["arm"].ravel()
    np.testing.assert_array_equal(policy.predict(observation), policy.predict(flat))
    with pytest.raises(LfoError, match="expected the keys arm, goal/x, speed, each with a vector, found"):
        policy.predict({"arm": [1, 2]})
