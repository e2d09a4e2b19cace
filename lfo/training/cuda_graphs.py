"""Steps of training as one launch each: on a GPU the kernels of an update are recorded once and replayed.

An update is some hundreds of small kernels, which Python launches more slowly than a GPU runs them. A CUDA graph
launches them all at once. What it replays is the very update of the eager path, on the same memory.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lfo.algorithms.protocol import Agent
from lfo.training.sources import Mixture, Table

EAGER_STEPS = 256
"""Steps before the first recording: until then settings that Python decides may still change (σ's rate)."""

Step = Callable[[Tensor], tuple[list[str], Tensor]]
Recorder = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]


def eager_step(agent: Agent, table: Table | Mixture) -> Step:
    """A function that does one update on the rows [M, B] and returns the metrics' names and values [K, M]."""

    def step(index: Tensor) -> tuple[list[str], Tensor]:
        metrics = agent.update(table.batch(index, agent.units))
        return list(metrics), torch.stack(list(metrics.values()))

    return step


def record_cuda_graph(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Record ``work`` without doing it; the function returned does it and gives its result, in place."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


class ReplayedSteps:
    """One update a call, like :func:`eager_step`, but recorded: one recording for each step of the agent's period.

    Args:
        agent: the members; their optimisers are made ``capturable``.
        table: their data.
        record: how work is recorded (tests put something else in the place of a CUDA graph).
    """

    def __init__(self, agent: Agent, table: Table | Mixture, record: Recorder = record_cuda_graph) -> None:
        self._agent, self._record, self._eager = agent, record, eager_step(agent, table)
        self._replays: dict[int, Callable[[], Tensor]] = {}
        self._index: Tensor | None = None
        self._names: list[str] = []
        for optimiser in agent.optimisers():
            for group in optimiser.param_groups:
                group["capturable"] = True

    def __call__(self, index: Tensor) -> tuple[list[str], Tensor]:
        """Update on the rows ``index`` [M, B]; the metrics' names and values [K, M]."""
        agent = self._agent
        if agent.updates < EAGER_STEPS or self._index is None:
            self._index = index.clone()
            return self._eager(index)
        done = agent.updates
        turn = done % agent.period
        self._index.copy_(index)
        if turn not in self._replays:
            self._replays[turn] = self._recorded()
        values = self._replays[turn]().clone()
        agent.updates = done + 1
        return self._names, values

    def _recorded(self) -> Callable[[], Tensor]:
        assert self._index is not None
        index, updates = self._index, self._agent.updates

        def work() -> Tensor:
            self._agent.updates = updates  # recording runs the Python of an update, which counts it
            self._names, values = self._eager(index)
            return values

        replay = self._record(work)
        self._agent.updates = updates
        return replay
