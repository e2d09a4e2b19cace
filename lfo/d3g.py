"""D3G from observation: Q(s, s') and the next state worth aiming for, learned offline and without actions.

Edwards et al. 2020, *Estimating Q(s,s') with Deep Deterministic Dynamics Gradients* (arXiv 2002.09505).
Four networks, two hidden layers each:

- ``critic1``, ``critic2``: the value of a transition, Q_θ(s, s') → scalar;
- ``predictor``: τ_ψ(s) = s + g_ψ(s), the next state of greatest value;
- ``model``: f_φ(s, q) = s + h_φ(s, q), the next state of value q. It projects what the predictor
  proposes onto what the data can reach: C(s, x) = f_φ(s, Q_θ1(s, x)), "the cycle".

Squared norms are means over the batch and over the dimensions that move, as in the published code.

Differences
-----------
Each is one field of :class:`D3GConfig`; ``D3GConfig.paper()`` turns all of them off. docs/d3g.md has the
measurements.

- ``stop_at_timeouts`` (off): only terminations stop bootstrapping. The published data stored time limits
  as terminations.
- ``standardise``: states in units of their standard deviation, predicted differences s' − s in units of
  theirs; dimensions that never change are masked.
- ``bound_deltas``: g and h end in a tanh that spans the differences seen in the data, as an actor's spans
  the action space. Without it τ proposes, and f extrapolates to, steps several times as long as any in the
  data, which Q then overrates.
- ``relative_value``: f is conditioned on how far a value falls short of the good ones at s,
  z = (q − V_χ(s)) / σ, instead of on q itself; V_χ is the upper expectile of Q(s, ·) over the data's next
  states (as in IQL, Kostrikov et al. 2021, arXiv 2110.06169) and σ the running root mean square of q − V_χ.
  What distinguishes the next states of one state is a small part of q's range, which f could not resolve;
  z shows nothing else. And z is clipped to [−3, 0], the range f was fitted on: C leads to the good next
  states of the data and never to a state that is imagined for a value nothing reached. τ's value term is
  in units of σ, so that the cycle keeps its hold on τ while Q grows to r/(1−γ).
- ``clip_targets``: targets stay in the interval that discounted sums of the data's rewards can reach.
- ``act_on_cycle``: the policy aims for C(s, τ(s)), a next state like the data's, instead of τ(s).
- ``polyak`` 0.02 instead of 0.005: a target that follows four times as fast carries values over the 1/(1−γ)
  steps that matter within 50,000 updates; the published runs had 1,000,000.
- ``cycle_weight`` 0.1 instead of 1, in the units of ``relative_value``; with z clipped, a strong pull towards
  value does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lfo.datasets import LfoError, Transitions
from lfo.inverse import Inverse
from lfo.networks import MLP, Learner, adam, descend, member_generators
from lfo.units import Batch, Units

__all__ = ["D3G", "D3GConfig", "expectile_loss", "q_target", "value_range"]

_LOWEST_Z = -3.0


@dataclass(frozen=True)
class D3GConfig:
    """Settings of D3G; the number in brackets is the published one where it differs."""

    # networks and optimisation (paper §3.2 and TD3)
    hidden: int = 256  # units in each hidden layer
    batch_size: int = 256  # transitions a step and member
    learning_rate: float = 3e-4  # Adam, all networks
    gamma: float = 0.99  # discount
    polyak: float = 0.02  # share of the online weights that enters the targets [0.005]
    predictor_every: int = 2  # steps between updates of τ and of the targets
    cycle_weight: float = 0.1  # β, weight of the cycle error in τ's loss [1]
    # departures from the paper, see the module's docstring
    stop_at_timeouts: bool = False  # [True]
    standardise: bool = True  # [False]
    bound_deltas: bool = True  # [False]
    relative_value: bool = True  # [False]
    expectile: float = 0.9  # κ of V_χ, with relative_value
    clip_targets: bool = True  # [False]
    act_on_cycle: bool = True  # [False]

    @classmethod
    def paper(cls) -> D3GConfig:
        """The published algorithm: every departure off."""
        return cls(
            polyak=0.005,
            cycle_weight=1.0,
            stop_at_timeouts=True,
            standardise=False,
            bound_deltas=False,
            relative_value=False,
            clip_targets=False,
            act_on_cycle=False,
        )


def q_target(rewards: Tensor, continues: Tensor, q1: Tensor, q2: Tensor, gamma: float) -> Tensor:
    """y = r + γ (1 − d) min(q1, q2) (paper Eq. 6 with TD3's minimum); all arguments of one shape."""
    return rewards + gamma * continues * torch.minimum(q1, q2)


def expectile_loss(errors: Tensor, kappa: float) -> Tensor:
    """|κ − 1(u < 0)| u² for u = ``errors``, elementwise (IQL, Kostrikov et al. 2021, Eq. 5)."""
    return torch.where(errors > 0, kappa, 1 - kappa) * errors.square()


def value_range(lowest: float, highest: float, gamma: float) -> tuple[float, float]:
    """The least and the greatest discounted sum of rewards in [lowest, highest], over one step or more."""
    return min(lowest, lowest / (1 - gamma)), max(highest, highest / (1 - gamma))


class D3G(Learner):
    """M members of D3G from observation.

    Args:
        config: see :class:`D3GConfig`.
        units: the scales of each member's data.
        reward_range: [M, 2], the least and the greatest reward in each member's data.
        seeds: one a member; decides its initial weights.
        device: where everything lives.
    """

    name = "d3g"
    learns_offline = True
    inverse: Inverse | None
    target_range: Tensor
    spread: Tensor
    predictor_metrics: Tensor

    def __init__(
        self,
        config: D3GConfig,
        units: Units,
        reward_range: Tensor,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        size, hidden, generators = units.mean.shape[-1], config.hidden, member_generators(seeds)
        self.config, self.units, self.seeds, self.inverse = config, units, tuple(seeds), None
        self.critic1 = MLP(2 * size, hidden, 1, generators)
        self.critic2 = MLP(2 * size, hidden, 1, generators)
        self.predictor = MLP(size, hidden, size, generators)
        self.model = MLP(size + 1, hidden, size, generators)
        self.baseline = MLP(size, hidden, 1, generators)
        self.target_critic1, self.target_critic2 = deepcopy(self.critic1), deepcopy(self.critic2)
        self.target_predictor = deepcopy(self.predictor)
        ranges = [value_range(float(low), float(high), config.gamma) for low, high in reward_range]
        self.register_buffer("target_range", torch.tensor(ranges)[:, :, None, None])
        self.register_buffer("spread", torch.ones(len(seeds), 1, 1))
        self.register_buffer("predictor_metrics", torch.zeros(2, len(seeds)))
        self.to(device)

        self.critics = [*self.critic1.parameters(), *self.critic2.parameters()]
        self.online: list[Tensor] = [*self.critics, *self.predictor.parameters()]
        self.targets: list[Tensor] = [
            *self.target_critic1.parameters(),
            *self.target_critic2.parameters(),
            *self.target_predictor.parameters(),
        ]
        for parameter in self.targets:
            parameter.requires_grad_(False)
        self.critic_optimiser = adam(self.critics, config.learning_rate)
        self.model_optimiser = adam(self.model.parameters(), config.learning_rate)
        self.baseline_optimiser = adam(self.baseline.parameters(), config.learning_rate)
        self.predictor_optimiser = adam(self.predictor.parameters(), config.learning_rate)

    @classmethod
    def fit(cls, data: Transitions, **settings: Any) -> D3G:
        """Train on one data set, keeping nothing on disk: see :func:`lfo.trainer.fit` for ``settings``."""
        from lfo.trainer import fit  # the trainer knows the algorithms, not the other way round

        agent: D3G = fit(cls.name, data, **settings)
        return agent

    def attach(self, inverse: Inverse) -> None:
        """Take the inverse dynamics to act with."""
        self.inverse = inverse

    def value(self, critic: MLP, states: Tensor, deltas: Tensor) -> Tensor:
        """Q(s, s') [M, B, 1] of the transitions from ``states`` along ``deltas`` [M, B, S]."""
        return critic(torch.cat([states, self.units.after(states, deltas)], dim=-1))

    def predict(self, predictor: MLP, states: Tensor) -> Tensor:
        """g(s) = τ(s) − s [M, B, S]."""
        return self._bound(predictor(states))

    def cycle(self, critic: MLP, states: Tensor, deltas: Tensor) -> Tensor:
        """C(s, s + Δ) − s = h_φ(s, Q(s, s + Δ)) [M, B, S]."""
        return self._forward_model(states, self.value(critic, states, deltas))

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step of every member (ALGORITHM box of the paper); metrics are [M], on the device."""
        states, deltas, rewards, continues, next_states = batch
        config = self.config

        # Critic: y = r + γ(1−d) min_i Q_θ'i(s', C'(s', τ_ψ'(s'))),  L_θ = Σ_i ‖Q_θi(s, s') − y‖²
        with torch.no_grad():
            proposed = self.predict(self.target_predictor, next_states)
            reached = self.cycle(self.target_critic1, next_states, proposed)
            next_q1 = self.value(self.target_critic1, next_states, reached)
            next_q2 = self.value(self.target_critic2, next_states, reached)
            y = q_target(rewards, continues, next_q1, next_q2, config.gamma)
            if config.clip_targets:
                y = y.clamp(self.target_range[:, 0], self.target_range[:, 1])
        q1 = self.value(self.critic1, states, deltas)
        q2 = self.value(self.critic2, states, deltas)
        critic_loss = ((q1 - y).square() + (q2 - y).square()).mean(dim=(1, 2))
        descend(self.critic_optimiser, critic_loss)

        # Forward model: L_φ = ‖h_φ(s, Q_θ'1(s, s')) − (s' − s)‖², the value detached
        with torch.no_grad():
            q = self.value(self.target_critic1, states, deltas)
        if config.relative_value:
            self._fit_baseline(states, q)
        model_loss = self._norm(self._forward_model(states, q, clip=False) - deltas)
        descend(self.model_optimiser, model_loss)

        if self.updates % config.predictor_every == 0:
            # τ: L_ψ = −Q_θ1(s, C(s, τ_ψ(s))) + β‖τ_ψ(s) − C(s, τ_ψ(s))‖², through Q and f into ψ only
            proposed = self.predict(self.predictor, states)
            reached = self.cycle(self.critic1, states, proposed)
            values = self.value(self.critic1, states, reached)
            unit = self.spread[:, 0, 0] if config.relative_value else 1.0
            cycle_error = self._norm(proposed - reached)
            descend(
                self.predictor_optimiser,
                config.cycle_weight * cycle_error - values.mean(dim=(1, 2)) / unit,
            )
            # Targets: θ' ← θ' + 0.005 (θ − θ'), ψ' likewise
            with torch.no_grad():
                torch._foreach_lerp_(self.targets, self.online, config.polyak)
            self.predictor_metrics = torch.stack([values.mean(dim=(1, 2)), cycle_error]).detach()
        self.updates += 1
        q_predicted, last_cycle_error = self.predictor_metrics
        return {
            "critic_loss": critic_loss.detach(),
            "model_loss": model_loss.detach(),
            "cycle_error": last_cycle_error,
            "q_data": q1.detach().mean(dim=(1, 2)),
            "q_predicted": q_predicted,
        }

    @torch.no_grad()
    def aim(self, states: Tensor) -> Tensor:
        """The next state to aim for, τ(s), or C(s, τ(s)) with ``act_on_cycle``: raw states [M, B, S] to raw."""
        return self.units.raw_after(states, self._aim_delta(self.units.states(states)))

    @torch.no_grad()
    def act(self, states: Tensor) -> Tensor:
        """π(s) = I(s, τ(s)): raw states [M, B, S] to actions [M, B, A] inside the bounds."""
        if self.inverse is None:
            raise LfoError(
                "the policy I(s, τ(s)) has no inverse dynamics yet: call learn_inverse, or `d3g-lfo interact`"
            )
        scaled = self.units.states(states)
        return self.inverse(scaled, self._aim_delta(scaled))

    def _aim_delta(self, states: Tensor) -> Tensor:
        delta = self.predict(self.predictor, states)
        return self.cycle(self.critic1, states, delta) if self.config.act_on_cycle else delta

    def _forward_model(self, states: Tensor, q: Tensor, *, clip: bool = True) -> Tensor:
        """h_φ(s, q), or h_φ(s, z) with ``relative_value``; fitting takes z as it comes, all else clips it."""
        if self.config.relative_value:
            with torch.no_grad():
                baseline = self.baseline(states)
            q = (q - baseline) / self.spread
            q = q.clamp(_LOWEST_Z, 0.0) if clip else q
        return self._bound(self.model(torch.cat([states, q], dim=-1)))

    def _fit_baseline(self, states: Tensor, q: Tensor) -> None:
        """V_χ: L_χ = |κ − 1(u<0)| u², u = Q_θ'1(s, s') − V_χ(s); σ follows the root mean square of u."""
        errors = q - self.baseline(states)
        descend(self.baseline_optimiser, expectile_loss(errors, self.config.expectile).mean(dim=(1, 2)))
        with torch.no_grad():
            rms = errors.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-6)
            self.spread.lerp_(rms, max(0.005, 1 / (self.updates + 1)))

    def _bound(self, outputs: Tensor) -> Tensor:
        """Keep predicted differences where the data's are, and at zero where the data never move."""
        units = self.units
        if self.config.bound_deltas:
            outputs = units.delta_mid + units.delta_reach * torch.tanh(
                (outputs - units.delta_mid) / units.delta_reach
            )
        return outputs * units.moving

    def _norm(self, errors: Tensor) -> Tensor:
        """‖·‖² [M]: mean over the batch and the dimensions that move."""
        return (errors.square().sum(dim=-1) / self.units.moving.sum(dim=-1)).mean(dim=1)
