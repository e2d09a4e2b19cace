"""The report of a study: our table beside others' numbers, curves, single seeds, portraits, and what is missing.

Reads a study's folder, finished or not: ``study.toml``, ``results.csv``, ``experts.csv``, the references, and, for each
cell, ``run.json``, ``status.json``, ``scores.csv``, ``evaluations.csv`` and ``portrait.png``.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lfo.algorithms import registry
from lfo.atomic import read_csv, spreadsheet_safe, write_csv, write_whole
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
    verbatim,
)
from lfo.reporting.figures import label
from lfo.reporting.numbers import NONE, mean_std, number, spread, whole_range
from lfo.reporting.statistics import Array, iqm, stratified_interval
from lfo.runs.folder import RunFolder
from lfo.runs.scores import PI_O, read_rounds, stopped_members
from lfo.study.figures import FEW, Line, Panel, curves, panel_file, seeds, styles
from lfo.study.references import FACTOR, SIZES, Reference, read_references, verdict, why_not_judged
from lfo.study.spec import Cell, Study, cells, flat, load_study, stem
from lfo.study.status import Status, read_status


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


@dataclass(frozen=True)
class Results:
    """The results of a study, as far as it has got."""

    folder: Path
    study: Study
    cells: tuple[CellResults, ...]
    pi_o: Mapping[str, Scores]
    """π_o by row."""
    experts: tuple[Mapping[str, str], ...]
    """The rows of ``experts.csv``."""
    references: Mapping[tuple[str, str], Reference]
    """By row and label in lower case."""

    def headline(self, scores: Scores) -> Array:
        """[n] the scores that count under the protocol."""
        best = self.study.protocol == "paper" and bool(np.isfinite(scores.best).all())
        return scores.best if best else scores.final

    def of(self, cell: Cell) -> CellResults:
        """The results of a cell."""
        return self.by_cell[cell]

    @cached_property
    def by_cell(self) -> Mapping[Cell, CellResults]:
        """The results of all cells."""
        return {found.cell: found for found in self.cells}

    def reference(self, row: str, column: str) -> Reference | None:
        """The reference for a column, or for π_o, in a row."""
        names = (column.casefold(), label(column).casefold())
        return next((found for name in names if (found := self.references.get((row, name)))), None)

    @cached_property
    def others(self) -> Mapping[str, Mapping[str, Reference]]:
        """References that belong to no column of the study: label to row to number."""
        own = {name.casefold() for column in (*self.study.algos, PI_O) for name in (column, label(column))}
        found: dict[str, dict[str, Reference]] = {}
        for (row, name), reference in self.references.items():
            if name not in own and row in self.study.rows:
                found.setdefault(reference.label, {})[row] = reference
        return found

    def sizes(self, row: str, column: str) -> dict[str, int]:
        """The sizes that a column's number in a row was made at; none of them matters for π_o."""
        if column == PI_O:
            return {}
        study, data = self.study.sized(column), self.study.rows[row]
        fitted = study.rounds * study.grad_steps
        offline = registry.spec(self.study.algorithm(column)).learns_offline
        datasets = self.of(Cell(row, column)).info.get("datasets") or [{}]
        rows = datasets[0].get("transitions") or (0 if data.source else data.transitions or study.transitions)
        return {
            "transitions": int(rows),
            "steps": study.steps if offline else fitted,
            "interactions": study.rounds * study.interactions,
        }

    def judged(self, row: str, column: str, ours: Array) -> tuple[Reference | None, str]:
        """The reference for a column in a row, and ``same``, ``higher``, ``lower``, or nothing without a judgement."""
        found = self.reference(row, column)
        if found is None or len(ours) == 0 or why_not_judged(self.sizes(row, column), found):
            return found, ""
        return found, verdict(ours, found)

    def ours(self, row: str, column: str) -> Array:
        """[n] the scores that count of a column, or of π_o, in a row."""
        if column == PI_O:
            return self.pi_o.get(row, _NONE).final
        return self.headline(self.of(Cell(row, column)).scores)


def row_name(study: Study, row: str) -> str:
    """A row in words."""
    if row in study.data:
        return row
    data = study.rows[row]
    return f"{data.env}, {100 * data.random_frac:.10g}% random"


