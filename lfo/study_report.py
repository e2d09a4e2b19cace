"""The report of a study: its table beside the published one, curves, single seeds, portraits, what is missing.

Reads the folder of a study, finished or not: ``study.toml``, ``results.csv``, ``experts.csv`` and, in ``cells/``,
each cell's ``run.json``, ``status.json``, ``scores.csv``, ``evaluations.csv`` and ``portrait.png``. A *cell* is an
environment, a fraction of random actions and an algorithm; its seeds are the members of one run.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lfo.datasets import LfoError
from lfo.page import LONG, Block, Facts, Heading, Items, Mark, Picture, Table, Text, to_html, to_markdown
from lfo.published import SEEDS, SOURCE, Published, published, span
from lfo.report import compare
from lfo.robust import Array, iqm, stratified_interval
from lfo.run import RunFolder, atomic_file
from lfo.settings import read_settings
from lfo.study_figures import NAMES, Line, Panel, curves, panel_file, seeds

__all__ = ["SUCCESS", "Cell", "Scores", "Study", "read_study", "verdict", "write_report"]

SUCCESS = {"InvertedPendulum": 950.0}
"""Return from which an episode counts as a success, by environment without its version."""
TOLERANCE = 0.02
"""Share of the published table's span that two returns may differ by and still be called the same."""
BEHAVIOUR = "pi_o"


@dataclass(frozen=True)
class Scores:
    """The scores of a cell's n seeds, or of π_o's n data sets."""

    seeds: tuple[str, ...]
    """[n] as text; empty texts for π_o."""
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


@dataclass(frozen=True)
class Cell:
    """What there is of one cell."""

    env: str
    random_frac: float
    algo: str
    folder: Path
    scores: Scores
    status: Mapping[str, Any] = field(default_factory=dict)
    """``status.json``"""
    info: Mapping[str, Any] = field(default_factory=dict)
    """``run.json``"""
    interactions: Array = field(default_factory=lambda: np.zeros(0))
    """[R] environment steps before each round's evaluation."""
    rounds: Array = field(default_factory=lambda: np.zeros((0, 0)))
    """[m, R] mean returns in those rounds that all m seeds have."""
    strata: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """[m] data sets of those seeds."""
    success: float | None = None
    """Share of the final episodes that succeed, where that is defined and known."""
    problem: str = ""
    """What of its files cannot be read, if something cannot."""

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.env}, {self.random_frac:.0%} random, {NAMES.get(self.algo, self.algo)}"


@dataclass(frozen=True)
class Study:
    """What there is of a study."""

    folder: Path
    fields: Mapping[str, Any]
    """``study.toml``"""
    cells: tuple[Cell, ...]
    behaviour: Mapping[tuple[str, float], Scores]
    """π_o by environment and fraction."""
    experts: tuple[Mapping[str, str], ...]
    """The rows of ``experts.csv``."""

    @property
    def protocol(self) -> str:
        """``final``: the last score counts; ``paper``: the best of all rounds does."""
        return str(self.fields.get("protocol", "final"))

    def headline(self, scores: Scores) -> Array:
        """[n] the scores that count under the protocol."""
        return scores.best if self.protocol == "paper" and np.isfinite(scores.best).all() else scores.final

    def cell(self, env: str, random_frac: float, algo: str) -> Cell:
        """The cell of these fields."""
        wanted = (env, random_frac, algo)
        return next(cell for cell in self.cells if (cell.env, cell.random_frac, cell.algo) == wanted)


def write_report(folder: str | Path) -> list[Path]:
    """Write ``report.html``, ``report.md`` and ``figures/`` into a study's folder, in place of older ones.

    Raises:
        LfoError: there is no study, or one of its tables is damaged.
    """
    folder = Path(folder)
    study = read_study(folder)
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    title = f"{folder.resolve().name}: D3G and BCO beside the paper"
    drawn, pictures = _draw(study, figures)
    blocks = _blocks(study, pictures)
    texts = {
        "report.html": to_html(title, blocks, folder),
        "report.md": to_markdown(title, blocks),
    }
    for name, text in texts.items():
        with atomic_file(folder / name) as file:
            file.write(text.encode())
    return [*(folder / name for name in texts), *drawn]


