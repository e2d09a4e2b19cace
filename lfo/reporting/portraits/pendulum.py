"""InvertedPendulum: angle against angular velocity. States are x (m), θ (rad), ẋ (m/s), θ̇ (rad/s)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lfo.errors import LfoError
from lfo.reporting.figures import INK
from lfo.reporting.portraits.pieces import (
    GRID,
    START,
    WIDTH,
    Arrays,
    Learned,
    Scene,
    against_steps,
    last_step,
    legend_below,
    legend_of_lines,
    values_of,
)
from lfo.runs.folder import RunFolder
from lfo.runs.loading import load_data

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FALLEN = 0.2
"""The angle in rad at which an episode ends."""


def _plane(agent: Learned, arrays: Arrays, run: RunFolder, member: int) -> Arrays:
    """The values of a pole over a resting cart in the middle of its rail, and how often the data visit each point."""
    reach = 2.5 * float(agent.units.std[0, 0, 3])
    angle, speed = np.linspace(-FALLEN, FALLEN, GRID), np.linspace(-reach, reach, GRID)
    states = np.zeros((GRID, GRID, 4), np.float32)
    states[..., 1], states[..., 3] = np.meshgrid(angle, speed)
    plane: Arrays = {
        "plane_x": angle,
        "plane_y": speed,
        "plane_q": values_of(agent, states.reshape(-1, 4)).reshape(GRID, GRID),
    }
    try:
        data = load_data(run)[int(run.info()["members"][member]["dataset"])]
    except LfoError:
        return plane  # the data may have been moved since; the rest is worth seeing without them
    edges = [_edges(speed), _edges(angle)]
    count = np.histogram2d(data.states[:, 3], data.states[:, 1], bins=edges)[0]
    return {**plane, "density": count.astype(np.int64)}


def _edges(centres: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    half = (centres[1] - centres[0]) / 2
    return np.append(centres - half, centres[-1] + half)


def _draw(arrays: Arrays) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 9), layout="constrained")
    plane, angle, cart = figure.subplots(3, 1, height_ratios=[2.3, 1, 1])
    image = plane.pcolormesh(
        arrays["plane_x"], arrays["plane_y"], arrays["plane_q"], cmap="viridis", shading="nearest"
    )
    figure.colorbar(image, ax=plane, label="Q(s, aim of the policy)")
    if "density" in arrays:
        _contours(plane, arrays)
    visited = arrays["real"][0][:, [1, 3]]  # dots: the pole swings from side to side every few steps
    plane.plot(*visited.T, ".", color=INK, markersize=4, label=f"visited in {last_step(arrays)} steps")
    plane.plot(*visited[0], **START)
    plane.set(
        title="value of angle and angular velocity (x = ẋ = 0)",
        xlabel="angle θ (rad)",
        ylabel="angular velocity (rad/s)",
        xlim=arrays["plane_x"][[0, -1]],
        ylim=arrays["plane_y"][[0, -1]],
        xticks=np.linspace(-FALLEN, FALLEN, 5),
    )
    legend_below(plane, 0.13)
    against_steps(angle, arrays, 1, "angle θ (rad)")
    for side in (-FALLEN, FALLEN):
        angle.axhline(side, color="#8a8a8a", linewidth=0.9, linestyle=":")
    angle.set_ylim(-1.15 * FALLEN, 1.15 * FALLEN)
    angle.set_title("imagined and real, from the same start")
    angle.set_xlabel("")
    for ax in (plane, angle):
        ax.title.set_fontsize(10)
    against_steps(cart, arrays, 0, "position x (m)")
    legend_of_lines(figure, arrays)
    return figure


def _contours(ax: Axes, arrays: Arrays) -> None:
    """Around nine tenths and around half of the data."""
    from matplotlib.patheffects import withStroke

    smooth = arrays["density"].astype(np.float64)
    for axis in (0, 1):
        for _ in range(16):  # a binomial kernel, 3 cells wide: counts of single cells are noise
            smooth = (np.roll(smooth, 1, axis) + 2 * smooth + np.roll(smooth, -1, axis)) / 4
    ordered = np.sort(smooth.ravel())[::-1]
    inside = np.cumsum(ordered) / ordered.sum()
    levels = sorted({float(ordered[np.searchsorted(inside, share)]) for share in (0.5, 0.9)})
    ax.contour(
        arrays["plane_x"], arrays["plane_y"], smooth, levels=levels, colors="white", linewidths=[0.9, 1.5]
    )
    outline = [withStroke(linewidth=3, foreground="#444444")]
    ax.plot(
        [], [], color="white", linewidth=1.5, path_effects=outline, label="around 50% and 90% of the data"
    )


SCENE = Scene(_plane, _draw)
