"""What a trained run thinks of each transition of a data set: its value, its advantage, how far it is from the aim."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfo.algorithms import registry
from lfo.atomic import atomic_file
from lfo.datasets import LfoError, Transitions
from lfo.datasets.tables import require_polars
from lfo.errors import data_error
from lfo.reporting.figures import (
    BAND,
    BLUES,
    MUTED,
    ORANGES,
    REFERENCE,
    SMALL,
    TITLE,
    plain_axes,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SUFFIXES", "Scores", "check_suffix", "plot_episode", "score", "worst", "write_scores"]

Scores = Mapping[str, NDArray[Any]]
SUFFIXES = (".csv", ".parquet")
"""How the names of tables of scores end."""

_ROWS = 4096  # scored at a time
_DIMENSIONS = 4  # of the state, drawn
_APART = 0.05  # of an episode: two worst moments are further apart


def score(agent: Any, data: Transitions, *, name: str = "run") -> Scores:
    """Score every transition with the members that have not diverged.

    Args:
        agent: trained, with the methods ``values`` and ``aim``, as the algorithms whose ``Spec.portrait`` is set.
        data: of the states that it was trained on.
        name: of the run, for errors.

    Returns:
        Columns of N rows. ``episode``, ``step`` (from 0) and ``reward`` of the transition; ``q``, the value Q(s, s');
        ``advantage``, Q(s, s') − Q(s, τ(s)); ``distance`` of s' from τ(s), the root mean square over dimensions, in
        standard deviations of the steps s' − s that it was trained on (in raw units, if it does not standardise). These
        three are means over members; ``q_std``, ``advantage_std`` and ``distance_std`` are their standard deviations.

    Raises:
        LfoError: the algorithm has no values, every member has diverged, or the states have another size.
    """
    if not registry.spec(agent.name).portrait:
        fitting = " or ".join(name for name in registry.known() if registry.spec(name).portrait)
        raise LfoError(
            f"{name}: algo: expected one that learns values, found {agent.name}; pass a run of {fitting}"
        )
    if len(agent.stopped) == len(agent.seeds):
        raise LfoError(
            f"{name}: expected a member to score with, found that all have diverged; train it again"
        )
    if data.state_dim != agent.units.state_dim:
        raise data_error(
            data.metadata.source,
            "observations",
            expected=f"{agent.units.state_dim} dimensions, as {name} was trained on",
            found=f"{data.state_dim}",
            remedy="pass data of the same states",
        )
    kept = [m for m in range(len(agent.seeds)) if m not in agent.stopped]
    found = {name: np.empty((2, len(data)), np.float32) for name in ("q", "advantage", "distance")}
    for start in range(0, len(data), _ROWS):
        rows = np.s_[start : start + _ROWS]
        for name, values in _scored(agent, data.states[rows], data.next_states[rows]).items():
            mine = values[kept]
            found[name][0, rows] = mine.mean(dim=0).cpu().numpy()
            found[name][1, rows] = mine.std(dim=0, correction=0).cpu().numpy()
    episodes = data.episode_ids
    steps = np.arange(len(data)) - data.episode_starts[episodes]
    scores: dict[str, NDArray[Any]] = {"episode": episodes, "step": steps, "reward": data.rewards}
    for name, (mean, std) in found.items():
        scores |= {name: mean, f"{name}_std": std}
    return scores


@torch.no_grad()
def _scored(agent: Any, states: NDArray[np.float32], next_states: NDArray[np.float32]) -> dict[str, Tensor]:
    """Q, advantage and distance [M, B] of raw states [B, S]."""
    units, members = agent.units, len(agent.seeds)
    s, s2 = (
        torch.from_numpy(np.array(array)).to(units.device).expand(members, -1, -1)
        for array in (states, next_states)
    )
    aim, q = agent.aim(s), agent.values(s, s2)
    squares = units.deltas(aim, s2).square().sum(dim=-1)
    moving = units.moving.sum(dim=-1).clamp(min=1)
    return {"q": q, "advantage": q - agent.values(s, aim), "distance": (squares / moving).sqrt()}


def worst(scores: Scores, count: int, episode: int | None = None) -> NDArray[np.int64]:
    """The rows of the lowest advantages, the lowest first, not two of the same moment.

    Args:
        scores: from :func:`score`.
        count: how many, at most.
        episode: only rows of this one.
    """
    rows = np.arange(len(scores["advantage"]))
    if episode is not None:
        rows = np.flatnonzero(scores["episode"] == episode)
    lengths = np.bincount(scores["episode"])
    found: list[int] = []
    for row in rows[np.argsort(scores["advantage"][rows], kind="stable")]:
        apart = max(1, _APART * lengths[scores["episode"][row]])
        if all(scores["episode"][row] != scores["episode"][f] or abs(row - f) > apart for f in found):
            found.append(int(row))
        if len(found) == count:
            break
    return np.array(found, np.int64)


def check_suffix(path: Path) -> None:
    """Raise LfoError if a table of scores cannot have that name."""
    if path.suffix not in SUFFIXES:
        raise data_error(
            path,
            "name",
            expected=f"one that ends in {' or '.join(SUFFIXES)}",
            found=path.name,
            remedy="change it",
        )


def write_scores(scores: Scores, path: Path) -> None:
    """Write the columns as CSV or Parquet, by the ending of the name. Needs polars.

    Raises:
        LfoError: the name ends otherwise, or polars is not installed.
    """
    check_suffix(path)
    frame = require_polars("writing scores").DataFrame(dict(scores))
    with atomic_file(path) as file:
        (frame.write_csv if path.suffix == ".csv" else frame.write_parquet)(file)


def plot_episode(scores: Scores, data: Transitions, episode: int, path: Path, *, marks: int = 5) -> Path:
    """Draw one episode into a PNG: its scores, and its first states, with the worst moments marked.

    Args:
        scores: of the data.
        data: what was scored.
        episode: its index.
        path: of the PNG.
        marks: how many of the lowest advantages are marked.

    Raises:
        LfoError: there is no such episode.
    """
    from matplotlib.figure import Figure

    if not 0 <= episode < data.num_episodes:
        raise data_error(
            data.metadata.source,
            "episode",
            expected=f"0 to {data.num_episodes - 1}",
            found=f"{episode}",
            remedy="pass one of those",
        )
    start = int(data.episode_starts[episode])
    rows = np.arange(start, start + int(data.episode_lengths()[episode]))
    dt = float(data.metadata.attributes.get("dt", 1))
    marked = worst(scores, marks, episode)
    shown = min(data.state_dim, _DIMENSIONS)
    figure = Figure(figsize=(9, 1.5 * (3 + shown)), layout="constrained")
    axes: list[Axes] = list(figure.subplots(3 + shown, 1, sharex=True))
    labels = {"q": "Q(s, s')", "advantage": "advantage", "distance": "distance\nfrom τ(s)"}
    times = (rows - start) * dt
    for ax, (name, label) in zip(axes, labels.items(), strict=False):
        mean, std = (scores[key][rows].astype(np.float64) for key in (name, f"{name}_std"))
        ax.plot(times, mean, color=BLUES[0], linewidth=1.2)
        ax.fill_between(times, mean - std, mean + std, color=BLUES[0], **BAND)
        ax.plot((marked - start) * dt, scores[name][marked], "o", color=ORANGES[0], markersize=5)
        ax.set_ylabel(label)
    axes[1].axhline(0, **REFERENCE)
    for place, row in enumerate(marked, 1):
        axes[1].annotate(
            f"{place}",
            ((row - start) * dt, scores["advantage"][row]),
            (5, 3),
            textcoords="offset points",
            fontsize=SMALL,
        )
    for i, ax in enumerate(axes[3:]):
        ax.plot(times, data.states[rows, i], color=MUTED, linewidth=1.2)
        ax.set_ylabel(data.metadata.dimension(i, longest=20, between="\n"))
    for ax in axes:
        plain_axes(ax)
        for row in marked:
            ax.axvline((row - start) * dt, color=ORANGES[1], linewidth=1, alpha=0.6)
    axes[-1].set_xlabel("time" if "dt" in data.metadata.attributes else "step")
    figure.suptitle(
        f"{data.metadata.source}, episode {episode}: the {len(marked)} worst moments (lowest advantage first)",
        fontsize=TITLE,
    )
    return save_figure(figure, path)
