"""The pictures of a study's report: return against interactions, and the scores of single seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lfo.reporting.figures import (
    BAND,
    INK,
    LEGEND,
    MUTED,
    colours,
    label,
    layered,
    marker,
    plain_axes,
    save_figure,
)
from lfo.reporting.figures import (
    panels as lay_out,
)
from lfo.reporting.numbers import number
from lfo.reporting.published import Published
from lfo.reporting.statistics import Array, mean, stratified_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


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
    pi_o: float | None
    """Mean return of π_o."""


def panel_file(env: str, random_frac: float | None = None) -> str:
    """The file name of all curves of an environment, or of those at one fraction."""
    return f"curves-{env}.png" if random_frac is None else f"curves-{env}-{100 * random_frac:g}.png"


def curves(env: str, panels: Sequence[Panel], last: int, folder: Path) -> list[Path]:
    """Draw return against interactions: one picture of all panels, and one of each. All have the same axes.

    A line is the mean over seeds, its band the stratified 95% bootstrap interval of that mean. The dashed line in
    the same colour is the published mean.

    Args:
        env: for titles and file names.
        panels: one for each fraction, at least one.
        last: interactions after the last round.
        folder: where the pictures go, see :func:`panel_file`.
    """
    from matplotlib.figure import Figure

    together = Figure(layout="constrained")
    limits = (1.04 * last, *_span(panels))
    algos = list(dict.fromkeys(line.algo for panel in panels for line in panel.lines))
    paths = []
    for ax, panel in zip(lay_out(together, len(panels), 4.2, 3.2), panels, strict=True):
        _curves_panel(ax, panel, limits)
        alone = Figure(figsize=(4.6, 3.6), layout="constrained")
        _curves_panel(alone.subplots(), panel, limits)
        alone.legend(handles=_handles(algos), ncols=3, **{**LEGEND, "fontsize": 8})
        paths.append(save_figure(alone, folder / panel_file(env, panel.random_frac), dpi=160))
    together.suptitle(env)
    together.legend(handles=_handles(algos), ncols=2 * len(algos) + 1, **LEGEND)
    return [save_figure(together, folder / panel_file(env)), *paths]


def _span(panels: Sequence[Panel]) -> tuple[float, float]:
    """The range of the algorithms' scores and published means; π_o may lie outside."""
    lines = [line for panel in panels for line in panel.lines]
    values = [line.scores.ravel() for line in lines]
    values.append(np.array([line.published.mean for line in lines if line.published is not None]))
    pooled = np.concatenate(values)
    low, high = (float(pooled.min()), float(pooled.max())) if len(pooled) else (0.0, 1.0)
    room = 0.06 * max(high - low, 1e-3)
    return low - room, high + room


def _curves_panel(ax: Axes, panel: Panel, limits: tuple[float, float, float]) -> None:
    for place, line in enumerate(panel.lines):
        if line.scores.size:
            low, high = stratified_interval(line.scores, line.strata, statistic=mean)
            ax.fill_between(line.interactions, low, high, color=colours(line.algo)[0], **BAND)
            ax.plot(line.interactions, line.scores.mean(axis=0), **_curve(line.algo, place))
        if line.published is not None:
            ax.axhline(line.published.mean, **_paper(line.algo, place, len(panel.lines)))
    title = f"{panel.random_frac:.0%} random actions"
    if panel.pi_o is not None:
        ax.axhline(panel.pi_o, **_PI_O)
        title += rf", $\pi_o$ returns {number(panel.pi_o)}"
    if not any(line.scores.size for line in panel.lines):
        ax.text(
            0.5,
            0.5,
            "no rounds yet",
            transform=ax.transAxes,
            ha="center",
            color=MUTED,
            backgroundcolor="white",
        )
    ax.set_title(title, fontsize=10)
    ax.set(xlabel="interactions of each seed", ylabel="mean return", xlim=(0, limits[0]), ylim=limits[1:])
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    plain_axes(ax)


_PI_O: dict[str, Any] = {"color": INK, "linestyle": ":", "linewidth": 1.6}


def _curve(algo: str, place: int) -> dict[str, Any]:
    return {"color": colours(algo)[0], "marker": marker(algo), **layered(place)}


def _paper(algo: str, place: int, count: int) -> dict[str, Any]:
    """Dashed. The dashes of ``count`` lines at the same height take turns."""
    return {
        "color": colours(algo)[0],
        "linestyle": (-6 * place, (4, 2 + 6 * (count - 1))),
        "linewidth": 1.6,
        "zorder": 1.9,  # below the curves
    }


def _handles(algos: Sequence[str]) -> list[Line2D]:
    """The legend: each algorithm's curve and published mean, and π_o."""
    from matplotlib.lines import Line2D

    handles = []
    for place, algo in enumerate(algos):
        handles += [
            Line2D([], [], label=label(algo), **_curve(algo, place)),
            Line2D([], [], label=f"{label(algo)}, paper", **_paper(algo, 0, 1)),
        ]
    return [*handles, Line2D([], [], label=r"$\pi_o$, measured", **_PI_O)]


def seeds(env: str, panels: Sequence[Panel], path: Path) -> Path:
    """Draw every seed's final score as a dot; a line across marks the published mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(5.6, 0.8 + 1.05 * len(panels)), 3.9), layout="constrained")
    ax = figure.subplots()
    for place, panel in enumerate(panels):
        width = 0.8 / max(len(panel.lines), 1)
        for nth, line in enumerate(panel.lines):
            _dots(ax, line, place + (nth - (len(panel.lines) - 1) / 2) * width, width)
    ax.set_xticks(range(len(panels)), [f"{panel.random_frac:.0%}" for panel in panels])
    ax.set(title=env, xlabel="random actions in the data", ylabel="final score of each seed")
    ax.set_xlim(-0.6, len(panels) - 0.4)
    plain_axes(ax)
    ax.grid(visible=False, axis="x")
    handles, labels = ax.get_legend_handles_labels()
    told = dict(zip(labels, handles, strict=True))
    if told:
        figure.legend(list(told.values()), list(told), ncols=4, **LEGEND)
    return save_figure(figure, path, dpi=160)


def _dots(ax: Axes, line: Line, centre: float, width: float) -> None:
    name, colour = label(line.algo), colours(line.algo)[0]
    if len(line.final):
        # Side by side in the order of the seeds, so that equal scores do not hide each other
        spread = np.linspace(-0.36, 0.36, len(line.final)) * width if len(line.final) > 1 else np.zeros(1)
        size = min(5.0, 28 / len(line.final))
        style: dict[str, Any] = {"color": colour, "marker": marker(line.algo), "linestyle": ""}
        ax.plot(centre + spread, line.final, markersize=size, alpha=0.8, label=name, **style)
    if line.published is not None:
        ends, style = [centre - 0.46 * width, centre + 0.46 * width], {"color": colour, "zorder": 1.9}
        ax.plot(ends, [line.published.mean] * 2, linewidth=1.8, label=f"{name}, paper", **style)