def write_report(folder: str | Path) -> list[Path]:
    """Write ``report.html``, ``report.md``, ``report.csv`` and ``figures/`` into a study's folder.

    Raises:
        LfoError: there is no study, or one of its tables is damaged.
    """
    folder = Path(folder)
    results = read_results(folder)
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    title = f"Study {folder.resolve().name}"
    pictures = _draw(results, figures)
    blocks = _blocks(results, pictures)
    texts = {"report.html": to_html(title, blocks, folder), "report.md": to_markdown(title, blocks)}
    for name, text in texts.items():
        write_whole(folder / name, text)
    write_csv(folder / "report.csv", _rows(results))
    return [*(folder / name for name in (*texts, "report.csv")), *pictures.drawn]


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
        cells=tuple(
            _cell(folder, cell, study.rows[cell.data].env, scores.get(cell, _NONE)) for cell in cells(study)
        ),
        pi_o={key.data: own for key, own in scores.items() if key.algo == PI_O},
        experts=tuple(read_csv(folder / "experts.csv")),
        references=read_references(study.references),
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


def _cell(folder: Path, cell: Cell, env: str, scores: Scores) -> CellResults:
    out, found = RunFolder(folder / cell.path), dict[str, Any]()
    try:
        if (out.path / "run.json").is_file():
            found["info"] = info = out.info()
            lost = stopped_members(info)
            found["stopped"] = {str(info["members"][m]["seed"]): reason for m, reason in lost.items()}
            scores = scores.without(found["stopped"])
            found |= _rounds(out, info, lost)
            found["success"] = _success(env, out.path / "scores.csv", lost)
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


def _success(env: str, path: Path, stopped: Collection[int]) -> float | None:
    """The share of final episodes that reach the threshold, without those of stopped members."""
    least = threshold(env)
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


_MARKS = {
    "same": Mark("≈", "same"),
    "higher": Mark("▲ higher", "good"),
    "lower": Mark("▼ lower", "bad"),
}
RULE = (
    "**The rule.** ≈ means within noise: the means differ by at most two standard errors of their difference, "
    "√(s²/n + s'²/n'), or by 0.05, to which references are rounded. s and n are those of our seeds (for π_o: of our data "
    "sets), s' and n' the reference's. Otherwise ours is ▲ higher or ▼ lower. Within noise does not mean equal: a few "
    "seeds with a wide spread are within noise of almost anything. Look at the single seeds, too. **Not judged** is a "
    f"reference whose transitions, gradient steps or interactions are unknown, or differ from ours by more than a factor "
    f"of {FACTOR}."
)


def _missing(results: Results) -> list[str]:
    """A line for everything that is not in the tables, with the reason."""
    expected = [str(seed) for seed in results.study.seeds]
    lines: list[str] = []
    idle: dict[str, list[str]] = {}
    for cell in results.cells:
        row, column = row_name(results.study, cell.cell.data), label(cell.cell.algo)
        name = f"{row}, {column}"
        lost = [seed for seed in expected if seed not in cell.scores.seeds and seed not in cell.stopped]
        if cell.status.state == "failed":
            lines.append(f"**{name}** failed: {verbatim(cell.status.error or 'no reason was recorded')}")
        elif len(cell.scores) == 0 and cell.status.state == "waiting" and not cell.status.done:
            idle.setdefault(row, []).append(column)
        elif len(cell.scores) == 0 and lost:
            lines.append(f"**{name}** has no scores yet: {_progress(cell)}")
        elif lost:
            lines.append(f"**{name}** has no score of seed {', '.join(lost)}; the others are shown")
        lines += [
            f"**{name}:** seed {seed} stopped ({verbatim(reason)}): not counted"
            for seed, reason in cell.stopped.items()
        ]
        if cell.problem:
            lines.append(f"**{name}** cannot be read completely: {verbatim(cell.problem)}")
    return [*lines, *(f"**{row}**, not started yet: {', '.join(columns)}" for row, columns in idle.items())]


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
    found, study = _Pictures(), results.study
    for env in dict.fromkeys(data.env for data in study.rows.values()):
        panels = _panels(results, env)
        safe = re.sub(r"[^\w.+-]", "_", env)
        if any(line.scores.size for panel in panels for line in panel.lines):
            last = max(one.rounds * one.interactions for one in map(study.sized, study.algos))
            found.drawn.extend(curves(safe, panels, last, figures))
            found.curves.append(_curves_picture(env, safe, panels))
        found.drawn.append(seeds(safe, panels, figures / f"seeds-{safe}.png"))
        found.seeds.append(
            Picture(
                f"figures/seeds-{safe}.png",
                f"{env}: the final score of every seed as a dot, by data set and column of the table; lines across and "
                "grey signs mark references. The table of every cell has the numbers.",
                f"{env}. Each dot is a seed, in the order of the seeds. Lines across and grey signs are references.",
            )
        )
    for cell in results.cells:
        source = cell.folder / "portrait.png"
        if source.is_file():
            name = f"portrait-{cell.folder.name}.png"
            found.drawn.append(Path(shutil.copyfile(source, figures / name)))
            found.portraits.append(_portrait_picture(results, cell, name))
    return found


