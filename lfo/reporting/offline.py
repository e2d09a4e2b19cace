"""Ranking runs before the first interaction: the value of following τ(s) along recorded transitions.

Fitted Q evaluation of a policy of states. Without actions, the only steps known to be possible are the data's own. So
after s' comes not τ(s'), which may not exist, but those of the data's transitions that start nearest to s', each with
the more weight the closer it follows τ where it starts:

    Q_i = r_i + γ (1 − d_i) Σ_j w_ij Q_j,  w_ij ∝ exp(−e_j / ē)  over the 16 nearest starts s_j to s'_i,
    e_j = ‖s'_j − τ(s_j)‖²,  ē its median.

The weights of a row sum to 1, so the iteration converges to the one solution. The score is the mean of Σ_j w_j Q_j at
the starts of the data's episodes. docs/choosing.md has how well it ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lfo.algorithms import registry
from lfo.datasets import Transitions
from lfo.errors import LfoError
from lfo.reporting.comparison import plain
from lfo.reporting.numbers import number, spread
from lfo.runs.folder import RunFolder
from lfo.runs.loading import load_agent

GAMMA = 0.99
ROWS = 8_000
"""Transitions used, at most; the time grows with their square."""
STARTS = 500
"""Episode starts used, at most."""
NEAREST = 16
"""Starts that stand in for a state."""


@dataclass(frozen=True)
class Ranked:
    """The offline scores of one run."""

    run: str
    label: str
    """Of its algorithm."""
    seeds: tuple[int, ...]
    """[M], without members that diverged."""
    values: np.ndarray
    """[M] the discounted return of following τ."""


class Following:
    """What does not depend on the policy: the transitions and their neighbours.

    Args:
        data: the transitions to follow, best those that no run has learned from.
    """

    def __init__(self, data: Transitions) -> None:
        drawn = np.random.default_rng(0).permutation(len(data))[:ROWS]
        self.states, self.next_states = (
            torch.from_numpy(np.array(a[drawn])) for a in (data.states, data.next_states)
        )
        self.rewards = torch.from_numpy(np.array(data.rewards[drawn]))
        self.continues = 1 - torch.from_numpy(np.array(data.terminated[drawn])).float()
        over = np.asarray(data.terminated) | np.asarray(data.truncated)
        first = np.flatnonzero(np.concatenate([[True], over[:-1]]))[:STARTS]
        starts = torch.from_numpy(np.array(data.states[first]))
        unit = _unit(self.states)
        self.after = _nearest(self.next_states / unit, self.states / unit)
        self.begin = _nearest(starts / unit, self.states / unit)
        self.step = _unit(self.next_states - self.states)

    def value(self, aims: Tensor) -> float:
        """The discounted return of following τ from the starts of the episodes.

        Args:
            aims: τ(s) [N, S] of :attr:`states`.
        """
        errors = ((self.next_states - aims) / self.step).square().mean(dim=1)
        scores = -errors / errors.median().clamp(min=1e-12)
        return self._solve(*(torch.softmax(scores[near], dim=1) for near in (self.after, self.begin)))

    def usual(self) -> float:
        """The same for the data's own policy: all neighbours count alike."""
        return self._solve(*(torch.full(near.shape, 1 / near.shape[1]) for near in (self.after, self.begin)))

    def _solve(self, weights: Tensor, begin: Tensor) -> float:
        values, tolerance = torch.zeros_like(self.rewards), 1e-4 * float(self.rewards.abs().max())
        for _ in range(round(10 / (1 - GAMMA))):  # γ^1000 = 4e-5 is left of what lies beyond
            before, ahead = values, (weights * values[self.after]).sum(dim=1)
            values = self.rewards + GAMMA * self.continues * ahead
            if float((values - before).abs().max()) <= tolerance:
                break
        return float((begin * values[self.begin]).sum(dim=1).mean())


NOTES = (
    f"value: discounted return (γ {GAMMA:g}) of following τ(s) along the data's own transitions, mean ± standard "
    "deviation over seeds. It ranks runs; it does not predict the return, and says nothing of I(s, s').",
    "data: the same for the data's own policy. Do not expect anything of a run below it.",
    "Measured on three data sets, its rank correlation with the return was 0.90 (Reacher), 0.80 (Pendulum) and 0.56 "
    "(InvertedPendulum): docs/choosing.md.",
)


def table(ranked: Sequence[Ranked], usual: float, source: str) -> str:
    """For the terminal, the best run first."""
    rows = [
        (one.run, one.label, str(len(one.seeds)), spread(one.values), "  ".join(map(number, one.values)))
        for one in ranked
    ]
    head = ("run", "policy", "seeds", "value", "each seed")
    return plain([(f"offline, on {source}", head, [*rows, ("data", "", "", number(usual), "")])], NOTES)


def to_json(ranked: Sequence[Ranked], usual: float, source: str) -> dict[str, Any]:
    """The same as plain numbers."""
    runs = [{**vars(one), "values": one.values.tolist()} for one in ranked]
    return {"source": source, "gamma": GAMMA, "data": usual, "runs": runs}


@torch.no_grad()
def rank(runs: Sequence[RunFolder], data: Transitions) -> tuple[list[Ranked], float]:
    """Score runs on one data set, the best first, and the data's own policy.

    Raises:
        LfoError: a folder is no run, its states have another length, or its algorithm learns nothing offline.
    """
    following, ranked = Following(data), []
    for run in runs:
        agent: Any = load_agent(run, "cpu")
        if not (agent.learns_offline and hasattr(agent, "aim")):
            raise LfoError(
                f"{run.path}: {agent.name} learns nothing offline that could be ranked; leave it out"
            )
        if agent.units.state_dim != data.state_dim:
            raise LfoError(
                f"{run.path}: expected states of length {data.state_dim}, as in {data.metadata.source}, found "
                f"{agent.units.state_dim}; compare runs of one environment"
            )
        counted = [m for m in range(len(agent.seeds)) if m not in agent.stopped]
        aims = agent.aim(following.states.expand(len(agent.seeds), -1, -1))
        values = np.array([following.value(aims[m]) for m in counted])
        label = registry.spec(agent.name).label
        ranked.append(Ranked(str(run.path), label, tuple(agent.seeds[m] for m in counted), values))
    ranked.sort(key=lambda one: one.values.mean() if len(one.values) else -np.inf, reverse=True)
    return ranked, following.usual()


def _unit(rows: Tensor) -> Tensor:
    """The standard deviation of each column; infinite where a column does not vary, so that it does not count."""
    std = rows.std(dim=0)
    return torch.where(std > 1e-6 * rows.abs().amax(dim=0).clamp(min=1), std, torch.inf)


def _nearest(points: Tensor, among: Tensor) -> Tensor:
    """Row numbers [N, 16] of the nearest rows."""
    count = min(NEAREST, len(among))
    return torch.cat(
        [torch.cdist(part, among).topk(count, largest=False).indices for part in torch.split(points, 1000)]
    )
