"""Runs side by side: what each algorithm scores, after how many interactions, next to the data's own policy.

A *score* is a member's mean return over the evaluation episodes of a round. The final score is that of the
last round. The best of all rounds is shown beside it because papers print it; a maximum over noisy
measurements is optimistic, so it is labelled as what it is.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lfo.atomic import atomic_file, write_whole
from lfo.datasets import LfoError
from lfo.reporting.figures import NAMES, plain_axes
from lfo.runs.folder import RunFolder

__all__ = [
    "FILES",
    "Behaviour",
    "Comparison",
    "Curve",
    "check_free",
    "compare",
    "plot",
    "rounded",
    "spread",
    "table",
    "to_csv",
    "to_json",
    "to_markdown",
    "whole_range",
    "write",
]

FILES = ("report.md", "report.csv", "report.png")
"""What :func:`write` leaves in its folder."""
FOOTNOTE = (
    "final: mean return over the evaluation episodes of the last round, mean ± standard deviation over seeds. "
    "best: each seed's best round instead, a maximum over rounds and therefore optimistic. "
    "interactions: environment steps that each seed spent. "
    "π_o: the policy that the data was recorded from, mean ± standard deviation over its episodes."
)


@dataclass(frozen=True)
class Curve:
    """The scores of M members of one algorithm with one set of settings, on one kind of data, over R rounds."""

    label: str
    """What the table and the plot call it."""
    algo: str
    runs: tuple[str, ...]
    """The folders the members come from."""
    seeds: tuple[int, ...]
    """[M]"""
    interactions: np.ndarray
    """[M, R] int64 environment steps before each evaluation; 0 where a member has no such round."""
    scores: np.ndarray
    """[M, R] float64 mean returns; NaN where a member has no such round."""

    @property
    def final(self) -> np.ndarray:
        """[M] each member's score of its last round."""
        last = np.isfinite(self.scores).sum(axis=1) - 1
        return np.asarray(self.scores[np.arange(len(last)), last])

    @property
    def best(self) -> np.ndarray:
        """[M] each member's best round: optimistic."""
        return np.asarray(np.nanmax(self.scores, axis=1))

    @property
    def spent(self) -> np.ndarray:
        """[M] environment steps of each member."""
        return np.asarray(self.interactions.max(axis=1))


@dataclass(frozen=True)
class Behaviour:
    """π_o, measured on the episodes of its own data."""

    mean: float
    std: float
    episodes: int


@dataclass(frozen=True)
class Comparison:
    """The algorithms on one environment and one kind of data."""

    env: str
    random_frac: float | None
    """Fraction of random actions in the data; None where it is not recorded."""
    data: str
    """The data in words."""
    behaviour: Behaviour
    curves: tuple[Curve, ...]

    @property
    def title(self) -> str:
        """Environment and data."""
        return f"{self.env}, {self.data}"


@dataclass(frozen=True)
class _Part:
    """The members of one run that share a data set."""

    run: RunFolder
    info: dict[str, Any]
    record: dict[str, Any]
    seeds: tuple[int, ...]
    interactions: np.ndarray
    scores: np.ndarray

    @property
    def data_key(self) -> tuple[Any, ...]:
        """Which comparison it belongs to: noise level where that is known, else the very file."""
        fraction = self.record["random_frac"]
        what = self.record["sha256"] if fraction is None else (self.record["policy"], fraction)
        return (_env(self.info), what)

    @property
    def settings(self) -> str:
        """What runs must share to be counted as more seeds of the same."""
        keys = ("algo", "config", "steps", "interact")
        return repr([self.info.get(key) for key in keys])


def compare(runs: Sequence[RunFolder]) -> list[Comparison]:
    """Group the members of runs by environment, data and algorithm.

    Runs with the same settings on the same data with different seeds are pooled; other runs of one algorithm
    stay apart and are labelled with their folder. Data sets count as the same kind where policy and
    random_frac are recorded and equal, else where they are the same file.

    Raises:
        LfoError: a folder is no run, or has no evaluations yet.
    """
    unique: dict[Path, RunFolder] = {}
    for run in runs:
        unique.setdefault(run.path.resolve(), run)
    groups: dict[tuple[Any, ...], list[_Part]] = {}
    for run in unique.values():
        for part in _parts(run):
            groups.setdefault(part.data_key, []).append(part)
    return [_comparison(parts) for parts in groups.values()]


def _env(info: dict[str, Any]) -> str:
    return str(info.get("interact", {}).get("env") or info.get("env") or "unknown environment")


