"""Runs side by side: what each algorithm scores, after how many interactions, next to π_o.

The final score is that of the last round, see :class:`~lfo.runs.scores.Rounds`. Papers often report the best round
instead. A maximum over noisy measurements is optimistic, so it is shown second and labelled. Members that diverged
are named and not counted.
"""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lfo.algorithms import registry
from lfo.atomic import check_output, make_folder, spreadsheet_safe, utf8, write_whole
from lfo.errors import LfoError
from lfo.reporting.figures import (
    SMALL,
    TITLE,
    colours,
    label,
    layered,
    marker,
    panels,
    plain_axes,
    save_figure,
)
from lfo.reporting.numbers import ascii_minus, mean_std, number, spread, whole_range
from lfo.runs.folder import RunFolder
from lfo.runs.scores import PI_O, Rounds, read_rounds, stopped_members

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILES = ("report.md", "report.csv", "report.png")
"""The files that :func:`write` leaves in its folder."""
NOTES = (
    "final: mean return over the evaluation episodes of the last round, mean ± standard deviation over seeds.",
    "best: each seed's best round instead, a maximum over rounds and therefore optimistic.",
    "interactions: environment steps that each seed spent.",
    "π_o: the policy that recorded the data, mean ± standard deviation over its episodes.",
)


@dataclass(frozen=True)
class Curve(Rounds):
    """The rounds of M members that share an algorithm, its settings and a kind of data."""

    label: str
    """Its name in tables and plots."""
    algo: str
    runs: tuple[str, ...]
    """The folders that the members come from."""
    seeds: tuple[int, ...]
    """[M]"""
    stopped: tuple[tuple[int, str], ...] = ()
    """(seed, reason) of each member that diverged. These are not among the M."""


@dataclass(frozen=True)
class PiO:
    """The policy that recorded the data, measured on the data's own episodes."""

    mean: float
    std: float
    episodes: int


@dataclass(frozen=True)
class Comparison:
    """The algorithms on one environment and one kind of data."""

    env: str
    random_frac: float | None
    """Fraction of random actions in the data; None if the data do not say."""
    data: str
    """The data in words."""
    pi_o: PiO
    curves: tuple[Curve, ...]

    @property
    def title(self) -> str:
        """Environment and data."""
        return f"{self.env}, {self.data}"

    @property
    def stopped(self) -> list[str]:
        """A sentence for each member that diverged."""
        return [
            f"{curve.label}: seed {seed} stopped ({reason}): not counted."
            for curve in self.curves
            for seed, reason in curve.stopped
        ]


@dataclass(frozen=True)
class _Part:
    """The members of one run that share a data set."""

    run: RunFolder
    info: dict[str, Any]
    record: dict[str, Any]
    seeds: tuple[int, ...]
    rounds: Rounds
    stopped: tuple[tuple[int, str], ...]

    @property
    def data_key(self) -> tuple[Any, ...]:
        """The comparison that it belongs to: by policy and random_frac if both are known, else by file."""
        fraction = self.record["random_frac"]
        what = self.record["sha256"] if fraction is None else (self.record["policy"], fraction)
        return (_env(self.info), what)

    @property
    def settings(self) -> str:
        """What runs must share to be pooled."""
        keys = ("algo", "config", "steps", "interact")
        return repr([self.info.get(key) for key in keys])


