"""BCO, behavioural cloning from observation: imitate what the data's policy did.

Torabi et al. 2018, *Behavioral Cloning from Observation* (arXiv 1805.01954), in the form that the D3G paper
compares with: after each round of interactions the inverse dynamics I is refitted, then the policy is
regressed on the actions that I infers for the demonstration transitions, ‖π_ζ(s) − I_ω(s, s')‖².

Differences: states and differences are standardised as in :mod:`lfo.algorithms.d3g` unless ``standardise`` is off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from lfo.algorithms.inverse import Inverse
from lfo.algorithms.registry import Spec
from lfo.datasets import LfoError
from lfo.nn.batches import Batch
from lfo.nn.networks import MLP, Learner, adam, descend, member_generators
from lfo.nn.scaling import Units

__all__ = ["BCO", "SPEC", "BCOConfig"]


@dataclass(frozen=True)
class BCOConfig:
    """Settings of BCO; the number in brackets is the published one where it differs."""

    hidden: int = 256  # units in each of the two hidden layers
    batch_size: int = 256  # demonstration transitions a step and member
    learning_rate: float = 3e-4  # Adam
    standardise: bool = True  # [False]

    @classmethod
    def paper(cls) -> BCOConfig:
        """The published algorithm: every departure off."""
        return cls(standardise=False)


class BCO(Learner):
    """M members of BCO; the arguments are those of :class:`~lfo.algorithms.d3g.D3G`, of which rewards are not used."""

    name = "bco"
    learns_offline = False
    inverse: Inverse | None

    def __init__(
        self,
        config: BCOConfig,
        units: Units,
        reward_range: Tensor,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.config, self.units, self.seeds, self.inverse = config, units, tuple(seeds), None
        self.to(device)

    def attach(self, inverse: Inverse) -> None:
        """Take the inverse dynamics to imitate through; its action space decides the policy's size."""
        self.inverse, self.updates = inverse, 0
        size, actions = self.units.mean.shape[-1], len(inverse.action_mid)
        self.policy = MLP(size, self.config.hidden, actions, member_generators(self.seeds))
        self.policy.to(self.units.mean.device)
        self.optimiser = adam(self.policy.parameters(), self.config.learning_rate)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step on ‖π_ζ(s) − I_ω(s, s')‖²; metrics are [M], on the device."""
        with torch.no_grad():
            inferred = self._inverse()(batch.states, batch.deltas)
        losses = mse_loss(self._policy(batch.states), inferred, reduction="none").mean(dim=(1, 2))
        descend(self.optimiser, losses)
        self.updates += 1
        return {"policy_loss": losses.detach()}

    @torch.no_grad()
    def act(self, states: Tensor) -> Tensor:
        """π_ζ(s): raw states [M, B, S] to actions [M, B, A] inside the bounds."""
        return self._policy(self.units.states(states))

    def _policy(self, states: Tensor) -> Tensor:
        inverse = self._inverse()
        return torch.addcmul(inverse.action_mid, inverse.action_reach, torch.tanh(self.policy(states)))

    def _inverse(self) -> Inverse:
        if self.inverse is None:
            raise LfoError("BCO has no inverse dynamics yet: call learn_inverse, or `d3g-lfo interact`")
        return self.inverse


SPEC = Spec(
    BCO,
    BCOConfig,
    label="BCO",
    colours=("#d9661f", "#f0a35e", "#8a3d0b"),
    marker="s",
    step_cost=2.0,
    act_cost=0.025,
)
