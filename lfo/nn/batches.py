"""What an update learns from."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["Batch"]


class Batch(NamedTuple):
    """A minibatch for M members, in the learner's units; it holds no actions.

    Fields: ``states`` [M, B, S]; ``deltas`` [M, B, S], the differences s' − s; ``rewards`` [M, B, 1];
    ``continues`` [M, B, 1], which is 1 − d; ``next_states`` [M, B, S].
    """

    states: Tensor
    deltas: Tensor
    rewards: Tensor
    continues: Tensor
    next_states: Tensor