def _panels(results: Results, env: str) -> list[Panel]:
    study, panels = results.study, []
    looks = styles({column: study.algorithm(column) for column in study.algos})
    for row, data in study.rows.items():
        if data.env != env:
            continue
        lines = []
        for column in study.algos:
            one = results.of(Cell(row, column))
            reference = results.reference(row, column)
            lines.append(
                Line(looks[column], one.interactions, one.rounds, one.strata, one.scores.final, reference)
            )
        own = results.pi_o.get(row)
        title = row if row in study.data else f"{100 * data.random_frac:.10g}% random"
        panels.append(
            Panel(
                row,
                title,
                tuple(lines),
                None if own is None else float(own.final.mean()),
                tuple(rows[row] for rows in results.others.values() if row in rows),
            )
        )
    return panels


def _curves_picture(env: str, safe: str, panels: Sequence[Panel]) -> Picture:
    def told(panel: Panel) -> str:
        ends = [
            f"{line.style.label} ends at {number(float(line.scores[:, -1].mean()))}"
            for line in panel.lines
            if line.scores.size
        ]
        return f"{env}, {panel.title}, mean return against interactions: " + (
            ", ".join(ends) or "nothing measured yet"
        )

    return Picture(
        f"figures/{panel_file(safe)}",
        "; ".join(told(panel) for panel in panels),
        f"{env}. Lines: mean over seeds of each round's mean return. Bands: stratified 95% bootstrap interval of that "
        "mean. Dashed: references. Dotted: π_o, if inside the picture. All panels have the same axes; where lines "
        "coincide, the thinner one lies on top.",
        tuple((f"figures/{panel_file(safe, panel.name)}", told(panel)) for panel in panels),
    )


def _portrait_picture(results: Results, cell: CellResults, name: str) -> Picture:
    told = f"{row_name(results.study, cell.cell.data)}, {label(cell.cell.algo)}"
    return Picture(
        f"figures/{name}",
        f"{told}: colours show the learned value Q over a plane of states; lines show a trajectory imagined by "
        "the learned model, and the real one from the same start.",
        f"{told}: the seed with the median score in the last round.",
    )


# --- writing ---------------------------------------------------------------------------------------------------


def _blocks(results: Results, pictures: _Pictures) -> list[Block]:
    missing, study = _missing(results), results.study
    blocks: list[Block] = [Text(_summary(results)), _main_table(results)]
    score = "best of rounds" if study.protocol == "paper" else "final score"
    told = f"Ours: mean ± standard deviation over seeds of the **{score}**; of π_o, over data sets."
    blocks.append(Text(f"Rows: data sets. {told}"))
    if any(one.data in study.rows for one in results.references.values()):
        blocks.append(Text(" ".join([RULE, *_not_judged(results)])))
    blocks.append(_sizes_table(results))
    if missing:
        blocks += [Heading("What is missing"), Items(missing, alert=True)]
    if pictures.curves:
        blocks += [Heading("Return against interactions"), *pictures.curves]
    wide = len(study.algos) + len(results.others) > FEW
    blocks += [Heading("Every seed"), *(pictures.seeds if wide else [Gallery(pictures.seeds)])]
    blocks += [Heading("Every cell in full"), _full_table(results)]
    if pictures.portraits:
        blocks += [Heading("What was learned"), Text(_PORTRAITS), Gallery(pictures.portraits)]
    blocks += [Heading("How to read this"), *_reading(results)]
    return [*blocks, Heading("Settings"), Facts(_facts(results))]


def _summary(results: Results) -> str:
    parts = []
    for column in results.study.algos:
        found = []
        for row in results.study.rows:
            ours = results.ours(row, column)
            reference, kind = results.judged(row, column, ours)
            found.append(kind or ("" if len(ours) == 0 else "new" if reference is None else "apart"))
        counts = [
            f"{found.count(kind)} {text}"
            for kind, text in (
                ("same", "within noise of the reference"),
                ("higher", "higher"),
                ("lower", "lower"),
                ("apart", "not judged"),
                ("", "without a score"),
            )
            if kind in found
        ]
        if set(found) != {"new"}:
            parts.append(f"**{label(column)}:** of {len(found)} cells, {', '.join(counts)}.")
    scored = sum(len(found.scores) > 0 for found in results.cells)
    return " ".join([*parts, f"{scored} of {len(results.cells)} cells have scores."])


