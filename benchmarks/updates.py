"""Gradient steps of D3G, QSI, BCO and the inverse dynamics against their matrix products; bfloat16 against float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
import torch
from floor import Floor, Pass, bco_passes, d3g_passes, inverse_passes, qsi_passes
from rows import Effort, Row
from timing import interleaved, ratio

from lfo import BCO, D3G, QSI, BCOConfig, D3GConfig, InverseConfig, QSIConfig
from lfo.acting.rounds import fit_inverse
from lfo.algorithms.inverse import Inverse
from lfo.datasets import Transitions
from lfo.envs.spaces import ActionSpace
from lfo.runs.loading import attach_inverse
from lfo.runs.record import Member
from lfo.training.divergence import Divergence
from lfo.training.loop import build, run_steps
from lfo.training.sources import ReplayBuffer, Table

__all__ = ["bf16", "d3g", "imitation", "make_data", "profile"]

PRODUCTS = "its matrix products"
ACTIONS = 2
_REACH = {1: 1.35, 10: 1.25}


def make_data(rows: int, state_dim: int) -> Transitions:
    """Random transitions: what they hold is nothing to a step's time."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=(rows, state_dim)).astype(np.float32)
    steps = rng.normal(size=states.shape).astype(np.float32) * 0.1
    ends = np.arange(1, rows + 1) % 100 == 0
    return Transitions(states, states + steps, rng.normal(size=rows), ends, np.zeros(rows, bool))


def updater(config: D3GConfig, state_dim: int, members: int) -> Callable[[], object]:
    """A call of it is ``predictor_every`` updates of D3G, each on another minibatch."""
    agent, table = build(
        D3G, config, [make_data(20_000, state_dim)], [Member(seed) for seed in range(members)], "cpu"
    )
    generators = [torch.Generator().manual_seed(member) for member in range(members)]
    drawn = table.draw(generators, 8, config.batch_size)
    batches = cycle([table.batch(index, agent.units) for index in drawn])

    def steps() -> None:
        for _ in range(config.predictor_every):
            agent.update(next(batches))

    return steps


def floor_of(config: D3GConfig, state_dim: int, members: int) -> Callable[[], object]:
    """The products of as many updates."""
    floor = Floor(d3g_passes(config, state_dim), members, config.batch_size, config.hidden)
    return partial(floor.steps, config.predictor_every)


def d3g(effort: Effort) -> list[Row]:
    """Updates against their products; the default against the published algorithm; the whole training loop."""
    default, paper = (replace(c, hidden=effort.hidden) for c in (D3GConfig(), D3GConfig.paper()))
    rows = []
    for state_dim in (4, 11):
        for members in (1, 10):
            works = {
                "update": updater(default, state_dim, members),
                "floor": floor_of(default, state_dim, members),
            }
            found = ratio(interleaved(works, effort), "update", "floor")
            what = f"D3G `update`, S={state_dim}, M={members}"
            rows.append(Row(what, PRODUCTS, **found, reach=_REACH[members]))
    works = {
        "paper": updater(paper, 11, 1),
        "floor": floor_of(paper, 11, 1),
        "default": updater(default, 11, 1),
    }
    seconds = interleaved(works, effort)
    rows.append(Row("D3G `update` as published, S=11, M=1", PRODUCTS, **ratio(seconds, "paper", "floor")))
    rows.append(
        Row("the default D3G `update`, S=11, M=1", "the published one", **ratio(seconds, "default", "paper"))
    )
    rows.append(_loop(default, effort))
    return rows


