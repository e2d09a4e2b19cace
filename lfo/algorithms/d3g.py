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
Each is one field of :class:`D3GConfig`; ``D3GConfig.paper()`` turns all of them off. docs/d3g.md says why and has the
measurements.

- ``stop_at_timeouts`` (off): only terminations stop bootstrapping.
- ``standardise``: states in units of their standard deviation, differences s' − s in units of theirs; dimensions that
  never change are masked.
- ``bound_deltas``: g and h end in a tanh that spans the differences seen in the data.
- ``relative_value``: f reads z = (q − V_χ(s)) / σ instead of q, clipped to [−3, 0] except where f is fitted. V_χ is the
  ``expectile`` of Q(s, ·) over the data's next states (IQL, Kostrikov et al. 2021, arXiv 2110.06169) and σ the running
  root mean square of q − V_χ. τ's value term is in units of σ.
- ``clip_targets``: targets stay in the interval that discounted sums of the data's rewards can reach.
- ``known_within``: a next state s', or the C'(s', ·) imagined after it, further than 3 standard deviations from the
  data's mean in a dimension that moves is worth at most μ − σ of the known values of its minibatch.
- ``polyak``: 0.01 instead of 0.005.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from lfo.algorithms.base import Algorithm
from lfo.algorithms.protocol import Source
from lfo.algorithms.registry import Spec
from lfo.nn.batches import Batch
from lfo.nn.losses import expectile_loss, pessimistic, q_target, value_range
from lfo.nn.networks import MLP, adam, descend, member_generators, passed_through
from lfo.nn.scaling import Units
from lfo.settings import Count, Discount, Fraction, NonNegative, Positive, Precision

__all__ = ["D3G", "SPEC", "D3GConfig"]

_LOWEST_Z = -3.0


@dataclass(frozen=True)
class D3GConfig:
    """Settings of D3G; the number in brackets is the published one where it differs.

    Networks and optimisation (paper §3.2 and TD3):
        hidden: units in each of the two hidden layers.
        batch_size: transitions a step and member.
        learning_rate: of Adam, for all networks.
        gamma: the discount γ.
        polyak: share of the online weights that enters the targets at each update [0.005].
        predictor_every: steps between updates of τ and of the targets.
        cycle_weight: β, the weight of the cycle error in τ's loss.
        precision: of the hidden layers' products: ``bf16`` on processors that have it, ``tf32`` on GPUs.
        act_on_cycle: aim for C(s, τ(s)) instead of τ(s): sooner there, less steady in the end.

    Departures from the paper, explained at the top of this module and in docs/d3g.md:
        stop_at_timeouts: time limits stop bootstrapping too [True].
        standardise: networks see states and differences in units of their standard deviation [False].
        bound_deltas: predicted differences stay in the range of the data's [False].
        relative_value: f reads how much worse q is than the best in the data, instead of q [False].
        expectile: κ of V_χ, the best value in the data; used with relative_value.
        clip_targets: targets stay in the interval that discounted rewards can reach [False].
        known_within: standard deviations from the data's mean; states beyond are worth little [0: every state is known].
    """

    hidden: Count = 256
    batch_size: Count = 256
    learning_rate: Positive = 3e-4
    gamma: Discount = 0.99
    polyak: Fraction = 0.01
    predictor_every: Count = 2
    cycle_weight: NonNegative = 1.0
    precision: Precision = "fp32"
    act_on_cycle: bool = False

    stop_at_timeouts: bool = False
    standardise: bool = True
    bound_deltas: bool = True
    relative_value: bool = True
    expectile: Fraction = 0.9
    clip_targets: bool = True
    known_within: NonNegative = 3.0

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


class D3G(Algorithm):
    """M members of D3G from observation: Q(s, s') and the next state to aim for, learned offline without actions.

        agent = D3G.fit(load("mine.h5"), "MyEnv-v0", seeds=range(5))
        agent.save("run")
        policy = load_policy("run")

    ``D3G.fit`` makes one; the constructor makes untrained members.

    Args:
        config: see :class:`D3GConfig`.
        units: the scales of each member's data.
        seeds: one a member; decides its initial weights.
    """

    name = "d3g"
    config: D3GConfig
    target_range: Tensor
    spread: Tensor
    predictor_metrics: Tensor

    def __init__(self, config: D3GConfig, units: Units, seeds: Sequence[int]) -> None:
        super().__init__(config, units, seeds)
        size, hidden, generators = units.state_dim, config.hidden, member_generators(seeds)
        bf16 = config.precision == "bf16"
        self.critic1 = MLP(2 * size, hidden, 1, generators, bf16=bf16)
        self.critic2 = MLP(2 * size, hidden, 1, generators, bf16=bf16)
        self.predictor = MLP(size, hidden, size, generators, bf16=bf16)
        self.model = MLP(size + 1, hidden, size, generators, bf16=bf16)
        self.baseline = MLP(size, hidden, 1, generators, bf16=bf16)
        self.target_critic1, self.target_critic2 = deepcopy(self.critic1), deepcopy(self.critic2)
        self.target_predictor = deepcopy(self.predictor)
        self.register_buffer("target_range", torch.zeros(len(seeds), 2, 1, 1))
        self.register_buffer("spread", torch.ones(len(seeds), 1, 1))
        self.register_buffer("predictor_metrics", torch.zeros(len(seeds), 2))
        self.to(units.device)

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

    @property
    def period(self) -> int:
        """Steps from one update of τ to the next."""
        return self.config.predictor_every

    @property
    def precision(self) -> str:
        """As configured."""
        return self.config.precision

    def prepare(self, source: Source) -> None:
        """Take the interval that discounted sums of each member's rewards can reach."""
        ranges = [
            value_range(float(low), float(high), self.config.gamma) for low, high in source.reward_range
        ]
        self.target_range.copy_(torch.tensor(ranges)[:, :, None, None])

    # --- one step ------------------------------------------------------------------------------------------------

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step of every member (ALGORITHM box of the paper); metrics are [M], on the device.

        ``critic_loss``: Σ_i of the mean squared error of Q_θi. ``q_data``, ``q_predicted``: the mean Q_θ1 of the
        minibatch's (s, s') and of (s, C(s, τ(s))). ``model_loss``, ``cycle_error``: the mean square of f(s, q) − s'
        and of τ(s) − C(s, τ(s)), in units of the variance of s' − s, or in raw ones without ``standardise``.
        ``q_predicted`` and ``cycle_error`` are those of τ's last step.
        """
        critic_loss, q_data = self.critic_loss(batch, self.critic_target(batch))
        q = self.data_value(batch)
        baseline_loss, baseline = self.baseline_loss(batch, q)
        self.follow_spread(q, baseline)
        model_loss = self.model_loss(batch, q, baseline)
        # None of these losses depends on another's parameters: one step for all is a step for each
        descend(self.value_optimiser, critic_loss + baseline_loss + model_loss)

        if self.updates % self.config.predictor_every == 0:
            predictor_loss, value, error = self.predictor_loss(batch, baseline)
            descend(self.predictor_optimiser, predictor_loss)
            self.follow_targets()
            self.predictor_metrics.copy_(torch.stack([value, error], dim=1))

        self.updates += 1
        q_predicted, cycle_error = self.predictor_metrics.unbind(dim=1)
        return {
            "critic_loss": critic_loss.detach(),
            "model_loss": model_loss.detach(),
            "cycle_error": cycle_error,
            "q_data": q_data,
            "q_predicted": q_predicted,
        }

    @torch.no_grad()
    def critic_target(self, batch: Batch) -> Tensor:
        """y = r + γ(1−d) min_i Q_θ'i(s', C'(s', τ_ψ'(s'))) [M, B, 1]."""
        config, states = self.config, batch.next_states
        proposed = self.predict(self.target_predictor, states)
        reached = self.cycle(self.target_critic1, states, proposed)
        q1 = self.value(self.target_critic1, states, reached)
        q2 = self.value(self.target_critic2, states, reached)
        if config.known_within:
            unknown = self._unknown(states) | self._unknown(self.units.after(states, reached))
            q1, q2 = pessimistic(q1, q2, unknown)
        stops = (
            torch.maximum(batch.terminated, batch.truncated) if config.stop_at_timeouts else batch.terminated
        )
        y = q_target(batch.rewards, 1 - stops, q1, q2, config.gamma)
        return y.clamp(self.target_range[:, 0], self.target_range[:, 1]) if config.clip_targets else y

    def critic_loss(self, batch: Batch, target: Tensor) -> tuple[Tensor, Tensor]:
        """L_θ = Σ_i ‖Q_θi(s, s') − y‖² [M]; and the mean of Q_θ1(s, s') [M]."""
        q1 = self.value(self.critic1, batch.states, batch.deltas)
        q2 = self.value(self.critic2, batch.states, batch.deltas)
        loss = ((q1 - target).square() + (q2 - target).square()).mean(dim=(1, 2))
        return loss, q1.detach().mean(dim=(1, 2))

    @torch.no_grad()
    def data_value(self, batch: Batch) -> Tensor:
        """Q_θ'1(s, s') [M, B, 1] of the minibatch's transitions."""
        return self.value(self.target_critic1, batch.states, batch.deltas)

    def baseline_loss(self, batch: Batch, q: Tensor) -> tuple[Tensor, Tensor | None]:
        """L_χ = |κ − 1(u<0)| u² for u = q − V_χ(s) [M]; and V_χ(s) [M, B, 1], if ``relative_value``."""
        if not self.config.relative_value:
            return q.new_zeros(()), None
        baseline = self.baseline(batch.states)
        return expectile_loss(q - baseline, self.config.expectile).mean(dim=(1, 2)), baseline.detach()

    @torch.no_grad()
    def follow_spread(self, q: Tensor, baseline: Tensor | None) -> None:
        """σ follows the root mean square of q − V_χ(s): a plain mean over steps at first, then a running one."""
        if baseline is not None:
            rms = (q - baseline).square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-6)
            self.spread.lerp_(rms, max(0.005, 1 / (self.updates + 1)))

    def model_loss(self, batch: Batch, q: Tensor, baseline: Tensor | None) -> Tensor:
        """L_φ = ‖h_φ(s, q) − (s' − s)‖² [M] for the value q of (s, s')."""
        return self.units.norm(self._forward_model(batch.states, q, baseline, clip=False) - batch.deltas)

    def predictor_loss(self, batch: Batch, baseline: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """L_ψ = −Q_θ1(s, C(s, τ_ψ(s))) + β‖τ_ψ(s) − C(s, τ_ψ(s))‖² [M], through Q and f into ψ only.

        With ``relative_value`` the value is in units of σ. Also its two terms, for the record: value and cycle error.
        """
        with passed_through(self.critic1, self.model):
            proposed = self.predict(self.predictor, batch.states)
            reached = self.cycle(self.critic1, batch.states, proposed, baseline)
            value = self.value(self.critic1, batch.states, reached).mean(dim=(1, 2))
        error = self.units.norm(proposed - reached)
        unit = self.spread[:, 0, 0] if self.config.relative_value else 1.0
        return self.config.cycle_weight * error - value / unit, value.detach(), error.detach()

    @torch.no_grad()
    def follow_targets(self) -> None:
        """θ' ← θ' + polyak · (θ − θ'), ψ' likewise."""
        torch._foreach_lerp_(self.targets, self.online, self.config.polyak)

    # --- its parts -----------------------------------------------------------------------------------------------

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

    # --- what it learned, in raw units ---------------------------------------------------------------------------

    @torch.no_grad()
    def act(self, states: Tensor) -> Tensor:
        """π(s) = I(s, τ(s)): raw states [M, B, S] to actions [M, B, A] inside the bounds."""
        inverse, scaled = self.require_inverse(), self.units.states(states)
        return inverse(scaled, self._aim(scaled))

    @torch.no_grad()
    def aim(self, states: Tensor) -> Tensor:
        """τ(s), the next state to aim for (C(s, τ(s)) with ``act_on_cycle``): raw states [M, B, S] to raw states."""
        return self.units.raw_after(states, self._aim(self.units.states(states)))

    @torch.no_grad()
    def imagine(self, states: Tensor) -> Tensor:
        """C(s, τ(s)), the next state that the model believes in: raw states [M, B, S] to raw states."""
        scaled = self.units.states(states)
        reached = self.cycle(self.critic1, scaled, self.predict(self.predictor, scaled))
        return self.units.raw_after(states, reached)

    @torch.no_grad()
    def values(self, states: Tensor, next_states: Tensor) -> Tensor:
        """min_i Q_θi(s, s') [M, B] of raw states [M, B, S]."""
        scaled, deltas = self.units.states(states), self.units.deltas(states, next_states)
        return torch.minimum(*(self.value(c, scaled, deltas) for c in (self.critic1, self.critic2)))[..., 0]

    def _aim(self, states: Tensor) -> Tensor:
        delta = self.predict(self.predictor, states)
        return self.cycle(self.critic1, states, delta) if self.config.act_on_cycle else delta

    def _unknown(self, states: Tensor) -> Tensor:
        """Whether ``states`` [M, B, S] lie further from the data's mean than is known, [M, B, 1]."""
        return (states.abs() * self.units.moving).amax(dim=-1, keepdim=True) > self.config.known_within

    def _forward_model(
        self, states: Tensor, q: Tensor, baseline: Tensor | None, *, clip: bool = True
    ) -> Tensor:
        """h_φ(s, q), or h_φ(s, z) with a baseline V_χ(s); z is clipped except for fitting."""
        if baseline is not None:
            q = (q - baseline) / self.spread
            q = q.clamp(_LOWEST_Z, 0.0) if clip else q
        return self._bound(self.model(torch.cat([states, q], dim=-1)))

    def _bound(self, outputs: Tensor) -> Tensor:
        """Keep predicted differences where the data's are, and at zero where the data never move."""
        units = self.units
        if self.config.bound_deltas:
            outputs = units.delta_mid + units.delta_reach * torch.tanh(
                (outputs - units.delta_mid) / units.delta_reach
            )
        return outputs * units.moving


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