def _not_judged(results: Results) -> list[str]:
    """A sentence for each column whose references are too far from it."""
    told: dict[str, dict[str, None]] = {}
    for column in results.study.algos:
        for row in results.study.rows:
            found = results.reference(row, column)
            if found is not None and (why := why_not_judged(results.sizes(row, column), found)):
                told.setdefault(label(column), {})[why] = None
    return [f"{column} here: {'; '.join(reasons)}." for column, reasons in told.items()]


def _sizes_table(results: Results) -> Table:
    """What the numbers of each column and of each reference were made with."""
    study = results.study
    heads = [
        "number",
        "algorithm",
        "transitions",
        "gradient steps",
        "interactions",
        "members",
        "given",
        "from",
    ]
    rows: list[list[str | Mark]] = []
    for column in study.algos:
        sizes = [results.sizes(row, column) for row in study.rows]
        changes = {
            key: value
            for key, value in study.variants.get(column, {}).items()
            if key not in ("algo", "steps", "rounds", "interactions", "grad_steps")
        }
        algorithm = label(study.algorithm(column)) + "".join(
            f", {verbatim(f'{key} {_value(value)}')}" for key, value in changes.items()
        )
        told = [_whole([one[size] for one in sizes]) for size in SIZES]
        rows.append([label(column), algorithm, *told, str(len(study.seeds)), "no actions", "this study"])
    known: list[list[str | Mark]] = []
    for reference in results.references.values():
        if reference.data in study.rows:
            sizes_of = (f"{reference.sizes[size]:,}" if size in reference.sizes else NONE for size in SIZES)
            members = NONE if reference.members is None else str(reference.members)
            words: list[str | Mark] = [
                f"reference: {verbatim(label(reference.label))}",
                NONE,
                *sizes_of,
                members,
            ]
            words += [verbatim(reference.given or NONE), verbatim(reference.source)]
            known += [words] if words not in known else []
    return Table("What the numbers were made with", heads, [*rows, *known])


def _whole(values: Sequence[int]) -> str:
    return whole_range(np.array([value for value in values if value]))


def _facts(results: Results) -> list[tuple[str, str]]:
    study, infos = results.study, [found.info for found in results.cells if found.info]
    busy, clock = sum(found.status.seconds for found in results.cells), _at_work(results.cells)
    name = shlex.quote(results.folder.resolve().name)
    facts = [
        ("protocol", _PROTOCOLS[study.protocol]),
        ("hours, summed over cells", f"{busy / 3600:.1f}" if busy else ""),
        ("hours by the clock", f"{clock / 3600:.1f}" if clock else ""),
        ("command", f"`d3g-lfo study {name}/study.toml -o {name}`"),
        ("versions", verbatim("; ".join(_unique(_listed(info.get("versions", {})) for info in infos)))),
        ("machine", verbatim("; ".join(_unique(_machine(info.get("machine")) for info in infos)))),
    ]
    shown = ("envs", "random_frac", "protocol", "data", "variants", "references")
    facts += [(name, verbatim(_value(value))) for name, value in flat(study).items() if name not in shown]
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


def _main_table(results: Results) -> Table:
    """A row for each data set; for each column ours, and the reference and the judgement if there are any."""
    study = results.study
    columns: list[list[str | Mark]] = []
    heads, groups = ["data"], [("", 1)]
    for column in (*study.algos, PI_O):
        ours = [results.ours(row, column) for row in study.rows]
        judged = [results.judged(row, column, scores) for row, scores in zip(study.rows, ours, strict=True)]
        parts: dict[str, list[str | Mark]] = {
            "ours": [spread(scores) if len(scores) else Mark("missing", "none") for scores in ours],
            "reference": [NONE if found is None else _printed(found) for found, _ in judged],
            "ours is": [_MARKS[kind] if kind else "" for _, kind in judged],
        }
        if all(found is None for found, _ in judged):
            del parts["reference"], parts["ours is"]
        elif not any(kind for _, kind in judged):
            del parts["ours is"]
        heads += parts
        columns += parts.values()
        groups.append((label(column), len(parts)))
    for name, found in results.others.items():
        heads.append("reference")
        groups.append((verbatim(name), 1))
        columns.append([_printed(found[row]) if row in found else NONE for row in study.rows])
    names: list[str | Mark] = [row_name(study, row) for row in study.rows]
    return Table(
        caption="Mean return", heads=heads, rows=list(zip(names, *columns, strict=True)), groups=groups
    )


