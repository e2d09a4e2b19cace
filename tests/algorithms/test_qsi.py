"""QSI: one step against the equations in float64, which level it chooses, and a task that it learns in seconds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lfo.algorithms.d3g import D3G, D3GConfig
from lfo.algorithms.inverse import Inverse, InverseConfig
from lfo.algorithms.qsi import LEVELS, QSI, QSIConfig
from lfo.datasets import Transitions
from lfo.envs.spaces import ActionSpace
from lfo.runs.record import Member
from lfo.training.loop import build
from lfo.training.progress import Progress

B, S, A, M = 32, 3, 2, 2
SPACE = ActionSpace(np.array([-1.0, 0.0], np.float32), np.array([1.0, 4.0], np.float32))
SMALL = QSIConfig(hidden=16, batch_size=B)


def make_data(seed: int = 0, rows: int = 200) -> Transitions:
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(rows, S)) * [1.0, 5.0, 0.2] + [0.0, 3.0, 1.0]
    steps = rng.normal(size=(rows, S)) * [0.1, 0.7, 0.0]  # the last dimension never changes
    terminated = rng.random(rows) < 0.1
    truncated = (rng.random(rows) < 0.1) & ~terminated
    return Transitions(states, states + steps, 3 + rng.normal(size=rows), terminated, truncated)


def built(config: QSIConfig, data: list[Transitions], space: ActionSpace = SPACE) -> tuple[QSI, Any]:
    agent: Any
    agent, table = build(QSI, config, data, [Member(7 + m, m) for m in range(len(data))], "cpu")
    settings = InverseConfig(hidden=16)
    agent.attach(Inverse(settings, agent.units, space, agent.seeds, standardised=True))
    return agent, table


def weights(net: torch.nn.Module, member: int) -> list[Tensor]:
    return [p.detach()[member].double().clone().requires_grad_() for p in net.parameters()]


def mlp(w: list[Tensor], *inputs: Tensor) -> Tensor:
    x = torch.relu(torch.cat(inputs, -1) @ w[0] + w[1])
    x = torch.relu(x @ w[2] + w[3])
    return x @ w[4] + w[5]


def adam_first_step(w: list[Tensor], loss: Tensor, lr: float = 3e-4) -> list[Tensor]:
    grads = torch.autograd.grad(loss, w, retain_graph=True)
    # After one step the bias-corrected moments are g and g².
    return [(p - lr * g / (g.abs() + 1e-8)).detach() for p, g in zip(w, grads, strict=True)]


def reference(
    agent: QSI, m: int, data: Transitions, c: QSIConfig, index: np.ndarray
) -> tuple[dict[str, list[Tensor]], dict[str, float]]:
    """One member's first step, from the equations: the weights afterwards, and the metrics."""
    assert agent.inverse is not None
    s, s2 = data.states.astype(np.float64), data.next_states.astype(np.float64)
    d = (data.next_states - data.states).astype(np.float64)
    moves = d.std(0) > 1e-6
    dstd = np.where(moves, d.std(0), 1.0)
    x, x2, delta = (
        torch.from_numpy(a)[index]
        for a in ((s - s.mean(0)) / s.std(0), (s2 - s.mean(0)) / s.std(0), d / dstd * moves)
    )
    r = torch.from_numpy(data.rewards.astype(np.float64))[index][:, None]
    end = torch.from_numpy(data.terminated.astype(np.float64))[index][:, None]
    level = (torch.arange(len(index)) % 4 / 3).double()[:, None]
    names = ("critic1", "critic2", "policy", "clone", "model")
    w = {name: weights(getattr(agent, name), m) for name in names}
    a = torch.tanh(mlp(weights(agent.inverse.network, m), x, delta)).detach()
    # rewards: less the mean, an end less all that would have followed
    r = r - r.mean() - end * r.mean() * c.gamma / (1 - c.gamma)
    r = r / r.square().mean().sqrt()
    # critics, whose targets start as they do
    after = torch.tanh(mlp(w["policy"], x2, level))
    least = torch.minimum(*(mlp(w[n], x2, after, level) for n in ("critic1", "critic2")))
    y = (r + c.gamma * (1 - end) * least).detach()
    q1, q2 = (mlp(w[n], x, a, level) for n in ("critic1", "critic2"))
    critic_loss = ((q1 - y) ** 2).mean() + ((q2 - y) ** 2).mean()
    q_data = q1.mean()
    # the policy stays near the demonstrations, the first rows
    x, a, delta, level = (
        column[: len(index) - round(c.replay * len(index))] for column in (x, a, delta, level)
    )
    errors = (torch.tanh(mlp(w["clone"], x)) - a) ** 2
    model_loss = ((mlp(w["model"], x, a) * torch.from_numpy(moves) - delta) ** 2).mean()
    loss = critic_loss + errors.mean() + model_loss  # each network is in one of them
    new = {name: adam_first_step(w[name], loss) for name in names if name != "policy"}
    # the policy goes up the critic as it is now
    sigma = errors.detach().mean(0).sqrt()
    critic = [p.detach() for p in new["critic1"]]
    proposed = torch.tanh(mlp(w["policy"], x, level))
    tried = proposed.detach().requires_grad_()
    (slope,) = torch.autograd.grad(mlp(critic, x, tried, level).sum(), tried)
    steepness = ((slope * sigma) ** 2).sum(-1).mean().sqrt()
    value = mlp(critic, x, proposed, level) / steepness
    pull = (((proposed - a) / sigma) ** 2).sum(-1, keepdim=True) / 2
    new["policy"] = adam_first_step(w["policy"], (pull - c.reach * level**2 * value).mean())
    for name in ("critic1", "critic2", "policy"):
        pairs = zip(w[name], new[name], strict=True)
        new[f"target_{name}"] = [before + c.polyak * (now - before) for before, now in pairs]
    other = [p.detach() for p in new["critic2"]]
    better = mlp(other, x, proposed, level) > mlp(other, x, a, level)
    found = {"critic_loss": critic_loss, "clone_loss": errors.mean(), "model_loss": model_loss}
    found |= {"q_data": q_data, "improves": better.double().mean()}
    return new, {name: float(value.detach()) for name, value in found.items()}


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, reach=1.0, gamma=0.9, polyak=0.1, replay=0.0)])
def test_update_equals_the_equations(config: QSIConfig) -> None:
    data = [make_data(0), make_data(1)]
    agent, table = built(config, data)
    index = np.stack([np.random.default_rng(m).integers(0, 200, B) for m in range(M)])
    references = [reference(agent, m, data[m], config, index[m]) for m in range(M)]
    metrics = agent.update(table.batch(torch.from_numpy(index + np.array([[0], [200]])), agent.units))
    for m, (after, expected) in enumerate(references):
        for name, value in expected.items():
            torch.testing.assert_close(metrics[name][m].item(), value, rtol=2e-4, atol=2e-5, msg=name)
        for name, networks in after.items():
            for found, want in zip(getattr(agent, name).parameters(), networks, strict=True):
                # Adam's first step is ±lr wherever |g| ≫ 1e-8: rounding shows only where the gradient vanishes.
                close = torch.isclose(found[m].double(), want, rtol=1e-4, atol=1e-6)
                assert close.double().mean() > 0.99, f"{name}: {(~close).sum()} of {close.numel()} differ"


