"""Where minibatches come from: every transition of a run as a table on the device."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from lfo.algorithms.registry import Agent
from lfo.datasets import Transitions
from lfo.nn.batches import Batch
from lfo.nn.scaling import Units
from lfo.runs.folder import RunFolder
from lfo.runs.loading import load_data

__all__ = ["Table", "load_demonstrations"]


class Table(nn.Module):
    """Every transition of a run on the device, a row each, so that a minibatch is one gather.

    A row is [state | delta | reward | continue], all in the units of its data set. Data sets lie one after
    the other; a member draws from its own only.
    """

    rows: Tensor

    def __init__(
        self, datasets: Sequence[Transitions], members: Sequence[int], units: Units, *, stop_at_timeouts: bool
    ) -> None:
        super().__init__()
        self.state_dim = datasets[0].state_dim
        starts = np.cumsum([0, *(len(data) for data in datasets)])
        self.first = [int(starts[index]) for index in members]
        self.count = [len(datasets[index]) for index in members]
        rows = torch.empty(int(starts[-1]), 2 * self.state_dim + 2)
        for index, data in enumerate(datasets):
            member = members.index(index)
            part = rows[starts[index] : starts[index + 1]]
            _fill(part, data, [getattr(units, name)[member] for name in Units.NAMES[:4]], stop_at_timeouts)
        self.register_buffer("rows", rows, persistent=False)

    def draw(self, generators: Sequence[torch.Generator], steps: int, batch_size: int) -> Tensor:
        """Row numbers [steps, M, B] drawn uniformly, each member from its own generator and data set."""
        drawn = [
            torch.randint(first, first + count, (steps, batch_size), generator=generator)
            for first, count, generator in zip(self.first, self.count, generators, strict=True)
        ]
        return torch.stack(drawn, dim=1).to(self.rows.device)

    def batch(self, index: Tensor, units: Units) -> Batch:
        """The minibatch of the rows ``index`` [M, B]."""
        members, size = index.shape
        rows = self.rows.index_select(0, index.reshape(-1)).view(members, size, -1)
        states, deltas, rewards, continues = torch.split(rows, [self.state_dim, self.state_dim, 1, 1], dim=-1)
        return Batch(states, deltas, rewards, continues, units.after(states, deltas))


def _fill(rows: Tensor, data: Transitions, scales: Sequence[Tensor], stop_at_timeouts: bool) -> None:
    mean, std, delta_std, moving = scales
    size = data.state_dim
    states = torch.from_numpy(np.array(data.states))
    stops = data.terminated | data.truncated if stop_at_timeouts else data.terminated
    torch.sub(torch.from_numpy(np.array(data.next_states)), states, out=rows[:, size : 2 * size])
    rows[:, size : 2 * size].div_(delta_std).mul_(moving)
    torch.sub(states, mean, out=rows[:, :size])
    rows[:, :size].div_(std)
    rows[:, 2 * size] = torch.from_numpy(np.array(data.rewards))
    rows[:, 2 * size + 1] = torch.from_numpy(~stops)


def load_demonstrations(out: RunFolder, agent: Agent) -> Table:
    """A run's data as :func:`~lfo.acting.rounds.learn_inverse` takes it, for an algorithm that imitates (BCO).

    Raises:
        LfoError: as :func:`load_data`.
    """
    which = [int(member["dataset"]) for member in out.info()["members"]]
    table = Table(load_data(out), which, deepcopy(agent.units).cpu(), stop_at_timeouts=False)
    return table.to(agent.units.mean.device)
