"""The look that all pictures share: algorithm names and colours, axes, text sizes, and how a PNG is saved."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lfo.algorithms import registry
from lfo.atomic import atomic_file
from lfo.runs.scores import PI_O

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED = "#333333", "#666666"
"""Dark for reference lines, grey for remarks."""
BLUES, ORANGES = ("#1f5fa8", "#5aa0e0", "#0b3057"), ("#d9661f", "#f0a35e", "#8a3d0b")
"""The two families of lines, which all kinds of colour vision tell apart: D3G's and BCO's."""
TITLE, SMALL = 11, 9
"""Text sizes in points: of a title; of legends and captions. Everything else is Matplotlib's 10."""
REFERENCE: dict[str, Any] = {"color": INK, "linestyle": ":", "linewidth": 1.3}
"""A level to compare curves with, such as π_o's return or the best possible one."""
BAND: dict[str, Any] = {"alpha": 0.18, "linewidth": 0}
"""The uncertainty around a curve, with ``fill_between``."""
LEGEND: dict[str, Any] = {"loc": "outside lower center", "frameon": False, "fontsize": SMALL}
"""A figure's legend, below its panels; needs ``layout="constrained"``."""


def label(name: str) -> str:
    """What tables and pictures call an algorithm; a name that is not registered stands for itself."""
    if name == PI_O:
        return "π_o"
    return registry.spec(name).label if name in registry.known() else name


def colours(name: str) -> tuple[str, ...]:
    """An algorithm's colours: the first for its line, the others for more runs of it; else greys."""
    return registry.spec(name).colours if name in registry.known() else (MUTED, "#999999", INK)


def marker(name: str) -> str:
    """The Matplotlib marker of an algorithm's line; a triangle if it is not registered."""
    return registry.spec(name).marker if name in registry.known() else "^"


def layered(place: int) -> dict[str, Any]:
    """Line and marker sizes of the curve drawn at a place, from 0; thinner from place to place, so that all show."""
    thinner = 0.5**place
    return {"linewidth": 3.4 * thinner, "markersize": 1.5 + 5.5 * thinner}


def panels(figure: Figure, count: int, width: float, height: float) -> list[Axes]:
    """Lay out axes in rows of at most three (two, for four); a shorter last row is centred.

    Args:
        figure: to fill; it gets the size that the panels need.
        count: of panels, at least 1.
        width, height: of each panel, in inches.
    """
    columns = 2 if count == 4 else min(count, 3)
    rows = -(-count // columns)
    figure.set_size_inches(width * columns, height * rows)
    grid = figure.add_gridspec(rows, 2 * columns)
    axes = []
    for number in range(count):
        row, column = divmod(number, columns)
        start = 2 * column + columns - min(columns, count - row * columns)
        axes.append(figure.add_subplot(grid[row, start : start + 2]))
    return axes


def plain_axes(ax: Axes) -> None:
    """A faint grid behind the lines, and no frame at the top and the right."""
    ax.grid(color="#e4e4e4", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def save_figure(figure: Figure, path: Path, *, dpi: int = 130) -> Path:
    """Write a PNG of at most 256 colours. It replaces an earlier one only when it is complete.

    Args:
        figure: to draw.
        path: of the PNG.
        dpi: dots an inch.
    """
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    buffer.seek(0)
    with atomic_file(path) as file, Image.open(buffer) as image:
        image.convert("RGB").quantize(256).save(file, format="png", optimize=True)
    return path
