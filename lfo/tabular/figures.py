"""The figures: curves of returns, and tables of learned values with the greedy path."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lfo.tabular.experiments import Curve, Experiment, Trial, greedy_path
from lfo.tabular.grid import make_grid
from lfo.tabular.statistics import Array, band, report_points, window_means

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["curves_figure", "save_figure", "values_figure"]

COLOURS = ("#d62780", "#1b7f3b", "#2b5fd0", "#e08a00", "#666666")


def curves_figure(
    experiment: Experiment, trials: Sequence[Sequence[Trial]], bests: Sequence[float]
) -> Figure:
    """Return against episodes, a panel each; the dashed line is the best possible return."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(curve.panel for curve in experiment.curves))
    figure = Figure(figsize=(3.6 + 3.1 * len(panels), 4.0), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        lines = [index for index, curve in enumerate(experiment.curves) if curve.panel == panel]
        for place, index in enumerate(lines):
            _draw_curve(ax, experiment.curves[index], trials[index], place, experiment.log_x)
        ax.axhline(bests[lines[0]], color="black", linestyle=":", linewidth=1, label="best possible")
        ax.set(title=panel, xlabel="episode")
        ax.grid(alpha=0.3)
        # where steps are logarithmic, the slow learners leave the middle free
        ax.legend(fontsize="small", **({"loc": (0.48, 0.25)} if experiment.log_x else {}))
    axes[0].set_ylabel("greedy policy's return")
    figure.suptitle(f"{experiment.title} (mean and 95% band over {len(trials[0])} trials)", fontsize="medium")
    return figure


def _draw_curve(ax: Axes, curve: Curve, trials: Sequence[Trial], place: int, log_x: bool) -> None:
    ends = report_points(len(trials[0].returns) - 1)
    means = window_means(np.stack([trial.returns for trial in trials]), ends)
    low, high = band(means)
    style = "--" if curve.frozen else "-"
    colour = COLOURS[place % len(COLOURS)]
    width = max(1.0, 3.0 - place)  # of curves that coincide, the later ones are drawn inside the earlier
    ax.plot(ends, means.mean(axis=0), color=colour, linestyle=style, linewidth=width, label=curve.label)
    ax.fill_between(ends, low, high, color=colour, alpha=0.25, linewidth=0)
    if log_x:
        ax.set_xscale("log")


def values_figure(experiment: Experiment, trials: Sequence[Sequence[Trial]]) -> Figure:
    """Learned state values and the noise-free greedy path of the first trial, a panel a curve."""
    from matplotlib.figure import Figure

    rows = 1 if len(experiment.curves) < 4 else 2
    columns = -(-len(experiment.curves) // rows)
    figure = Figure(figsize=(2.9 * columns + 0.6, 3.1 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    tables = [_value_table(curve, mine[0]) for curve, mine in zip(experiment.curves, trials, strict=True)]
    limits = min(np.nanmin(table) for table in tables), max(np.nanmax(table) for table in tables)
    for ax, table, curve, mine in zip(axes, tables, experiment.curves, trials, strict=False):
        image = ax.imshow(table, cmap="viridis", vmin=limits[0], vmax=limits[1])
        _draw_path(ax, curve, mine[0])
    figure.colorbar(image, ax=axes, shrink=0.7, label="learned value of the state")
    figure.suptitle("Learned values and greedy path without slips or wind, first trial", fontsize="medium")
    return figure


def _value_table(curve: Curve, trial: Trial) -> Array:
    """Values laid out as the grid is, nan where an episode ends: [rows, columns]."""
    grid = make_grid(**curve.grid)
    return np.where(grid.terminal, np.nan, trial.values).reshape(-1, grid.width)


def _draw_path(ax: Axes, curve: Curve, trial: Trial) -> None:
    grid = make_grid(**curve.grid)
    path = greedy_path(grid, trial.policy)
    ax.plot(path[:, 1], path[:, 0], color="white", linewidth=2, marker="o", markersize=3)
    marker: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8, "zorder": 3}
    box = {"boxstyle": "circle,pad=0.2", "facecolor": "white", "linewidth": 0}
    ax.text(path[0, 1], path[0, 0], "S", bbox=box, **marker)
    ax.text(grid.width - 1, grid.width - 1, "G", **marker)
    if len(grid.moves) > grid.width**2:
        ax.text((grid.width - 1) / 2, grid.width, "cliff", **marker)
    believed, true = trial.start_value, trial.true_start_value
    ax.set_title(f"{curve.name}\nstart: believed {believed:.2f}, true {true:.2f}", fontsize="small")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG of at most 256 colours, whole or not at all."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    buffer.seek(0)
    temporary = path.with_name(path.name + ".tmp")
    with Image.open(buffer) as image:
        image.convert("RGB").quantize(256).save(temporary, format="png", optimize=True)
    os.replace(temporary, path)
