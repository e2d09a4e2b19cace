"""The pictures of a study's report: return against interactions, and the scores of single seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lfo.algorithms import registry
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
from lfo.reporting.statistics import Array, mean, stratified_interval
from lfo.study.references import Reference

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_FURTHER = (
    ("#c2428f", "v"),
    ("#b58900", "P"),
    ("#5b4bb5", "X"),
    ("#1c9aa0", "^"),
    ("#7a5230", "<"),
    ("#d64550", "p"),
    ("#7f8c1f", ">"),
    ("#555555", "*"),
)
"""Colours and markers of the columns that cannot have their algorithm's."""
FEW = 3
"""Lines that lie on each other are told apart by their widths, up to so many."""


@dataclass(frozen=True)
class Style:
    """How a column is drawn."""

    label: str
    colour: str
    marker: str


def styles(columns: Mapping[str, str]) -> dict[str, Style]:
    """The look of every column: its algorithm's, or another where a column before it has that.

    Args:
        columns: name to algorithm, in order.
    """
    found: dict[str, Style] = {}
    taken, further = {name for name, algo in columns.items() if name == algo}, 0
    for name, algo in columns.items():
        colour, shape = colours(algo)[0], marker(algo)
        if (algo in taken and name != algo) or algo not in registry.known():
            colour, shape = _FURTHER[further % len(_FURTHER)]
            further += 1
        taken.add(algo)
        found[name] = Style(label(name), colour, shape)
    return found


@dataclass(frozen=True)
class Line:
    """One column's part of a panel."""

    style: Style
    interactions: Array
    """[R]"""
    scores: Array
    """[n, R] mean returns of each round, finite; R may be 0."""
    strata: np.ndarray
    """[n] data set of each seed in ``scores``."""
    final: Array
    """[f] final scores."""
    reference: Reference | None
    """A number of others for the same."""


@dataclass(frozen=True)
class Panel:
    """One row of the table."""

    name: str
    title: str
    lines: tuple[Line, ...]
    pi_o: float | None
    """Mean return of π_o."""
    others: tuple[Reference, ...] = ()
    """References that no line has."""


def panel_file(env: str, row: str | None = None) -> str:
    """The file name of all curves of an environment, or of those of one row."""
    return f"curves-{env}.png" if row is None else f"curve-{row}.png"


