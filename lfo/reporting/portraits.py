"""A picture of what D3G learned: its values over a plane of states, and what it imagines against what happens.

*Values* are Q(s, τ(s)), the lesser of the two critics' for the next state that the policy aims for. *Imagined*
is a trajectory that no environment had a part in: s ← C(s, τ(s)) again and again from a reset state, or s ← the
aim of the policy (:meth:`lfo.algorithms.d3g.D3G.aim`). *Real* is what the environment does from the same reset when the
policy acts through its inverse dynamics. Starts are those of :func:`lfo.acting.evaluation.starts`, seed and stream 0.

The plane is (angle, angular velocity) for InvertedPendulum, with the pole over a resting cart in the middle of
its rail, and the fingertip's position for Reacher, with a resting arm and the first start's target. Other
environments have no plane; each dimension of the state is drawn against the steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfo.acting.rounds import act, require_fit
from lfo.algorithms import registry
from lfo.algorithms.d3g import D3G
from lfo.atomic import atomic_file
from lfo.datasets import LfoError
from lfo.envs.make import action_bounds, make_envs
from lfo.envs.rollout import starts
from lfo.reporting.figures import plain_axes, save_figure
from lfo.runs.folder import RunFolder
from lfo.runs.loading import load_agent, load_data

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Arrays", "draw", "portrait", "save", "typical_member"]

Arrays = dict[str, NDArray[Any]]

EPISODES = 4
"""Real and imagined trajectories in a portrait."""
STEPS = 200
"""Steps that are imagined, and kept of what really happened."""
GRID = 81
"""Points along each side of the plane."""
LINKS = (0.1, 0.11)
"""Lengths of Reacher's two links in m."""
ELBOW_LIMIT = 3.0
"""The angle in rad that Reacher's second joint can bend either way."""
FALLEN = 0.2
"""The angle in rad at which InvertedPendulum ends an episode."""


def portrait(run: RunFolder, env_id: str, member: int = 0) -> Arrays:
    """Measure what one member of a D3G run learned. Takes seconds.

    Args:
        run: trained, and with an inverse dynamics.
        env_id: where to act.
        member: which, from 0.

    Returns:
        ``env`` [] text; ``member``, ``seed`` [] int64; ``returns`` [E] float64 and ``lengths`` [E] int64 of the
        whole real episodes; ``real``, ``cycle``, ``aim`` [E, T + 1, S] float32, the trajectories in raw units,
        NaN after a real one's end; and where the environment has a plane ``plane_x`` [X], ``plane_y`` [Y] and
        ``plane_q`` [Y, X], NaN where no state is; for InvertedPendulum, if the run's data can be read,
        ``density`` [Y, X] int64, how many of its states are nearest to each point.

    Raises:
        LfoError: no run of D3G, no such member, no inverse dynamics yet, or the environment does not fit.
    """
    agent = load_agent(run, "cpu")
    if not registry.spec(agent.name).portrait:
        raise LfoError(
            f"{run.path}: a portrait shows D3G's Q and τ, found a run of {agent.name}; pass a run of d3g"
        )
    if not 0 <= member < len(agent.seeds):
        raise LfoError(
            f"{run.path}: member: expected 0 to {len(agent.seeds) - 1}, found {member}; pass one of those"
        )
    if agent.inverse is None:
        raise LfoError(
            f"{run.path}: expected a run that can act, found no inverse dynamics; "
            f"run `d3g-lfo interact {run.path}` first"
        )
    require_fit(agent, env_id)
    alone = agent.member(member)
    arrays = _real(alone, env_id)
    starts = torch.from_numpy(arrays["real"][:, 0])[None]
    steps = arrays["real"].shape[1] - 1
    arrays["cycle"] = _imagined(alone.imagine, starts, steps)
    arrays["aim"] = _imagined(alone.aim, starts, steps)
    scene = SCENES.get(_family(env_id))
    if scene is not None:
        arrays |= scene.plane(alone, arrays, run, member)
    return {
        "env": np.array(env_id),
        "member": np.array(member),
        "seed": np.array(agent.seeds[member]),
        **arrays,
    }


