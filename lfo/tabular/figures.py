"""Two pictures of an experiment: return against episodes, and the learned values with the greedy path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lfo.reporting.figures import BAND, BLUES, INK, LEGEND, ORANGES, REFERENCE, SMALL, TITLE, plain_axes
from lfo.reporting.numbers import number
from lfo.reporting.statistics import Array
from lfo.tabular.experiments import Curve, Experiment, Trial, greedy_path
from lfo.tabular.grid import make_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 6.4
"""Inches. Text stays readable where the picture is shown 400 pixels wide."""

Band = tuple[Array, Array, Array, Array]
"""Episodes, and the mean, the lower and the upper end of the interval there: [n] each."""


def curves_figure(
    experiment: Experiment, bands: Sequence[Band], trials: int, bests: Sequence[float]
) -> Figure:
    """Return against episodes, a panel below the other; the dotted line is the best possible return.

    Args:
        experiment: names the curves and their panels.
        bands: one a curve.
        trials: that each band is over.
        bests: the best possible return, one a curve.
    """
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(curve.panel for curve in experiment.curves))
    height = 4.4 if len(panels) == 1 else 1.2 + 2.1 * len(panels)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(len(panels), sharex=True, sharey=True, squeeze=False)[:, 0]
    handles: dict[str, Any] = {}
    for ax, panel in zip(axes, panels, strict=True):
        indices = [index for index, curve in enumerate(experiment.curves) if curve.panel == panel]
        for index in indices:
            curve = experiment.curves[index]
            ends, mean, low, high = bands[index]
            style = _style(experiment, curve)
            ax.fill_between(ends, low, high, color=style["color"], **BAND)
            line = ax.plot(ends, mean, label=_name(curve), **style)
            handles.setdefault(_name(curve), line[0])
        _best(ax, bests[indices[0]])
        ax.set_title(panel, fontsize=TITLE)
        plain_axes(ax)
    last = axes[-1]
    last.set_xlabel("episodes")
    last.set_xscale("log" if experiment.log_x else "linear")
    last.set_xlim(1 if experiment.log_x else 0, bands[0][0][-1])
    last.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    figure.supylabel("return of the greedy policy", fontsize=10)
    figure.suptitle(experiment.title, fontsize=TITLE)
    explained = f"mean of {trials} trials, 95% interval shaded" if trials > 1 else "one trial"
    figure.legend(handles=list(handles.values()), ncols=2, title=explained, title_fontsize=SMALL, **LEGEND)
    return figure


def _name(curve: Curve) -> str:
    """What the legend of all panels calls a curve."""
    learner = curve.learner.upper()
    return curve.label if curve.label.startswith(learner) else f"{learner}, {curve.label}"


def _style(experiment: Experiment, curve: Curve) -> dict[str, Any]:
    """A curve's line: wide where others may cover it, dashed for QSA, so that coinciding ones all show."""
    alike = [one for one in experiment.curves if (one.learner, one.panel) == (curve.learner, curve.panel)]
    place = alike.index(curve)
    if curve.learner == "qss":
        return {"color": BLUES[place], "linewidth": (4, 2.6, 1.4)[place]}
    return {"color": ORANGES[place], "linewidth": 2, "linestyle": (0, (4, 1.2))}


def _best(ax: Axes, best: float) -> None:
    ax.axhline(best, **REFERENCE)
    ax.margins(y=0.14)
    told = f"best possible: {number(best, '.2f' if abs(best) < 1 else '.1f')} "
    place: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "ha": "right", "va": "bottom"}
    ax.text(1, best, told, fontsize=SMALL, color=INK, **place)


def values_figure(experiment: Experiment, trials: Sequence[Trial]) -> Figure:
    """The learned value of each state and the greedy path, a panel a curve, a row a learner.

    Args:
        experiment: names the curves.
        trials: one a curve.
    """
    from matplotlib.figure import Figure

    pairs = list(zip(experiment.curves, trials, strict=True))
    rows = [[pair for pair in pairs if pair[0].learner == learner] for learner in ("qss", "qsa")]
    columns = max(map(len, rows))
    if columns == 1:
        rows, columns = [pairs], len(pairs)
    tables = {curve.name: _value_table(curve, trial) for curve, trial in pairs}
    tall, wide = tables[pairs[0][0].name].shape
    height = 1.1 + len(rows) * (WIDTH / columns * tall / wide + 0.4)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    places = figure.add_gridspec(len(rows), 2 * columns)  # half columns, so that a shorter row is centred
    axes = [
        figure.add_subplot(places[row, place : place + 2])
        for row, mine in enumerate(rows)
        for place in range(columns - len(mine), columns + len(mine), 2)
    ]
    ordered = [pair for mine in rows for pair in mine]
    values = list(tables.values())
    limits = float(np.nanmin(values)), float(np.nanmax(values))
    for ax, (curve, trial) in zip(axes, ordered, strict=True):
        image = ax.imshow(tables[curve.name], cmap="viridis", vmin=limits[0], vmax=limits[1])
        ax.set_axis_off()
        _draw_path(ax, curve, trial)
    bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.6, aspect=40)
    bar.set_label("learned value V of a state")
    figure.suptitle("Learned values and greedy path, first trial", fontsize=TITLE)
    return figure


def _value_table(curve: Curve, trial: Trial) -> Array:
    """Values laid out as the grid is, nan where an episode ends: [rows, columns]."""
    grid = make_grid(**curve.grid)
    return np.where(grid.terminal, np.nan, trial.values).reshape(-1, grid.width)


def _draw_path(ax: Axes, curve: Curve, trial: Trial) -> None:
    from matplotlib.patheffects import withStroke

    grid = make_grid(**curve.grid)
    path = greedy_path(grid, trial.policy)
    line = ax.plot(path[:, 1], path[:, 0], color="white", linewidth=1.6, marker="o", markersize=2.5)
    line[0].set_path_effects([withStroke(linewidth=3, foreground=INK)])
    text: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": SMALL, "zorder": 3}
    circle = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": INK, "linewidth": 0.8}
    ax.text(path[0, 1], path[0, 0], "S", bbox=circle, **text)
    ax.text(grid.width - 1, grid.width - 1, "G", bbox=circle, **text)
    if len(grid.moves) > grid.width**2:
        ax.text((grid.width - 1) / 2, grid.width, "cliff", **text)
    learned, true = number(trial.start_value, ".2f"), number(trial.true_start_value, ".2f")
    ax.set_title(f"{curve.name}\nV(S): {learned}, true: {true}", fontsize=SMALL)
