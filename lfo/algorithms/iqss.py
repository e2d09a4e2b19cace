"""IQSS, implicit Q(s, s'): values that never leave the data, and the best next state within the data's spread.

With deterministic dynamics r + γ V(s') *is* Q(s, s'). So V(s) = max Q(s, ·) over the next states that the data holds is
learned as an upper expectile of r + γ V(s'): no model, no action, nothing outside the data. It is the value of IQL
(Kostrikov et al. 2021, arXiv 2110.06169) in the state-only form of POR (Xu et al. 2022, arXiv 2210.08323). Networks of
two hidden layers each:

- ``value1``, ``value2``: V(s), with targets that follow slowly;
- ``usual``: what Q(s, ·) is at s on average, b(s), and the log of how far it spreads, log σ(s);
- ``aims``: the mean step m(s) = E[Δ | s] of the data, Δ = s' − s; the step that goes with value,
  c(s) = E[z (Δ − m) | s] for the advantage z = (Q − b) / σ at that state; and the size of all steps, E[(Δ − m)² | s].

It aims for τ(s) = s + m(s) + ``reach`` · ρ(s) · c(s), where ρ is the size of c by that of the steps. Where Q(s, ·) is
linear in s', c = Σ∇Q / √(∇Qᵀ Σ ∇Q) for the covariance Σ of Δ at s: the best point of the ellipsoid of one standard
deviation, in whatever directions the data spreads. Where z has nothing to do with s', c and ρ vanish, and the policy
clones the data. docs/iqss.md says more, with measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from lfo.algorithms.base import Algorithm
from lfo.algorithms.registry import Spec
from lfo.nn.batches import Batch
from lfo.nn.losses import correlation, expectile_loss, pessimistic, q_target
from lfo.nn.networks import MLP, adam, descend, member_generators
from lfo.nn.scaling import Units
from lfo.settings import Count, Discount, Fraction, NonNegative, Positive, Precision

__all__ = ["IQSS", "SPEC", "IQSSConfig"]

_MEASURED = 250
"""Steps over which the rewards' mean and size are measured; fixed from then on."""
_LOG_MEAN = 0.635
"""−E[log |x|] of a standard normal x: what turns the mean log of |Q − b| into a log standard deviation."""
_LIMIT_Z, _LIMIT_DELTA, _LIMIT_SIZE = 2.0, 8.0, 4.0
"""What z, Δ and the mean square of Δ − m are clipped to, in standard deviations and variances."""
_SAMPLED = 64
"""Rows of a minibatch that ``aim_gain`` looks at."""


@dataclass(frozen=True)
class IQSSConfig:
    """Settings of IQSS.

    Networks and optimisation, as D3G's and IQL's:
        hidden: units in each of the two hidden layers.
        batch_size: transitions a step and member.
        learning_rate: of Adam, for all networks.
        gamma: the discount γ.
        polyak: share of the weights of V and of the aims that enters their averages at each step (IQL's).
        precision: of the hidden layers' products: ``bf16`` on processors that have it, ``tf32`` on GPUs.
        standardise: networks see states and differences in units of their standard deviation.

    Values:
        expectile: κ of V (IQL's for AntMaze).
        known_within: standard deviations from the data's mean; states beyond are worth little [0: every state is known].

    Aims:
        reach: how many standard deviations of the data's steps to go up Q; 0 clones (tuning data, docs/iqss.md).
    """

    hidden: Count = 256
    batch_size: Count = 256
    learning_rate: Positive = 3e-4
    gamma: Discount = 0.99
    polyak: Fraction = 0.005
    precision: Precision = "fp32"
    standardise: bool = True
    expectile: Fraction = 0.9
    known_within: NonNegative = 3.0
    reach: NonNegative = 2.0

    @classmethod
    def paper(cls) -> IQSSConfig:
        """There is no paper: the default."""
        return cls()


