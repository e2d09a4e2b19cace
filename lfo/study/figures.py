"""The pictures of a study's report: return against interactions, and the scores of single seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lfo.reporting.figures import NAMES, plain_axes, save_figure
from lfo.reporting.published import Published
from lfo.reporting.statistics import Array, mean, stratified_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["COLOURS", "Line", "Panel", "curves", "panel_file", "seeds"]

COLOURS = {"bco": "#d9661f", "d3g": "#1f5fa8"}
"""Blue and orange, which all kinds of colour vision tell apart; shapes differ, too."""
_MARKERS = {"bco": "s", "d3g": "o"}
_OTHER = "#4d7d3a"


@dataclass(frozen=True)
class Line:
    """One algorithm's part of a panel."""

    algo: str
    interactions: Array
    """[R]"""
    scores: Array
    """[n, R] mean returns of each round, finite; R may be 0."""
    strata: np.ndarray
    """[n] data set of each seed in ``scores``."""
    final: Array
    """[f] final scores."""
    published: Published | None


@dataclass(frozen=True)
class Panel:
    """One environment with one fraction of random actions."""

    random_frac: float
    lines: tuple[Line, ...]
    behaviour: float | None
    """Mean return of π_o."""


def panel_file(env: str, random_frac: float | None = None) -> str:
    """What a picture of curves is called."""
    return f"curves-{env}.png" if random_frac is None else f"curves-{env}-{100 * random_frac:g}.png"


def curves(env: str, panels: Sequence[Panel], last: int, folder: Path) -> list[Path]:
    """Draw return against interactions: one picture of all panels, and one of each; all with the same axes.

    The line is the mean over seeds, its band the stratified 95% bootstrap interval of that mean; the dashed
    line in the same colour is the published mean.

    Args:
        env: for titles and file names.
        panels: one for each fraction.
        last: interactions after the last round.
        folder: where the pictures go, see :func:`panel_file`.
    """
    from matplotlib.figure import Figure

    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    together = Figure(figsize=(4.2 * columns, 3.1 * rows + 0.5), layout="constrained")
    axes = together.subplots(rows, columns, squeeze=False).ravel()
    limits = (1.04 * last, *_span(panels))
    algos = dict.fromkeys(line.algo for panel in panels for line in panel.lines)
    paths = []
    for ax, panel in zip(axes, panels, strict=False):
        _curves_panel(ax, panel, limits)
        alone = Figure(figsize=(4.6, 3.6), layout="constrained")
        _curves_panel(alone.subplots(), panel, limits)
        alone.legend(handles=_handles(algos), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
        paths.append(save_figure(alone, folder / panel_file(env, panel.random_frac), dpi=160))
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    together.suptitle(env)
    together.legend(handles=_handles(algos), loc="outside lower center", ncols=5, frameon=False)
    return [save_figure(together, folder / panel_file(env)), *paths]


def _span(panels: Sequence[Panel]) -> tuple[float, float]:
    """What the algorithms' scores and published means span; π_o may lie outside."""
    lines = [line for panel in panels for line in panel.lines]
    values = [line.scores.ravel() for line in lines]
    values.append(np.array([line.published.mean for line in lines if line.published is not None]))
    pooled = np.concatenate(values)
    low, high = (float(pooled.min()), float(pooled.max())) if len(pooled) else (0.0, 1.0)
    room = 0.06 * max(high - low, 1e-3)
    return low - room, high + room


def _curves_panel(ax: Axes, panel: Panel, limits: tuple[float, float, float]) -> None:
    for line in panel.lines:
        colour = COLOURS.get(line.algo, _OTHER)
        if line.scores.size:
            low, high = stratified_interval(line.scores, line.strata, statistic=mean)
            ax.fill_between(line.interactions, low, high, color=colour, alpha=0.18, linewidth=0)
            ax.plot(line.interactions, line.scores.mean(axis=0), **_curve(line.algo))
        if line.published is not None:
            ax.axhline(line.published.mean, **_paper(line.algo))
    title = f"{panel.random_frac:.0%} random actions"
    if panel.behaviour is not None:
        ax.axhline(panel.behaviour, **_BEHAVIOUR)
        title += rf", $\pi_o$ returns {panel.behaviour:.1f}"
    if not any(line.scores.size for line in panel.lines):
        ax.text(
            0.5,
            0.5,
            "no rounds yet",
            transform=ax.transAxes,
            ha="center",
            color="#666666",
            backgroundcolor="white",
        )
    ax.set_title(title, fontsize=10)
    ax.set(xlabel="interactions of each seed", ylabel="mean return", xlim=(0, limits[0]), ylim=limits[1:])
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    plain_axes(ax)


_BEHAVIOUR: dict[str, Any] = {"color": "#333333", "linestyle": ":", "linewidth": 1.3}


def _curve(algo: str) -> dict[str, Any]:
    return {
        "color": COLOURS.get(algo, _OTHER),
        "marker": _MARKERS.get(algo, "^"),
        "markersize": 3.5,
        "linewidth": 2,
    }


def _paper(algo: str) -> dict[str, Any]:
    return {"color": COLOURS.get(algo, _OTHER), "linestyle": (0, (5, 3)), "linewidth": 1.3}


def _handles(algos: Iterable[str]) -> list[Line2D]:
    """What a legend shows: each algorithm's curve and published mean, and π_o."""
    from matplotlib.lines import Line2D

    handles = []
    for algo in algos:
        name = NAMES[algo]
        handles += [
            Line2D([], [], label=name, **_curve(algo)),
            Line2D([], [], label=f"{name}, paper", **_paper(algo)),
        ]
    return [*handles, Line2D([], [], label=r"$\pi_o$, measured", **_BEHAVIOUR)]


def seeds(env: str, panels: Sequence[Panel], path: Path) -> Path:
    """Draw every seed's final score as a dot; a line across marks the published mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.6 + 1.5 * max(len(panels), 3), 3.8), layout="constrained")
    ax = figure.subplots()
    for place, panel in enumerate(panels):
        width = 0.8 / max(len(panel.lines), 1)
        for number, line in enumerate(panel.lines):
            _dots(ax, line, place + (number - (len(panel.lines) - 1) / 2) * width, width)
    ax.set_xticks(range(len(panels)), [f"{panel.random_frac:.0%}" for panel in panels])
    ax.set(title=env, xlabel="random actions in the data", ylabel="final score of each seed")
    ax.set_xlim(-0.6, len(panels) - 0.4)
    plain_axes(ax)
    ax.grid(visible=False, axis="x")
    handles, labels = ax.get_legend_handles_labels()
    told = dict(zip(labels, handles, strict=True))
    if told:
        names = sorted(told)
        figure.legend(
            [told[name] for name in names], names, loc="outside lower center", ncols=4, frameon=False
        )
    return save_figure(figure, path)


def _dots(ax: Axes, line: Line, centre: float, width: float) -> None:
    name, colour = NAMES[line.algo], COLOURS.get(line.algo, _OTHER)
    if len(line.final):
        # Side by side in the order of the seeds, so that equal scores do not hide each other.
        spread = np.linspace(-0.3, 0.3, len(line.final)) * width if len(line.final) > 1 else np.zeros(1)
        style: dict[str, Any] = {"color": colour, "marker": _MARKERS.get(line.algo, "^"), "linestyle": ""}
        ax.plot(centre + spread, line.final, markersize=5, alpha=0.75, label=name, **style)
    if line.published is not None:
        ends = [centre - 0.42 * width, centre + 0.42 * width]
        ax.plot(ends, [line.published.mean] * 2, color=colour, linewidth=1.6, label=f"{name}, paper")
