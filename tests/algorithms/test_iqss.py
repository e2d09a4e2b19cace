"""IQSS: one step against the equations in float64, and a task small enough to learn in seconds."""

from __future__ import annotations

from dataclasses import replace
from math import exp

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lfo.algorithms.d3g import D3G, D3GConfig
from lfo.algorithms.iqss import IQSS, IQSSConfig
from lfo.datasets import Transitions
from lfo.nn.losses import correlation
from lfo.runs.record import Member
from lfo.training.loop import build

B, S, M = 32, 3, 2
SMALL = IQSSConfig(hidden=16, batch_size=B, known_within=1.5)  # few rows lie beyond the default's 3


def make_data(seed: int = 0, rows: int = 200) -> Transitions:
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(rows, S)) * [1.0, 5.0, 0.2] + [0.0, 3.0, 1.0]
    steps = rng.standard_t(2, size=(rows, S)) * [
        0.1,
        0.7,
        0.0,
    ]  # heavy tails; the last dimension never changes
    terminated = rng.random(rows) < 0.1
    truncated = (rng.random(rows) < 0.1) & ~terminated
    return Transitions(states, states + steps, 3 + rng.normal(size=rows), terminated, truncated)


def weights(net: torch.nn.Module, member: int) -> list[Tensor]:
    return [p.detach()[member].double().clone().requires_grad_() for p in net.parameters()]


def mlp(w: list[Tensor], x: Tensor) -> Tensor:
    x = torch.relu(x @ w[0] + w[1])
    x = torch.relu(x @ w[2] + w[3])
    return x @ w[4] + w[5]


def adam_first_step(w: list[Tensor], loss: Tensor, lr: float = 3e-4) -> list[Tensor]:
    grads = torch.autograd.grad(loss, w, retain_graph=True)
    # After one step the bias-corrected moments are g and g².
    return [(p - lr * g / (g.abs() + 1e-8)).detach() for p, g in zip(w, grads, strict=True)]


def reference(
    agent: IQSS, m: int, data: Transitions, c: IQSSConfig, index: np.ndarray
) -> tuple[dict[str, list[Tensor]], dict[str, float]]:
    """One member's first step, from the equations: the weights afterwards, and the metrics."""
    s, s2 = data.states.astype(np.float64), data.next_states.astype(np.float64)
    d = (data.next_states - data.states).astype(np.float64)
    moves = d.std(0) > 1e-6
    dstd = np.where(moves, d.std(0), 1.0)
    x, x2, delta = (
        torch.from_numpy(a)[index]
        for a in ((s - s.mean(0)) / s.std(0), (s2 - s.mean(0)) / s.std(0), d / dstd * moves)
    )
    r = torch.from_numpy(data.rewards.astype(np.float64))[index]
    end = torch.from_numpy(data.terminated.astype(np.float64))[index]
    names = ("value1", "value2", "usual", "aims")
    w = {name: weights(getattr(agent, name), m) for name in names}
    # rewards: less the mean, an end less all that would have followed
    r = r - r.mean() - end * r.mean() * c.gamma / (1 - c.gamma)
    r = r / r.square().mean().sqrt()
    # Q(s, s') of both twins, whose targets start as they do
    v1, v2 = mlp(w["value1"], x2)[:, 0].detach(), mlp(w["value2"], x2)[:, 0].detach()
    if c.known_within:
        known = x2.abs()[:, moves].amax(-1) <= c.known_within
        assert known.any()
        assert not known.all()
        least = torch.minimum(v1, v2)[known]
        bound = least.mean() - least.std(correction=0)
        v1, v2 = (torch.where(known, v, v.minimum(bound)) for v in (v1, v2))
    q1, q2 = r + c.gamma * (1 - end) * v1, r + c.gamma * (1 - end) * v2
    q = torch.minimum(q1, q2)
    # V
    value_loss = torch.zeros(())
    for name in ("value1", "value2"):
        u = q - mlp(w[name], x)[:, 0]
        value_loss = value_loss + (torch.where(u < 0, 1 - c.expectile, c.expectile) * u**2).mean()
    # b and σ
    b, log_size = mlp(w["usual"], x).unbind(-1)
    usual_loss = ((q - b) ** 2).mean() + (((q - b).detach().abs().log() - log_size) ** 2).mean()
    # m and c
    b, spread = b.detach(), exp(0.635) * log_size.detach().exp()
    z = ((q - b) / spread).clip(-2, 2)[:, None]
    clipped = delta.clip(-8, 8)
    mean, with_value, size = mlp(w["aims"], x).split([S, S, 1], -1)
    aim_loss = ((mean - clipped) ** 2 + (with_value - z * (clipped - mean.detach())) ** 2).mean()

    e = (clipped - mean).detach()
    aim_loss = aim_loss + (((e**2).mean(-1).clip(max=4) - size[:, 0]) ** 2).mean()

    loss = value_loss + usual_loss + aim_loss
    after = {name: adam_first_step(w[name], loss) for name in names}
    for target, name in (("target_value1", "value1"), ("target_value2", "value2"), ("mean_aims", "aims")):
        after[target] = [old + c.polyak * (new - old) for old, new in zip(w[name], after[name], strict=True)]
    metrics = {
        "value_loss": value_loss,
        "aim_loss": aim_loss,
        "q_data": q.mean(),
        "explained": (with_value**2).sum() / (e**2).sum(),
    }
    metrics["twin_agreement"] = torch.corrcoef(torch.stack([q1 - b, q2 - b]))[0, 1]
    return after, {name: float(value.detach()) for name, value in metrics.items()}


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, known_within=0.0, expectile=0.7, gamma=0.9)])
def test_update_equals_the_equations(config: IQSSConfig) -> None:
    data = [make_data(0), make_data(1)]
    agent, table = build(IQSS, config, data, [Member(7, 0), Member(8, 1)], "cpu")
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
                assert close.double().mean() > 0.995, f"{name}: {(~close).sum()} of {close.numel()} differ"


