"""Reacher: the fingertip's position, with the arm at rest and the first start's target.

States are cos θ1, cos θ2, sin θ1, sin θ2, the target (m), ω1, ω2 (rad/s), and fingertip − target (m).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lfo.reporting.figures import INK, SMALL, plain_axes
from lfo.reporting.portraits.pieces import (
    GRID,
    START,
    WIDTH,
    Arrays,
    Learned,
    Scene,
    last_step,
    legend_below,
    legend_of_lines,
    lines,
    values_of,
)
from lfo.runs.folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINKS = (0.1, 0.11)
"""Lengths of the two links in m."""
ELBOW_LIMIT = 3.0
"""The angle in rad that the second joint can bend either way."""


def reacher_states(
    angles: NDArray[np.floating[Any]], target: NDArray[np.floating[Any]], state_dim: int = 10
) -> NDArray[np.float32]:
    """Observations of an arm at rest.

    Args:
        angles: [..., 2] rad, θ1 of the first link against the x axis and θ2 of the second link against the first.
        target: [2] in m.
        state_dim: 10, or 11 for versions up to v4, whose last number is a height difference of 0.

    Returns:
        [..., state_dim]; fingertip − target follows from the angles.
    """
    states = np.zeros((*angles.shape[:-1], state_dim), np.float32)
    states[..., 0:2], states[..., 2:4] = np.cos(angles), np.sin(angles)
    states[..., 4:6] = target
    states[..., 8:10] = fingertip(angles) - target
    return states


def fingertip(angles: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Position [..., 2] in m of the fingertip for joint angles [..., 2] in rad."""
    first, second = angles[..., 0], angles[..., 0] + angles[..., 1]
    x = LINKS[0] * np.cos(first) + LINKS[1] * np.cos(second)
    y = LINKS[0] * np.sin(first) + LINKS[1] * np.sin(second)
    return np.stack([x, y], axis=-1)


def elbow_angles(position: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """The two pairs of joint angles [2, ..., 2] that bring the fingertip to ``position`` [..., 2] (m).

    By the law of cosines, cos θ2 = (r² − l1² − l2²) / (2 l1 l2). NaN where the arm does not reach, or the elbow would
    bend beyond its limit.
    """
    x, y = position[..., 0], position[..., 1]
    cosine = (x**2 + y**2 - LINKS[0] ** 2 - LINKS[1] ** 2) / (2 * LINKS[0] * LINKS[1])
    bend = np.arccos(np.where(np.abs(cosine) <= 1, cosine, np.nan))
    bend = np.where(bend <= ELBOW_LIMIT, bend, np.nan)
    both = np.stack([bend, -bend])
    first = np.arctan2(y, x) - np.arctan2(LINKS[1] * np.sin(both), LINKS[0] + LINKS[1] * np.cos(both))
    return np.stack([first, both], axis=-1)


def _plane(agent: Learned, arrays: Arrays, run: RunFolder, member: int) -> Arrays:
    reach = sum(LINKS)
    side = np.linspace(-reach, reach, GRID)
    angles = elbow_angles(np.stack(np.meshgrid(side, side), axis=-1))
    possible = np.isfinite(angles).all(axis=-1)
    target = arrays["real"][0, 0, 4:6].astype(np.float64)
    states = reacher_states(angles[possible], target, arrays["real"].shape[-1])
    q = np.full(possible.shape, -np.inf, np.float32)
    q[possible] = values_of(agent, states)
    best = q.max(axis=0)  # the better of the two ways to bend the elbow
    return {"plane_x": side, "plane_y": side, "plane_q": np.where(np.isfinite(best), best, np.nan)}


def _fingertips(states: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Fingertip [..., 2] in m according to a state: target + (fingertip − target)."""
    return np.asarray(states[..., 4:6] + states[..., 8:10])


def _draw(arrays: Arrays) -> Figure:
    from matplotlib.figure import Figure

    starts = len(arrays["real"])
    figure = Figure(figsize=(WIDTH, 9.6), layout="constrained")
    grid = figure.add_gridspec(3, starts, height_ratios=[2.5, 1.2, 1])
    plane, distance = figure.add_subplot(grid[0, :]), figure.add_subplot(grid[1, :])
    image = plane.pcolormesh(
        arrays["plane_x"], arrays["plane_y"], arrays["plane_q"], cmap="viridis", shading="nearest"
    )
    figure.colorbar(image, ax=plane, label="Q(s, aim of the policy)")
    _path(plane, _fingertips(arrays["real"][0]))
    _target(plane, arrays, 0, 15)
    plane.set(title="value of the fingertip's position (arm at rest, start 1's target)", aspect="equal")
    ticks = [-0.2, -0.1, 0, 0.1, 0.2]
    plane.set(xlabel="x (m)", ylabel="y (m)", xticks=ticks, yticks=ticks)
    legend_below(plane, 0.13)
    for name, style in lines(arrays):
        metres = np.linalg.norm(arrays[name][:, :, 8:10], axis=-1)
        distance.plot(metres[1:].T, **{**style, "linewidth": 0.8}, alpha=0.55)
        distance.plot(metres[0], **style)
    distance.set(title="imagined and real, from the same starts (start 1 thick)", xlabel="step")
    for ax in (plane, distance):
        ax.title.set_fontsize(10)
    distance.set(ylabel="fingertip to target (m)", xlim=(0, last_step(arrays)), ylim=(0, 2 * sum(LINKS)))
    plain_axes(distance)
    reach = 1.15 * sum(LINKS)
    for start in range(starts):
        ax = figure.add_subplot(grid[2, start])
        for name, style in lines(arrays):
            ax.plot(*_fingertips(arrays[name][start]).T, **style)
        _target(ax, arrays, start, 10)
        ax.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
        ax.set_title(f"path {start + 1}", fontsize=SMALL)
    legend_of_lines(figure, arrays)
    return figure


def _path(ax: Axes, points: NDArray[np.floating[Any]]) -> None:
    """The real path over a picture: outlined, with a dot at its start."""
    from matplotlib.patheffects import withStroke

    outline = [withStroke(linewidth=2.6, foreground="white")]
    ax.plot(*points.T, label="real path", color=INK, linewidth=1.3, path_effects=outline)
    ax.plot(*points[0], **START)


def _target(ax: Axes, arrays: Arrays, start: int, size: float) -> None:
    place = arrays["real"][start, 0, 4:6]
    style: dict[str, Any] = {"color": "white", "markeredgecolor": "black", "linestyle": ""}
    ax.plot(*place, marker="*", markersize=size, label="target", **style)


SCENE = Scene(_plane, _draw)
