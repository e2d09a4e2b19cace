"""The inverse dynamics I(s, s'): which action leads from one state to the next.

I_ω(s, s') = a_mid + a_reach · tanh(MLP([s, s'])), fitted to interactions by ‖I_ω(s, s') − a‖²
(Edwards et al. 2020, §3.3; Torabi et al. 2018). It is the only part of a policy that ever sees an action.

Differences: with standardised units it reads [s, s' − s], each in its own unit, instead of [s, s'].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from lfo.nn.networks import MLP, Learner, adam, descend, member_generators
from lfo.nn.scaling import Units

__all__ = ["Inverse", "InverseConfig", "make_inverse"]


@dataclass(frozen=True)
class InverseConfig:
    """Settings of the inverse stage; the number in brackets is the published one where it differs."""

    rounds: int = 10  # rounds of interaction and fitting [100]
    interactions: int = 1000  # environment steps a round and member
    grad_steps: int = 2000  # gradient steps a round [10,000]
    episodes: int = 10  # episodes of the evaluation after each round
    noise: float = 0.1  # standard deviation of the exploration noise, in units of a_max
    hidden: int = 256  # units in each of the two hidden layers
    batch_size: int = 256  # interactions a gradient step and member
    learning_rate: float = 3e-4  # Adam


class Inverse(Learner):
    """M members of I(s, s').

    Args:
        config: see :class:`InverseConfig`.
        units: the scales of each member's data, which I shares with its algorithm.
        standardised: whether those scales are in use (else the units are raw and I reads [s, s']).
        low, high: bounds of the action space, [A].
        seeds: one a member.
        device: where everything lives.
    """

    action_mid: Tensor
    action_reach: Tensor

    def __init__(
        self,
        config: InverseConfig,
        units: Units,
        low: np.ndarray,
        high: np.ndarray,
        seeds: Sequence[int],
        *,
        standardised: bool,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        # The scales belong to the algorithm, which saves them: kept out of this module's own state.
        self.config, self.standardised, self._units = config, standardised, (units,)
        self.register_buffer("action_mid", torch.from_numpy((high + low) / 2).float())
        self.register_buffer("action_reach", torch.from_numpy((high - low) / 2).float())
        self.size = int(units.mean.shape[-1])
        self.network = MLP(2 * self.size, config.hidden, len(low), member_generators(seeds))
        self.to(device)
        self.optimiser = adam(self.network.parameters(), config.learning_rate)

    def __call__(self, states: Tensor, deltas: Tensor) -> Tensor:
        """Actions [M, B, A] that lead from ``states`` along ``deltas`` [M, B, S] (the learner's units)."""
        aims = deltas if self.standardised else self._units[0].after(states, deltas)
        outputs = self.network(torch.cat([states, aims], dim=-1))
        return torch.addcmul(self.action_mid, self.action_reach, torch.tanh(outputs))

    def update(self, states: Tensor, deltas: Tensor, actions: Tensor) -> Tensor:
        """One gradient step on ‖I_ω(s, s') − a‖², mean over batch and action dimensions; the losses are [M]."""
        losses = mse_loss(self(states, deltas), actions, reduction="none").mean(dim=(1, 2))
        descend(self.optimiser, losses)
        self.updates += 1
        return losses.detach()


def make_inverse(agent: Any, config: InverseConfig, low: np.ndarray, high: np.ndarray) -> Inverse:
    """An untrained I for the members of ``agent`` and the action bounds [A]."""
    return Inverse(
        config,
        agent.units,
        low,
        high,
        agent.seeds,
        standardised=agent.config.standardise,
        device=agent.units.mean.device,
    )
