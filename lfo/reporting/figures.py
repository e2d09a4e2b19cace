"""What pictures have in common: what algorithms are called, bare axes, files whole or not at all, and small."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from lfo.atomic import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["NAMES", "plain_axes", "save_figure"]

NAMES = {"d3g": "D3G", "bco": "BCO", "pi_o": "π_o"}
"""Algorithms, as pictures and tables call them, and in the order of a table."""


def plain_axes(ax: Axes) -> None:
    """A faint grid behind the lines, and no frame at the top and the right."""
    ax.grid(color="#e4e4e4", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def save_figure(figure: Figure, path: Path, *, dpi: int = 130) -> Path:
    """Write a PNG of at most 256 colours, which appears when it is complete and replaces what is there."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    buffer.seek(0)
    with atomic_file(path) as file, Image.open(buffer) as image:
        image.convert("RGB").quantize(256).save(file, format="png", optimize=True)
    return path