def _loop(config: D3GConfig, effort: Effort) -> Row:
    """All that training does in a step: drawing and gathering minibatches, the update, metrics, the watch."""
    agent, table = build(D3G, config, [make_data(20_000, 11)], [Member(0)], "cpu")
    train = trainer(agent, table, steps := 256 if effort.seconds else 8)
    floor = floor_of(config, 11, 1)

    def products() -> None:
        for _ in range(steps // config.predictor_every):
            floor()

    works = {"loop": train, "floor": products}
    seconds = interleaved(works, replace(effort, rounds=min(effort.rounds, 5)), once=True)
    return Row("the training loop of D3G, S=11, M=1", PRODUCTS, **ratio(seconds, "loop", "floor"))


def trainer(agent: Any, table: Table, steps: int) -> Callable[[], object]:
    """A call of it trains an agent for so many steps more."""
    divergence = Divergence(agent)
    return lambda: run_steps(agent, table, agent.updates + steps, divergence=divergence)


def bf16(effort: Effort) -> list[Row]:
    """How many times as fast D3G's update is in bfloat16."""
    rows = []
    for members in (1, 5, 10):
        exact = D3GConfig(hidden=effort.hidden)
        works = {
            "float32": updater(exact, 11, members),
            "bfloat16": updater(replace(exact, precision="bf16"), 11, members),
        }
        found = ratio(interleaved(works, effort), "float32", "bfloat16")
        what = f"speed of D3G `update` in bfloat16, S=11, M={members}"
        rows.append(Row(what, "float32", **found, reach=1.6, at_least=True))
    return rows


def imitation(effort: Effort) -> list[Row]:
    """Steps of the inverse stage, of BCO and of QSI as they are run, minibatches included, against their products."""
    rows = []
    for members in (1, 10):
        for name, (steps, floor) in {
            "the inverse dynamics": _inverse(effort, members),
            "BCO": _imitator(BCO, BCOConfig(hidden=effort.hidden), bco_passes, effort, members),
            "QSI": _imitator(QSI, QSIConfig(hidden=effort.hidden), qsi_passes, effort, members),
        }.items():
            seconds = interleaved({"steps": steps, "floor": floor}, effort)
            what = f"steps of {name}, S=11, M={members}"
            rows.append(Row(what, PRODUCTS, **ratio(seconds, "steps", "floor"), reach=1.5))
    return rows


Works = tuple[Callable[[], object], Callable[[], object]]


def _agent(cls: type[Any], config: Any, effort: Effort, members: int) -> tuple[Any, Table, Inverse]:
    seeds = [Member(seed) for seed in range(members)]
    agent, table = build(cls, config, [make_data(20_000, 11)], seeds, "cpu")
    one = np.ones(ACTIONS, np.float32)
    attach_inverse(agent, InverseConfig(hidden=effort.hidden), ActionSpace(-one, one))
    return agent, table, agent.inverse


def _steps(effort: Effort) -> int:
    return 64 if effort.seconds else 4


def _inverse(effort: Effort, members: int) -> Works:
    agent, _, inverse = _agent(BCO, BCOConfig(hidden=effort.hidden), effort, members)
    buffer = ReplayBuffer(agent.units, ACTIONS, 10_000)
    states, flags = torch.randn(2, members, 10_000, 11), torch.zeros(3, members, 10_000)
    buffer.append(*states, *flags, torch.randn(members, 10_000, ACTIONS).clamp(-1, 1))
    generators = [torch.Generator().manual_seed(seed) for seed in range(members)]
    config = replace(inverse.config, grad_steps=_steps(effort))
    floor = Floor(inverse_passes(config, 11, ACTIONS), members, config.batch_size, config.hidden)
    return partial(fit_inverse, inverse, buffer, config.grad_steps, generators), partial(
        floor.steps, config.grad_steps
    )


def _imitator(
    cls: type[Any], config: Any, passes: Callable[..., list[Pass]], effort: Effort, members: int
) -> Works:
    """Steps of an algorithm that learns in the rounds of the inverse stage, and their products."""
    agent, table, _ = _agent(cls, config, effort, members)
    floor = Floor(passes(config, 11, ACTIONS), members, config.batch_size, config.hidden)
    steps = _steps(effort)

    def multiply() -> None:
        for _ in range(steps // agent.period):
            floor.steps(agent.period)

    return trainer(agent, table, steps), multiply


def profile(effort: Effort) -> str:
    """Where the time of D3G's update goes, S=11, M=1: the shares of PyTorch's operations, as a table."""
    steps = updater(D3GConfig(hidden=effort.hidden), 11, 1)
    for _ in range(10):
        steps()
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as found:
        for _ in range(50 if effort.seconds else 2):
            steps()
    events = sorted(found.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    updates = (50 if effort.seconds else 2) * D3GConfig().predictor_every
    lines = ["| operation | share | calls a step |", "|---|---|---|"]
    for event in events[:15]:
        share = event.self_cpu_time_total / total
        lines.append(f"| `{event.key}` | {share:.1%} | {event.count / updates:.1f} |")
    return "\n".join(lines) + "\n"