class IQSS(Algorithm):
    """M members of IQSS.

    Args:
        config: see :class:`IQSSConfig`.
        units: the scales of each member's data.
        seeds: one a member; decides its initial weights.
    """

    name = "iqss"
    config: IQSSConfig
    reward_mean: Tensor
    reward_square: Tensor

    def __init__(self, config: IQSSConfig, units: Units, seeds: Sequence[int]) -> None:
        super().__init__(config, units, seeds)
        size, hidden, generators = units.state_dim, config.hidden, member_generators(seeds)
        bf16 = config.precision == "bf16"
        self.value1 = MLP(size, hidden, 1, generators, bf16=bf16)
        self.value2 = MLP(size, hidden, 1, generators, bf16=bf16)
        self.usual = MLP(size, hidden, 2, generators, bf16=bf16)
        self.aims = MLP(size, hidden, 2 * size + 1, generators, bf16=bf16)
        followed = self.value1, self.value2, self.aims
        self.target_value1, self.target_value2, self.mean_aims = (deepcopy(network) for network in followed)
        self.register_buffer("reward_mean", torch.zeros(len(seeds), 1, 1))
        self.register_buffer("reward_square", torch.zeros(len(seeds), 1, 1))
        self.to(units.device)

        self.online: list[Tensor] = [p for network in followed for p in network.parameters()]
        self.targets: list[Tensor] = [
            p
            for network in (self.target_value1, self.target_value2, self.mean_aims)
            for p in network.parameters()
        ]
        for parameter in self.targets:
            parameter.requires_grad_(False)
        trained = [p for net in (*followed, self.usual) for p in net.parameters()]
        self.optimiser = adam(trained, config.learning_rate)

    @property
    def precision(self) -> str:
        """As configured."""
        return self.config.precision

    # --- one step ------------------------------------------------------------------------------------------------

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step of every member; metrics are [M], on the device.

        ``value_loss``: the sum of both expectile losses. ``q_data``: the mean of Q(s, s'), in the units that V is
        learned in. ``aim_loss``: mean square of the errors of m, c and v, in units of the variance of Δ.
        ``twin_agreement``: correlation of the twins' advantages over the minibatch. ``explained``: ‖c‖² by
        ‖Δ − m‖², the share of the data's spread that goes with value. ``aim_gain``: how often V(τ(s)) > V(s').
        """
        q1, q2 = self.q_data(batch)
        q = torch.minimum(q1, q2)
        value_loss = self.value_loss(batch, q)
        usual_loss, usual, spread = self.usual_loss(batch, q)
        aim_loss, step, explained = self.aim_loss(batch, (q - usual) / spread)
        # None of these losses depends on another's parameters: one step for all is a step for each
        descend(self.optimiser, value_loss + usual_loss + aim_loss)
        self.follow_targets()
        self.updates += 1
        return {
            "value_loss": value_loss.detach(),
            "q_data": q.mean(dim=(1, 2)),
            "aim_loss": aim_loss.detach(),
            "twin_agreement": correlation(q1 - usual, q2 - usual),
            "explained": explained,
            "aim_gain": self._gain(batch, step),
        }

    @torch.no_grad()
    def q_data(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Q_i(s, s') = r + γ(1−d) V̄_i(s') [M, B, 1] of both twins, rewards centred and scaled."""
        v1, v2 = self.target_value1(batch.next_states), self.target_value2(batch.next_states)
        if self.config.known_within:
            far = (batch.next_states.abs() * self.units.moving).amax(dim=-1, keepdim=True)
            v1, v2 = pessimistic(v1, v2, far > self.config.known_within)
        rewards, go_on, gamma = self._rewards(batch), 1 - batch.terminated, self.config.gamma
        return q_target(rewards, go_on, v1, v1, gamma), q_target(rewards, go_on, v2, v2, gamma)

    def value_loss(self, batch: Batch, q: Tensor) -> Tensor:
        """L_V = Σ_i |κ − 1(u < 0)| u² [M] for u = Q(s, s') − V_i(s)."""
        kappa = self.config.expectile
        losses = (expectile_loss(q - value(batch.states), kappa) for value in (self.value1, self.value2))
        return sum(losses, torch.zeros_like(q)).mean(dim=(1, 2))

    def usual_loss(self, batch: Batch, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(Q − b)² + (log |Q − b| − l)² [M], and b(s), σ(s) = exp(l(s) + 0.635) [M, B, 1].

        The logarithm is that of a detached error, so that l does not pull at b.
        """
        usual, log_size = self.usual(batch.states).chunk(2, dim=-1)
        errors = q - usual
        found = errors.detach().abs().clamp(min=1e-6).log()
        loss = (errors.square() + (found - log_size).square()).mean(dim=(1, 2))
        return loss, usual.detach(), (log_size.detach() + _LOG_MEAN).exp()

    def aim_loss(self, batch: Batch, advantages: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """‖m − Δ‖² + ‖c − z (Δ − m)‖² + (v − (Δ − m)²)² [M], means over batch and dimensions.

        Also the step to aim for [M, B, S], and ‖c‖² / ‖Δ − m‖² [M].
        """
        z = advantages.clamp(-_LIMIT_Z, _LIMIT_Z)
        deltas = batch.deltas.clamp(-_LIMIT_DELTA, _LIMIT_DELTA)
        mean, with_value, size = self._aims(self.aims, batch.states)
        errors = deltas - mean
        found = errors.detach()
        losses = errors.square() + (z * found - with_value).square()
        size_loss = (found.square().mean(dim=-1, keepdim=True).clamp(max=_LIMIT_SIZE) - size).square()
        explained = with_value.detach().square().sum((1, 2)) / found.square().sum((1, 2))
        step = self._towards(mean.detach(), with_value.detach(), size.detach())
        return losses.mean((1, 2)) + size_loss.mean((1, 2)), step, explained

    @torch.no_grad()
    def follow_targets(self) -> None:
        """Targets of V and the mean of the aims move by ``polyak``."""
        torch._foreach_lerp_(self.targets, self.online, self.config.polyak)

    # --- what it learned, in raw units ---------------------------------------------------------------------------

    @torch.no_grad()
    def act(self, states: Tensor) -> Tensor:
        """π(s) = I(s, τ(s)): raw states [M, B, S] to actions [M, B, A] inside the bounds."""
        inverse, scaled = self.require_inverse(), self.units.states(states)
        return inverse(scaled, self._step(scaled))

    @torch.no_grad()
    def aim(self, states: Tensor) -> Tensor:
        """τ(s), the next state to aim for: raw states [M, B, S] to raw states."""
        return self.units.raw_after(states, self._step(self.units.states(states)))

    @torch.no_grad()
    def imagine(self, states: Tensor) -> Tensor:
        """s + m(s), where the data's policy goes on average: raw states [M, B, S] to raw states."""
        mean, _, _ = self._aims(self.mean_aims, self.units.states(states))
        return self.units.raw_after(states, mean * self.units.moving)

    @torch.no_grad()
    def values(self, states: Tensor, next_states: Tensor) -> Tensor:
        """γ min_i V_i(s') [M, B] of raw states [M, B, S], in the rewards' units.

        It is Q(s, s') without the reward of the step, which is known of the data's transitions only.
        """
        scaled, gamma = self.units.states(next_states), self.config.gamma
        values = torch.minimum(self.value1(scaled), self.value2(scaled)) * self._size()
        return (gamma * (values + self.reward_mean / (1 - gamma)))[..., 0]

    def _step(self, states: Tensor) -> Tensor:
        """τ(s) − s [M, B, S], from the averaged weights."""
        return self._towards(*self._aims(self.mean_aims, states)) * self.units.moving

    def _aims(self, network: MLP, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """m(s) and c(s) [M, B, S], and v(s) [M, B, 1]."""
        outputs, size = network(states), states.shape[-1]
        return outputs[..., :size], outputs[..., size:-1], outputs[..., -1:]

    def _towards(self, mean: Tensor, with_value: Tensor, size: Tensor) -> Tensor:
        """m + reach · ρ · c for ρ = ‖c‖ / √v, at most 1: near the best step Q bends, and c alone would overshoot."""
        square = with_value.square().mean(dim=-1, keepdim=True)
        share = square / torch.maximum(size, square).clamp(min=1e-12)
        return mean + self.config.reach * share.sqrt() * with_value

    def _rewards(self, batch: Batch) -> Tensor:
        """Rewards less their mean μ, at an end also less what would have followed at that rate; in units of their size.

        V then starts from "as usual for ever", μ/(1 − γ), and what it has to learn is of order one. The end is still
        worth nothing: μ/(1 − γ) less than usual.
        """
        ahead = self.config.gamma / (1 - self.config.gamma)
        rate = 1 / (self.updates + 1) if self.updates < _MEASURED else 0.0
        self.reward_mean.lerp_(batch.rewards.mean(dim=1, keepdim=True), rate)
        rewards = batch.rewards - self.reward_mean * (1 + ahead * batch.terminated)
        self.reward_square.lerp_(rewards.square().mean(dim=1, keepdim=True), rate)
        return rewards / self._size()

    def _size(self) -> Tensor:
        """The unit of rewards and values [M, 1, 1]; 1 where rewards are all alike and nothing ends."""
        size = self.reward_square.sqrt()
        return torch.where(size > 1e-6, size, 1.0)

    @torch.no_grad()
    def _gain(self, batch: Batch, step: Tensor) -> Tensor:
        """How often V(s + step) > V(s') [M], over the first rows of the minibatch."""
        states, next_states = batch.states[:, :_SAMPLED], batch.next_states[:, :_SAMPLED]
        aimed = self.value1(self.units.after(states, step[:, :_SAMPLED]))
        return (aimed > self.value1(next_states)).to(step.dtype).mean(dim=(1, 2))


SPEC = Spec(
    IQSS,
    IQSSConfig,
    label="IQSS",
    colours=("#2e7d4f", "#6fbf8f", "#14452a"),
    marker="D",
    precisions=("fp32", "tf32", "bf16"),
    step_cost=3.0,
    act_cost=0.1,
    portrait=True,
)