# --- reading ---------------------------------------------------------------------------------------------------


def read_study(folder: str | Path) -> Study:
    """Read what there is of a study.

    Raises:
        LfoError: there is no ``study.toml``, it lacks a field, or one of the tables is damaged.
    """
    folder = Path(folder)
    path = folder / "study.toml"
    if not path.is_file():
        raise LfoError(
            f"{folder}: expected the folder of a study, found no study.toml; start one with `d3g-lfo study`"
        )
    fields = read_settings(path)
    for name in ("envs", "random_frac", "algos"):
        if not isinstance(fields.get(name), list) or not fields[name]:
            raise LfoError(
                f"{path}: {name}: expected a list, found {fields.get(name, 'nothing')!r}; start the study again"
            )
    scores = _scores(folder / "results.csv")
    keys = [
        (env, float(f), algo)
        for env in fields["envs"]
        for f in fields["random_frac"]
        for algo in fields["algos"]
    ]
    return Study(
        folder=folder,
        fields=fields,
        cells=tuple(_cell(folder, *key, scores.get(key, _NONE)) for key in keys),
        behaviour={key[:2]: found for key, found in scores.items() if key[2] == BEHAVIOUR},
        experts=tuple(_rows(folder / "experts.csv")),
    )


_NONE = Scores((), *(np.zeros(0, t) for t in (np.int64, float, float, np.int64, np.int64)))


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


_NUMBERS = ("dataset", "score_final", "score_best", "interactions", "gradient_steps")