def test_correlation_by_hand() -> None:
    a = torch.tensor([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]])[:, :, None]
    b = torch.tensor([[2.0, 4.0, 5.0], [1.0, 2.0, 3.0]])[:, :, None]
    # (−1)(−5/3) + 0 + (1)(4/3) = 3, over √(2 · (25 + 1 + 16)/9); the second never varies
    torch.testing.assert_close(correlation(a, b), torch.tensor([3 / (2 * 42 / 9) ** 0.5, 0.0]))


def line(rows: int = 4000) -> Transitions:
    """A point on a line: s' = s + a with a in ±0.3, rewarded for being near 0. A second dimension never moves."""
    rng = np.random.default_rng(0)
    s = rng.uniform(-1, 1, rows)
    after = s + rng.uniform(-0.3, 0.3, rows)
    still = np.full(rows, 7.0)
    none = np.zeros(rows, bool)
    return Transitions(np.stack([s, still], 1), np.stack([after, still], 1), -np.abs(after), none, none)


LEARNED = {
    "steps": 3000,
    "hidden": 32,
    "batch_size": 64,
    "gamma": 0.9,
    "device": "cpu",
    "learning_rate": 1e-3,
}
PLACES = torch.tensor([-0.8, -0.4, 0.4, 0.8])
STATES = torch.stack([PLACES, torch.full_like(PLACES, 7.0)], dim=1)


@pytest.fixture(scope="module")
def learned() -> IQSS:
    return IQSS.fit(line(), seeds=[0, 1], progress=False, **LEARNED)


def test_learns_where_to_go(learned: IQSS) -> None:
    states = STATES.expand(2, -1, -1)
    aims = learned.aim(states)
    moves = (aims - states)[:, :, 0]
    assert (moves * -PLACES.sign() > 0.15).all(), moves
    assert torch.equal(aims[:, :, 1], states[:, :, 1])
    assert ((learned.imagine(states) - states)[:, :, 0].abs() < 0.1).all()  # the data stays on average


def test_values_are_in_the_units_of_the_rewards(learned: IQSS) -> None:
    """From 0.9, three steps of 0.3 and −0.6, −0.3, 0 after: V = −0.6 − 0.9 · 0.3 for the best; κ = 0.9 is below it."""
    states = STATES.expand(2, -1, -1)
    values = learned.values(states, states)
    assert (values < 0).all()
    assert (values[:, [0, 3]] < values[:, [1, 2]]).all()
    assert (values > -4).all()


def test_without_reach_it_aims_for_the_mean(learned: IQSS) -> None:
    config, states = learned.config, STATES.expand(2, -1, -1)
    learned.config = replace(config, reach=0.0)
    torch.testing.assert_close(learned.aim(states), learned.imagine(states))
    learned.config = config


def test_an_end_is_worth_nothing_and_a_time_limit_is_no_end() -> None:
    """With V = 100/size everywhere beyond the mean, Q is its reward at an end and that plus γ V elsewhere."""
    data = line(10)
    ends = np.arange(10) == 4
    for name, stops in (("terminated", ends.tolist()), ("truncated", [False] * 10)):
        flags = {"terminated": np.zeros(10, bool), "truncated": np.zeros(10, bool), name: ends}
        marked = Transitions(data.states, data.next_states, data.rewards, **flags)
        agent, table = build(IQSS, IQSSConfig(hidden=4, known_within=0.0), [marked], [Member(0)], "cpu")
        batch = table.batch(torch.arange(10)[None], agent.units)
        for value in (agent.target_value1, agent.target_value2):
            for parameter in value.parameters():
                parameter.zero_()
        q, _ = agent.q_data(batch)
        raw = q * agent._size() + agent.reward_mean / (1 - 0.99)
        after = torch.where(torch.tensor(stops)[:, None], 0.0, 0.99 * agent.reward_mean / (1 - 0.99))
        torch.testing.assert_close(raw[0], (batch.rewards + after)[0], rtol=1e-4, atol=1e-4)


def test_bf16_learns_the_same_within_its_precision() -> None:
    short = {**LEARNED, "steps": 100, "seeds": [0]}
    exact, rough = (
        IQSS.fit(line(), precision=p, progress=False, **short).aim(STATES[None]) for p in ("fp32", "bf16")
    )
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(exact, rough, rtol=0, atol=0.02)


def test_a_step_costs_less_than_seven_tenths_of_d3gs() -> None:
    """In matrix products, over two steps, of which D3G updates τ in one."""
    costs = []
    for cls, config in ((IQSS, IQSSConfig()), (D3G, D3GConfig())):
        agent, table = build(cls, config, [make_data()], [Member(0)], "cpu")
        batch = table.batch(torch.arange(256)[None] % 200, agent.units)
        with FlopCounterMode(display=False) as counter:
            agent.update(batch)
            agent.update(batch)
        costs.append(counter.get_total_flops())
    assert costs[0] <= 0.7 * costs[1]
    assert costs[0] >= 0.5 * costs[1]  # the counter sees inside the networks