def draw(arrays: Arrays, path: str | Path, *, dpi: int = 130) -> Path:
    """Draw a portrait as a PNG, which appears when it is complete and replaces what is there.

    Args:
        arrays: from :func:`portrait`.
        path: of the file.
        dpi: dots an inch; the picture is 10 inches wide.
    """
    env = str(arrays["env"])
    scene = SCENES.get(_family(env))
    figure = (_draw_dimensions if scene is None else scene.draw)(arrays)
    mean, length = arrays["returns"].mean(), arrays["lengths"].mean()
    figure.suptitle(
        f"{env}, seed {int(arrays['seed'])}: return {mean:,.1f} in {length:,.0f} steps, "
        f"mean of {len(arrays['returns'])} episodes",
        fontsize=11,
    )
    return save_figure(figure, Path(path), dpi=dpi)


def save(run: RunFolder, env_id: str, member: int | None = None) -> list[Path]:
    """Make a portrait and leave it in the run's folder.

    Args:
        run: a run of D3G that can act.
        env_id: where to act.
        member: by default :func:`typical_member`.

    Returns:
        The paths of ``portrait.npz`` and ``portrait.png``.

    Raises:
        LfoError: see :func:`portrait`.
    """
    arrays = portrait(run, env_id, typical_member(run) if member is None else member)
    path = run.path / "portrait.npz"
    with atomic_file(path) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    return [path, draw(arrays, run.path / "portrait.png")]


