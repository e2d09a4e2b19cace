"""What the cycle is for: D3G with actions on the grid, whose states are (row, column), with the cycle and without.

Nothing but the cycle keeps τ(s) where an action leads. The picture shows τ(s) of every state as an arrow.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lfo.acting.online import OnlineConfig, learn_online
from lfo.algorithms import registry
from lfo.atomic import write_whole
from lfo.reporting.figures import INK, SMALL, TITLE, save_figure
from lfo.reporting.numbers import number
from lfo.runs.folder import RunFolder
from lfo.runs.scores import read_rounds
from lfo.settings import configure
from lfo.tabular.env import ENV_ID
from lfo.tabular.grid import coordinates, make_grid
from lfo.training.progress import Progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ALGORITHM = "d3g-online"
VARIANTS = {"with": True, "without": False}
"""The run's folder to whether it has the cycle."""
NEAR = 0.5
"""Cells: a proposal this near to a cell that an action leads to, in row and column, is that cell."""

LONGEST = 1.5
"""Cells: longer arrows are drawn this long."""


@dataclass(frozen=True)
class Proposals:
    """τ(s) of each of N states that are no end, for M seeds."""

    states: NDArray[np.float32]
    """[N, 2] (row, column)"""
    aims: NDArray[np.float32]
    """[M, N, 2] τ(s)"""
    reachable: NDArray[np.bool_]
    """[M, N] whether an action leads there."""


def run_cycle(
    folder: Path,
    seeds: Sequence[int],
    *,
    steps: int,
    hidden: int,
    progress: Progress,
    command: str | None = None,
) -> str:
    """Train both variants into ``folder``, or continue them; draw ``cycle.png``, write ``cycle.json``; the findings.

    Raises:
        LfoError: the folder holds runs of other settings.
    """
    spec, found = registry.spec(ALGORITHM), {}
    for name, cycle in VARIANTS.items():
        run = RunFolder(folder / name)
        resume = (run.path / "run.json").is_file()
        if not resume:
            run.create(overwrite=False)
        config = configure(spec.config(), {"hidden": hidden, "cycle": cycle}, where="cycle")
        online = OnlineConfig(
            steps=steps, start=max(1, min(10_000, steps // 2)), eval_every=max(1, steps // 5), episodes=1
        )
        agent = learn_online(
            f"lfo.tabular:{ENV_ID}",
            algorithm=spec.cls,
            config=config,
            online=online,
            seeds=seeds,
            device="cpu",
            out=run,
            resume=resume,
            progress=progress,
            command=command,
        )
        found[name] = (proposals(agent), read_rounds(run).final)
    save_figure(_figure([(name, *result) for name, result in found.items()]), folder / "cycle.png")
    numbers = {
        name: {"unreachable": (~p.reachable).mean(axis=1).tolist(), "return": returns.tolist()}
        for name, (p, returns) in found.items()
    }
    write_whole(folder / "cycle.json", json.dumps(numbers, indent=1) + "\n")
    return "\n".join(
        f"{name + ' the cycle:':<19} {np.mean(one['unreachable']):4.0%} of the proposals are reached by no action  "
        f"(each seed: {', '.join(f'{share:.0%}' for share in one['unreachable'])}); "
        f"return {', '.join(number(value, '.0f') for value in one['return'])}, best −18"
        for name, one in numbers.items()
    )


def proposals(agent: Any) -> Proposals:
    """What a trained agent aims for in each state of the grid that is no end."""
    import torch

    grid = make_grid()
    inside = np.flatnonzero(~grid.terminal)
    states = coordinates(grid, inside)
    given = torch.from_numpy(states).expand(len(agent.seeds), -1, -1)
    aims = agent.aim(given).cpu().numpy()
    neighbours = coordinates(grid, grid.moves[inside])  # [N, 4, 2]
    far = np.abs(aims[:, :, None] - neighbours).max(axis=-1)
    return Proposals(states, aims, far.min(axis=-1) <= NEAR)


def _figure(panels: Sequence[tuple[str, Proposals, NDArray[np.float64]]]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    for ax, (name, found, returns) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        _arrows(ax, found)
        share = (~found.reachable[0]).mean()
        ax.set_title(
            f"{name} the cycle\n{share:.0%} unreachable, return {number(returns[0], '.0f')}",
            fontsize=TITLE,
            pad=12,
        )
    figure.supxlabel(
        "τ(s), first seed: blue where an action leads there, red where none does (cut at 1.5 cells)",
        fontsize=SMALL,
    )
    return figure


def _arrows(ax: Axes, found: Proposals) -> None:
    rows, columns = found.states.T
    steps = found.aims[0] - found.states
    steps = steps / np.maximum(1.0, np.linalg.norm(steps, axis=1, keepdims=True) / LONGEST)
    for which, colour in ((found.reachable[0], "#1f5fa8"), (~found.reachable[0], "#c0392b")):
        ax.quiver(
            columns[which], rows[which], steps[which, 1], steps[which, 0],
            color=colour, angles="xy", scale_units="xy", scale=1, width=0.009,
        )  # fmt: skip
    ax.plot(columns, rows, ".", color=INK, markersize=1.5)
    ax.text(10, 10, "G", ha="center", va="center", fontsize=SMALL)
    ax.set(xlim=(-1.8, 11.8), ylim=(11.8, -1.8), aspect="equal")
    ax.set_axis_off()