def _printed(found: Reference) -> str:
    """With one decimal place, or none if all are whole numbers."""
    values = [found.mean, *([] if found.std is None else [found.std])]
    form = ".0f" if all(value == round(value) for value in values) else ".1f"
    return number(found.mean, form) if found.std is None else mean_std(found.mean, found.std, form=form)


def _rows(results: Results) -> list[dict[str, Any]]:
    """The rows of ``report.csv``: every number of the table, ours and others'."""
    study, rows = results.study, []
    for row, data in study.rows.items():
        for column in (*study.algos, PI_O):
            ours = results.ours(row, column)
            if len(ours):
                made = {
                    "members": len(ours),
                    **results.sizes(row, column),
                    "given": "",
                    "source": "this study",
                }
                mean, std = float(ours.mean()), float(ours.std())
                rows.append(
                    {"data": row, "env": data.env, "label": column, "return_mean": mean, "return_std": std}
                    | made
                )
        rows += [
            {
                "data": row,
                "env": data.env,
                "label": one.label,
                "return_mean": one.mean,
                "return_std": one.std,
                "members": one.members,
                **one.sizes,
                "given": one.given,
                "source": one.source,
            }
            for one in results.references.values()
            if one.data == row
        ]
    return [{key: spreadsheet_safe(value) for key, value in one.items()} for one in rows]


def _full_table(results: Results) -> Table:
    heads = ["data", "column", "seeds", "final score", "IQM of final [95% interval]"]
    heads += ["best of rounds (optimistic)", "success", "interactions", "gradient steps", "hours"]
    rows = [_full_row(results.study, found) for found in results.cells]
    known = [n for n in range(len(heads)) if any(row[n] != NONE for row in rows)]
    return Table("Scores", [heads[n] for n in known], [[row[n] for n in known] for row in rows])


def _full_row(study: Study, found: CellResults) -> list[str]:
    scores, names = found.scores, [row_name(study, found.cell.data), label(found.cell.algo)]
    hours = f"{found.status.seconds / 3600:.2f}" if found.status.seconds else NONE
    if len(scores) == 0:
        return [*names, "0", "missing", NONE, NONE, NONE, NONE, NONE, hours]
    low, high = stratified_interval(scores.final, scores.datasets)
    return [
        *names,
        str(len(scores)),
        spread(scores.final),
        f"{number(float(iqm(scores.final)))} [{number(float(low))}, {number(float(high))}]",
        spread(scores.best[np.isfinite(scores.best)]),
        NONE if found.success is None else f"{found.success:.0%}",
        whole_range(scores.interactions),
        whole_range(scores.gradient_steps),
        hours,
    ]


def _data_table(results: Results) -> Table:
    """What each named data set is."""
    rows: list[list[str | Mark]] = []
    for name, data in results.study.data.items():
        own = results.sizes(name, results.study.algos[0])["transitions"]
        origin = data.source or f"{data.policy}, {100 * data.random_frac:.10g}% random actions"
        env = data.env + "".join(f", {key} {_value(value)}" for key, value in data.env_kwargs.items())
        origin = Path(origin).name if Path(origin).is_absolute() else origin
        rows.append([name, verbatim(origin), f"{own:,}" if own else NONE, verbatim(env)])
    return Table("The data sets", ["data", "collected by, or read from", "transitions", "acted in"], rows)


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
        "**interactions:** environment steps that each seed spent to learn its inverse dynamics. "
        "**gradient steps:** of all networks.",
        "**π_o:** the policy that recorded the data: the mean return of each data set's episodes, ± over data sets.",
    ]
    envs = dict.fromkeys(data.env for data in results.study.rows.values())
    known = [(env, least) for env in envs if (least := threshold(env)) is not None]
    if known and any(found.success is not None for found in results.cells):
        levels = ", ".join(f"{number(least, 'g')} in {env}" for env, least in known)
        items.insert(
            3,
            "**success:** the share of the final episodes whose return reaches the environment's own "
            f"`reward_threshold`: {levels}.",
        )
    blocks: list[Block] = [Items(items)]
    if results.study.data:
        blocks.append(_data_table(results))
    if results.experts:
        heads = list(results.experts[0])
        rows = [[verbatim(_tidy(row.get(head) or "")) for head in heads] for row in results.experts]
        blocks.append(Table("The experts, measured without random actions", heads, rows))
    return blocks


def _tidy(text: str) -> str:
    """The text, as a rounded number if it is a number with decimals."""
    try:
        value = float(text)
    except ValueError:
        return text
    return text if text.lstrip("-").isdigit() else number(value)
