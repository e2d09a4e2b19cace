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
- ``known_within``: a next state s', or the C'(s', ·) imagined after it, that lies further than 3 standard
  deviations from the data's mean in a dimension that moves is unknown, and worth no more than the known s' of
  its minibatch are on average, less their standard deviation (compare the halt state of MOReL, Kidambi et al.
  2020, arXiv 2005.05951, whose penalty has a size to choose). Else Q extrapolates: where it happens to stay
  high, the policy drifts out of the data.
- ``polyak`` 0.01 instead of 0.005: a target that follows faster carries values over the 1/(1−γ) steps that
  matter within 50,000 updates; the published runs had 1,000,000.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lfo.algorithms.inverse import Inverse
from lfo.algorithms.registry import Spec
from lfo.datasets import LfoError, Transitions
from lfo.nn.batches import Batch
from lfo.nn.losses import expectile_loss, pessimistic, q_target, value_range
from lfo.nn.networks import MLP, Learner, adam, descend, member_generators, passed_through
from lfo.nn.scaling import Units

__all__ = ["D3G", "SPEC", "D3GConfig"]

_LOWEST_Z = -3.0


@dataclass(frozen=True)
class D3GConfig:
    """Settings of D3G; the number in brackets is the published one where it differs."""

    # networks and optimisation (paper §3.2 and TD3)
    hidden: int = 256  # units in each hidden layer
    batch_size: int = 256  # transitions a step and member
    learning_rate: float = 3e-4  # Adam, all networks
    gamma: float = 0.99  # discount
    polyak: float = 0.01  # share of the online weights that enters the targets [0.005]
    predictor_every: int = 2  # steps between updates of τ and of the targets
    cycle_weight: float = 1.0  # β, weight of the cycle error in τ's loss
    # departures from the paper, see the module's docstring
    stop_at_timeouts: bool = False  # [True]
    standardise: bool = True  # [False]
    bound_deltas: bool = True  # [False]
    relative_value: bool = True  # [False]
    expectile: float = 0.9  # κ of V_χ, with relative_value
    clip_targets: bool = True  # [False]
    bf16: bool = False  # the product of the hidden layers in bfloat16: faster where the processor has it
    tf32: bool = False  # products in TensorFloat-32 on a GPU that has it
    known_within: float = 3.0  # standard deviations from the data's mean [0: every state is known]
    act_on_cycle: bool = False  # aim for C(s, τ(s)) instead of τ(s): sooner there, less steady in the end

    @classmethod
    def paper(cls) -> D3GConfig:
        """The published algorithm: every departure off."""
        return cls(
            polyak=0.005,
            stop_at_timeouts=True,
            standardise=False,
            bound_deltas=False,
            relative_value=False,
            clip_targets=False,
            known_within=0.0,
        )


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
        self.critic1 = MLP(2 * size, hidden, 1, generators, bf16=config.bf16)
        self.critic2 = MLP(2 * size, hidden, 1, generators, bf16=config.bf16)
        self.predictor = MLP(size, hidden, size, generators, bf16=config.bf16)
        self.model = MLP(size + 1, hidden, size, generators, bf16=config.bf16)
        self.baseline = MLP(size, hidden, 1, generators, bf16=config.bf16)
        self.target_critic1, self.target_critic2 = deepcopy(self.critic1), deepcopy(self.critic2)
        self.target_predictor = deepcopy(self.predictor)
        ranges = [value_range(float(low), float(high), config.gamma) for low, high in reward_range]
        self.register_buffer("target_range", torch.tensor(ranges)[:, :, None, None])
        self.register_buffer("spread", torch.ones(len(seeds), 1, 1))
        self.register_buffer("predictor_metrics", torch.zeros(2, len(seeds)))
        self.to(device)

        critics = [*self.critic1.parameters(), *self.critic2.parameters()]
        predictor = list(self.predictor.parameters())
        baseline = list(self.baseline.parameters()) if config.relative_value else []
        self.online: list[Tensor] = [*critics, *predictor]
        self.targets: list[Tensor] = [
            *self.target_critic1.parameters(),
            *self.target_critic2.parameters(),
            *self.target_predictor.parameters(),
        ]
        for parameter in self.targets:
            parameter.requires_grad_(False)
        rate = config.learning_rate
        self.value_optimiser = adam([*critics, *baseline, *self.model.parameters()], rate)
        self.predictor_optimiser = adam(predictor, rate)

    @classmethod
    def fit(cls, data: Transitions, **settings: Any) -> D3G:
        """Train on one data set, keeping nothing on disk: see :func:`lfo.training.loop.fit` for ``settings``."""
        from lfo.training.loop import fit  # the trainer knows the algorithms, not the other way round

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

    def cycle(self, critic: MLP, states: Tensor, deltas: Tensor, baseline: Tensor | None = None) -> Tensor:
        """C(s, s + Δ) − s = h_φ(s, Q(s, s + Δ)) [M, B, S]; ``baseline`` is V_χ(s) where it is known already."""
        if baseline is None and self.config.relative_value:
            with torch.no_grad():
                baseline = self.baseline(states)
        return self._forward_model(states, self.value(critic, states, deltas), baseline)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step of every member (ALGORITHM box of the paper); metrics are [M], on the device.

        ``critic_loss``: Σ_i of the mean squared error of Q_θi. ``q_data``, ``q_predicted``: the mean Q_θ1 of the
        minibatch's (s, s') and of (s, C(s, τ(s))). ``model_loss``, ``cycle_error``: the mean square of f(s, q) − s'
        and of τ(s) − C(s, τ(s)), in units of the variance of s' − s, or in raw ones without ``standardise``.
        ``q_predicted`` and ``cycle_error`` are those of τ's last step.
        """
        states, deltas, rewards, continues, next_states = batch
        config = self.config

        # Critic: y = r + γ(1−d) min_i Q_θ'i(s', C'(s', τ_ψ'(s'))),  L_θ = Σ_i ‖Q_θi(s, s') − y‖²
        with torch.no_grad():
            proposed = self.predict(self.target_predictor, next_states)
            reached = self.cycle(self.target_critic1, next_states, proposed)
            next_q1 = self.value(self.target_critic1, next_states, reached)
            next_q2 = self.value(self.target_critic2, next_states, reached)
            if config.known_within:
                unknown = self._unknown(next_states) | self._unknown(self.units.after(next_states, reached))
                next_q1, next_q2 = pessimistic(next_q1, next_q2, unknown)
            y = q_target(rewards, continues, next_q1, next_q2, config.gamma)
            if config.clip_targets:
                y = y.clamp(self.target_range[:, 0], self.target_range[:, 1])
        q1 = self.value(self.critic1, states, deltas)
        q2 = self.value(self.critic2, states, deltas)
        critic_loss = ((q1 - y).square() + (q2 - y).square()).mean(dim=(1, 2))

        # Forward model: L_φ = ‖h_φ(s, Q_θ'1(s, s')) − (s' − s)‖², the value detached
        with torch.no_grad():
            q = self.value(self.target_critic1, states, deltas)
        baseline_loss, baseline = self._baseline_loss(states, q)
        model_loss = self._norm(self._forward_model(states, q, baseline, clip=False) - deltas)

        # None of these losses depends on another's parameters: one step for all is a step for each
        descend(self.value_optimiser, critic_loss + baseline_loss + model_loss)

        if self.updates % config.predictor_every == 0:
            # τ: L_ψ = −Q_θ1(s, C(s, τ_ψ(s))) + β‖τ_ψ(s) − C(s, τ_ψ(s))‖², through Q and f into ψ only
            with passed_through(self.critic1, self.model):
                proposed = self.predict(self.predictor, states)
                reached = self.cycle(self.critic1, states, proposed, baseline)
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
                self.predictor_metrics.copy_(torch.stack([values.mean(dim=(1, 2)), cycle_error]))
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
        """τ(s), the next state to aim for (C(s, τ(s)) with ``act_on_cycle``): raw states [M, B, S] to raw states."""
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

    def _unknown(self, states: Tensor) -> Tensor:
        """Whether ``states`` [M, B, S] lie further from the data's mean than is known, [M, B, 1]."""
        return (states.abs() * self.units.moving).amax(dim=-1, keepdim=True) > self.config.known_within

    def _forward_model(
        self, states: Tensor, q: Tensor, baseline: Tensor | None, *, clip: bool = True
    ) -> Tensor:
        """h_φ(s, q), or h_φ(s, z) with a baseline V_χ(s); fitting takes z as it comes, all else clips it."""
        if baseline is not None:
            q = (q - baseline) / self.spread
            q = q.clamp(_LOWEST_Z, 0.0) if clip else q
        return self._bound(self.model(torch.cat([states, q], dim=-1)))

    def _baseline_loss(self, states: Tensor, q: Tensor) -> tuple[Tensor, Tensor | None]:
        """L_χ = |κ − 1(u<0)| u², u = Q_θ'1(s, s') − V_χ(s), and V_χ(s) itself; σ follows the RMS of u."""
        if not self.config.relative_value:
            return q.new_zeros(()), None
        baseline = self.baseline(states)
        errors = q - baseline
        rms = errors.detach().square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-6)
        self.spread.lerp_(rms, max(0.005, 1 / (self.updates + 1)))
        return expectile_loss(errors, self.config.expectile).mean(dim=(1, 2)), baseline.detach()

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


SPEC = Spec(
    D3G,
    D3GConfig,
    label="D3G",
    colours=("#1f5fa8", "#5aa0e0", "#0b3057"),
    marker="o",
    precisions=("fp32", "tf32", "bf16"),
    step_cost=5.0,
    act_cost=0.1,
    portrait=True,
)
