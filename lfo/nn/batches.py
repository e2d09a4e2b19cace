"""What an update learns from."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["ActionBatch", "Batch", "own_rows"]


def own_rows(batch_size: int, share: float) -> int:
    """How many rows of a minibatch are interactions, the last ones, where ``share`` of it is; never all."""
    return min(round(share * batch_size), batch_size - 1)


class Batch(NamedTuple):
    """A minibatch for M members, in the learner's units. It holds no actions, and cannot."""

    states: Tensor
    """[M, B, S]"""
    deltas: Tensor
    """[M, B, S] the differences s' − s."""
    rewards: Tensor
    """[M, B, 1]"""
    terminated: Tensor
    """[M, B, 1] 1 where the world ended: no value follows."""
    truncated: Tensor
    """[M, B, 1] 1 where only the record ended: value goes on."""
    next_states: Tensor
    """[M, B, S]"""


class ActionBatch(NamedTuple):
    """A minibatch of interactions: the fields of :class:`Batch`, and the actions that were taken."""

    states: Tensor
    deltas: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    next_states: Tensor
    actions: Tensor
    """[M, B, A] in the environment's units."""