def _parts(run: RunFolder) -> list[_Part]:
    info, rows = run.info(), run.rows("evaluations.csv")
    if not rows:
        raise LfoError(
            f"{run.path}: expected evaluations, found none; run `d3g-lfo interact {run.path}` first"
        )
    try:
        values = np.array(
            [[float(row[key]) for key in ("member", "round", "interactions", "return")] for row in rows]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LfoError(
            f"{run.path / 'evaluations.csv'}: expected columns of numbers member, round, interactions, return, "
            f"found something else ({error}); start the stage again with `d3g-lfo interact {run.path} --overwrite`"
        ) from error
    count, rounds = len(info["members"]), int(values[:, 1].max())
    index = (values[:, 0].astype(int), values[:, 1].astype(int) - 1)
    sums, episodes = np.zeros((count, rounds)), np.zeros((count, rounds))
    interactions = np.zeros((count, rounds), dtype=np.int64)
    np.add.at(sums, index, values[:, 3])
    np.add.at(episodes, index, 1)
    interactions[index] = values[:, 2].astype(np.int64)
    scores = np.divide(sums, episodes, out=np.full_like(sums, np.nan), where=episodes > 0)
    parts = []
    for number, record in enumerate(info["datasets"]):
        mine = [m for m, member in enumerate(info["members"]) if member["dataset"] == number]
        if mine:
            seeds = tuple(int(info["members"][m]["seed"]) for m in mine)
            parts.append(_Part(run, info, record, seeds, interactions[mine], scores[mine]))
    return parts


def _comparison(parts: Sequence[_Part]) -> Comparison:
    first = parts[0]
    pools: list[list[_Part]] = []
    for part in parts:
        pool = next((pool for pool in pools if _same(pool, part)), None)
        if pool is None:
            pools.append([part])
        else:
            pool.append(part)
    order = list(NAMES)
    pools.sort(key=lambda pool: order.index(algo) if (algo := pool[0].info["algo"]) in order else len(order))
    alone = [pool[0].info["algo"] for pool in pools]
    curves = [_curve(pool, alone.count(pool[0].info["algo"]) == 1) for pool in pools]
    fraction = first.record["random_frac"]
    data = Path(first.record["source"]).name if fraction is None else f"random_frac {fraction:g}"
    if fraction is not None and fraction < 1 and first.record["policy"]:
        data = f"{Path(first.record['policy']).name}, {data}"
    return Comparison(_env(first.info), fraction, data, _behaviour(parts), tuple(curves))


def _same(pool: Sequence[_Part], part: _Part) -> bool:
    taken = {(other.record["sha256"], seed) for other in pool for seed in other.seeds}
    again = any((part.record["sha256"], seed) in taken for seed in part.seeds)
    return pool[0].settings == part.settings and not again


def _curve(pool: Sequence[_Part], alone: bool) -> Curve:
    rounds = max(part.scores.shape[1] for part in pool)

    def widen(array: np.ndarray, fill: float) -> np.ndarray:
        return np.pad(array, ((0, 0), (0, rounds - array.shape[1])), constant_values=fill)

    algo = pool[0].info["algo"]
    name = NAMES.get(algo, algo)
    return Curve(
        label=name if alone else f"{name} ({pool[0].run.path.name})",
        algo=algo,
        runs=tuple(dict.fromkeys(str(part.run.path) for part in pool)),
        seeds=tuple(seed for part in pool for seed in part.seeds),
        interactions=np.concatenate([widen(part.interactions, 0) for part in pool]),
        scores=np.concatenate([widen(part.scores, np.nan) for part in pool]),
    )


def _behaviour(parts: Sequence[_Part]) -> Behaviour:
    """Mean and standard deviation over the episodes of all the data sets, each counted once."""
    records = list({part.record["sha256"] or part.record["source"]: part.record for part in parts}.values())
    count = np.array([record["episodes"] for record in records], dtype=np.float64)
    mean = np.array([record["return_mean"] for record in records])
    std = np.array([record["return_std"] for record in records])
    total = float((count * mean).sum() / count.sum())
    variance = float((count * (std**2 + (mean - total) ** 2)).sum() / count.sum())
    return Behaviour(total, variance**0.5, int(count.sum()))


# --- as text ---------------------------------------------------------------------------------------------------

_HEAD = ("policy", "seeds", "interactions", "final", "best of rounds")


def _rows(comparison: Comparison) -> list[tuple[str, ...]]:
    rows = []
    for curve in comparison.curves:
        spent = whole_range(curve.spent)
        rows.append((curve.label, str(len(curve.seeds)), spent, spread(curve.final), spread(curve.best)))
    behaviour = comparison.behaviour
    return [*rows, ("π_o", "", "", _both(behaviour.mean, behaviour.std), "")]


def spread(scores: np.ndarray) -> str:
    """Mean ± standard deviation."""
    return _both(float(scores.mean()), float(scores.std()))


def _both(mean: float, std: float) -> str:
    places = 1 if max(abs(mean), std) >= 100 else 2
    return f"{mean:.{places}f} ± {std:.{places}f}"


def rounded(value: float) -> str:
    """To two places, a large one to one."""
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}"