def compare(runs: Sequence[RunFolder]) -> list[Comparison]:
    """Group the members of runs by environment, data and algorithm.

    Runs with the same settings on the same data are pooled if their seeds differ. Other runs of one algorithm stay
    apart and are labelled with their folder. Data sets are of the same kind if they record the same policy and
    random_frac; without that record, if they are the same file.

    Raises:
        LfoError: a folder is no run, has no evaluations yet, or its evaluations are damaged.
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
    info, rounds = run.info(), read_rounds(run)
    if rounds.scores.shape[1] == 0:
        raise LfoError(
            f"{run.path}: expected evaluations, found none; run `d3g-lfo interact {run.path}` first"
        )
    seeds = [int(member["seed"]) for member in info["members"]]
    stopped = stopped_members(info)
    parts = []
    for data, record in enumerate(info["datasets"]):
        mine = [m for m, member in enumerate(info["members"]) if member["dataset"] == data]
        counted = [m for m in mine if m not in stopped]
        lost = tuple((seeds[m], stopped[m]) for m in mine if m in stopped)
        if mine:
            parts.append(_Part(run, info, record, tuple(seeds[m] for m in counted), rounds.of(counted), lost))
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
    order = registry.known()
    pools.sort(key=lambda pool: order.index(algo) if (algo := pool[0].info["algo"]) in order else len(order))
    algos = [pool[0].info["algo"] for pool in pools]
    curves = [_curve(pool, algos.count(pool[0].info["algo"]) == 1) for pool in pools]
    fraction = first.record["random_frac"]
    data = utf8(Path(first.record["source"]).name) if fraction is None else f"random_frac {fraction:g}"
    if fraction is not None and fraction < 1 and first.record["policy"]:
        data = f"{utf8(Path(first.record['policy']).name)}, {data}"
    return Comparison(_env(first.info), fraction, data, _pi_o(parts), tuple(curves))


def _same(pool: Sequence[_Part], part: _Part) -> bool:
    taken = {(other.record["sha256"], seed) for other in pool for seed in other.seeds}
    again = any((part.record["sha256"], seed) in taken for seed in part.seeds)
    return pool[0].settings == part.settings and not again


def _curve(pool: Sequence[_Part], alone: bool) -> Curve:
    count = max(part.rounds.scores.shape[1] for part in pool)

    def widen(array: np.ndarray, fill: float) -> np.ndarray:
        return np.pad(array, ((0, 0), (0, count - array.shape[1])), constant_values=fill)

    algo = pool[0].info["algo"]
    return Curve(
        interactions=np.concatenate([widen(part.rounds.interactions, 0) for part in pool]),
        scores=np.concatenate([widen(part.rounds.scores, np.nan) for part in pool]),
        label=label(algo) if alone else f"{label(algo)} ({utf8(pool[0].run.path.name)})",
        algo=algo,
        runs=tuple(dict.fromkeys(str(part.run.path) for part in pool)),
        seeds=tuple(seed for part in pool for seed in part.seeds),
        stopped=tuple(lost for part in pool for lost in part.stopped),
    )


def _pi_o(parts: Sequence[_Part]) -> PiO:
    """Mean and standard deviation over the episodes of all data sets, counting each data set once."""
    records = list({part.record["sha256"] or part.record["source"]: part.record for part in parts}.values())
    count = np.array([record["episodes"] for record in records], dtype=np.float64)
    mean = np.array([record["return_mean"] for record in records])
    std = np.array([record["return_std"] for record in records])
    total = float((count * mean).sum() / count.sum())
    variance = float((count * (std**2 + (mean - total) ** 2)).sum() / count.sum())
    return PiO(total, variance**0.5, int(count.sum()))


# --- as text ---------------------------------------------------------------------------------------------------

_HEAD = ("policy", "seeds", "interactions", "final", "best of rounds")


def _rows(comparison: Comparison) -> list[tuple[str, ...]]:
    rows = [
        (curve.label, str(len(curve)), whole_range(curve.spent), spread(curve.final), spread(curve.best))
        for curve in comparison.curves
    ]
    return [*rows, (label(PI_O), "", "", mean_std(comparison.pi_o.mean, comparison.pi_o.std), "")]


def _notes(comparisons: Sequence[Comparison]) -> list[str]:
    return [*NOTES, *(text for comparison in comparisons for text in comparison.stopped)]


def table(comparisons: Sequence[Comparison]) -> str:
    """For the terminal: plain text without colours, its notes wrapped at 80 columns."""
    return plain(
        [(comparison.title, _HEAD, _rows(comparison)) for comparison in comparisons], _notes(comparisons)
    )


def plain(tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]], notes: Sequence[str]) -> str:
    """Tables (title, head, rows) and notes as plain text; the first column is aligned left, the others right."""
    from rich.box import Box
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table

    rule = Box("    \n    \n -  \n" + "    \n" * 5, ascii=True)  # below the head, and nothing else
    width = 80 + sum(len(cell) for _, _, rows in tables for row in rows for cell in row)
    console = Console(file=io.StringIO(), width=width, color_system=None, markup=False, emoji=False)
    for title, head, rows in tables:
        shown = Table(box=rule, show_edge=False, pad_edge=False)
        for column, name in enumerate(head):
            shown.add_column(name, justify="right" if column else "left", no_wrap=True)
        for row in rows:
            shown.add_row(*row)
        console.print(title, "", Padding(shown, (0, 0, 0, 2), expand=False), "", sep="\n", highlight=False)
    assert isinstance(console.file, io.StringIO)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    for note in notes:
        lines += textwrap.wrap(note, 80)
    return ascii_minus("\n".join(lines))


def to_markdown(comparisons: Sequence[Comparison]) -> str:
    """A section and a table for each comparison, then the plot and what the columns mean."""
    lines = ["# Comparison", ""]
    for comparison in comparisons:
        lines += [
            f"## {_plain(comparison.title)}",
            "",
            "| " + " | ".join(_HEAD) + " |",
            "|---|--:|--:|--:|--:|",
        ]
        lines += ["| " + " | ".join(map(_plain, row)) + " |" for row in _rows(comparison)]
        lines.append("")
    runs = [run for comparison in comparisons for curve in comparison.curves for run in curve.runs]
    lines += ["![Return against interactions](report.png)", ""]
    lines += [f"- {_plain(note)}" for note in _notes(comparisons)]
    names = (" ".join(run.replace("`", "'").split()) for run in dict.fromkeys(runs))
    lines += ["", "Runs: " + ", ".join(f"`{name}`" for name in names), ""]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text of unknown origin as Markdown shows it: no table, tag or link of its own."""
    text = " ".join(text.replace("&", "&amp;").replace("<", "&lt;").split())
    return "".join(f"\\{c}" if c in "|[]`" else c for c in text)