def curves(env: str, panels: Sequence[Panel], last: int, folder: Path) -> list[Path]:
    """Draw return against interactions: one picture of all panels, and one of each. All have the same axes.

    A line is the mean over seeds, its band the stratified 95% bootstrap interval of that mean. A dashed line in the
    same colour is a reference for it; grey lines are other references.

    Args:
        env: for titles and file names.
        panels: one for each row, at least one.
        last: interactions after the last round.
        folder: where the pictures go, see :func:`panel_file`.
    """
    from matplotlib.figure import Figure

    together = Figure(layout="constrained")
    limits = (1.04 * last, *_span(panels))
    handles = _handles(panels)
    paths = []
    for ax, panel in zip(lay_out(together, len(panels), 4.2, 3.2), panels, strict=True):
        _curves_panel(ax, panel, limits)
        alone = Figure(figsize=(4.6, 3.6 + 0.17 * max(0, len(handles) // 3 - 1)), layout="constrained")
        _curves_panel(alone.subplots(), panel, limits)
        alone.legend(handles=handles, ncols=3, **{**LEGEND, "fontsize": 8})
        paths.append(save_figure(alone, folder / panel_file(env, panel.name), dpi=160))
    together.suptitle(env)
    together.legend(handles=handles, ncols=min(len(handles), 5 if len(panels) > 1 else 3), **LEGEND)
    return [save_figure(together, folder / panel_file(env)), *paths]


def _span(panels: Sequence[Panel]) -> tuple[float, float]:
    """The range of the lines' scores and of all references; π_o may lie outside."""
    lines = [line for panel in panels for line in panel.lines]
    values = [line.scores.ravel() for line in lines]
    values.append(np.array([line.reference.mean for line in lines if line.reference is not None]))
    values.append(np.array([one.mean for panel in panels for one in panel.others]))
    pooled = np.concatenate(values)
    low, high = (float(pooled.min()), float(pooled.max())) if len(pooled) else (0.0, 1.0)
    room = 0.06 * max(high - low, 1e-3)
    return low - room, high + room


def _curves_panel(ax: Axes, panel: Panel, limits: tuple[float, float, float]) -> None:
    count = len(panel.lines)
    dashed = [line.style for line in panel.lines if line.reference is not None]
    for place, line in enumerate(panel.lines):
        if line.scores.size:
            low, high = stratified_interval(line.scores, line.strata, statistic=mean)
            band = BAND if count <= FEW else {**BAND, "alpha": 0.08}
            ax.fill_between(line.interactions, low, high, color=line.style.colour, **band)
            ax.plot(line.interactions, line.scores.mean(axis=0), **_curve(line.style, place, count))
        if line.reference is not None:
            ax.axhline(line.reference.mean, **_reference(line.style, dashed.index(line.style), len(dashed)))
    for nth, other in enumerate(panel.others):
        ax.axhline(other.mean, **_other(nth))
    title = panel.title
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
    ax.set_title(title, fontsize=10 if len(title) < 50 else 8)
    ax.set(xlabel="interactions of each seed", ylabel="mean return", xlim=(0, limits[0]), ylim=limits[1:])
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    plain_axes(ax)


_PI_O: dict[str, Any] = {"color": INK, "linestyle": ":", "linewidth": 1.6}


def _curve(style: Style, place: int, count: int) -> dict[str, Any]:
    size = layered(place) if count <= FEW else {"linewidth": 1.5, "markersize": 4.0}
    return {"color": style.colour, "marker": style.marker, **size}


def _reference(style: Style, place: int, count: int) -> dict[str, Any]:
    """Dashed. The dashes of ``count`` lines at the same height take turns."""
    return {
        "color": style.colour,
        "linestyle": (-6 * place, (4, 2 + 6 * (count - 1))),
        "linewidth": 1.6,
        "zorder": 1.9,  # below the curves
    }


def _other(nth: int) -> dict[str, Any]:
    """Grey; each with dashes of its own."""
    dashes = (6, 2, *(1, 2) * nth)
    return {"color": "#8a8a8a", "linestyle": (0, dashes), "linewidth": 1.3, "zorder": 1.8}


def _plain(text: str) -> str:
    """Text from outside, which Matplotlib is not to set as a formula."""
    return text.replace("$", r"\$")


def _others(panels: Sequence[Panel]) -> dict[str, int]:
    """The labels of references that no line has, each with its place."""
    labels = dict.fromkeys(other.label for panel in panels for other in panel.others)
    return {name: nth for nth, name in enumerate(labels)}


def _handles(panels: Sequence[Panel]) -> list[Line2D]:
    """The legend: each column's curve and reference, other references, and π_o."""
    from matplotlib.lines import Line2D

    handles = []
    for place, lines in enumerate(zip(*(panel.lines for panel in panels), strict=True)):
        style, count = lines[0].style, len(panels[0].lines)
        handles.append(Line2D([], [], label=style.label, **_curve(style, place, count)))
        sources = [line.reference for line in lines if line.reference is not None]
        if sources:
            handles.append(Line2D([], [], label=f"{style.label}, reference", **_reference(style, 0, 1)))
    handles += [Line2D([], [], label=_plain(name), **_other(nth)) for name, nth in _others(panels).items()]
    return [*handles, Line2D([], [], label=r"$\pi_o$, measured", **_PI_O)]


def seeds(env: str, panels: Sequence[Panel], path: Path) -> Path:
    """Draw every seed's final score as a dot; lines across and grey signs mark references."""
    from matplotlib.figure import Figure

    others = _others(panels)
    slots = max(len(panels[0].lines) + len(others), 1)
    figure = Figure(figsize=(max(5.6, 0.8 + max(1.05, 0.3 * slots) * len(panels)), 3.9), layout="constrained")
    ax = figure.subplots()
    width = 0.8 / slots
    for place, panel in enumerate(panels):
        for nth, line in enumerate(panel.lines):
            _dots(ax, line, place + (nth - (slots - 1) / 2) * width, width)
        for other in panel.others:
            nth = others[other.label]
            style: dict[str, Any] = {"color": MUTED, "linestyle": "", "mfc": "white", "elinewidth": 1}
            ax.errorbar(
                place + (len(panel.lines) + nth - (slots - 1) / 2) * width,
                other.mean,
                yerr=other.std,
                marker="osD^vPX*"[nth % 8],
                label=_plain(other.label),
                **style,
            )
    titles = [panel.title for panel in panels]
    crowded = max(map(len, titles)) * len(titles) > 9 * figure.get_figwidth()
    ax.set_xticks(range(len(panels)), titles)
    if crowded:
        for tick in ax.get_xticklabels():
            tick.set(rotation=20, ha="right", rotation_mode="anchor")
    ax.set(title=env, ylabel="final score of each seed")
    ax.set_xlim(-0.6, len(panels) - 0.4)
    plain_axes(ax)
    ax.grid(visible=False, axis="x")
    handles, labels = ax.get_legend_handles_labels()
    told = dict(zip(labels, handles, strict=True))
    if told:
        figure.legend(list(told.values()), list(told), ncols=4, **LEGEND)
    return save_figure(figure, path, dpi=160)


def _dots(ax: Axes, line: Line, centre: float, width: float) -> None:
    name, colour = line.style.label, line.style.colour
    if len(line.final):
        # Side by side in the order of the seeds, so that equal scores do not hide each other
        spread = np.linspace(-0.36, 0.36, len(line.final)) * width if len(line.final) > 1 else np.zeros(1)
        size = min(5.0, 28 / len(line.final))
        style: dict[str, Any] = {"color": colour, "marker": line.style.marker, "linestyle": ""}
        ax.plot(centre + spread, line.final, markersize=size, alpha=0.8, label=name, **style)
    if line.reference is not None:
        ends, style = [centre - 0.46 * width, centre + 0.46 * width], {"color": colour, "zorder": 1.9}
        ax.plot(ends, [line.reference.mean] * 2, linewidth=1.8, label=f"{name}, reference", **style)