def whole_range(values: np.ndarray) -> str:
    """``1,000``, or ``900 to 1,000`` where whole numbers differ."""
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def table(comparisons: Sequence[Comparison]) -> str:
    """For the terminal."""
    lines: list[str] = []
    for comparison in comparisons:
        rows = [_HEAD, *_rows(comparison)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
        lines += [comparison.title, ""]
        for number, row in enumerate(rows):
            cells = [
                row[0].ljust(widths[0]),
                *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)),
            ]
            lines.append("  " + "   ".join(cells).rstrip())
            if number == 0:
                lines.append("  " + "   ".join("-" * width for width in widths))
        lines.append("")
    return "\n".join([*lines, *(f"{note}." for note in FOOTNOTE.rstrip(".").split(". "))])


def to_markdown(comparisons: Sequence[Comparison]) -> str:
    """A section and a table for each comparison, then the plot's picture and what the columns mean."""
    lines = ["# Comparison", ""]
    for comparison in comparisons:
        lines += [f"## {comparison.title}", "", "| " + " | ".join(_HEAD) + " |", "|---|--:|--:|--:|--:|"]
        lines += ["| " + " | ".join(row) + " |" for row in _rows(comparison)]
        lines.append("")
    runs = [run for comparison in comparisons for curve in comparison.curves for run in curve.runs]
    lines += ["![Return against interactions](report.png)", ""]
    lines += [f"- {note}." for note in FOOTNOTE.rstrip(".").split(". ")]
    lines += ["", "Runs: " + ", ".join(f"`{run}`" for run in dict.fromkeys(runs)), ""]
    return "\n".join(lines)


