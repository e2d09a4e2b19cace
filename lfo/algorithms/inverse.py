"""The inverse dynamics I(s, s'): which action leads from one state to the next.

I_ω(s, s') = a_mid + a_reach · tanh(MLP([s, s'])), fitted to interactions by ‖I_ω(s, s') − a‖² (Edwards et al. 2020,
§3.3; Torabi et al. 2018). Where actions are discrete, MLP([s, s']) gives the probability of each, fitted by −log p(a),
and I(s, s') is the likeliest. It is the only part of a policy that ever sees an action.

Differences: with standardised units it reads [s, s' − s], each in its own unit, instead of [s, s'].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lfo.envs.spaces import ActionSpace
from lfo.nn.batches import ActionBatch
from lfo.nn.heads import ActionHead
from lfo.nn.learner import Learner, copy_member
from lfo.nn.networks import MLP, adam, descend, member_generators
from lfo.nn.scaling import Units
from lfo.settings import Count, NonNegative, Positive

__all__ = ["Inverse", "InverseConfig"]


@dataclass(frozen=True)
class InverseConfig:
    """Settings of the inverse stage; the number in brackets is the published one where it differs.

    Attributes:
        rounds: rounds of interaction and fitting [100].
        interactions: environment steps a round and member.
        grad_steps: gradient steps a round [10,000].
        episodes: episodes of the evaluation after each round.
        noise: standard deviation of the exploration noise, in units of a_max; where actions are discrete, the probability
            ε of a uniform random one instead.
        hidden: units in each of the two hidden layers.
        batch_size: interactions a gradient step and member.
        learning_rate: of Adam.
        squared: fit discrete actions by the squared error of the probabilities to 0 and 1 [True].
    """

    rounds: Count = 10
    interactions: Count = 1000
    grad_steps: Count = 2000
    episodes: Count = 10
    noise: NonNegative = 0.1
    hidden: Count = 256
    batch_size: Count = 256
    learning_rate: Positive = 3e-4
    squared: bool = False


class Inverse(Learner):
    """M members of I(s, s').

    Args:
        config: see :class:`InverseConfig`.
        units: the scales of each member's data, which I shares with its algorithm.
        space: the actions that it infers.
        seeds: one a member.
        standardised: whether those scales are in use (else the units are raw and I reads [s, s']).
    """

    def __init__(
        self,
        config: InverseConfig,
        units: Units,
        space: ActionSpace,
        seeds: Sequence[int],
        *,
        standardised: bool,
    ) -> None:
        super().__init__()
        # The scales belong to the algorithm, which saves them: kept out of this module's own state.
        self.config, self.standardised, self._units = config, standardised, (units,)
        self.space, self.seeds = space, tuple(seeds)
        self.head = ActionHead(space, squared=config.squared)
        self.network = MLP(2 * units.state_dim, config.hidden, self.head.size, member_generators(seeds))
        self.to(units.device)
        self.optimiser = adam(self.network.parameters(), config.learning_rate)

    @property
    def units(self) -> Units:
        """The scales of each member's data."""
        return self._units[0]

    def __call__(self, states: Tensor, deltas: Tensor) -> Tensor:
        """Actions [M, B, A] that lead from ``states`` along ``deltas`` [M, B, S] (the learner's units)."""
        return self.head(self._outputs(states, deltas))

    def codes(self, states: Tensor, deltas: Tensor) -> Tensor:
        """The same as codes [M, B, size] for other networks, with a gradient: see :class:`lfo.nn.heads.ActionHead`."""
        return self.head.soft(self._outputs(states, deltas))

    def update(self, batch: ActionBatch) -> Tensor:
        """One gradient step on :meth:`lfo.nn.heads.ActionHead.loss`, as ‖I_ω(s, s') − a‖²; the losses are [M]."""
        losses = self.head.loss(self._outputs(batch.states, batch.deltas), batch.actions)
        descend(self.optimiser, losses)
        self.updates += 1
        return losses.detach()

    def member(self, m: int, units: Units) -> Inverse:
        """Member ``m`` alone, sharing the scales ``units`` of that member."""
        one = Inverse(self.config, units, self.space, self.seeds[m : m + 1], standardised=self.standardised)
        copy_member(self, m, one)
        return one

    def _outputs(self, states: Tensor, deltas: Tensor) -> Tensor:
        aims = deltas if self.standardised else self.units.after(states, deltas)
        return self.network(torch.cat([states, aims], dim=-1))
