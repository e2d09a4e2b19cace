"""Every algorithm with discrete actions: tasks learned in seconds, a policy taken away, QSI's rule by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete, MultiDiscrete

from lfo import load_policy
from lfo.acting.rounds import evaluate, learn_inverse
from lfo.algorithms import registry
from lfo.algorithms.inverse import Inverse, InverseConfig
from lfo.algorithms.qsi import QSI, QSIConfig
from lfo.datasets import LfoError, Transitions
from lfo.datasets.collect import collect
from lfo.envs.spaces import DiscreteSpace
from lfo.nn.batches import Batch
from lfo.runs.record import Member
from lfo.training.loop import build


class Walk(gym.Env[Any, Any]):
    """A point that starts at random and is paid for being near the middle. Action 7 is up, 8 stay, 9 down."""

    action_space: Any = Discrete(3, start=7)
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    moves: ClassVar[dict[Any, tuple[float, float]]] = {7: (0, 0.2), 8: (0, 0), 9: (0, -0.2)}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.t = self.np_random.uniform(-1, 1, 2).astype(np.float32), 0
        return self.place, {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        move = np.array(self.moves[action if isinstance(self.action_space, Discrete) else tuple(action)])
        self.place = np.clip(self.place + move, -1, 1).astype(np.float32)
        self.t += 1
        return self.place, -float(np.abs(self.place[1])), False, self.t == 10, {}


class Two(Walk):
    """Two choices: how far, and which way; the second has a value that does nothing."""

    action_space = MultiDiscrete([2, 3])
    moves: ClassVar[dict[Any, tuple[float, float]]] = {
        (size, way): (0, (0.1, 0.3)[size] * (1, 0, -1)[way]) for size in range(2) for way in range(3)
    }


@pytest.fixture(scope="module", params=[Walk, Two])
def walk(request: pytest.FixtureRequest) -> tuple[type[Walk], Transitions]:
    data, actions = collect(request.param, policy="random", steps=2000)
    assert set(np.unique(actions)) <= {0, 1, 2, 7, 8, 9}
    return request.param, data


def learned(algo: str, env: type[Walk], data: Transitions, **more: Any) -> Any:
    spec = registry.spec(algo)
    settings = {
        "seeds": [3],
        "hidden": 32,
        "batch_size": 64,
        "steps": 1,
        "device": "cpu",
        "progress": False,
    }
    stage = {"rounds": 2, "interactions": 200, "grad_steps": 300, "episodes": 2}
    return spec.cls.fit(data, env, **{**settings, **stage, **more})


def test_qsi_learns_a_walk_to_the_middle() -> None:
    """The best return is about −1.9; standing still returns −5, random actions −5.3."""
    data, _ = collect(Two, policy="random", steps=2000)
    agent = learned("qsi", Two, data, learning_rate=3e-3)
    assert evaluate(agent, Two, episodes=50, seed=5).mean > -3.5


def test_the_inverse_dynamics_tells_actions_apart() -> None:
    """D3G acts by them: where it aims one step up, stays or goes down, it takes the action that does so."""
    data, actions = collect(Walk, policy="random", steps=500)
    agent = learned("d3g", Walk, data, steps=2, grad_steps=200, learning_rate=3e-3)
    states, after = (torch.from_numpy(part[None].copy()) for part in (data.states, data.next_states))
    inside = np.abs(data.next_states[:, 1]) < 1  # at the border, several lead to the same state
    found = agent.inverse(agent.units.states(states), agent.units.deltas(states, after))[0].numpy()
    assert (found == actions)[inside].mean() > 0.97


def test_bco_imitates_a_controller() -> None:
    class Controller:
        name = "controller"

        def act(self, observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            return np.where(observations[:, 1:] > 0.1, 9.0, np.where(observations[:, 1:] < -0.1, 7.0, 8.0))

    data, _ = collect(Walk, policy=Controller(), random_frac=0.2, steps=1000)
    agent = learned("bco", Walk, data, learning_rate=3e-3)
    assert evaluate(agent, Walk, episodes=50, seed=5).mean > -3


@pytest.mark.parametrize("algo", registry.names())
def test_a_policy_is_taken_away(algo: str, walk: tuple[type[Walk], Transitions], tmp_path: Path) -> None:
    """Saved and loaded, it takes actions that the environment accepts as they are."""
    env, data = walk
    small = {"steps": 4, "rounds": 1, "interactions": 20, "grad_steps": 4}
    learned(algo, env, data, **small).save(tmp_path / "run")
    policy = load_policy(tmp_path / "run")
    policy.save(tmp_path / "policy.safetensors")
    again = load_policy(tmp_path / "policy.safetensors")
    observations = data.states[:20]
    many, one = again.predict(observations), again.predict(observations[3])
    assert many.dtype == np.int64
    assert many.shape == (20, *env.action_space.shape)
    assert env.action_space.contains(one)
    np.testing.assert_array_equal(many, policy.predict(observations))
    np.testing.assert_array_equal(many[3], one)
    recorded, actions = collect(env, policy=again, random_frac=0.0, steps=30)
    np.testing.assert_array_equal(
        policy.predict(recorded.states), actions.reshape(many[:1].repeat(30, 0).shape)
    )


def test_exported_actions_are_whole_numbers(walk: tuple[type[Walk], Transitions], tmp_path: Path) -> None:
    env, data = walk
    learned("bco", env, data, steps=4, rounds=1, interactions=20, grad_steps=4).save(tmp_path / "run")
    policy = load_policy(tmp_path / "run")
    assert policy.export(tmp_path / "policy.pt2") == 0
    module = torch.export.load(tmp_path / "policy.pt2").module()
    actions = module(torch.from_numpy(data.states[:5].copy()))
    assert actions.dtype == torch.int64
    assert actions.tolist() == policy.predict(data.states[:5]).tolist()


def test_redundant_actions_change_no_value(walk: tuple[type[Walk], Transitions]) -> None:
    """What was learned without actions serves any actions: only I is learned again."""
    env, data = walk

    class Redundant(env):  # type: ignore[misc, valid-type]
        action_space = Discrete(30)
        moves: ClassVar[dict[Any, tuple[float, float]]] = {
            i: env.moves[sorted(env.moves)[i * 7 % 3]] for i in range(30)
        }

    agent = learned("d3g", env, data, steps=20, rounds=1, interactions=20, grad_steps=4)
    before = {name: tensor.clone() for name, tensor in agent.state_dict().items() if torch.is_tensor(tensor)}
    values = agent.values(
        *(torch.from_numpy(part[None, :50].copy()) for part in (data.states, data.next_states))
    )
    learn_inverse(agent, Redundant, rounds=1, interactions=50, grad_steps=4, hidden=32, progress=False)
    assert agent.inverse.head.size == 30
    for name, tensor in before.items():
        if not name.startswith("inverse"):
            assert torch.equal(tensor, agent.state_dict()[name]), name
    again = agent.values(
        *(torch.from_numpy(part[None, :50].copy()) for part in (data.states, data.next_states))
    )
    assert torch.equal(values, again)
    with pytest.raises(
        LfoError, match=r"expected actions with choices \[0\] to \[29\], as the run has learned"
    ):
        evaluate(agent, Walk, episodes=1)


def test_qsi_tilts_the_data_s_probabilities_by_q() -> None:
    """At the loss's minimum π ∝ κ exp(α Q / G): here α = 2 and Q / G = ±1 in every state, so that π = κ e^{±2}."""
    space, share = DiscreteSpace.counting(0, 2, ()), 0.8
    agent: Any
    data = Transitions(np.eye(2), np.eye(2)[::-1], np.array([0.0, 1.0]), np.zeros(2, bool), np.zeros(2, bool))
    agent, _ = build(
        QSI, QSIConfig(hidden=8, learning_rate=0.02, standardise=False), [data], [Member(0, 0)], "cpu"
    )
    agent.attach(Inverse(InverseConfig(hidden=8), agent.units, space, agent.seeds, standardised=False))
    with torch.no_grad():
        for network in (agent.critic1, agent.clone, agent.policy):
            network.weight2.zero_()
        agent.critic1.bias2.copy_(torch.tensor([[[5.0, -5.0]]]))
        agent.clone.bias2.copy_(torch.tensor([[[np.log(share), np.log(1 - share)]]]))
    states, highest = torch.zeros(1, 4, 2), torch.ones(1, 4, 1)
    batch = Batch(states, states, highest, highest * 0, highest * 0, states)
    taken = torch.tensor([[[1.0, 0.0]] * 4])
    tilted = np.array([share * np.exp(2), (1 - share) * np.exp(-2)])
    for probabilities, steady in ((tilted / tilted.sum(), True), (np.array([share, 1 - share]), False)):
        with torch.no_grad():
            agent.policy.bias2.copy_(torch.from_numpy(np.log(probabilities)))
        loss, _ = agent.policy_loss(batch, taken, highest)
        (gradient,) = torch.autograd.grad(loss.sum(), [agent.policy.bias2])
        assert (float(gradient.abs().max()) < 1e-4) == steady
    q = agent.value(agent.critic1, states, torch.tensor([[[share, 1 - share]] * 4]), highest)
    np.testing.assert_allclose(q.detach(), 5 * share - 5 * (1 - share), rtol=1e-6)
