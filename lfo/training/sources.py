"""Where minibatches come from: an offline table, or a replay buffer of interactions. Both live on the device.

A draw is a function of the generators that are passed in, so exact resume needs no state.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from lfo.algorithms.protocol import Agent
from lfo.datasets import Transitions
from lfo.errors import LfoError
from lfo.nn.batches import ActionBatch, Batch, own_rows
from lfo.nn.scaling import Units
from lfo.processes import usable_memory


class _Rows(nn.Module):
    """Rows of numbers, and which of them each member may draw: ``count[m]`` rows from ``first[m]`` on."""

    rows: Tensor
    first: list[int]
    count: list[int]

    def draw(self, generators: Sequence[torch.Generator], steps: int, batch_size: int) -> Tensor:
        """Row numbers [steps, M, B] drawn uniformly, each member from its own generator and rows."""
        drawn = [
            torch.randint(first, first + count, (steps, batch_size), generator=generator)
            for first, count, generator in zip(self.first, self.count, generators, strict=True)
        ]
        return torch.stack(drawn, dim=1).to(self.rows.device)

    def _columns(self, index: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
        """The rows ``index`` [M, B], split into columns of the given widths."""
        members, size = index.shape
        rows = self.rows.index_select(0, index.reshape(-1)).view(members, size, -1)
        return torch.split(rows, sizes, dim=-1)


class Table(_Rows):
    """Every transition of a run, a row each, so that a minibatch is one gather.

    A row is [state | delta | reward | terminated | truncated], in the units of its data set. Data sets lie one after
    the other; a member draws from its own only.

    Args:
        datasets: the data sets of the run.
        members: for each member the index of its data set.
        units: the scales of each member.

    Raises:
        LfoError: the data and the table together need more memory than there is.
    """

    def __init__(self, datasets: Sequence[Transitions], members: Sequence[int], units: Units) -> None:
        super().__init__()
        self.state_dim = datasets[0].state_dim
        _require_memory(sum(map(len, datasets)), self.state_dim)
        starts = np.cumsum([0, *(len(data) for data in datasets)])
        self.first = [int(starts[index]) for index in members]
        self.count = [len(datasets[index]) for index in members]
        ranges = [[float(data.rewards.min()), float(data.rewards.max())] for data in datasets]
        self.reward_range = torch.tensor(ranges)[list(members)]
        """[M, 2] the least and the greatest reward of each member's data."""
        rows = torch.empty(int(starts[-1]), 2 * self.state_dim + 3)
        for index, data in enumerate(datasets):
            _fill(rows[starts[index] : starts[index + 1]], data, units.member(members.index(index)))
        self.register_buffer("rows", rows, persistent=False)

    def batch(self, index: Tensor, units: Units) -> Batch:
        """The minibatch of the rows ``index`` [M, B]."""
        sizes = [self.state_dim, self.state_dim, 1, 1, 1]
        states, deltas, rewards, terminated, truncated = self._columns(index, sizes)
        return Batch(states, deltas, rewards, terminated, truncated, units.after(states, deltas))


class ReplayBuffer(_Rows):
    """The latest ``capacity`` interactions of each member, preallocated.

    A row is [state | delta | reward | terminated | truncated | action]; states and deltas are in the member's units.
    Every member has the same number of rows, and draws from its own only.

    Args:
        units: the scales of each of the M members.
        action_dim: numbers in an action, A.
        capacity: rows of each member.
    """

    def __init__(self, units: Units, action_dim: int, capacity: int) -> None:
        super().__init__()
        members, self.state_dim, self.action_dim, self.capacity = (
            len(units.mean),
            units.state_dim,
            action_dim,
            capacity,
        )
        self._units = (units,)  # a tuple: they belong to the agent, which saves them
        self.first, self.count = [m * capacity for m in range(members)], [0] * members
        self.seen = 0
        """Rows ever appended to each member."""
        width = 2 * self.state_dim + 3 + action_dim
        self.register_buffer(
            "rows", torch.zeros(members * capacity, width, device=units.device), persistent=False
        )

    def __len__(self) -> int:
        """Rows of each member."""
        return self.count[0]

    def append(
        self,
        states: Tensor,
        next_states: Tensor,
        rewards: Tensor,
        terminated: Tensor,
        truncated: Tensor,
        actions: Tensor,
    ) -> None:
        """Add n rows to each member; the oldest make room.

        Args:
            states, next_states: [M, n, S] raw.
            rewards, terminated, truncated: [M, n].
            actions: [M, n, A].
        """
        units, count = self._units[0], states.shape[1]
        if count > self.capacity:
            raise ValueError(f"expected at most {self.capacity} rows at once, found {count}")
        parts = [units.states(states), units.deltas(states, next_states)]
        parts += [column[..., None].to(states.dtype) for column in (rewards, terminated, truncated)]
        place = (self.seen + torch.arange(count, device=self.rows.device)) % self.capacity
        self.rows.view(len(self.first), self.capacity, -1)[:, place] = torch.cat([*parts, actions], dim=-1)
        self.seen += count
        self.count = [min(self.seen, self.capacity)] * len(self.count)

    def batch(self, index: Tensor, units: Units) -> ActionBatch:
        """The minibatch of the rows ``index`` [M, B]."""
        sizes = [self.state_dim, self.state_dim, 1, 1, 1, self.action_dim]
        states, deltas, rewards, terminated, truncated, actions = self._columns(index, sizes)
        after = units.after(states, deltas)
        return ActionBatch(states, deltas, rewards, terminated, truncated, after, actions)


