"""One gradient step against an independent float64 computation, written from the paper's equations.

Nothing of the package is called here to compute the expectation: networks are plain matrix products, gradients
plain autograd, Adam three lines. Each member is computed by itself, so the stack is checked too.
"""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from equations import adam_first_step, mlp, weights
from torch import Tensor

from lfo import D3G, D3GConfig
from lfo.algorithms.inverse import Inverse, InverseConfig
from lfo.datasets import Transitions
from lfo.envs.spaces import ActionSpace
from lfo.nn.batches import ActionBatch
from lfo.runs.record import Member
from lfo.training.loop import build

B, S, M = 32, 3, 2
SMALL = D3GConfig(hidden=16, batch_size=B, known_within=1.5)  # few rows lie beyond the default's 3


def make_data(seed: int = 0, rows: int = 200) -> Transitions:
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(rows, S)) * [1.0, 5.0, 0.2] + [0.0, 3.0, 1.0]
    steps = rng.normal(size=(rows, S)) * [0.1, 0.7, 0.0]  # the last dimension never changes
    terminated = rng.random(rows) < 0.1
    truncated = (rng.random(rows) < 0.1) & ~terminated
    return Transitions(states, states + steps, rng.normal(size=rows), terminated, truncated)


class Reference:
    """One member, one step, from the equations, in float64 and in the learner's units worked out anew."""

    def __init__(
        self, agent: D3G, member: int, data: Transitions, config: D3GConfig, index: np.ndarray
    ) -> None:
        self.c = config
        s, s2 = data.states.astype(np.float64), data.next_states.astype(np.float64)
        d = (data.next_states - data.states).astype(np.float64)
        one = np.ones(S)
        if config.standardise:
            moves = d.std(0) > 1e-6
            mean, std, dstd = s.mean(0), s.std(0), np.where(moves, d.std(0), 1.0)
        else:
            moves, mean, std, dstd = one > 0, 0 * one, one, one
        low, high = (d / dstd).min(0), (d / dstd).max(0)
        t = torch.from_numpy
        self.moves, self.ratio = t(moves.astype(float)), t(dstd / std)
        self.mid, self.reach = t((low + high) / 2), t(np.maximum((high - low) / 2, 1e-6))
        stops = data.terminated | data.truncated if config.stop_at_timeouts else data.terminated
        self.x, self.x2 = t((s - mean) / std)[index], t((s2 - mean) / std)[index]
        self.delta = (t(d / dstd) * self.moves)[index]
        self.r, self.go_on = t(data.rewards.astype(np.float64))[index], t((~stops).astype(float))[index]
        r = data.rewards.astype(np.float64)
        self.y_low = min(r.min(), r.min() / (1 - config.gamma))
        self.y_high = max(r.max(), r.max() / (1 - config.gamma))
        names = ("critic1", "critic2", "predictor", "model", "baseline")
        self.sigma = torch.ones(())
        self.w = {name: [p.requires_grad_() for p in weights(getattr(agent, name), member)] for name in names}
        targets = ("target_critic1", "target_critic2", "target_predictor")
        self.old_baseline = weights(agent.baseline, member)  # all of a step sees V_χ before its update
        self.t = {name: weights(getattr(agent, name), member) for name in targets}

    def squash(self, h: Tensor) -> Tensor:
        if self.c.bound_deltas:
            h = self.mid + self.reach * torch.tanh((h - self.mid) / self.reach)
        return h * self.moves

    def q(self, w: list[Tensor], x: Tensor, d: Tensor) -> Tensor:
        return mlp(w, torch.cat([x, x + d * self.ratio], -1))[:, 0]

    def f(self, w: list[Tensor], x: Tensor, q: Tensor, clip: bool = True) -> Tensor:
        if self.c.relative_value:
            q = (q - mlp(self.old_baseline, x)[:, 0].detach()) / self.sigma
            q = q.clip(-3, 0) if clip else q
        return self.squash(mlp(w, torch.cat([x, q[:, None]], -1)))

    def norm(self, e: Tensor) -> Tensor:
        return (e**2).sum(-1).mean() / self.moves.sum()

    def step(self) -> dict[str, float]:
        c, w, t = self.c, self.w, self.t
        # 1. critic
        with torch.no_grad():
            tau2 = self.squash(mlp(t["target_predictor"], self.x2))
            c2 = self.f(w["model"], self.x2, self.q(t["target_critic1"], self.x2, tau2))
            least = torch.minimum(
                self.q(t["target_critic1"], self.x2, c2), self.q(t["target_critic2"], self.x2, c2)
            )
            if c.known_within:
                after = self.x2 + c2 * self.ratio
                far = torch.stack([self.x2.abs(), after.abs()]).amax(0)[:, self.moves > 0].amax(-1)
                known = far <= c.known_within
                assert known.any()
                assert not known.all()
                bound = least[known].mean() - least[known].std(correction=0)
                least = torch.where(known, least, torch.minimum(least, bound))
            y = self.r + c.gamma * self.go_on * least
            if c.clip_targets:
                y = y.clip(self.y_low, self.y_high)
        q1 = self.q(w["critic1"], self.x, self.delta)
        q2 = self.q(w["critic2"], self.x, self.delta)
        critic_loss = ((q1 - y) ** 2).mean() + ((q2 - y) ** 2).mean()
        critics = adam_first_step(w["critic1"] + w["critic2"], critic_loss)
        w["critic1"], w["critic2"] = critics[:6], critics[6:]
        # 2. forward model
        q = self.q(t["target_critic1"], self.x, self.delta)
        if c.relative_value:
            u = q - mlp(w["baseline"], self.x)[:, 0]
            baseline_loss = (torch.where(u < 0, 1 - c.expectile, c.expectile) * u**2).mean()
            w["baseline"] = adam_first_step(w["baseline"], baseline_loss)
            self.sigma = u.detach().square().mean().sqrt()
        model_loss = self.norm(self.f(w["model"], self.x, q, clip=False) - self.delta)
        w["model"] = adam_first_step(w["model"], model_loss)
        # 3. τ and the targets
        tau = self.squash(mlp(w["predictor"], self.x))
        cycle = self.f(w["model"], self.x, self.q(w["critic1"], self.x, tau))
        value = self.q(w["critic1"], self.x, cycle)
        error = self.norm(tau - cycle)
        loss = c.cycle_weight * error - value.mean() / (self.sigma if c.relative_value else 1.0)
        w["predictor"] = adam_first_step(w["predictor"], loss)
        for name in ("critic1", "critic2", "predictor"):
            t[f"target_{name}"] = [
                old + c.polyak * (new.detach() - old)
                for old, new in zip(t[f"target_{name}"], w[name], strict=True)
            ]
        losses = {"critic_loss": critic_loss, "model_loss": model_loss, "cycle_error": error}
        values = {"q_data": q1.mean(), "q_predicted": value.mean()}
        return {name: float(v.detach()) for name, v in {**losses, **values}.items()}


