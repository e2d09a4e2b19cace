"""The report of a study: our table beside the published one, curves, single seeds, portraits, and what is missing.

Reads a study's folder, finished or not: ``study.toml``, ``results.csv``, ``experts.csv`` and, for each cell,
``run.json``, ``status.json``, ``scores.csv``, ``evaluations.csv`` and ``portrait.png``. A *cell* is an environment, a
fraction of random actions and an algorithm; its seeds are the members of one run.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lfo.atomic import read_csv, write_whole
from lfo.datasets import LfoError
from lfo.reporting.document import (
    Block,
    Facts,
    Gallery,
    Heading,
    Items,
    Mark,
    Picture,
    Table,
    Text,
    to_html,
    to_markdown,
)
from lfo.reporting.figures import label
from lfo.reporting.numbers import NONE, mean_std, number, spread, whole_range
from lfo.reporting.published import SEEDS, SOURCE, Published, published
from lfo.reporting.statistics import Array, iqm, stratified_interval
from lfo.runs.folder import RunFolder
from lfo.runs.scores import PI_O, read_rounds, stopped_members
from lfo.study.figures import Line, Panel, curves, panel_file, seeds
from lfo.study.spec import Cell, Study, cells, flat, load_study
from lfo.study.status import Status, read_status

ROUNDING = 0.05
"""Rounding error of the published numbers, which decides where neither side has any spread."""


@dataclass(frozen=True)
class Scores:
    """The scores of a cell's n seeds, or of π_o's n data sets."""

    seeds: tuple[str, ...]
    """[n] as text; empty for π_o."""
    datasets: np.ndarray
    """[n] int64, each seed's data set."""
    final: Array
    """[n] mean return of each seed's final evaluation; of π_o, of each data set's episodes."""
    best: Array
    """[n] mean return of each seed's best round; NaN for π_o."""
    interactions: np.ndarray
    """[n] int64 environment steps."""
    gradient_steps: np.ndarray
    """[n] int64"""

    def __len__(self) -> int:
        """n."""
        return len(self.final)

    def without(self, seeds: Collection[str]) -> Scores:
        """The scores of all other seeds."""
        keep = np.array([seed not in seeds for seed in self.seeds], dtype=bool)
        columns = (self.datasets, self.final, self.best, self.interactions, self.gradient_steps)
        return Scores(
            tuple(seed for seed in self.seeds if seed not in seeds), *(column[keep] for column in columns)
        )


@dataclass(frozen=True)
class CellResults:
    """The results of one cell, as far as it has got."""

    cell: Cell
    folder: Path
    scores: Scores
    status: Status
    info: Mapping[str, Any] = field(default_factory=dict)
    """``run.json``; empty if there is none."""
    interactions: Array = field(default_factory=lambda: np.zeros(0))
    """[R] environment steps before each round's evaluation."""
    rounds: Array = field(default_factory=lambda: np.zeros((0, 0)))
    """[m, R] mean returns in those rounds that all m seeds have."""
    strata: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """[m] data sets of those seeds."""
    success: float | None = None
    """Share of the final episodes that reach :func:`threshold`, if both are known."""
    stopped: Mapping[str, str] = field(default_factory=dict)
    """Seeds that diverged, each with the reason. They are in none of the numbers above."""
    problem: str = ""
    """Why a file of the cell cannot be read, if one cannot."""

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.cell.env}, {self.cell.random_frac:.0%} random, {label(self.cell.algo)}"

    @property
    def short(self) -> str:
        """In words, without the environment."""
        return f"{self.cell.random_frac:.0%} {label(self.cell.algo)}"


@dataclass(frozen=True)
class Results:
    """The results of a study, as far as it has got."""

    folder: Path
    study: Study
    cells: tuple[CellResults, ...]
    pi_o: Mapping[tuple[str, float], Scores]
    """π_o by environment and fraction."""
    experts: tuple[Mapping[str, str], ...]
    """The rows of ``experts.csv``."""

    def headline(self, scores: Scores) -> Array:
        """[n] the scores that count under the protocol."""
        best = self.study.protocol == "paper" and bool(np.isfinite(scores.best).all())
        return scores.best if best else scores.final

    def of(self, cell: Cell) -> CellResults:
        """The results of a cell."""
        return next(found for found in self.cells if found.cell == cell)


