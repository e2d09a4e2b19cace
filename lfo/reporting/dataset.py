"""What a data set looks like: states over time, steps, and returns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lfo.reporting.figures import BLUES, INK, MUTED, ORANGES, SMALL, TITLE, plain_axes, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lfo.datasets import Transitions

_DIMENSIONS = 8  # shown
_POINTS = 2_000  # drawn of an episode
_STEPS = 200_000  # counted in a histogram
_LINES = {"lowest return": ORANGES[0], "median": MUTED, "highest": BLUES[0]}


def plot_dataset(data: Transitions, path: Path) -> Path:
    """Draw a data set into a PNG.

    A row for each of the first 8 state dimensions: its course in the episodes of the lowest, median and highest return,
    and the histogram of s' - s; below, the return of every episode.

    Args:
        data: the transitions.
        path: of the PNG.
    """
    from matplotlib.figure import Figure

    shown = min(data.state_dim, _DIMENSIONS)
    figure = Figure(figsize=(9, 1.7 * shown + 2.6), layout="constrained")
    grid = figure.add_gridspec(shown + 1, 3, height_ratios=[1.0] * shown + [1.3])
    episodes = _three(data)
    for i in range(shown):
        course, steps = figure.add_subplot(grid[i, :2]), figure.add_subplot(grid[i, 2])
        _draw_course(course, data, i, episodes)
        _draw_steps(steps, data, i)
        if i == 0:
            course.set_title(
                "states" + (f": the first {shown} of {data.state_dim}" if shown < data.state_dim else "")
            )
            steps.set_title("s' − s in a step, count")
        if i == shown - 1:
            course.set_xlabel("time" if "dt" in data.metadata.attributes else "step")
            if len(episodes) > 1:
                course.legend(fontsize=SMALL, frameon=False, ncols=3, loc="upper right")
    _draw_returns(figure.add_subplot(grid[shown, :]), data)
    figure.suptitle(f"{data.metadata.source}: {len(data):,} transitions", fontsize=TITLE)
    return save_figure(figure, path)


def _three(data: Transitions) -> dict[str, int]:
    """The episodes of the lowest, median and highest return."""
    order = np.argsort(data.episode_returns(), kind="stable")
    places = (0, len(order) // 2, len(order) - 1)
    by_episode = {int(order[place]): name for name, place in reversed([*zip(_LINES, places, strict=True)])}
    return {name: episode for episode, name in reversed(by_episode.items())}


def _draw_course(ax: Axes, data: Transitions, i: int, episodes: dict[str, int]) -> None:
    step = float(data.metadata.attributes.get("dt", 1))
    for name, episode in episodes.items():
        start = int(data.episode_starts[episode])
        length = int(data.episode_lengths()[episode])
        rows = np.unique(np.linspace(0, length - 1, min(length, _POINTS)).astype(int))
        ax.plot(rows * step, data.states[start + rows, i], color=_LINES[name], linewidth=1, label=name)
    ax.set_ylabel(data.metadata.dimension(i, longest=20, between="\n"))
    plain_axes(ax)


def _draw_steps(ax: Axes, data: Transitions, i: int) -> None:
    rows = np.unique(np.linspace(0, len(data) - 1, min(len(data), _STEPS)).astype(int))
    steps = data.next_states[rows, i].astype(np.float64) - data.states[rows, i]
    ax.hist(steps, bins=60, color=BLUES[1])
    ax.set_yscale("log")
    plain_axes(ax)


def _draw_returns(ax: Axes, data: Transitions) -> None:
    returns = data.episode_returns()
    ax.plot(np.arange(len(returns)), returns, ".", color=INK, markersize=4 if len(returns) < 500 else 1.5)
    ax.set_xlabel("episode")
    ax.set_ylabel("return")
    ax.margins(y=0.1)
    plain_axes(ax)
