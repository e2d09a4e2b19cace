"""BCO, behavioural cloning from observation: imitate what the data's policy did.

Torabi et al. 2018, *Behavioral Cloning from Observation* (arXiv 1805.01954), in the form that the D3G paper compares
with: after each round of interactions the inverse dynamics I is refitted, then the policy is regressed on the actions
that I infers for the demonstration transitions, ‖π_ζ(s) − I_ω(s, s')‖². Discrete actions are classified, by
cross-entropy.

Differences: states and differences are standardised as in :mod:`lfo.algorithms.d3g` unless ``standardise`` is off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lfo.algorithms.base import Algorithm
from lfo.algorithms.inverse import Inverse
from lfo.algorithms.registry import Spec
from lfo.nn.batches import Batch
from lfo.nn.networks import MLP, adam, descend, member_generators
from lfo.nn.scaling import Units
from lfo.settings import Count, Positive

__all__ = ["BCO", "SPEC", "BCOConfig"]


@dataclass(frozen=True)
class BCOConfig:
    """Settings of BCO; the number in brackets is the published one where it differs.

    Attributes:
        hidden: units in each of the two hidden layers.
        batch_size: demonstration transitions a step and member.
        learning_rate: of Adam.
        standardise: the policy sees states in units of their standard deviation [False].
    """

    hidden: Count = 256
    batch_size: Count = 256
    learning_rate: Positive = 3e-4
    standardise: bool = True

    @classmethod
    def paper(cls) -> BCOConfig:
        """The published algorithm: every departure off."""
        return cls(standardise=False)


class BCO(Algorithm):
    """M members of BCO. It learns in the rounds of the inverse stage, and never looks at a reward.

        agent = BCO.fit(load("mine.h5"), "MyEnv-v0", seeds=range(5), rounds=5)

    Args:
        config: see :class:`BCOConfig`.
        units: the scales of each member's data.
        seeds: one a member; decides its initial weights.
    """

    name = "bco"
    learns_offline = False
    config: BCOConfig

    def __init__(self, config: BCOConfig, units: Units, seeds: Sequence[int]) -> None:
        super().__init__(config, units, seeds)
        self.to(units.device)

    def attach(self, inverse: Inverse) -> None:
        """Take the inverse dynamics to imitate through; its action space decides the policy's size."""
        self.inverse, self.updates = inverse, 0
        outputs, generators = inverse.head.size, member_generators(self.seeds)
        self.policy = MLP(self.units.state_dim, self.config.hidden, outputs, generators).to(self.units.device)
        self.optimiser = adam(self.policy.parameters(), self.config.learning_rate)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step on ‖π_ζ(s) − I_ω(s, s')‖², or −log π_ζ(I_ω(s, s') | s); metrics are [M], on the device."""
        inverse = self.require_inverse()
        with torch.no_grad():
            inferred = inverse(batch.states, batch.deltas)
        losses = inverse.head.loss(self.policy(batch.states), inferred)
        descend(self.optimiser, losses)
        self.updates += 1
        return {"policy_loss": losses.detach()}

    @torch.no_grad()
    def act(self, states: Tensor) -> Tensor:
        """π_ζ(s): raw states [M, B, S] to actions [M, B, A] inside the bounds."""
        return self.require_inverse().head(self.policy(self.units.states(states)))


SPEC = Spec(
    BCO,
    BCOConfig,
    label="BCO",
    colours=("#d9661f", "#f0a35e", "#8a3d0b"),
    marker="s",
    step_cost=2.0,
    act_cost=0.025,
)