def write_report(folder: str | Path) -> list[Path]:
    """Write ``report.html``, ``report.md`` and ``figures/`` into a study's folder, in place of older ones.

    Raises:
        LfoError: there is no study, or one of its tables is damaged.
    """
    folder = Path(folder)
    results = read_results(folder)
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    title = f"{folder.resolve().name}: {' and '.join(map(label, results.study.algos))} beside the paper"
    pictures = _draw(results, figures)
    blocks = _blocks(results, pictures)
    texts = {"report.html": to_html(title, blocks, folder), "report.md": to_markdown(title, blocks)}
    for name, text in texts.items():
        write_whole(folder / name, text)
    return [*(folder / name for name in texts), *pictures.drawn]


# --- reading ---------------------------------------------------------------------------------------------------


def read_results(folder: str | Path) -> Results:
    """Read the results of a study, finished or not.

    Raises:
        LfoError: there is no ``study.toml``, a field of it is wrong, or one of the tables is damaged.
    """
    folder = Path(folder)
    study = load_study(folder / "study.toml")
    scores = _scores(folder / "results.csv")
    return Results(
        folder=folder,
        study=study,
        cells=tuple(_cell(folder, cell, scores.get(cell, _NONE)) for cell in cells(study)),
        pi_o={(key.env, key.random_frac): own for key, own in scores.items() if key.algo == PI_O},
        experts=tuple(read_csv(folder / "experts.csv")),
    )


_NONE = Scores((), *(np.zeros(0, t) for t in (np.int64, float, float, np.int64, np.int64)))


_NUMBERS = ("dataset", "score_final", "score_best", "interactions", "gradient_steps")


