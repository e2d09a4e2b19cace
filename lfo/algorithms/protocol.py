"""What every algorithm must offer. ``tests/algorithms/test_contract.py`` checks each registered one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from lfo.algorithms.inverse import Inverse
from lfo.nn.scaling import Units

__all__ = ["Agent", "Config", "Source"]


class Config(Protocol):
    """Settings of an algorithm: a frozen dataclass with at least these fields, and ``paper()``."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def hidden(self) -> int:
        """Units in each hidden layer."""

    @property
    def batch_size(self) -> int:
        """Transitions a step and member."""

    @property
    def standardise(self) -> bool:
        """Whether networks see standardised states."""


class Source(Protocol):
    """The data that an agent is prepared with."""

    reward_range: Tensor
    """[M, 2] the least and the greatest reward of each member's data."""


class Agent(Protocol):
    """M members of an algorithm, stacked. Subclass :class:`lfo.algorithms.base.Algorithm` to get most of this.

    The constructor takes ``(config, units, seeds)`` and works on the device of ``units``.
    """

    name: ClassVar[str]
    """What ``--algo`` takes."""
    learns_offline: ClassVar[bool]
    """Whether ``train`` calls ``update``; else each round of the inverse stage does."""
    learns_online: ClassVar[bool]
    """Whether it learns with actions while it acts, a step of ``update`` for each step in the environment."""
    starts_at_random: ClassVar[bool]
    """Whether it acts at random in the first round of the inverse stage, before it has learned a policy."""
    config: Any
    units: Units
    """The scales of each member's data."""
    seeds: tuple[int, ...]
    """[M]"""
    updates: int
    """Gradient steps so far; ``update`` counts them."""
    stopped: dict[int, str]
    """Members that have diverged, and why. They keep their last good state and are left out of every mean."""
    inverse: Inverse | None
    """The inverse dynamics it acts with, once there is one."""
    record: dict[str, Any]
    """What ``run.json`` says of it: data, members, versions. Training fills it."""
    history: dict[str, list[Any]]
    """Its metrics, a list for each column: ``step``, ``member``, ``seed``, then the names that ``update`` gives."""
    evaluations: dict[str, list[Any]]
    """The episodes of the inverse stage, a list for each column: ``round``, ``interactions``, ``return``, …"""

    @property
    def period(self) -> int:
        """``update`` does the same every so many steps; 1 if all steps are alike."""

    @property
    def replay(self) -> float:
        """What share of a minibatch of the rounds comes from the agent's own interactions, its last rows."""

    @property
    def precision(self) -> str:
        """``fp32``, ``tf32`` or ``bf16``."""

    def prepare(self, source: Source) -> None:
        """Take what it needs to know of its data; called once, before the first step."""

    def update(self, batch: Any) -> dict[str, Tensor]:
        """One gradient step of every member; metrics are [M], on the device, the same names every time.

        The batch is a :class:`~lfo.nn.batches.Batch`; an algorithm that learns online gets an ``ActionBatch``.
        """

    def attach(self, inverse: Inverse) -> None:
        """Take an inverse dynamics to act with, replacing an earlier one."""

    def explore(self, states: Tensor) -> Tensor:
        """The actions of interaction, before noise: raw states [M, B, S] to actions [M, B, A]."""

    def episode_over(self, member: int, total: float) -> None:
        """Hear the return of an episode of interaction that a member has just finished."""

    def act(self, states: Tensor) -> Tensor:
        """Raw states [M, B, S] to actions [M, B, A] in the environment's units."""

    def member(self, m: int) -> Any:
        """Member ``m`` alone, as a stack of one that acts."""

    def optimisers(self) -> list[torch.optim.Optimizer]:
        """Every optimiser whose state an exact resume needs."""

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Every parameter; the first axis of each is the members'."""

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact resume needs."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Take back what :meth:`state_dict` gave."""
