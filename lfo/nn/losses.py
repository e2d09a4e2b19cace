"""Targets and losses as pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["expectile_loss", "pessimistic", "q_target", "value_range"]


def q_target(rewards: Tensor, continues: Tensor, q1: Tensor, q2: Tensor, gamma: float) -> Tensor:
    """y = r + γ (1 − d) min(q1, q2) (paper Eq. 6 with TD3's minimum); all arguments of one shape."""
    return rewards + gamma * continues * torch.minimum(q1, q2)


def pessimistic(q1: Tensor, q2: Tensor, unknown: Tensor) -> tuple[Tensor, Tensor]:
    """Both values [M, B, 1], those of ``unknown`` states bounded by μ − σ of min(q1, q2) over the known ones.

    Because the bound is μ − σ and not the minimum, values settle instead of drifting down. A member whose minibatch
    holds no known state keeps its values.
    """
    known = torch.minimum(q1, q2).masked_fill(unknown, torch.nan)
    mean = known.nanmean(dim=1, keepdim=True)
    std = (known - mean).square().nanmean(dim=1, keepdim=True).sqrt()
    bound = torch.where(unknown, (mean - std).nan_to_num(torch.inf), torch.inf)
    return torch.minimum(q1, bound), torch.minimum(q2, bound)


def expectile_loss(errors: Tensor, kappa: float) -> Tensor:
    """|κ − 1(u < 0)| u² for u = ``errors``, elementwise (IQL, Kostrikov et al. 2021, Eq. 5)."""
    return torch.where(errors > 0, kappa, 1 - kappa) * errors.square()


def value_range(lowest: float, highest: float, gamma: float) -> tuple[float, float]:
    """The least and the greatest discounted sum of rewards in [lowest, highest], over one step or more."""
    return min(lowest, lowest / (1 - gamma)), max(highest, highest / (1 - gamma))