def _scores(path: Path) -> dict[tuple[str, float, str], Scores]:
    """``results.csv`` by environment, fraction and algorithm; seeds whose score is not finite are left out."""
    groups: dict[tuple[str, float, str], list[dict[str, str]]] = {}
    try:
        for row in _rows(path):
            if np.isfinite(_number_of(row["score_final"])):
                groups.setdefault((row["env"], float(row["random_frac"]), row["algo"]), []).append(row)
        return {key: _columns(rows) for key, rows in groups.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise LfoError(
            f"{path}: expected columns env, random_frac, algo, seed, and numbers in {', '.join(_NUMBERS)}, "
            f"found something else ({error}); start the study again, which writes it anew"
        ) from error


def _columns(rows: Sequence[Mapping[str, str]]) -> Scores:
    dataset, final, best, interactions, steps = (
        np.array([_number_of(row[name]) for row in rows]) for name in _NUMBERS
    )
    names = tuple(row["seed"] for row in rows)
    whole = (np.nan_to_num(column).astype(np.int64) for column in (dataset, interactions, steps))
    dataset, interactions, steps = whole
    return Scores(names, dataset, final, best, interactions, steps)


def _number_of(text: str) -> float:
    return float(text) if text else float("nan")


def _cell(folder: Path, env: str, random_frac: float, algo: str, scores: Scores) -> Cell:
    where = folder / "cells" / f"{env.replace('/', '_')}-{100 * random_frac:.10g}-{algo}"
    info = _json(where / "run.json")
    found: dict[str, Any] = {}
    try:
        found |= _success(env, where / "scores.csv")
        found |= _rounds(RunFolder(where), info)
    except LfoError as error:  # one damaged cell does not hide the others
        found["problem"] = str(error)
    return Cell(
        env, random_frac, algo, where, scores, status=_json(where / "status.json"), info=info, **found
    )


def _json(path: Path) -> dict[str, Any]:
    """An object from a file; a missing one, or one that is being written, is empty."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _success(env: str, path: Path) -> dict[str, Any]:
    """The share of successes, as a field of :class:`Cell`."""
    threshold, rows = SUCCESS.get(env.rpartition("-v")[0]), _rows(path)
    if threshold is None or not rows:
        return {}
    try:
        return {"success": float(np.mean([float(row["return"]) >= threshold for row in rows]))}
    except (KeyError, TypeError, ValueError) as error:
        raise LfoError(
            f"{path}: return: expected a column of numbers, found something else ({error}); "
            "delete the file and start the study again"
        ) from error


def _rounds(out: RunFolder, info: Mapping[str, Any]) -> dict[str, Any]:
    """The rounds' scores, as fields of :class:`Cell`; a cell in its first round has none yet."""
    if not info or not out.rows("evaluations.csv"):
        return {}
    curve = compare([out])[0].curves[0]
    whole = np.isfinite(curve.scores).all(axis=0)
    data_set = {int(member["seed"]): int(member["dataset"]) for member in info["members"]}
    return {
        "interactions": curve.interactions[0, whole].astype(float),
        "rounds": curve.scores[:, whole],
        "strata": np.array([data_set[seed] for seed in curve.seeds]),
    }


# --- judging ---------------------------------------------------------------------------------------------------


def verdict(ours: Array, paper: Published, env: str) -> str:
    """Whether our mean return differs from the published one: ``same``, ``higher`` or ``lower``.

    The same, as far as can be told, are two means that differ by at most two standard errors of their difference,
    √(s²/n + s'²/n') for the sample standard deviations s of our n seeds and s' of the paper's n' = 10, or by at
    most 2% of the span of the published means for the environment.

    Args:
        ours: [n] scores.
        paper: mean and standard deviation.
        env: whose span counts.
    """
    difference = float(ours.mean()) - paper.mean
    spread = float(ours.var(ddof=1)) / len(ours) if len(ours) > 1 else 0.0
    error = (spread + paper.std**2 / SEEDS) ** 0.5
    if abs(difference) <= max(2 * error, TOLERANCE * span(env)):
        return "same"
    return "higher" if difference > 0 else "lower"


_MARKS = {
    "same": Mark("≈", "same"),
    "higher": Mark("▲ higher", "good"),
    "lower": Mark("▼ lower", "bad"),
}
RULE = (
    "**The rule.** ≈ stands for within noise: the means differ by at most two standard errors of the difference, "
    "√(s²/n + s'²/n') with s and n of our seeds and s' and n' = 10 of the paper's, or by at most 2% of the span of the "
    "paper's means for that environment (which is what decides where neither has any spread). Otherwise ours is "
    "▲ higher or ▼ lower. Within noise is no proof of the same: few seeds with a wide spread are within noise of "
    "almost anything, so look at the dots of the single seeds, too."
)


def _missing(study: Study) -> list[str]:
    """Every cell whose scores are not all there, with the reason."""
    expected = [str(seed) for seed in study.fields.get("seeds", [])]
    lines = []
    for cell in study.cells:
        lost = [seed for seed in expected if seed not in cell.scores.seeds]
        if cell.status.get("state") == "failed":
            lines.append(f"**{cell.name}** failed: {cell.status.get('error') or 'no reason was recorded'}")
        elif len(cell.scores) == 0:
            lines.append(f"**{cell.name}** has no scores yet: {_progress(cell)}")
        elif lost:
            lines.append(f"**{cell.name}** has no score of seed {', '.join(lost)}; the others are shown")
        if cell.problem:
            lines.append(f"**{cell.name}** cannot be read whole: {cell.problem}")
    return lines


def _progress(cell: Cell) -> str:
    state = cell.status.get("state", "not started")
    if state == "done":
        return "done, but results.csv has no row of it; start the study again, which writes it anew"
    done, total = cell.status.get("done") or 0, cell.status.get("total") or 0
    share = f", {done / total:.0%} of its work done" if total and done else ""
    updated = cell.status.get("updated")
    return f"{state}{share}{f', last heard of at {updated}' if updated else ''}"


# --- drawing ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pictures:
    """The blocks that are pictures."""

    curves: tuple[Picture, ...]
    seeds: tuple[Picture, ...]
    portraits: tuple[Picture, ...]


def _draw(study: Study, figures: Path) -> tuple[list[Path], _Pictures]:
    drawn: list[Path] = []
    lines, dots, portraits = [], [], []
    for env in study.fields["envs"]:
        panels = _panels(study, env)
        safe = env.replace("/", "_")
        drawn += curves(safe, panels, figures)
        drawn.append(seeds(safe, panels, figures / f"seeds-{safe}.png"))
        lines.append(_curves_picture(study, env, panels))
        dots.append(
            Picture(
                f"figures/seeds-{safe}.png",
                f"{env}: the final score of every seed as a dot, by algorithm and fraction of random actions; "
                "a line across marks the published mean. The table of every cell has the numbers.",
                f"{env}. A dot is a seed; seeds stand in their order. A line across is the published mean.",
            )
        )
    for cell in study.cells:
        source = cell.folder / "portrait.png"
        if source.is_file():
            name = f"portrait-{cell.folder.name}.png"
            drawn.append(Path(shutil.copyfile(source, figures / name)))
            portraits.append(_portrait_picture(cell, name))
    return drawn, _Pictures(tuple(lines), tuple(dots), tuple(portraits))


def _panels(study: Study, env: str) -> list[Panel]:
    panels = []
    for fraction in map(float, study.fields["random_frac"]):
        cells = [cell for cell in study.cells if (cell.env, cell.random_frac) == (env, fraction)]
        lines = tuple(
            Line(
                cell.algo,
                cell.interactions,
                cell.rounds,
                cell.strata,
                cell.scores.final,
                published(env, fraction, cell.algo),
            )
            for cell in cells
        )
        own = study.behaviour.get((env, fraction))
        panels.append(Panel(fraction, lines, None if own is None else float(own.final.mean())))
    return panels


def _curves_picture(study: Study, env: str, panels: Sequence[Panel]) -> Picture:
    safe = env.replace("/", "_")

    def told(panel: Panel) -> str:
        ends = [
            f"{NAMES.get(line.algo, line.algo)} ends at {_number(float(line.scores[:, -1].mean()))}"
            for line in panel.lines
            if line.scores.size
        ]
        return f"{env}, {panel.random_frac:.0%} random actions, mean return against interactions: " + (
            ", ".join(ends) or "nothing measured yet"
        )

    return Picture(
        f"figures/{panel_file(safe)}",
        "; ".join(told(panel) for panel in panels),
        f"{env}. Mean over seeds of the mean return of each round's evaluation, with the stratified 95% bootstrap "
        "interval of that mean; all panels have the same axes. Dashed: the published return. Dotted: π_o, where it is in "
        "the picture.",
        tuple((f"figures/{panel_file(safe, panel.random_frac)}", told(panel)) for panel in panels),
    )


def _portrait_picture(cell: Cell, name: str) -> Picture:
    return Picture(
        f"figures/{name}",
        f"{cell.name}: colours show the learned value Q over a plane of states; lines show a trajectory imagined by "
        "the learned model, one imagined by the policy's aim, and the one really taken from the same start.",
        f"{cell.name}: the seed whose last round is the median.",
    )


# --- writing ---------------------------------------------------------------------------------------------------


def _blocks(study: Study, pictures: _Pictures) -> list[Block]:
    missing = _missing(study)
    scored = sum(len(cell.scores) > 0 for cell in study.cells)
    blocks: list[Block] = [Text(_summary(study)), Facts(_facts(study, scored))]
    if missing:
        blocks += [Heading("What is missing"), Items(missing, alert=True)]
    blocks.append(Heading("Ours beside the paper's"))
    blocks += [_main_table(study, env) for env in study.fields["envs"]]
    score = "best of rounds" if study.protocol == "paper" else "final score"
    blocks.append(
        Text(
            f"Rows: the share of random actions in the data. Ours: mean ± standard deviation over seeds of the "
            f"**{score}**; of π_o, over data sets. Paper: {SOURCE}."
        )
    )
    blocks += [Text(RULE), Heading("Return against interactions"), *pictures.curves]
    blocks += [Heading("Every seed"), *pictures.seeds]
    blocks += [Heading("Every cell in full"), *(_full_table(study, env) for env in study.fields["envs"])]
    if pictures.portraits:
        blocks += [Heading("What D3G learned"), Text(_PORTRAITS), *pictures.portraits]
    return [*blocks, Heading("How to read this"), *_reading(study)]


def _summary(study: Study) -> str:
    parts = []
    for algo in study.fields["algos"]:
        found = [_judged(study, cell) for cell in study.cells if cell.algo == algo]
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
        parts.append(f"**{NAMES.get(algo, algo)}:** of {len(found)} cells, {', '.join(counts)}.")
    return " ".join(parts)


def _judged(study: Study, cell: Cell) -> str:
    paper = published(cell.env, cell.random_frac, cell.algo)
    if len(cell.scores) == 0:
        return ""
    return "new" if paper is None else verdict(study.headline(cell.scores), paper, cell.env)


def _facts(study: Study, scored: int) -> list[tuple[str, str]]:
    infos = [cell.info for cell in study.cells if cell.info]
    hours = sum(float(cell.status.get("seconds") or 0) for cell in study.cells) / 3600
    facts = [
        ("protocol", _PROTOCOLS.get(study.protocol, study.protocol)),
        ("cells with scores", f"{scored} of {len(study.cells)}"),
        ("hours, summed over cells", f"{hours:.1f}"),
        ("command", "; ".join(_unique(f"`{info['command']}`" for info in infos if info.get("command")))),
        ("versions", "; ".join(_unique(_listed(info.get("versions", {})) for info in infos))),
        ("machine that wrote this page", _machine()),
    ]
    shown = ("envs", "random_frac", "protocol")
    facts += [(name, _value(value)) for name, value in study.fields.items() if name not in shown]
    return sorted(((name, value) for name, value in facts if value), key=lambda fact: len(fact[1]) > LONG)


def _unique(texts: Any) -> list[str]:
    return list(dict.fromkeys(texts))


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return _listed(value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _machine() -> str:
    """Processor, cores and system."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def _main_table(study: Study, env: str) -> Table:
    algos = study.fields["algos"]
    rows = []
    for fraction in map(float, study.fields["random_frac"]):
        own = study.behaviour.get((env, fraction), _NONE)
        row: list[str | Mark] = [
            f"{fraction:.0%}",
            *_beside(own.final, published(env, fraction, BEHAVIOUR), env),
        ]
        for algo in algos:
            scores = study.cell(env, fraction, algo).scores
            row += _beside(study.headline(scores), published(env, fraction, algo), env)
        rows.append(row)
    return Table(
        caption=env,
        heads=["random", *(["ours", "paper", "ours is"] * (1 + len(algos)))],
        rows=rows,
        groups=[("", 1), ("π_o", 3), *((NAMES.get(algo, algo), 3) for algo in algos)],
    )


def _beside(ours: Array, paper: Published | None, env: str) -> list[str | Mark]:
    theirs = "–" if paper is None else _printed(paper)
    if len(ours) == 0:
        return [Mark("missing", "none"), theirs, ""]
    return [_spread(ours), theirs, "" if paper is None else _MARKS[verdict(ours, paper, env)]]


def _printed(paper: Published) -> str:
    """As the paper has it: a place after the point, none where there is nothing in it."""
    places = 0 if paper.mean == round(paper.mean) and paper.std == round(paper.std) else 1
    return f"{paper.mean:.{places}f} ± {paper.std:.{places}f}"


def _full_table(study: Study, env: str) -> Table:
    threshold = SUCCESS.get(env.rpartition("-v")[0])
    heads = ["random", "seeds", "final score", "IQM of final [95% interval]"]
    heads += ["best of rounds (optimistic)", *([f"success (≥ {threshold:g})"] if threshold else [])]
    heads += ["interactions", "gradient steps", "hours"]
    rows = []
    for cell in study.cells:
        if cell.env == env:
            name = f"{cell.random_frac:.0%} {NAMES.get(cell.algo, cell.algo)}"
            success = [] if threshold is None else ["–" if cell.success is None else f"{cell.success:.0%}"]
            rows.append([name, *_full_row(cell.scores, success), _hours(cell)])
    return Table(env, heads, rows)


def _full_row(scores: Scores, success: list[str]) -> list[str]:
    if len(scores) == 0:
        return ["0", "missing", "–", "–", *("–" for _ in success), "–", "–"]
    low, high = stratified_interval(scores.final, scores.datasets)
    best = scores.best[np.isfinite(scores.best)]
    return [
        str(len(scores)),
        _spread(scores.final),
        f"{_number(float(iqm(scores.final)))} [{_number(float(low))}, {_number(float(high))}]",
        _spread(best) if len(best) else "–",
        *success,
        _range(scores.interactions),
        _range(scores.gradient_steps),
    ]


def _hours(cell: Cell) -> str:
    seconds = cell.status.get("seconds")
    return f"{float(seconds) / 3600:.2f}" if seconds else "–"


def _range(values: np.ndarray) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _spread(values: Array) -> str:
    return f"{_number(float(values.mean()))} ± {_number(float(values.std()))}"


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}"


_PROTOCOLS = {
    "final": "final: the last score counts",
    "paper": "paper: each seed's best round counts, as published",
}
_PORTRAITS = (
    "Colours: Q(s, aim), the value of what the policy aims for. **Real**: what the policy did, through its learned "
    "inverse dynamics. **Imagined by C(s, τ(s))**: the learned model alone, again and again from the same start; "
    "**by the policy's aim**: the same with the next state that the policy picks. No environment had a part in either."
)


def _reading(study: Study) -> list[Block]:
    items = [
        "**final score:** a seed's mean return over the episodes of its final evaluation, whose starts no round saw. "
        "± is the standard deviation over seeds.",
        "**IQM:** inter-quartile mean, without the lowest and the highest quarter of the seeds; its 95% interval is a "
        "percentile bootstrap (2,000 resamples, fixed generator) within each data set's seeds (Agarwal et al. 2021). "
        "Where a data set has one seed only, seeds are resampled across data sets. It says how much the choice of "
        "seeds matters, and of data sets it says nothing.",
        "**best of rounds:** each seed's best round, as the paper reports. A maximum over noisy measurements is "
        "optimistic, the more so the more rounds there are.",
        "**interactions:** environment steps that each seed spent to learn its inverse dynamics; the paper's runs "
        "spent 100,000. **gradient steps:** of all networks.",
        "**π_o:** the policy the data was recorded from, an expert that takes a uniformly random action with the "
        "probability that names the row: the mean return of each data set's episodes, ± over data sets.",
        "The paper's environments are gym's -v2, ours Gymnasium's; the paper took the best of 100 rounds, one data "
        "set for all seeds, 1,000,000 transitions and 1,000,000 steps.",
    ]
    if any(env.rpartition("-v")[0] in SUCCESS for env in study.fields["envs"]):
        items.insert(3, "**success:** the share of the final episodes with a return of 950 or more.")
    blocks: list[Block] = [Items(items)]
    if study.experts:
        heads = list(study.experts[0])
        rows = [[_tidy(row.get(head) or "") for head in heads] for row in study.experts]
        blocks.append(Table("The experts, measured without random actions", heads, rows))
    return blocks


def _tidy(text: str) -> str:
    """A number to two places where it is one."""
    try:
        value = float(text)
    except ValueError:
        return text
    return text if text.lstrip("-").isdigit() else _number(value)