def played(agent: QSI, returns: list[float], episodes: int, noise: float = 0.0) -> list[int]:
    """The levels that it tries while each returns what is given, plus or minus ``noise``."""
    tried = []
    for k in range(episodes):
        tried.append(int(agent.trying[0]))
        agent.episode_over(0, returns[tried[-1]] + noise * (-1) ** k)
    return tried


def test_it_tries_every_level_and_acts_with_the_best() -> None:
    agent, _ = built(SMALL, [make_data()])
    tried = played(agent, [10.0, 30.0, 20.0, 2.0], 12, noise=1.0)
    assert tried[:LEVELS] == list(range(LEVELS))
    assert tried[LEVELS:].count(1) > 4
    assert int(agent.level[0]) == 1


def test_among_levels_that_are_as_good_it_acts_with_the_highest() -> None:
    agent, _ = built(SMALL, [make_data()])
    played(agent, [10.0, 30.0, 29.9, 2.0], 24, noise=3.0)
    assert int(agent.level[0]) == 2


def test_returns_of_older_policies_count_less_and_a_level_is_tried_again() -> None:
    agent, _ = built(SMALL, [make_data()])
    agent.episode_over(0, 10.0)
    agent.updates = 5
    agent.episode_over(0, 1.0)
    torch.testing.assert_close(agent.heard[0, :2, :2], torch.tensor([[0.5, 1.0], [5.0, 1.0]]).double())
    played(agent, [10.0, 1.0, 1.0, 1.0], 4)
    assert int(agent.level[0]) == 0
    for agent.updates in (10, 15, 20):
        played(agent, [0.0, 1.0, 1.0, 1.0], 5)
    assert int(agent.level[0]) > 0