PAPER = replace(D3GConfig.paper(), hidden=16, batch_size=B)
ALONE = {
    f"only {name}": replace(PAPER, **{name: value})
    for name, value in asdict(SMALL).items()
    if value != getattr(PAPER, name)
}


@pytest.mark.parametrize("config", [SMALL, PAPER, *ALONE.values()], ids=["default", "paper", *ALONE])
def test_update_equals_the_equations(config: D3GConfig) -> None:
    data = [make_data(0), make_data(1)]
    agent, table = build(D3G, config, data, [Member(7, 0), Member(8, 1)], "cpu")
    index = np.stack([np.random.default_rng(m).integers(0, 200, B) for m in range(M)])
    references = [Reference(agent, m, data[m], config, index[m]) for m in range(M)]
    rows = torch.from_numpy(index + np.array([[0], [200]]))
    metrics = agent.update(table.batch(rows, agent.units))
    for m, reference in enumerate(references):
        for name, expected in reference.step().items():
            torch.testing.assert_close(metrics[name][m].item(), expected, rtol=2e-4, atol=2e-5, msg=name)
        for name, expected in {**reference.w, **reference.t}.items():
            for found, want in zip(getattr(agent, name).parameters(), expected, strict=True):
                # Adam's first step is ±lr wherever |g| ≫ 1e-8: rounding shows only where the gradient vanishes.
                close = torch.isclose(found[m].double(), want, rtol=1e-4, atol=1e-6)
                assert close.double().mean() > 0.995, f"{name}: {(~close).sum()} of {close.numel()} differ"


def test_departures_differ_from_the_paper_each_by_itself() -> None:
    """Each option changes the step: none of the cases above checks the same thing twice."""
    data = make_data(0)
    seen = []
    for config in [PAPER, *ALONE.values()]:
        agent, table = build(D3G, config, [data], [Member(7)], "cpu")
        for _ in range(4):  # clipping shows once values have left the range
            agent.update(table.batch(torch.arange(B)[None], agent.units))
        seen.append(torch.cat([p.detach().flatten() for p in agent.parameters()]))
    distances = [(a - seen[0]).abs().max().item() for a in seen[1:]]
    assert {name for name, d in zip(ALONE, distances, strict=True) if d == 0} <= {"only clip_targets"}


@pytest.mark.parametrize("standardised", [True, False])
def test_inverse_update_equals_the_equation(standardised: bool) -> None:
    data = make_data(3)
    config = replace(SMALL, standardise=standardised)
    agent, table = build(D3G, config, [data], [Member(5), Member(6)], "cpu")
    space = ActionSpace(np.array([-1.0, 0.0], np.float32), np.array([3.0, 0.5], np.float32))
    inverse = Inverse(InverseConfig(hidden=16), agent.units, space, agent.seeds, standardised=standardised)
    before = [[p.requires_grad_() for p in weights(inverse.network, m)] for m in range(2)]
    index = torch.arange(2 * B).view(2, B)
    batch = table.batch(index, agent.units)
    actions = torch.rand(2, B, 2, generator=torch.Generator().manual_seed(0)) * 0.5
    losses = inverse.update(ActionBatch(*batch, actions))
    for m in range(2):
        x, d, x2 = (b[m].double() for b in (batch.states, batch.deltas, batch.next_states))
        out = mlp(before[m], torch.cat([x, d if standardised else x2], -1))
        predicted = torch.tensor([1.0, 0.25]) + torch.tensor([2.0, 0.25]) * torch.tanh(out)
        loss = ((predicted - actions[m]) ** 2).mean()
        torch.testing.assert_close(losses[m].item(), loss.item(), rtol=1e-4, atol=1e-6)
        for found, want in zip(inverse.network.parameters(), adam_first_step(before[m], loss), strict=True):
            close = torch.isclose(found[m].double(), want, rtol=1e-4, atol=1e-6)
            assert close.double().mean() > 0.995
