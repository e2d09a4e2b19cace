"""Recorded steps do what eager ones do; a closure stands in for the CUDA graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lfo import D3G, D3GConfig
from lfo.datasets import Transitions
from lfo.runs.record import Member
from lfo.training.cuda_graphs import EAGER_STEPS, ReplayedSteps, eager_step
from lfo.training.loop import build

CONFIG = D3GConfig(hidden=8, batch_size=16, predictor_every=2)


def data() -> Transitions:
    rng = np.random.default_rng(0)
    states, steps = rng.normal(size=(100, 3)), rng.normal(size=(100, 3))
    ends = np.zeros(100, dtype=bool)
    return Transitions(states, states + steps, rng.normal(size=100), ends, ends)


class Recorder:
    """Keeps the work as a closure. Like a graph, a recording runs the work's Python and has no effect yet."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        self.made += 1
        return work


@pytest.mark.parametrize("first", [EAGER_STEPS - 3, EAGER_STEPS + 1])
def test_replayed_steps_equal_eager_steps(first: int) -> None:
    members = [Member(0, 0), Member(1, 0)]
    results = []
    for recorder in (None, Recorder()):
        agent, table = build(D3G, CONFIG, [data()], members, torch.device("cpu"))
        agent.updates = first
        generators = [torch.Generator().manual_seed(seed) for seed in agent.seeds]
        drawn = table.draw(generators, 12, CONFIG.batch_size)
        step = eager_step(agent, table) if recorder is None else ReplayedSteps(agent, table, recorder)
        history = []
        for index in drawn:
            names, values = step(index)
            history.append(values)
        results.append((agent, torch.stack(history), names))
        assert recorder is None or recorder.made == CONFIG.predictor_every
    (eager, expected, names), (replayed, found, same_names) = results
    assert names == same_names
    assert torch.equal(expected, found)
    assert eager.updates == replayed.updates == first + 12
    for a, b in zip(eager.parameters(), replayed.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_cuda_graphs_equal_eager_steps_on_the_gpu() -> None:
    results = []
    for replay in (False, True):
        agent, table = build(D3G, CONFIG, [data()], [Member(0, 0)], torch.device("cuda"))
        table.to("cuda")
        drawn = table.draw([torch.Generator().manual_seed(0)], EAGER_STEPS + 20, CONFIG.batch_size)
        step = ReplayedSteps(agent, table) if replay else eager_step(agent, table)
        for index in drawn:
            step(index)
        results.append(list(agent.parameters()))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