class Told(Progress):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_share_of_what_it_learns_from_is_its_own_interactions(monkeypatch: pytest.MonkeyPatch) -> None:
    states = np.random.default_rng(0).normal(size=(50, 4))
    none = np.zeros(50, bool)
    steps = np.random.default_rng(1).normal(size=(50, 4))
    data = Transitions(
        states, states + steps, np.full(50, 7.0), none, none
    )  # InvertedPendulum gives 1 a step
    seen: list[Tensor] = []
    update = QSI.update

    def watched(agent: QSI, batch: Any) -> dict[str, Tensor]:
        seen.append(batch.rewards[0, :, 0])
        return update(agent, batch)

    monkeypatch.setattr(QSI, "update", watched)
    stage = {"rounds": 2, "interactions": 20, "grad_steps": 3, "episodes": 1, "progress": False}
    QSI.fit(data, "InvertedPendulum-v5", hidden=8, batch_size=B, **stage)
    rewards = torch.stack(seen)
    assert rewards.shape == (6, B)
    assert (rewards[:, :24] == 7).all()
    assert (rewards[:, 24:] < 7).all()


def test_rewards_that_cannot_be_the_data_s_are_told() -> None:
    rng, none = np.random.default_rng(0), np.zeros(50, bool)
    states, steps = rng.normal(size=(50, 4)), rng.normal(size=(50, 4))
    notes = []
    for rewards in (np.full(50, 7.0), rng.normal(size=50)):
        told = Told()
        data = Transitions(states, states + steps, rewards, none, none)
        settings = {"rounds": 1, "interactions": 20, "grad_steps": 1, "episodes": 1, "hidden": 8}
        QSI.fit(data, "InvertedPendulum-v5", progress=told, **settings)
        notes.append(told.notes)
    assert notes == [
        [
            "InvertedPendulum-v5 gives rewards from 0 to 1, the data has 7 to 7: are they the same? If not, train with "
            "--set replay=0"
        ],
        [],
    ]


def test_levels_go_from_the_clone_to_the_reach() -> None:
    """Data of a Gaussian policy on a line where more is better: π(s) = 0 + α σ for each level's α."""
    rng = np.random.default_rng(0)
    states, actions = rng.uniform(-1, 1, (2000, 1)), 0.2 * rng.normal(size=(2000, 1))
    none = np.zeros(2000, bool)
    data = Transitions(states, states + actions, (states + actions)[:, 0], none, none)
    agent, table = built(
        QSIConfig(hidden=32, batch_size=64, gamma=0.0, learning_rate=1e-3),
        [data],
        ActionSpace(np.array([-1.0], np.float32), np.array([1.0], np.float32)),
    )
    known = torch.from_numpy(data.next_states - data.states)[None]
    assert agent.inverse is not None
    scale = float(agent.units.delta_std)
    agent.inverse.__class__ = type("Known", (Inverse,), {"__call__": lambda self, s, d: d * scale})
    generator = torch.Generator().manual_seed(0)
    for _ in range(1500):
        agent.update(table.batch(torch.randint(0, 2000, (1, 64), generator=generator), agent.units))
    assert known.std() == pytest.approx(0.2, abs=0.01)
    places = torch.linspace(-0.8, 0.8, 9)[None, :, None]
    for level in range(LEVELS):
        agent.level.fill_(level)
        mean = float(agent.act(places).mean())
        assert mean == pytest.approx(2.0 * (level / 3) ** 2 * 0.2, abs=0.06), level
        moved = agent.aim(places) - places
        torch.testing.assert_close(moved.mean(), torch.tensor(mean), atol=0.06, rtol=0)
    assert float((agent.imagine(places) - places).abs().mean()) < 0.06
    values = agent.values(places, places + 0.1)  # γ = 0: the reward alone, which is s'
    torch.testing.assert_close(values, (places + 0.1)[..., 0], atol=0.06, rtol=0)


def test_a_step_costs_less_than_seven_tenths_of_d3gs() -> None:
    """In matrix products, over two steps, of which both update their policy in one."""
    costs = []
    for cls, config in ((QSI, QSIConfig()), (D3G, D3GConfig())):
        agent: Any
        agent, table = build(cls, config, [make_data()], [Member(0)], "cpu")
        if cls is QSI:
            agent.attach(Inverse(InverseConfig(), agent.units, SPACE, agent.seeds, standardised=True))
        batch = table.batch(torch.arange(256)[None] % 200, agent.units)
        with FlopCounterMode(display=False) as counter:
            agent.update(batch)
            agent.update(batch)
        costs.append(counter.get_total_flops())
    assert costs[0] <= 0.7 * costs[1]
