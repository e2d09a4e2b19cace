"""What all scenes share: the values of states, and how trajectories are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfo.nn.scaling import Units
from lfo.reporting.figures import BLUES, INK, LEGEND, ORANGES, SMALL, plain_axes
from lfo.runs.folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Arrays = dict[str, NDArray[Any]]
"""By name, see :func:`lfo.reporting.portraits.portrait`."""

GRID = 81
"""Points along each side of a plane."""
WIDTH = 5.8
"""Width of a picture in inches. At 400 pixels its text is still readable."""


class Learned(Protocol):
    """What a portrait needs from an agent. Here M = 1; states are raw."""

    units: Units

    def act(self, states: Tensor) -> Tensor:
        """[M, B, S] to actions [M, B, A]."""

    def aim(self, states: Tensor) -> Tensor:
        """[M, B, S] to the next states that the policy aims for."""

    def imagine(self, states: Tensor) -> Tensor:
        """[M, B, S] to the model's next states C(s, τ(s))."""

    def values(self, states: Tensor, next_states: Tensor) -> Tensor:
        """Q(s, s') [M, B]."""


@dataclass(frozen=True)
class Scene:
    """What is particular to one environment's portrait."""

    plane: Callable[[Learned, Arrays, RunFolder, int], Arrays]
    """(agent, arrays so far, run, member) → the plane's arrays."""
    draw: Callable[[Arrays], Figure]


def values_of(agent: Learned, states: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Q(s, aim(s)) [n] of raw states [n, S]."""
    raw = torch.from_numpy(np.asarray(states, np.float32))[None]
    parts = [agent.values(part, agent.aim(part))[0] for part in torch.split(raw, 1024, dim=1)]
    values: NDArray[np.float32] = torch.cat(parts).numpy()
    return values


_LINES: dict[str, dict[str, Any]] = {
    "real": {"color": INK, "linestyle": "-", "linewidth": 1.8},
    "cycle": {"color": BLUES[0], "linestyle": (0, (4, 2)), "linewidth": 1.6},
    "aim": {"color": ORANGES[0], "linestyle": (0, (1, 1.2)), "linewidth": 1.8},
}
_NAMES = {"real": "real", "cycle": "imagined by C(s, τ(s))", "aim": "imagined by the aim"}

START: dict[str, Any] = {
    "color": INK,
    "marker": "o",
    "markeredgecolor": "white",
    "markersize": 6,
    "linestyle": "",
}
"""How the first state of a trajectory is marked."""


def lines(arrays: Arrays) -> list[tuple[str, dict[str, Any]]]:
    """The trajectories to draw and their style. If the policy aims for C(s, τ(s)), one line stands for both."""
    same = np.allclose(arrays["aim"][:, 1], arrays["cycle"][:, 1], rtol=1e-4, atol=1e-5)
    return [(name, style) for name, style in _LINES.items() if not (same and name == "aim")]


def legend_of_lines(figure: Figure, arrays: Arrays) -> None:
    """Name the trajectories below all panels."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=_NAMES[name], **style) for name, style in lines(arrays)]
    figure.legend(handles=handles, ncols=len(handles), **LEGEND)


def legend_below(ax: Axes, offset: float) -> None:
    """Name what a plane shows below it, where it hides nothing; ``offset`` is in heights of the axes."""
    ax.legend(
        loc="upper center", bbox_to_anchor=(0.5, -offset), ncols=2, fontsize=SMALL, frameon=False, borderpad=0
    )


def against_steps(ax: Axes, arrays: Arrays, dim: int, label: str) -> None:
    """Draw one dimension of the first start's trajectories."""
    for name, style in lines(arrays):
        ax.plot(arrays[name][0, :, dim], **style)
    ax.set(xlabel="step", ylabel=label)
    ax.set_xlim(0, last_step(arrays))
    ax.set_ylim(*_limits(arrays, dim))
    plain_axes(ax)


def last_step(arrays: Arrays) -> int:
    """T"""
    return int(arrays["real"].shape[1]) - 1


def _limits(arrays: Arrays, dim: int) -> tuple[float, float]:
    """Room for all of the first start's trajectories, except for a wild imagination."""
    real, *imagined = (arrays[name][0, :, dim] for name in _LINES)
    low, high = np.nanmin(real), np.nanmax(real)
    width = max(high - low, 1e-3)
    for values in imagined:
        low = min(low, max(np.nanmin(values), low - 4 * width))
        high = max(high, min(np.nanmax(values), high + 4 * width))
    room = max(0.06 * (high - low), 1e-2 * max(abs(low), abs(high)), 1e-4)
    return float(low - room), float(high + room)