class Mixture:
    """Minibatches of which a share comes from the members' own interactions, and the rest from the demonstrations.

    Args:
        demonstrations: the data without actions.
        interactions: what each member has done so far; the actions are not passed on.
        share: of each minibatch, from 0 to 1.
    """

    def __init__(self, demonstrations: Table, interactions: ReplayBuffer, share: float) -> None:
        self.demonstrations, self.interactions, self.share = demonstrations, interactions, share

    @property
    def rows(self) -> Tensor:
        """The demonstrations'; the interactions lie on the same device."""
        return self.demonstrations.rows

    def draw(self, generators: Sequence[torch.Generator], steps: int, batch_size: int) -> Tensor:
        """Row numbers [steps, M, B]: the demonstrations' first, then the interactions'."""
        own = own_rows(batch_size, self.share)
        given = self.demonstrations.draw(generators, steps, batch_size - own)
        return torch.cat([given, self.interactions.draw(generators, steps, own)], dim=-1)

    def batch(self, index: Tensor, units: Units) -> Batch:
        """The minibatch of the rows ``index`` [M, B]."""
        given = index.shape[1] - own_rows(index.shape[1], self.share)
        parts = (
            self.demonstrations.batch(index[:, :given], units),
            self.interactions.batch(index[:, given:], units),
        )
        return Batch(*(torch.cat([getattr(part, name) for part in parts], dim=1) for name in Batch._fields))


def demonstrations(agent: Agent, datasets: Sequence[Transitions], which: Sequence[int]) -> Table | None:
    """The data for an algorithm that learns from it in rounds; None for one that learns offline.

    Args:
        agent: the members.
        datasets: those that the run was prepared with.
        which: for each member the index of its data set.
    """
    if agent.learns_offline:
        return None
    return Table(datasets, which, deepcopy(agent.units).cpu()).to(agent.units.device)


def _require_memory(rows: int, state_dim: int) -> None:
    """Check that so many transitions fit into memory, in float32, as they were read and in the table."""
    need, memory = rows * (4 * (2 * state_dim + 1) + 2 + 4 * (2 * state_dim + 3)), usable_memory()
    if need > memory:
        raise LfoError(
            f"data set: size: expected one that can be trained on in the {memory / 2**30:.1f} GiB of memory here, found "
            f"that {rows:,} transitions of {state_dim} dimensions need {need / 2**30:.1f} GiB; train on fewer episodes, "
            "or on a machine with more memory"
        )


def _fill(rows: Tensor, data: Transitions, units: Units) -> None:
    """Write the transitions of one data set into its part of the table."""
    size = data.state_dim
    states, next_states = (torch.from_numpy(np.array(a))[None] for a in (data.states, data.next_states))
    units.deltas(states, next_states, out=rows[None, :, size : 2 * size])
    units.states(states, out=rows[None, :, :size])
    rows[:, 2 * size] = torch.from_numpy(np.array(data.rewards))
    rows[:, 2 * size + 1] = torch.from_numpy(np.array(data.terminated))
    rows[:, 2 * size + 2] = torch.from_numpy(np.array(data.truncated))