def typical_member(run: RunFolder) -> int:
    """The member whose last round's mean return is the (lower) median: neither the best nor the worst."""
    rows = run.rows("evaluations.csv")
    last = max((int(row["round"]) for row in rows), default=0)
    returns: dict[int, list[float]] = {}
    for row in rows:
        if int(row["round"]) == last:
            returns.setdefault(int(row["member"]), []).append(float(row["return"]))
    ranked = sorted(returns, key=lambda member: (np.mean(returns[member]), member))
    return ranked[(len(ranked) - 1) // 2] if ranked else 0


# --- measuring -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    """What is particular to one environment's portrait."""

    plane: Callable[[D3G, Arrays, RunFolder, int], Arrays]
    """(agent of one member, arrays so far, run, member) → the plane's arrays."""
    draw: Callable[[Arrays], Figure]


def _family(env_id: str) -> str:
    return env_id.rpartition("-v")[0].rpartition(":")[2] or env_id


def _real(agent: D3G, env_id: str) -> Arrays:
    """What the policy does, E episodes to their end; the first T steps are kept."""
    envs = make_envs(env_id, EPISODES)
    low, high = action_bounds(envs[0])
    limit = (envs[0].spec.max_episode_steps if envs[0].spec else None) or 1000
    kept = min(STEPS, limit)
    seeds = starts(0, 0, EPISODES)
    states = np.stack([env.reset(seed=int(seed))[0] for env, seed in zip(envs, seeds, strict=True)]).astype(
        np.float32
    )
    real = np.full((EPISODES, kept + 1, states.shape[1]), np.nan, np.float32)
    real[:, 0] = states
    returns, lengths = np.zeros(EPISODES), np.zeros(EPISODES, np.int64)
    alive = list(range(EPISODES))
    for t in range(1, limit + 1):
        actions = np.clip(act(agent, states[None])[0], low, high)
        for e in list(alive):
            states[e], reward, terminated, truncated, _ = envs[e].step(actions[e])
            returns[e] += float(reward)
            lengths[e] = t
            if t <= kept:
                real[e, t] = states[e]
            if terminated or truncated:
                alive.remove(e)
        if not alive:
            break
    for env in envs:
        env.close()
    return {"returns": returns, "lengths": lengths, "real": real}


def _imagined(step: Callable[[Tensor], Tensor], starts: Tensor, steps: int) -> NDArray[np.float32]:
    """Iterate a map of states from ``starts`` [1, E, S]: [E, T + 1, S], NaN once it is no longer finite."""
    states = [starts]
    for _ in range(steps):
        states.append(step(states[-1]))
    imagined: NDArray[np.float32] = torch.cat(states).transpose(0, 1).numpy().copy()
    imagined[~np.isfinite(imagined)] = np.nan
    return imagined


def _values(agent: D3G, states: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """min_i Q_θi(s, aim(s)) [n] of raw states [n, S]."""
    raw = torch.from_numpy(np.asarray(states, np.float32))[None]
    parts = [agent.values(part, agent.aim(part))[0] for part in torch.split(raw, 1024, dim=1)]
    values: NDArray[np.float32] = torch.cat(parts).numpy()
    return values


# --- InvertedPendulum: states are x (m), θ (rad), ẋ (m/s), θ̇ (rad/s) ---------------------------------------------


def _pendulum_plane(agent: D3G, arrays: Arrays, run: RunFolder, member: int) -> Arrays:
    reach = 2.5 * float(agent.units.std[0, 0, 3])
    angle, speed = np.linspace(-FALLEN, FALLEN, GRID), np.linspace(-reach, reach, GRID)
    states = np.zeros((GRID, GRID, 4), np.float32)
    states[..., 1], states[..., 3] = np.meshgrid(angle, speed)
    plane: Arrays = {
        "plane_x": angle,
        "plane_y": speed,
        "plane_q": _values(agent, states.reshape(-1, 4)).reshape(GRID, GRID),
    }
    try:
        data = load_data(run)[int(run.info()["members"][member]["dataset"])]
    except LfoError:
        return plane  # the run's data may be elsewhere by now; the rest is worth seeing without
    edges = [_edges(speed), _edges(angle)]
    count = np.histogram2d(data.states[:, 3], data.states[:, 1], bins=edges)[0]
    return {**plane, "density": count.astype(np.int64)}


def _edges(centres: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    half = (centres[1] - centres[0]) / 2
    return np.append(centres - half, centres[-1] + half)


def _draw_pendulum(arrays: Arrays) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=[1.05, 1])
    plane, angle, cart = (figure.add_subplot(grid[part]) for part in (np.s_[:, 0], np.s_[0, 1], np.s_[1, 1]))
    image = plane.pcolormesh(
        arrays["plane_x"], arrays["plane_y"], arrays["plane_q"], cmap="viridis", shading="nearest"
    )
    figure.colorbar(image, ax=plane, label="Q(s, aim of the policy)", shrink=0.85)
    if "density" in arrays:
        _contours(plane, arrays)
    visited = arrays["real"][0][:, [1, 3]]  # as dots: the pole swings from side to side every few steps
    plane.plot(
        *visited.T, ".", color="#222222", markersize=4, label=f"really visited in {_steps(arrays)} steps"
    )
    plane.plot(*visited[0], **_START)
    plane.set(
        title="value of angle and angular velocity (x = ẋ = 0)",
        xlabel="angle θ (rad)",
        ylabel="angular velocity (rad/s)",
        xlim=arrays["plane_x"][[0, -1]],
        ylim=arrays["plane_y"][[0, -1]],
        xticks=np.linspace(-FALLEN, FALLEN, 5),
    )
    _legend(plane, loc="upper right")
    _against_steps(angle, arrays, 1, "angle θ (rad)")
    for side in (-FALLEN, FALLEN):
        angle.axhline(side, color="#8a8a8a", linewidth=0.9, linestyle=":")
    angle.set_ylim(-1.15 * FALLEN, 1.15 * FALLEN)
    angle.set_title("imagined and real, from the same start")
    angle.set_xlabel("")
    _against_steps(cart, arrays, 0, "position x (m)")
    _legend(angle, loc="upper right")
    return figure


def _contours(ax: Axes, arrays: Arrays) -> None:
    """Where nine tenths and where half of the data lie."""
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
    ax.plot([], [], color="white", linewidth=1.5, path_effects=outline, label="around 50%, 90% of the data")


# --- Reacher: cos θ1, cos θ2, sin θ1, sin θ2, target (m), ω1, ω2 (rad/s), fingertip − target (m) ------------------------


def reacher_states(
    angles: NDArray[np.floating[Any]], target: NDArray[np.floating[Any]], state_dim: int = 10
) -> NDArray[np.float32]:
    """Observations of a resting Reacher.

    Args:
        angles: [..., 2], θ1 of the first link against the x axis and θ2 of the second against the first, rad.
        target: [2] in m.
        state_dim: 10, or 11 for versions up to v4, whose last is a height difference, 0.

    Returns:
        [..., state_dim], consistent: fingertip − target is that of the angles.
    """
    states = np.zeros((*angles.shape[:-1], state_dim), np.float32)
    states[..., 0:2], states[..., 2:4] = np.cos(angles), np.sin(angles)
    states[..., 4:6] = target
    states[..., 8:10] = fingertip(angles) - target
    return states


def fingertip(angles: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Position [..., 2] in m of Reacher's fingertip for its joint angles [..., 2]."""
    first, second = angles[..., 0], angles[..., 0] + angles[..., 1]
    x = LINKS[0] * np.cos(first) + LINKS[1] * np.cos(second)
    y = LINKS[0] * np.sin(first) + LINKS[1] * np.sin(second)
    return np.stack([x, y], axis=-1)


def elbow_angles(position: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """The two pairs of joint angles [2, ..., 2] that bring the fingertip to ``position`` [..., 2] (m).

    By the law of cosines, cos θ2 = (r² − l1² − l2²) / (2 l1 l2); NaN where the arm does not reach or the elbow
    would bend beyond its limit.
    """
    x, y = position[..., 0], position[..., 1]
    cosine = (x**2 + y**2 - LINKS[0] ** 2 - LINKS[1] ** 2) / (2 * LINKS[0] * LINKS[1])
    bend = np.arccos(np.where(np.abs(cosine) <= 1, cosine, np.nan))
    bend = np.where(bend <= ELBOW_LIMIT, bend, np.nan)
    both = np.stack([bend, -bend])
    first = np.arctan2(y, x) - np.arctan2(LINKS[1] * np.sin(both), LINKS[0] + LINKS[1] * np.cos(both))
    return np.stack([first, both], axis=-1)


def _reacher_plane(agent: D3G, arrays: Arrays, run: RunFolder, member: int) -> Arrays:
    reach = sum(LINKS)
    side = np.linspace(-reach, reach, GRID)
    angles = elbow_angles(np.stack(np.meshgrid(side, side), axis=-1))
    possible = np.isfinite(angles).all(axis=-1)
    target = arrays["real"][0, 0, 4:6].astype(np.float64)
    states = reacher_states(angles[possible], target, arrays["real"].shape[-1])
    q = np.full(possible.shape, -np.inf, np.float32)
    q[possible] = _values(agent, states)
    best = q.max(axis=0)  # the better of the two ways to bend the elbow
    return {"plane_x": side, "plane_y": side, "plane_q": np.where(np.isfinite(best), best, np.nan)}


def _fingertips(states: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Fingertip [..., 2] in m as a state says: target + (fingertip − target)."""
    return np.asarray(states[..., 4:6] + states[..., 8:10])


def _draw_reacher(arrays: Arrays) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    upper, lower = np.ravel(figure.subfigures(2, 1, squeeze=False, height_ratios=[1.75, 1]))
    plane, distance = upper.subplots(1, 2)
    image = plane.pcolormesh(
        arrays["plane_x"], arrays["plane_y"], arrays["plane_q"], cmap="viridis", shading="nearest"
    )
    upper.colorbar(image, ax=plane, label="Q(s, aim of the policy)", shrink=0.85)
    _path(plane, _fingertips(arrays["real"][0]), "really taken")
    _target(plane, arrays, 0, 15)
    plane.set(title="value of the fingertip's position\n(arm at rest, start 1's target)", aspect="equal")
    plane.set(xlabel="x (m)", ylabel="y (m)")
    plane.legend(loc="upper left", bbox_to_anchor=(0, -0.14), ncols=2, fontsize=8, frameon=False)
    for name, style in _lines(arrays):
        metres = np.linalg.norm(arrays[name][:, :, 8:10], axis=-1)
        distance.plot(metres[1:].T, **{**style, "linewidth": 0.8}, alpha=0.55)
        distance.plot(metres[0], label=_NAMES[name], **style)
    distance.set(title="imagined and real, from the same starts\n(start 1 thick)", xlabel="step")
    distance.set(ylabel="fingertip to target (m)", xlim=(0, _steps(arrays)), ylim=(0, 2 * sum(LINKS)))
    plain_axes(distance)
    _legend(distance, loc="upper right")
    for start, ax in enumerate(lower.subplots(1, len(arrays["real"]), squeeze=False)[0]):
        for name, style in _lines(arrays):
            ax.plot(*_fingertips(arrays[name][start]).T, **style)
        _target(ax, arrays, start, 11)
        reach = 1.15 * sum(LINKS)
        ax.set(title=f"start {start + 1}: paths", aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach))
        ax.set(xlabel="x (m)", ylabel="y (m)" if start == 0 else "")
        plain_axes(ax)
    return figure


def _target(ax: Axes, arrays: Arrays, start: int, size: float) -> None:
    place = arrays["real"][start, 0, 4:6]
    ax.plot(*place, "*", color="white", markeredgecolor="black", markersize=size, label="target")


# --- any other environment ---------------------------------------------------------------------------------------


def _draw_dimensions(arrays: Arrays) -> Figure:
    from matplotlib.figure import Figure

    dims = min(arrays["real"].shape[-1], 12)
    columns = min(dims, 3)
    rows = -(-dims // columns)
    figure = Figure(figsize=(10, 1 + 2.1 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for dim, ax in enumerate(axes[:dims]):
        _against_steps(ax, arrays, dim, f"state dimension {dim}")
        ax.set_xlabel("step" if dim >= dims - columns else "")
    for ax in axes[dims:]:
        ax.set_axis_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


# --- pieces ------------------------------------------------------------------------------------------------------

_LINES: dict[str, dict[str, Any]] = {
    "real": {"color": "#222222", "linestyle": "-", "linewidth": 1.8},
    "cycle": {"color": "#1f5fa8", "linestyle": (0, (4, 2)), "linewidth": 1.6},
    "aim": {"color": "#d9661f", "linestyle": (0, (1, 1.2)), "linewidth": 1.8},
}
_NAMES = {"real": "real", "cycle": "imagined by C(s, τ(s))", "aim": "imagined by the policy's aim"}


def _lines(arrays: Arrays) -> list[tuple[str, dict[str, Any]]]:
    """What is drawn, and how; one line for both imaginations where the policy aims for C(s, τ(s))."""
    same = np.allclose(arrays["aim"][:, 1], arrays["cycle"][:, 1], rtol=1e-4, atol=1e-5)
    return [(name, style) for name, style in _LINES.items() if not (same and name == "aim")]


def _against_steps(ax: Axes, arrays: Arrays, dim: int, label: str) -> None:
    for name, style in _lines(arrays):
        ax.plot(arrays[name][0, :, dim], label=_NAMES[name], **style)
    ax.set(xlabel="step", ylabel=label)
    ax.set_xlim(0, _steps(arrays))
    ax.set_ylim(*_limits(arrays, dim))
    plain_axes(ax)


def _steps(arrays: Arrays) -> int:
    return int(arrays["real"].shape[1]) - 1


_START: dict[str, Any] = {"color": "#222222", "marker": "o", "markeredgecolor": "white", "markersize": 6}


def _path(ax: Axes, points: NDArray[np.floating[Any]], label: str) -> None:
    """What really happened, over a picture: outlined, its start a dot."""
    from matplotlib.patheffects import withStroke

    outline = [withStroke(linewidth=2.6, foreground="white")]
    style = {**_LINES["real"], "linewidth": 1.3}
    ax.plot(*points.T, label=label, path_effects=outline, **style)
    ax.plot(*points[0], **_START)


def _legend(ax: Axes, loc: Literal["upper left", "upper right"]) -> None:
    ax.legend(loc=loc, fontsize=8, frameon=True, framealpha=0.85, edgecolor="none")


def _limits(arrays: Arrays, dim: int) -> tuple[float, float]:
    """Room for all of the first start's trajectories; a wild imagination may leave the picture."""
    real, *imagined = (arrays[name][0, :, dim] for name in _LINES)
    low, high = np.nanmin(real), np.nanmax(real)
    width = max(high - low, 1e-3)
    for values in imagined:
        low = min(low, max(np.nanmin(values), low - 4 * width))
        high = max(high, min(np.nanmax(values), high + 4 * width))
    room = max(0.06 * (high - low), 1e-2 * max(abs(low), abs(high)), 1e-4)
    return float(low - room), float(high + room)


SCENES = {
    "InvertedPendulum": Scene(_pendulum_plane, _draw_pendulum),
    "Reacher": Scene(_reacher_plane, _draw_reacher),
}
