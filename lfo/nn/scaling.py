"""The units that networks work in.

Standardising is a departure from the paper, whose networks see raw states. States are divided by their standard
deviation, and what a network predicts of ``s' − s`` is in units of that difference's own standard deviation, dimension
by dimension. A dimension that never changes has no unit: it is masked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lfo.datasets import Transitions

__all__ = ["Units"]


class Units(nn.Module):
    """Each member's scales, taken from its own data set; all buffers are [M, 1, S].

    ``mean``, ``std``: of the states. ``delta_std``: of s' − s. ``moving``: 1 where s' − s varies, else 0.
    ``delta_mid``, ``delta_reach``: middle and half width of the differences seen, in units of ``delta_std``.
    """

    mean: Tensor
    std: Tensor
    delta_std: Tensor
    moving: Tensor
    delta_mid: Tensor
    delta_reach: Tensor

    NAMES = ("mean", "std", "delta_std", "moving", "delta_mid", "delta_reach")

    def __init__(self, members: int, state_dim: int) -> None:
        super().__init__()
        for name in self.NAMES:
            self.register_buffer(name, torch.ones(members, 1, state_dim))

    @classmethod
    def of(cls, datasets: Sequence[Transitions], members: Sequence[int], *, standardise: bool) -> Units:
        """Measure the scales of each data set and hand them to its members.

        Args:
            datasets: the data sets of the run.
            members: for each member the index of its data set.
            standardise: False keeps raw states (the paper); only the range of s' − s is then measured.
        """
        units = cls(len(members), datasets[0].state_dim)
        measured = [_measure(data, standardise) for data in datasets]
        for name in cls.NAMES:
            stacked = torch.stack([torch.from_numpy(measured[index][name])[None] for index in members])
            getattr(units, name).copy_(stacked)
        return units

    @property
    def state_dim(self) -> int:
        """Size of a state, S."""
        return int(self.mean.shape[-1])

    @property
    def device(self) -> torch.device:
        """Where the scales are, and the members with them."""
        return self.mean.device

    def member(self, m: int) -> Units:
        """The scales of one member, M = 1, on the same device."""
        one = Units(1, self.state_dim).to(self.device)
        for name in self.NAMES:
            getattr(one, name).copy_(getattr(self, name)[m : m + 1])
        return one

    def states(self, states: Tensor, out: Tensor | None = None) -> Tensor:
        """Raw states [M, B, S] in units of the data."""
        return torch.sub(states, self.mean, out=out).div_(self.std)

    def deltas(self, states: Tensor, next_states: Tensor, out: Tensor | None = None) -> Tensor:
        """Differences of raw states [M, B, S] in units of their own standard deviation."""
        return torch.sub(next_states, states, out=out).div_(self.delta_std).mul_(self.moving)

    def after(self, states: Tensor, deltas: Tensor) -> Tensor:
        """The state that a difference leads to: s + Δ, in units of the states [M, B, S]."""
        return torch.addcmul(states, deltas, self.delta_std / self.std)

    def raw_after(self, states: Tensor, deltas: Tensor) -> Tensor:
        """The same from raw states to raw states [M, B, S]."""
        return torch.addcmul(states, deltas, self.delta_std)

    def norm(self, errors: Tensor) -> Tensor:
        """‖·‖² [M] of errors [M, B, S]: the mean over the batch and over the dimensions that move."""
        return (errors.square().sum(dim=-1) / self.moving.sum(dim=-1)).mean(dim=1)


def _measure(data: Transitions, standardise: bool) -> dict[str, np.ndarray]:
    """The scales of one data set, float32 [S] each, accumulated in float64."""
    ones = np.ones(data.state_dim)
    mean, std, delta_std, moving = np.zeros(data.state_dim), ones, ones, ones
    delta = data.next_states - data.states
    low, high = delta.min(axis=0).astype(np.float64), delta.max(axis=0).astype(np.float64)
    if standardise:
        mean, std = data.states.mean(axis=0, dtype=np.float64), data.states.std(axis=0, dtype=np.float64)
        delta_std = delta.std(axis=0, dtype=np.float64)
        size = np.maximum(np.abs(data.states).max(axis=0), 1.0)
        moving = (delta_std > 1e-6 * size).astype(np.float64)
        std, delta_std = np.where(std > 1e-6 * size, std, 1.0), np.where(moving > 0, delta_std, 1.0)
    low, high = low / delta_std, high / delta_std
    measured = {
        "mean": mean,
        "std": std,
        "delta_std": delta_std,
        "moving": moving,
        "delta_mid": (high + low) / 2,
        "delta_reach": np.maximum((high - low) / 2, 1e-6),
    }
    return {name: value.astype(np.float32) for name, value in measured.items()}
