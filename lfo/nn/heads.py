"""How a network's output becomes an action, and how far it is from one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from lfo.envs.spaces import ActionSpace

__all__ = ["ActionHead"]


class ActionHead(nn.Module):
    """Continuous actions: mid + reach · tanh(outputs), fitted by squared error.

    Args:
        space: whose bounds the tanh spans.
    """

    mid: Tensor
    reach: Tensor

    def __init__(self, space: ActionSpace) -> None:
        super().__init__()
        self.space = space
        self.register_buffer("mid", torch.from_numpy((space.high + space.low) / 2).float())
        self.register_buffer("reach", torch.from_numpy((space.high - space.low) / 2).float())

    @property
    def size(self) -> int:
        """Outputs that a network needs."""
        return self.space.size

    def __call__(self, outputs: Tensor) -> Tensor:
        """Actions [..., A] inside the bounds, of a network's outputs [..., size]."""
        return torch.addcmul(self.mid, self.reach, torch.tanh(outputs))

    def loss(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """‖a(outputs) − a‖², a mean over batch and action dimensions: [M] of outputs and actions [M, B, ·]."""
        return mse_loss(self(outputs), actions, reduction="none").mean(dim=(1, 2))