def to_json(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Everything as plain numbers, down to each round of each member."""
    return {
        "comparisons": [
            {
                "env": comparison.env,
                "random_frac": comparison.random_frac,
                "data": comparison.data,
                PI_O: {
                    "return_mean": comparison.pi_o.mean,
                    "return_std": comparison.pi_o.std,
                    "episodes": comparison.pi_o.episodes,
                },
                "policies": [_curve_json(curve) for curve in comparison.curves],
            }
            for comparison in comparisons
        ]
    }


def _curve_json(curve: Curve) -> dict[str, Any]:
    done = np.isfinite(curve.scores)
    some = len(curve) > 0  # else there is no mean
    return {
        "label": curve.label,
        "algo": curve.algo,
        "runs": list(curve.runs),
        "interactions": int(curve.spent.max(initial=0)),
        "final_mean": float(curve.final.mean()) if some else None,
        "final_std": float(curve.final.std()) if some else None,
        "best_of_rounds_mean": float(curve.best.mean()) if some else None,
        "best_of_rounds_std": float(curve.best.std()) if some else None,
        "stopped": [{"seed": seed, "reason": reason} for seed, reason in curve.stopped],
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
    """The table as CSV, a line for each policy. That of ``pi_o`` has neither seeds nor interactions."""
    columns = ["env", "data", "random_frac", "policy", "seeds", "stopped", "interactions"]
    columns += ["final_mean", "final_std", "best_of_rounds_mean", "best_of_rounds_std", "runs"]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for one in comparisons:
        kind = {
            "env": spreadsheet_safe(one.env),
            "data": spreadsheet_safe(one.data),
            "random_frac": one.random_frac,
        }
        for curve in one.curves:
            row = {
                "policy": spreadsheet_safe(curve.label),
                "seeds": len(curve),
                "stopped": len(curve.stopped),
            }
            writer.writerow(
                {**kind, **_curve_json(curve), **row, "runs": spreadsheet_safe(" ".join(curve.runs))}
            )
        writer.writerow({**kind, "policy": PI_O, "final_mean": one.pi_o.mean, "final_std": one.pi_o.std})
    return text.getvalue()


# --- as a picture ----------------------------------------------------------------------------------------------


def plot(comparisons: Sequence[Comparison], path: str | Path, *, dpi: int = 130) -> Path:
    """Draw return against interactions as a PNG, with a panel for each comparison.

    The thick line is the mean over seeds, its band one standard deviation, cut off where no seed is. Thin lines are
    the seeds, the dashed line is π_o.

    Args:
        comparisons: from :func:`compare`.
        path: of the file. It appears when it is complete and replaces an older one.
        dpi: dots an inch; a panel is 6 × 3.8 inches.
    """
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    for comparison, ax in zip(comparisons, panels(figure, len(comparisons), 6, 3.8), strict=True):
        _panel(ax, comparison)
    return save_figure(figure, Path(path), dpi=dpi)


def _panel(ax: Axes, comparison: Comparison) -> None:
    used: dict[str, int] = {}
    for place, curve in enumerate(comparison.curves):
        again = used[curve.algo] = used.get(curve.algo, -1) + 1
        palette = colours(curve.algo)
        if len(curve):
            _draw(ax, curve, palette[again % len(palette)], layered(place))
    name = rf"$\pi_o$, the data's own policy ({number(comparison.pi_o.mean)})"
    ax.axhline(comparison.pi_o.mean, color="#333333", linestyle=(0, (5, 3)), linewidth=1.3, label=name)
    ax.set_xlim(left=0)
    ax.margins(y=0.06)
    ax.set_title(comparison.title.replace("$", r"\$"), fontsize=TITLE)  # else it is set as a formula
    ax.set_xlabel("interactions (environment steps of each seed)")
    ax.set_ylabel("mean return")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    plain_axes(ax)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize=SMALL)


def _draw(ax: Axes, curve: Curve, colour: str, layer: dict[str, Any]) -> None:
    for steps, scores in zip(curve.interactions, curve.scores, strict=True):
        done = np.isfinite(scores)
        ax.plot(steps[done], scores[done], color=colour, linewidth=0.9, alpha=0.5)
    whole = np.isfinite(curve.scores).all(axis=0)
    steps = curve.interactions[0, whole]
    scores = curve.scores[:, whole]
    mean, std = scores.mean(axis=0), scores.std(axis=0)
    low, high = np.maximum(mean - std, scores.min(axis=0)), np.minimum(mean + std, scores.max(axis=0))
    seeds = f"{len(curve)} seed{'s' if len(curve) > 1 else ''}"
    ax.plot(steps, mean, color=colour, marker=marker(curve.algo), label=f"{curve.label} ({seeds})", **layer)
    ax.fill_between(steps, low, high, color=colour, alpha=0.13, linewidth=0)


def write(comparisons: Sequence[Comparison], folder: str | Path, *, overwrite: bool = False) -> list[Path]:
    """Write ``report.md``, ``report.csv`` and ``report.png`` into a folder, made if need be.

    Raises:
        LfoError: one of them exists and ``overwrite`` is off, or the folder cannot be made.
    """
    folder = Path(folder)
    check_free(folder, overwrite=overwrite)
    make_folder(folder)
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
        raise LfoError(f"{folder}: expected a folder, found a file; choose another")
    for name in FILES if folder.is_dir() else ():
        check_output(folder / name, overwrite=overwrite)
