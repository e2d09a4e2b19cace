"""Any environment without a scene: each dimension of the state against the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lfo.reporting.figures import panels
from lfo.reporting.portraits.pieces import Arrays, against_steps, legend_of_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 12
"""Dimensions that are drawn; further ones are left out."""


def draw(arrays: Arrays) -> Figure:
    """A panel for each dimension."""
    from matplotlib.figure import Figure

    figure, names = Figure(layout="constrained"), arrays.get("dimensions", np.array([]))
    for dim, ax in enumerate(panels(figure, min(arrays["real"].shape[-1], MOST), 2.8, 2.2)):
        label = str(names[dim]) if dim < len(names) else f"state dimension {dim}"
        against_steps(ax, arrays, dim, label if len(label) <= 28 else f"{label[:27]}…")
    figure.set_figheight(figure.get_figheight() + 0.9)  # title and legend
    figure.set_figwidth(max(figure.get_figwidth(), 5.0))
    legend_of_lines(figure, arrays)
    return figure
