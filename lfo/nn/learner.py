"""What everything that learns shares: its optimisers are part of its state, and a member can be taken out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["Learner", "copy_member"]


class Learner(nn.Module):
    """A module that keeps its own optimisers in ``state_dict`` and counts its gradient steps in ``updates``."""

    def __init__(self) -> None:
        super().__init__()
        self.updates = 0

    def optimisers(self) -> list[torch.optim.Optimizer]:
        """This module's own optimisers, in the order they were made."""
        return [value for value in vars(self).values() if isinstance(value, torch.optim.Optimizer)]

    def get_extra_state(self) -> dict[str, Any]:
        """What an exact resume needs besides the tensors of the module; part of ``state_dict``."""
        return {"updates": self.updates, "optimisers": [o.state_dict() for o in self.optimisers()]}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`get_extra_state` gave."""
        self.updates = state["updates"]
        for optimiser, saved in zip(self.optimisers(), state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)


@torch.no_grad()
def copy_member(stack: nn.Module, m: int, one: nn.Module) -> None:
    """Copy member ``m`` of a stack into the stack of one ``one``: tensors [M, …] to [1, …], shared ones whole."""
    theirs = dict([*stack.named_parameters(), *stack.named_buffers()])
    for name, mine in [*one.named_parameters(), *one.named_buffers()]:
        other = theirs[name]
        mine.copy_(other if other.shape == mine.shape else other[m : m + 1])