def _scores(path: Path) -> dict[Cell, Scores]:
    """``results.csv`` by cell; seeds whose score is not finite are left out."""
    groups: dict[Cell, list[dict[str, str]]] = {}
    try:
        for row in read_csv(path):
            if np.isfinite(_float(row["score_final"])):
                name = row.get("data") or stem(row["env"], float(row["random_frac"]))  # older: no column data
                key = Cell(name, row["algo"])
                groups.setdefault(key, []).append(row)
        return {key: _columns(rows) for key, rows in groups.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise LfoError(
            f"{path}: expected columns env, random_frac, algo, seed, and numbers in {', '.join(_NUMBERS)}, "
            f"found something else ({error}); run `d3g-lfo study {path.parent}` to write the file again"
        ) from error


def _columns(rows: Sequence[Mapping[str, str]]) -> Scores:
    columns = [np.array([_float(row[name]) for row in rows]) for name in _NUMBERS]
    dataset, *spent = (np.nan_to_num(columns[n]).astype(np.int64) for n in (0, 3, 4))
    return Scores(tuple(row["seed"] for row in rows), dataset, *columns[1:3], *spent)


def _float(text: str) -> float:
    return float(text) if text else float("nan")


def _cell(folder: Path, cell: Cell, scores: Scores) -> CellResults:
    out, found = RunFolder(folder / cell.path), dict[str, Any]()
    try:
        if (out.path / "run.json").is_file():
            found["info"] = info = out.info()
            lost = stopped_members(info)
            found["stopped"] = {str(info["members"][m]["seed"]): reason for m, reason in lost.items()}
            scores = scores.without(found["stopped"])
            found |= _rounds(out, info, lost)
            found["success"] = _success(cell, out.path / "scores.csv", lost)
    except LfoError as error:  # one damaged cell does not hide the others
        found["problem"] = str(error)
    return CellResults(cell, out.path, scores, read_status(folder, cell), **found)


@cache
def threshold(env: str) -> float | None:
    """The return from which an environment counts as solved: its own ``reward_threshold``; None if it has none."""
    import gymnasium

    try:
        return gymnasium.spec(env).reward_threshold
    except (gymnasium.error.Error, ImportError):
        return None


def _success(cell: Cell, path: Path, stopped: Collection[int]) -> float | None:
    """The share of final episodes that reach the threshold, without those of stopped members."""
    least = threshold(cell.env)
    if least is None:
        return None
    try:
        reached = [
            float(row["return"]) >= least for row in read_csv(path) if int(row["member"]) not in stopped
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise LfoError(
            f"{path}: return: expected a column of numbers, found something else ({error}); "
            "delete the file and start the study again"
        ) from error
    return float(np.mean(reached)) if reached else None


def _rounds(out: RunFolder, info: Mapping[str, Any], stopped: Collection[int]) -> dict[str, Any]:
    """The rounds that all counted members have finished, as fields of :class:`CellResults`."""
    counted = [m for m in range(len(info["members"])) if m not in stopped]
    rounds = read_rounds(out).of(counted)
    whole = np.isfinite(rounds.scores).all(axis=0) & bool(counted)
    return {
        "interactions": rounds.interactions[:1, whole].reshape(-1).astype(float),
        "rounds": rounds.scores[:, whole],
        "strata": np.array([int(info["members"][m]["dataset"]) for m in counted], dtype=np.int64),
    }


# --- judging ---------------------------------------------------------------------------------------------------


def verdict(ours: Array, paper: Published) -> str:
    """Whether our mean return is the ``same`` as the published one, ``higher`` or ``lower``.

    Two means count as the same if they differ by at most two standard errors of their difference, √(s²/n + s'²/n')
    with the sample standard deviations s of our n seeds and s' of the paper's n' = 10, or by no more than the
    published numbers are rounded.

    Args:
        ours: [n] scores.
        paper: mean and standard deviation.
    """
    difference = float(ours.mean()) - paper.mean
    spread = float(ours.var(ddof=1)) / len(ours) if len(ours) > 1 else 0.0
    error = (spread + paper.std**2 / SEEDS) ** 0.5
    if abs(difference) <= max(2 * error, ROUNDING):
        return "same"
    return "higher" if difference > 0 else "lower"


_MARKS = {
    "same": Mark("≈", "same"),
    "higher": Mark("▲ higher", "good"),
    "lower": Mark("▼ lower", "bad"),
}
RULE = (
    "**The rule.** ≈ means within noise: the means differ by at most two standard errors of their difference, "
    "√(s²/n + s'²/n'), or by 0.05, the rounding of the paper's numbers. s and n are those of our seeds (for π_o: of our "
    "data sets), s' and n' = 10 the paper's. Otherwise ours is ▲ higher or ▼ lower. Within noise does not mean equal: "
    "a few seeds with a wide spread are within noise of almost anything. Look at the single seeds, too."
)


def _missing(results: Results) -> list[str]:
    """A line for everything that is not in the tables, with the reason."""
    expected = [str(seed) for seed in results.study.seeds]
    lines: list[str] = []
    idle: dict[str, list[str]] = {}
    for cell in results.cells:
        lost = [seed for seed in expected if seed not in cell.scores.seeds and seed not in cell.stopped]
        if cell.status.state == "failed":
            lines.append(f"**{cell.name}** failed: {cell.status.error or 'no reason was recorded'}")
        elif len(cell.scores) == 0 and cell.status.state == "waiting" and not cell.status.done:
            idle.setdefault(cell.cell.env, []).append(cell.short)
        elif len(cell.scores) == 0 and lost:
            lines.append(f"**{cell.name}** has no scores yet: {_progress(cell)}")
        elif lost:
            lines.append(f"**{cell.name}** has no score of seed {', '.join(lost)}; the others are shown")
        lines += [
            f"**{cell.name}:** seed {seed} stopped ({reason}): not counted"
            for seed, reason in cell.stopped.items()
        ]
        if cell.problem:
            lines.append(f"**{cell.name}** cannot be read completely: {cell.problem}")
    return [*lines, *(f"**{env}**, not started yet: {', '.join(names)}" for env, names in idle.items())]


def _progress(cell: CellResults) -> str:
    status = cell.status
    if status.state == "done":
        return "done, but results.csv has no row of it; start the study again to write the file again"
    updated = _time(status)
    heard = f", last heard of at {updated:%Y-%m-%d %H:%M} UTC" if updated else ""
    return f"{status.state}, {status.done / max(status.total, 1):.0%} of its work done{heard}"


def _time(status: Status) -> datetime | None:
    """When the status was written; None if it does not say."""
    try:
        return datetime.fromisoformat(status.updated).astimezone(timezone.utc)
    except ValueError:
        return None


# --- drawing ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pictures:
    """The blocks that are pictures, and the files that were drawn."""

    curves: list[Picture] = field(default_factory=list)
    seeds: list[Picture] = field(default_factory=list)
    portraits: list[Picture] = field(default_factory=list)
    drawn: list[Path] = field(default_factory=list)


def _draw(results: Results, figures: Path) -> _Pictures:
    found = _Pictures()
    for env in results.study.envs:
        panels = _panels(results, env)
        safe = env.replace("/", "_")
        if any(line.scores.size for panel in panels for line in panel.lines):
            last = results.study.rounds * results.study.interactions
            found.drawn.extend(curves(safe, panels, last, figures))
            found.curves.append(_curves_picture(env, panels))
        found.drawn.append(seeds(safe, panels, figures / f"seeds-{safe}.png"))
        found.seeds.append(
            Picture(
                f"figures/seeds-{safe}.png",
                f"{env}: the final score of every seed as a dot, by algorithm and fraction of random actions; "
                "a line across marks the published mean. The table of every cell has the numbers.",
                f"{env}. Each dot is a seed, in the order of the seeds. Lines across are published means.",
            )
        )
    for cell in results.cells:
        source = cell.folder / "portrait.png"
        if source.is_file():
            name = f"portrait-{cell.folder.name}.png"
            found.drawn.append(Path(shutil.copyfile(source, figures / name)))
            found.portraits.append(_portrait_picture(cell, name))
    return found


def _panels(results: Results, env: str) -> list[Panel]:
    panels = []
    for fraction in results.study.random_frac:
        found = [results.of(Cell(env, fraction, algo)) for algo in results.study.algos]
        lines = tuple(
            Line(
                one.cell.algo,
                one.interactions,
                one.rounds,
                one.strata,
                one.scores.final,
                published(env, fraction, one.cell.algo),
            )
            for one in found
        )
        own = results.pi_o.get((env, fraction))
        panels.append(Panel(fraction, lines, None if own is None else float(own.final.mean())))
    return panels


def _curves_picture(env: str, panels: Sequence[Panel]) -> Picture:
    safe = env.replace("/", "_")

    def told(panel: Panel) -> str:
        ends = [
            f"{label(line.algo)} ends at {number(float(line.scores[:, -1].mean()))}"
            for line in panel.lines
            if line.scores.size
        ]
        return f"{env}, {panel.random_frac:.0%} random actions, mean return against interactions: " + (
            ", ".join(ends) or "nothing measured yet"
        )

    return Picture(
        f"figures/{panel_file(safe)}",
        "; ".join(told(panel) for panel in panels),
        f"{env}. Lines: mean over seeds of each round's mean return. Bands: stratified 95% bootstrap interval of that "
        "mean. Dashed: the published return. Dotted: π_o, if inside the picture. All panels have the same axes; where "
        "lines coincide, the thinner one lies on top.",
        tuple((f"figures/{panel_file(safe, panel.random_frac)}", told(panel)) for panel in panels),
    )


def _portrait_picture(cell: CellResults, name: str) -> Picture:
    return Picture(
        f"figures/{name}",
        f"{cell.name}: colours show the learned value Q over a plane of states; lines show a trajectory imagined by "
        "the learned model, and the real one from the same start.",
        f"{cell.name}: the seed with the median score in the last round.",
    )


# --- writing ---------------------------------------------------------------------------------------------------


def _blocks(results: Results, pictures: _Pictures) -> list[Block]:
    missing, study = _missing(results), results.study
    blocks: list[Block] = [Text(_summary(results))]
    blocks += [_main_table(results, env) for env in study.envs]
    score = "best of rounds" if study.protocol == "paper" else "final score"
    blocks.append(
        Text(
            "Rows: the share of random actions in the data. Ours: mean ± standard deviation over seeds of the "
            f"**{score}**; of π_o, over data sets. Paper: {SOURCE}."
        )
    )
    blocks.append(Text(RULE))
    if missing:
        blocks += [Heading("What is missing"), Items(missing, alert=True)]
    if pictures.curves:
        blocks += [Heading("Return against interactions"), *pictures.curves]
    blocks += [Heading("Every seed"), Gallery(pictures.seeds)]
    blocks += [Heading("Every cell in full"), *(_full_table(results, env) for env in study.envs)]
    if pictures.portraits:
        blocks += [Heading("What was learned"), Text(_PORTRAITS), Gallery(pictures.portraits)]
    blocks += [Heading("How to read this"), *_reading(results)]
    return [*blocks, Heading("Settings"), Facts(_facts(results))]


def _summary(results: Results) -> str:
    parts = []
    for algo in results.study.algos:
        found = [_judged(results, cell) for cell in results.cells if cell.cell.algo == algo]
        counts = [
            f"{found.count(kind)} {text}"
            for kind, text in (
                ("same", "within noise of the published number"),
                ("higher", "higher"),
                ("lower", "lower"),
                ("new", "without a published number"),
                ("", "without a score"),
            )
            if kind in found
        ]
        parts.append(f"**{label(algo)}:** of {len(found)} cells, {', '.join(counts)}.")
    scored = sum(len(found.scores) > 0 for found in results.cells)
    return " ".join([*parts, f"{scored} of {len(results.cells)} cells have scores."])


def _judged(results: Results, found: CellResults) -> str:
    cell = found.cell
    paper = published(cell.env, cell.random_frac, cell.algo)
    if len(found.scores) == 0:
        return ""
    return "new" if paper is None else verdict(results.headline(found.scores), paper)


def _facts(results: Results) -> list[tuple[str, str]]:
    study, infos = results.study, [found.info for found in results.cells if found.info]
    busy, clock = sum(found.status.seconds for found in results.cells), _at_work(results.cells)
    name = shlex.quote(results.folder.resolve().name)
    facts = [
        ("protocol", _PROTOCOLS[study.protocol]),
        ("hours, summed over cells", f"{busy / 3600:.1f}" if busy else ""),
        ("hours by the clock", f"{clock / 3600:.1f}" if clock else ""),
        ("command", f"`d3g-lfo study {name}/study.toml -o {name}`"),
        ("versions", "; ".join(_unique(_listed(info.get("versions", {})) for info in infos))),
        ("machine", "; ".join(_unique(_machine(info.get("machine")) for info in infos))),
    ]
    shown = ("envs", "random_frac", "protocol")
    facts += [(name, _value(value)) for name, value in flat(study).items() if name not in shown]
    return [(name, value) for name, value in facts if value]


def _at_work(found: Sequence[CellResults]) -> float:
    """Seconds in which at least one cell was at work, from each cell's time of work and its last status.

    A cell that was interrupted counts as if it had run without a pause.
    """
    spans = sorted(
        (time.timestamp() - one.status.seconds, time.timestamp())
        for one in found
        if (time := _time(one.status)) is not None
    )
    total, until = 0.0, -np.inf
    for begin, end in spans:
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def _machine(found: Any) -> str:
    """``run.json``'s ``machine`` in words."""
    if not isinstance(found, Mapping):
        return "not recorded"
    return (
        f"{found.get('processor')}, {found.get('cores')} cores, {found.get('device')}, {found.get('system')}"
    )


def _unique(texts: Any) -> list[str]:
    return list(dict.fromkeys(texts))


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return _listed(value)
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _main_table(results: Results, env: str) -> Table:
    columns = (*results.study.algos, PI_O)
    rows = []
    for fraction in results.study.random_frac:
        row: list[str | Mark] = [f"{fraction:.0%}"]
        for algo in columns:
            if algo == PI_O:
                ours = results.pi_o.get((env, fraction), _NONE).final
            else:
                ours = results.headline(results.of(Cell(env, fraction, algo)).scores)
            row += _beside(ours, published(env, fraction, algo))
        rows.append(row)
    return Table(
        caption=env,
        heads=["random", *(["ours", "paper", "ours is"] * len(columns))],
        rows=rows,
        groups=[("", 1), *((label(algo), 3) for algo in columns)],
    )


def _beside(ours: Array, paper: Published | None) -> list[str | Mark]:
    theirs = NONE if paper is None else _printed(paper)
    if len(ours) == 0:
        return [Mark("missing", "none"), theirs, ""]
    return [spread(ours), theirs, "" if paper is None else _MARKS[verdict(ours, paper)]]


def _printed(paper: Published) -> str:
    """As the paper prints it: one decimal place, or none if both are whole numbers."""
    return mean_std(*paper, form=".0f" if all(value == round(value) for value in paper) else ".1f")


def _full_table(results: Results, env: str) -> Table:
    least = threshold(env)
    heads = ["random", "seeds", "final score", "IQM of final [95% interval]", "best of rounds (optimistic)"]
    heads += ["success" if least is None else f"success (≥ {number(least, 'g')})"]
    heads += ["interactions", "gradient steps", "hours"]
    rows = [_full_row(found) for found in results.cells if found.cell.env == env]
    known = [n for n in range(len(heads)) if any(row[n] != NONE for row in rows)]
    return Table(env, [heads[n] for n in known], [[row[n] for n in known] for row in rows])


def _full_row(found: CellResults) -> list[str]:
    scores = found.scores
    hours = f"{found.status.seconds / 3600:.2f}" if found.status.seconds else NONE
    if len(scores) == 0:
        return [found.short, "0", "missing", NONE, NONE, NONE, NONE, NONE, hours]
    low, high = stratified_interval(scores.final, scores.datasets)
    return [
        found.short,
        str(len(scores)),
        spread(scores.final),
        f"{number(float(iqm(scores.final)))} [{number(float(low))}, {number(float(high))}]",
        spread(scores.best[np.isfinite(scores.best)]),
        NONE if found.success is None else f"{found.success:.0%}",
        whole_range(scores.interactions),
        whole_range(scores.gradient_steps),
        hours,
    ]


_PROTOCOLS = {
    "final": "final: the last score counts",
    "paper": "paper: each seed's best round counts, as published",
}
_PORTRAITS = (
    "Colours: Q(s, aim), the value of the state that the policy aims for. **Real**: what the policy did in the "
    "environment. **Imagined by C(s, τ(s))**: the learned model applied again and again from the same start, without "
    "an environment. If the policy aims for a different state than that, its aim is imagined in the same way."
)


def _reading(results: Results) -> list[Block]:
    items = [
        "**final score:** a seed's mean return over the episodes of its final evaluation, whose starts no round saw. "
        "± is the standard deviation over seeds.",
        "**IQM:** inter-quartile mean, which leaves out the lowest and the highest quarter of the seeds. Its 95% "
        "interval is a percentile bootstrap (2,000 resamples, fixed generator) within each data set's seeds (Agarwal "
        "et al. 2021); if a data set has a single seed, across data sets. The interval shows how much the choice of "
        "seeds matters; it does not cover the choice of data sets.",
        "**best of rounds:** each seed's best round, as the paper reports. A maximum over noisy measurements is "
        "optimistic, and more so with more rounds.",
        "**interactions:** environment steps that each seed spent to learn its inverse dynamics; the paper's runs "
        "spent 100,000. **gradient steps:** of all networks.",
        "**π_o:** the policy that recorded the data, an expert that takes a uniformly random action with the "
        "probability in the row's name: the mean return of each data set's episodes, ± over data sets.",
        "**The paper** used gym's -v2 environments (ours are Gymnasium's), the best of 100 rounds, one data set for all "
        "seeds, 1,000,000 transitions and 1,000,000 steps.",
    ]
    known = [(env, least) for env in results.study.envs if (least := threshold(env)) is not None]
    if known and any(found.success is not None for found in results.cells):
        levels = ", ".join(f"{number(least, 'g')} in {env}" for env, least in known)
        items.insert(
            3,
            "**success:** the share of the final episodes whose return reaches the environment's own "
            f"`reward_threshold`: {levels}.",
        )
    blocks: list[Block] = [Items(items)]
    if results.experts:
        heads = list(results.experts[0])
        rows = [[_tidy(row.get(head) or "") for head in heads] for row in results.experts]
        blocks.append(Table("The experts, measured without random actions", heads, rows))
    return blocks


def _tidy(text: str) -> str:
    """The text, as a rounded number if it is a number with decimals."""
    try:
        value = float(text)
    except ValueError:
        return text
    return text if text.lstrip("-").isdigit() else number(value)
