"""How a network's output becomes an action, and how far it is from one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from lfo.envs.spaces import ActionSpace, DiscreteSpace

__all__ = ["ActionHead"]


class ActionHead(nn.Module):
    """Continuous actions: mid + reach · tanh(outputs), fitted by squared error. Discrete ones: softmax, cross-entropy.

    Networks that read an action read its *code* [..., size]: from −1 to 1 for continuous actions; for discrete ones
    the probability of each value, choice after choice, which is one-hot for an action that was taken.

    Args:
        space: the actions.
        squared: fit discrete actions by the squared error of the probabilities, as the published code does.
    """

    mid: Tensor
    reach: Tensor
    values: Tensor
    choice: Tensor

    def __init__(self, space: ActionSpace, *, squared: bool = False) -> None:
        super().__init__()
        self.space, self.squared = space, squared
        self.register_buffer("mid", torch.from_numpy((space.high + space.low) / 2).float())
        self.register_buffer("reach", torch.from_numpy((space.high - space.low) / 2).float())
        self.counts: list[int] = space.counts.tolist() if isinstance(space, DiscreteSpace) else []
        if self.counts:
            values = [low + np.arange(n) for low, n in zip(space.low, self.counts, strict=True)]
            self.register_buffer("values", torch.from_numpy(np.concatenate(values)).float(), persistent=False)
            choice = np.repeat(np.arange(space.size), self.counts)
            self.register_buffer("choice", torch.from_numpy(choice), persistent=False)

    @property
    def discrete(self) -> bool:
        """Whether actions are choices."""
        return bool(self.counts)

    @property
    def size(self) -> int:
        """Outputs that a network needs, and numbers in a code."""
        return sum(self.counts) or self.space.size

    def __call__(self, outputs: Tensor) -> Tensor:
        """Actions [..., A] of a network's outputs [..., size]: inside the bounds, or the likeliest."""
        if not self.discrete:
            return torch.addcmul(self.mid, self.reach, torch.tanh(outputs))
        chosen = [part.argmax(dim=-1) for part in self.parts(outputs)]
        return self.mid - self.reach + torch.stack(chosen, dim=-1)

    def loss(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """How far outputs [M, B, size] are from actions [M, B, A], a mean over batch and action dimensions: [M].

        ‖a(outputs) − a‖² in the environment's units, or −log p(a).
        """
        if not self.discrete:
            return mse_loss(self(outputs), actions, reduction="none").mean(dim=(1, 2))
        if self.squared:
            return (self.soft(outputs) - self.encode(actions)).square().mean(dim=(1, 2))
        return self.errors(outputs, self.encode(actions)).mean(dim=(1, 2))

    def soft(self, outputs: Tensor) -> Tensor:
        """The code [..., size] of a network's outputs, with a gradient: tanh, or the probability of each value."""
        if not self.discrete:
            return torch.tanh(outputs)
        return torch.cat([part.softmax(dim=-1) for part in self.parts(outputs)], dim=-1)

    def encode(self, actions: Tensor) -> Tensor:
        """The code [..., size] of actions [..., A]."""
        if not self.discrete:
            return (actions - self.mid) / self.reach
        return (actions[..., self.choice] == self.values).to(actions.dtype)

    def errors(self, outputs: Tensor, codes: Tensor) -> Tensor:
        """How far outputs [..., size] are from codes [..., A]: squared, or the cross-entropy of each choice."""
        if not self.discrete:
            return (torch.tanh(outputs) - codes).square()
        pairs = zip(self.parts(outputs), self.parts(codes), strict=True)
        return torch.stack([-(code * part.log_softmax(dim=-1)).sum(-1) for part, code in pairs], dim=-1)

    def parts(self, codes: Tensor) -> tuple[Tensor, ...]:
        """Codes or outputs [..., size] of discrete actions, a tensor for each choice."""
        return torch.split(codes, self.counts, dim=-1)

    def to_env(self, actions: Tensor) -> Tensor:
        """Actions [B, A] as the environment takes them; see :meth:`lfo.envs.spaces.ActionSpace.to_env`."""
        space: Any = self.space
        return actions.long().reshape(-1, *space.shape) if self.discrete else actions