def to_json(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Everything as plain numbers, each round of each member too."""
    return {
        "comparisons": [
            {
                "env": comparison.env,
                "random_frac": comparison.random_frac,
                "data": comparison.data,
                "behaviour": {
                    "return_mean": comparison.behaviour.mean,
                    "return_std": comparison.behaviour.std,
                    "episodes": comparison.behaviour.episodes,
                },
                "policies": [_curve_json(curve) for curve in comparison.curves],
            }
            for comparison in comparisons
        ]
    }


def _curve_json(curve: Curve) -> dict[str, Any]:
    done = np.isfinite(curve.scores)
    return {
        "label": curve.label,
        "algo": curve.algo,
        "runs": list(curve.runs),
        "interactions": int(curve.spent.max()),
        "final_mean": float(curve.final.mean()),
        "final_std": float(curve.final.std()),
        "best_of_rounds_mean": float(curve.best.mean()),
        "best_of_rounds_std": float(curve.best.std()),
        "members": [
            {
                "seed": seed,
                "final": float(curve.final[m]),
                "best_of_rounds": float(curve.best[m]),
                "interactions": curve.interactions[m, done[m]].tolist(),
                "returns": curve.scores[m, done[m]].tolist(),
            }
            for m, seed in enumerate(curve.seeds)
        ],
    }


def to_csv(comparisons: Sequence[Comparison]) -> str:
    """The table as CSV, a line a policy; π_o, called ``behaviour``, has neither seeds nor interactions."""
    columns = ["env", "data", "random_frac", "policy", "seeds", "interactions", "final_mean", "final_std"]
    columns += ["best_of_rounds_mean", "best_of_rounds_std", "runs"]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for one in comparisons:
        kind = {"env": one.env, "data": one.data, "random_frac": one.random_frac}
        for curve in one.curves:
            row = {"policy": curve.label, "seeds": len(curve.seeds)}
            writer.writerow({**kind, **_curve_json(curve), **row, "runs": " ".join(curve.runs)})
        mean, std = one.behaviour.mean, one.behaviour.std
        writer.writerow({**kind, "policy": "behaviour", "final_mean": mean, "final_std": std})
    return text.getvalue()


# --- as a picture ----------------------------------------------------------------------------------------------

_COLOURS = {"d3g": ["#1f5fa8", "#5aa0e0", "#0b3057"], "bco": ["#d9661f", "#f0a35e", "#8a3d0b"]}
_GREY = ["#4d7d3a", "#8a5aa8", "#a83a5a", "#666666"]


def plot(comparisons: Sequence[Comparison], path: str | Path, *, dpi: int = 150) -> Path:
    """Draw return against interactions as a PNG, a panel for each comparison.

    The thick line is the mean over seeds with a band of one standard deviation, cut where no seed is; thin
    lines are the seeds; the dashed line is π_o.

    Args:
        comparisons: from :func:`compare`.
        path: of the file, which appears when it is complete and replaces what is there.
        dpi: dots an inch; a panel is 6 × 3.8 inches.
    """
    from matplotlib.figure import Figure

    columns = min(len(comparisons), 3)
    rows = -(-len(comparisons) // columns)
    figure = Figure(figsize=(6 * columns, 3.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for comparison, ax in zip(comparisons, axes, strict=False):
        _panel(ax, comparison)
    for ax in axes[len(comparisons) :]:
        ax.set_axis_off()
    path = Path(path)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=dpi)
    return path


def _panel(ax: Any, comparison: Comparison) -> None:
    used: dict[str, int] = {}
    for curve in comparison.curves:
        number = used.get(curve.algo, 0)
        used[curve.algo] = number + 1
        palette = _COLOURS.get(curve.algo, _GREY)
        _draw(ax, curve, palette[number % len(palette)])
    behaviour = comparison.behaviour.mean
    label = rf"$\pi_o$, the data's own policy ({rounded(behaviour)})"
    ax.axhline(behaviour, color="#333333", linestyle=(0, (5, 3)), linewidth=1.3, label=label)
    ax.set_xlim(left=0)
    ax.margins(y=0.06)
    ax.set_title(comparison.title, fontsize=11)
    ax.set_xlabel("interactions (environment steps of each seed)")
    ax.set_ylabel("mean return")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    plain_axes(ax)
    ax.legend(frameon=True, framealpha=0.85, edgecolor="none", fontsize=9)


def _draw(ax: Any, curve: Curve, colour: str) -> None:
    for steps, scores in zip(curve.interactions, curve.scores, strict=True):
        done = np.isfinite(scores)
        ax.plot(steps[done], scores[done], color=colour, linewidth=0.9, alpha=0.5)
    whole = np.isfinite(curve.scores).all(axis=0)
    steps = curve.interactions[0, whole]
    scores = curve.scores[:, whole]
    mean, std = scores.mean(axis=0), scores.std(axis=0)
    low, high = np.maximum(mean - std, scores.min(axis=0)), np.minimum(mean + std, scores.max(axis=0))
    seeds = f"{len(curve.seeds)} seed{'s' if len(curve.seeds) > 1 else ''}"
    ax.plot(
        steps, mean, color=colour, linewidth=2.2, marker="o", markersize=4, label=f"{curve.label} ({seeds})"
    )
    ax.fill_between(steps, low, high, color=colour, alpha=0.13, linewidth=0)


def write(comparisons: Sequence[Comparison], folder: str | Path, *, overwrite: bool = False) -> list[Path]:
    """Write ``report.md``, ``report.csv`` and ``report.png`` into a folder, made if need be.

    Raises:
        LfoError: one of them exists and ``overwrite`` is off, or the folder cannot be made.
    """
    folder = Path(folder)
    check_free(folder, overwrite=overwrite)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LfoError(
            f"{folder}: the report's folder cannot be made ({error.strerror}); choose another -o"
        ) from error
    for name, text in (("report.md", to_markdown(comparisons)), ("report.csv", to_csv(comparisons))):
        write_whole(folder / name, text)
    plot(comparisons, folder / "report.png")
    return [folder / name for name in FILES]


def check_free(folder: str | Path, *, overwrite: bool) -> None:
    """Check that a report may go into a folder.

    Raises:
        LfoError: there is one and ``overwrite`` is off.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise LfoError(f"{folder}: expected a folder for the report, found a file; choose another -o")
    there = next((folder / name for name in FILES if (folder / name).exists()), None)
    if there is not None and not overwrite:
        raise LfoError(f"{there}: exists already; pass --overwrite to replace it, or choose another -o")
