"""D3G with actions: Q(s, s') and τ(s) learned online, in the simulator.

Edwards et al. 2020, *Estimating Q(s,s') with Deep Deterministic Dynamics Gradients* (arXiv 2002.09505), §3.2. The cycle
goes through the action here: C(s, x) = f_φ(s, I_ω(s, x)), where the dynamics lead when the inverse dynamics aim for x.
Five networks, two hidden layers each:

- ``critic1``, ``critic2``: the value of a transition, Q_θ(s, s') → scalar;
- ``predictor``: τ_ψ(s) = s + g_ψ(s), the next state of greatest value;
- ``model``: f_φ(s, a) = s + h_φ(s, a), the dynamics;
- ``inverse``: I_ω(s, s'), the action; of discrete actions the probabilities, and f reads these.

All learn from the same minibatches of the replay buffer. Squared norms are means over the batch and over the dimensions
that move, as in the published code.

Differences
-----------
``D3GOnlineConfig.paper()`` turns it off. docs/online.md has the measurements.

- ``standardise``: states in units of their standard deviation in the random steps at the start, differences s' − s in
  units of theirs, actions in units of half their range.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from lfo.algorithms.base import OnlineAlgorithm
from lfo.algorithms.inverse import Inverse
from lfo.algorithms.registry import Spec
from lfo.nn.batches import ActionBatch
from lfo.nn.losses import q_target
from lfo.nn.networks import MLP, adam, descend, member_generators, passed_through
from lfo.nn.scaling import Units
from lfo.settings import Count, Discount, Fraction, NonNegative, Positive, Precision

__all__ = ["SPEC", "D3GOnline", "D3GOnlineConfig"]


@dataclass(frozen=True)
class D3GOnlineConfig:
    """Settings of D3G with actions; the number in brackets is the published one where it differs.

    Networks and optimisation (paper §3.2 and TD3):
        hidden: units in each of the two hidden layers.
        batch_size: transitions a step and member.
        learning_rate: of Adam, for all networks.
        gamma: the discount γ.
        polyak: share of the online weights that enters the targets at each update.
        predictor_every: steps between updates of τ and of the targets.
        cycle_weight: β, the weight of the cycle error in τ's loss.
        precision: of the hidden layers' products: ``bf16`` on processors that have it, ``tf32`` on GPUs.

    Ablation:
        cycle: off, C(s, x) = x and β = 0: nothing keeps τ(s) where an action leads.
        follow_predictor: off, the target of τ keeps its first weights, as in the published ablation without the cycle.

    Departure from the paper, explained at the top of this module and in docs/online.md:
        standardise: networks see states, differences and actions in units of their own [False].
    """

    hidden: Count = 256
    batch_size: Count = 256
    learning_rate: Positive = 3e-4
    gamma: Discount = 0.99
    polyak: Fraction = 0.005
    predictor_every: Count = 2
    cycle_weight: NonNegative = 1.0
    precision: Precision = "fp32"

    cycle: bool = True
    follow_predictor: bool = True

    standardise: bool = True

    @classmethod
    def paper(cls) -> D3GOnlineConfig:
        """The published algorithm."""
        return cls(standardise=False)


class D3GOnline(OnlineAlgorithm):
    """M members of D3G with actions, learned online: each has an environment and a replay buffer of its own.

        agent = D3GOnline.fit("Hopper-v5", seeds=range(3), steps=100_000)
        agent.save("run")

    Args:
        config: see :class:`D3GOnlineConfig`.
        units: the scales of each member's random steps at the start.
        seeds: one a member; decides its initial weights.
    """

    name = "d3g-online"
    config: D3GOnlineConfig
    predictor_metrics: Tensor

    def __init__(self, config: D3GOnlineConfig, units: Units, seeds: Sequence[int]) -> None:
        super().__init__(config, units, seeds)
        self.to(units.device)

    def attach(self, inverse: Inverse) -> None:
        """Take an untrained inverse dynamics; its action space decides the networks' sizes.

        Q and τ know no actions. An agent that has them keeps them: only f and I start anew, for another action space.
        """
        trained, self.inverse = self.inverse is not None, inverse
        config, size, actions = self.config, self.units.state_dim, inverse.head.size
        hidden, generators, bf16 = config.hidden, member_generators(self.seeds), config.precision == "bf16"
        if not trained:
            self.critic1 = MLP(2 * size, hidden, 1, generators, bf16=bf16)
            self.critic2 = MLP(2 * size, hidden, 1, generators, bf16=bf16)
            self.predictor = MLP(size, hidden, size, generators, bf16=bf16)
            self.target_critic1, self.target_critic2 = deepcopy(self.critic1), deepcopy(self.critic2)
            self.target_predictor = deepcopy(self.predictor)
            self.register_buffer("predictor_metrics", torch.zeros(len(self.seeds), 2))
        self.model = MLP(size + actions, hidden, size, generators, bf16=bf16)
        self.to(self.units.device)

        critics = [*self.critic1.parameters(), *self.critic2.parameters()]
        predictor = list(self.predictor.parameters())
        self.online: list[Tensor] = [*critics, *(predictor if config.follow_predictor else [])]
        targets = [*self.target_critic1.parameters(), *self.target_critic2.parameters()]
        followers = list(self.target_predictor.parameters())
        self.targets: list[Tensor] = [*targets, *(followers if config.follow_predictor else [])]
        for parameter in [*targets, *followers]:
            parameter.requires_grad_(False)
        rate = config.learning_rate
        self.value_optimiser = adam([*critics, *self.model.parameters()], rate)
        self.predictor_optimiser = adam(predictor, rate)

    @property
    def period(self) -> int:
        """Steps from one update of τ to the next."""
        return self.config.predictor_every

    @property
    def precision(self) -> str:
        """As configured."""
        return self.config.precision

    # --- one step ------------------------------------------------------------------------------------------------

    def update(self, batch: ActionBatch) -> dict[str, Tensor]:
        """One gradient step of every member (ALGORITHM box of the paper); metrics are [M], on the device.

        ``critic_loss``: Σ_i of the mean squared error of Q_θi. ``q_data``, ``q_predicted``: the mean Q_θ1 of the
        minibatch's (s, s') and of (s, C(s, τ(s))). ``model_loss``, ``cycle_error``: the mean square of f(s, a) − s'
        and of τ(s) − C(s, τ(s)), in units of the variance of s' − s, or in raw ones without ``standardise``.
        ``inverse_loss``: the mean square of I(s, s') − a. ``q_predicted`` and ``cycle_error`` are those of τ's last
        step.
        """
        critic_loss, q_data = self.critic_loss(batch, self.critic_target(batch))
        model_loss = self.model_loss(batch)
        descend(self.value_optimiser, critic_loss + model_loss)  # neither depends on the other's parameters
        inverse_loss = self.require_inverse().update(batch)

        if self.updates % self.config.predictor_every == 0:
            predictor_loss, value, error = self.predictor_loss(batch)
            descend(self.predictor_optimiser, predictor_loss)
            self.follow_targets()
            self.predictor_metrics.copy_(torch.stack([value, error], dim=1))

        self.updates += 1
        q_predicted, cycle_error = self.predictor_metrics.unbind(dim=1)
        return {
            "critic_loss": critic_loss.detach(),
            "model_loss": model_loss.detach(),
            "inverse_loss": inverse_loss,
            "cycle_error": cycle_error,
            "q_data": q_data,
            "q_predicted": q_predicted,
        }

    @torch.no_grad()
    def critic_target(self, batch: ActionBatch) -> Tensor:
        """y = r + γ(1−d) min_i Q_θ'i(s', C(s', τ_ψ'(s'))) [M, B, 1]."""
        states = batch.next_states
        reached = self.cycle(states, self.predict(self.target_predictor, states))
        q1 = self.value(self.target_critic1, states, reached)
        q2 = self.value(self.target_critic2, states, reached)
        return q_target(batch.rewards, 1 - batch.terminated, q1, q2, self.config.gamma)

    def critic_loss(self, batch: ActionBatch, target: Tensor) -> tuple[Tensor, Tensor]:
        """L_θ = Σ_i ‖Q_θi(s, s') − y‖² [M]; and the mean of Q_θ1(s, s') [M]."""
        q1 = self.value(self.critic1, batch.states, batch.deltas)
        q2 = self.value(self.critic2, batch.states, batch.deltas)
        loss = ((q1 - target).square() + (q2 - target).square()).mean(dim=(1, 2))
        return loss, q1.detach().mean(dim=(1, 2))

    def model_loss(self, batch: ActionBatch) -> Tensor:
        """L_φ = ‖h_φ(s, a) − (s' − s)‖² [M]."""
        codes = self.require_inverse().head.encode(batch.actions)
        return self.units.norm(self._step(batch.states, codes) - batch.deltas)

    def predictor_loss(self, batch: ActionBatch) -> tuple[Tensor, Tensor, Tensor]:
        """L_ψ = −Q_θ1(s, C(s, τ_ψ(s))) + β‖τ_ψ(s) − C(s, τ_ψ(s))‖² [M], through Q, f and I into ψ only.

        Also its two terms, for the record: value and cycle error.
        """
        with passed_through(self.critic1, self.model, self.require_inverse()):
            proposed = self.predict(self.predictor, batch.states)
            reached = self.cycle(batch.states, proposed)
            value = self.value(self.critic1, batch.states, reached).mean(dim=(1, 2))
        error = self.units.norm(proposed - reached)
        weight = self.config.cycle_weight if self.config.cycle else 0.0
        return weight * error - value, value.detach(), error.detach()

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
        return predictor(states) * self.units.moving

    def cycle(self, states: Tensor, deltas: Tensor) -> Tensor:
        """C(s, s + Δ) − s = h_φ(s, I_ω(s, s + Δ)) [M, B, S]."""
        if not self.config.cycle:
            return deltas
        return self._step(states, self.require_inverse().codes(states, deltas))

    # --- what it learned, in raw units ---------------------------------------------------------------------------

    @torch.no_grad()
    def act(self, states: Tensor) -> Tensor:
        """π(s) = I(s, τ(s)): raw states [M, B, S] to actions [M, B, A] inside the bounds."""
        inverse, scaled = self.require_inverse(), self.units.states(states)
        return inverse(scaled, self.predict(self.predictor, scaled))

    @torch.no_grad()
    def aim(self, states: Tensor) -> Tensor:
        """τ(s), the next state to aim for: raw states [M, B, S] to raw states."""
        return self.units.raw_after(states, self.predict(self.predictor, self.units.states(states)))

    @torch.no_grad()
    def imagine(self, states: Tensor) -> Tensor:
        """f(s, I(s, τ(s))), where its action leads: raw states [M, B, S] to raw states."""
        scaled = self.units.states(states)
        codes = self.require_inverse().codes(scaled, self.predict(self.predictor, scaled))
        return self.units.raw_after(states, self._step(scaled, codes))

    @torch.no_grad()
    def values(self, states: Tensor, next_states: Tensor) -> Tensor:
        """min_i Q_θi(s, s') [M, B] of raw states [M, B, S]."""
        scaled, deltas = self.units.states(states), self.units.deltas(states, next_states)
        return torch.minimum(*(self.value(c, scaled, deltas) for c in (self.critic1, self.critic2)))[..., 0]

    def _step(self, states: Tensor, codes: Tensor) -> Tensor:
        """h_φ(s, a) [M, B, S]; f reads codes, but raw actions without ``standardise``."""
        head = self.require_inverse().head
        if not (self.config.standardise or head.discrete):
            codes = torch.addcmul(head.mid, head.reach, codes)
        return self.model(torch.cat([states, codes], dim=-1)) * self.units.moving


SPEC = Spec(
    D3GOnline,
    D3GOnlineConfig,
    label="D3G, online",
    colours=("#1f5fa8", "#5aa0e0", "#0b3057"),
    marker="o",
    precisions=("fp32", "tf32", "bf16"),
    step_cost=5.0,
    act_cost=0.1,
    portrait=True,
)
