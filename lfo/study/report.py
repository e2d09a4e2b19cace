"""The report of a study: its table beside the published one, curves, single seeds, portraits, what is missing.

Reads the folder of a study, finished or not: ``study.toml``, ``results.csv``, ``experts.csv`` and, in ``cells/``,
each cell's ``run.json``, ``status.json``, ``scores.csv``, ``evaluations.csv`` and ``portrait.png``. A *cell* is an
environment, a fraction of random actions and an algorithm; its seeds are the members of one run.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from lfo.atomic import read_csv, write_whole
from lfo.datasets import LfoError
from lfo.reporting.comparison import compare, rounded, spread, whole_range
from lfo.reporting.document import (
    LONG,
    Block,
    Facts,
    Heading,
    Items,
    Mark,
    Picture,
    Table,
    Text,
    to_html,
    to_markdown,
)
from lfo.reporting.figures import NAMES
from lfo.reporting.published import SEEDS, SOURCE, Published, published
from lfo.reporting.statistics import Array, iqm, stratified_interval
from lfo.runs.folder import RunFolder
from lfo.study.figures import Line, Panel, curves, panel_file, seeds
from lfo.study.spec import Cell, Study, cells, flat, load_study
from lfo.study.status import Status, read_status

__all__ = ["SUCCESS", "CellResults", "Results", "Scores", "read_results", "verdict", "write_report"]

SUCCESS = {"InvertedPendulum": 950.0}
"""Return from which an episode counts as a success, by environment without its version."""
ROUNDING = 0.05
"""What the published numbers may be off by rounding, where neither side has any spread."""
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
class CellResults:
    """What there is of one cell."""

    cell: Cell
    folder: Path
    scores: Scores
    status: Status
    info: Mapping[str, Any] = field(default_factory=dict)
    """``run.json``; empty, where there is none."""
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
        return f"{self.cell.env}, {self.cell.random_frac:.0%} random, {NAMES[self.cell.algo]}"

    @property
    def short(self) -> str:
        """In a few words, where the environment is known."""
        return f"{self.cell.random_frac:.0%} {NAMES[self.cell.algo]}"


@dataclass(frozen=True)
class Results:
    """What there is of a study."""

    folder: Path
    study: Study
    cells: tuple[CellResults, ...]
    behaviour: Mapping[tuple[str, float], Scores]
    """π_o by environment and fraction."""
    experts: tuple[Mapping[str, str], ...]
    """The rows of ``experts.csv``."""

    def headline(self, scores: Scores) -> Array:
        """[n] the scores that count under the protocol."""
        best = self.study.protocol == "paper" and bool(np.isfinite(scores.best).all())
        return scores.best if best else scores.final

    def of(self, cell: Cell) -> CellResults:
        """Those of a cell."""
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
    title = f"{folder.resolve().name}: D3G and BCO beside the paper"
    drawn, pictures = _draw(results, figures)
    blocks = _blocks(results, pictures)
    texts = {
        "report.html": to_html(title, blocks, folder),
        "report.md": to_markdown(title, blocks),
    }
    for name, text in texts.items():
        write_whole(folder / name, text)
    return [*(folder / name for name in texts), *drawn]


# --- reading ---------------------------------------------------------------------------------------------------


def read_results(folder: str | Path) -> Results:
    """Read what there is of a study.

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
        behaviour={(key.env, key.random_frac): own for key, own in scores.items() if key.algo == BEHAVIOUR},
        experts=tuple(read_csv(folder / "experts.csv")),
    )


_NONE = Scores((), *(np.zeros(0, t) for t in (np.int64, float, float, np.int64, np.int64)))


_NUMBERS = ("dataset", "score_final", "score_best", "interactions", "gradient_steps")


def _scores(path: Path) -> dict[Cell, Scores]:
    """``results.csv`` by cell; seeds whose score is not finite are left out."""
    groups: dict[Cell, list[dict[str, str]]] = {}
    try:
        for row in read_csv(path):
            if np.isfinite(_number_of(row["score_final"])):
                key = Cell(row["env"], float(row["random_frac"]), row["algo"])
                groups.setdefault(key, []).append(row)
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


def _cell(folder: Path, cell: Cell, scores: Scores) -> CellResults:
    out, found = RunFolder(folder / cell.path), dict[str, Any]()
    try:
        found |= _success(cell, out.path / "scores.csv")
        if (out.path / "run.json").is_file():
            found["info"] = out.info()
            found |= _rounds(out, found["info"])
    except LfoError as error:  # one damaged cell does not hide the others
        found["problem"] = str(error)
    return CellResults(cell, out.path, scores, read_status(folder, cell), **found)


def _success(cell: Cell, path: Path) -> dict[str, Any]:
    """The share of successes, as a field of :class:`CellResults`."""
    threshold, rows = SUCCESS.get(cell.env.rpartition("-v")[0]), read_csv(path)
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
    """The rounds' scores, as fields of :class:`CellResults`; a cell in its first round has none yet."""
    if not out.rows("evaluations.csv"):
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


def verdict(ours: Array, paper: Published) -> str:
    """Whether our mean return differs from the published one: ``same``, ``higher`` or ``lower``.

    The same, as far as can be told, are two means that differ by at most two standard errors of their difference,
    √(s²/n + s'²/n') for the sample standard deviations s of our n seeds and s' of the paper's n' = 10, or by no
    more than the published numbers are rounded.

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
    "**The rule.** ≈ stands for within noise: the means differ by at most two standard errors of the difference, "
    "√(s²/n + s'²/n') with s and n of our seeds (of π_o: of our data sets) and s' and n' = 10 of the paper's, or by "
    "0.05, the rounding of the paper's numbers. Otherwise ours is ▲ higher or ▼ lower. Within noise is no proof of "
    "the same: few seeds with a wide spread are within noise of almost anything, so look at the dots of the single "
    "seeds, too."
)


def _missing(results: Results) -> list[str]:
    """Every cell whose scores are not all there, with the reason."""
    expected = [str(seed) for seed in results.study.seeds]
    lines: list[str] = []
    idle: dict[str, list[str]] = {}
    for cell in results.cells:
        lost = [seed for seed in expected if seed not in cell.scores.seeds]
        if cell.status.state == "failed":
            lines.append(f"**{cell.name}** failed: {cell.status.error or 'no reason was recorded'}")
        elif len(cell.scores) == 0 and cell.status.state == "waiting" and not cell.status.done:
            idle.setdefault(cell.cell.env, []).append(cell.short)
        elif len(cell.scores) == 0:
            lines.append(f"**{cell.name}** has no scores yet: {_progress(cell)}")
        elif lost:
            lines.append(f"**{cell.name}** has no score of seed {', '.join(lost)}; the others are shown")
        if cell.problem:
            lines.append(f"**{cell.name}** cannot be read whole: {cell.problem}")
    return [*lines, *(f"**{env}**, not started yet: {', '.join(names)}" for env, names in idle.items())]


def _progress(cell: CellResults) -> str:
    status = cell.status
    if status.state == "done":
        return "done, but results.csv has no row of it; start the study again, which writes it anew"
    updated = _time(status)
    heard = f", last heard of at {updated:%Y-%m-%d %H:%M} UTC" if updated else ""
    return f"{status.state}, {status.done / max(status.total, 1):.0%} of its work done{heard}"


def _time(status: Status) -> datetime | None:
    """When a status was written."""
    try:
        return datetime.fromisoformat(status.updated).astimezone(timezone.utc)
    except ValueError:
        return None


# --- drawing ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pictures:
    """The blocks that are pictures."""

    curves: tuple[Picture, ...]
    seeds: tuple[Picture, ...]
    portraits: tuple[Picture, ...]


def _draw(results: Results, figures: Path) -> tuple[list[Path], _Pictures]:
    drawn: list[Path] = []
    lines, dots, portraits = [], [], []
    for env in results.study.envs:
        panels = _panels(results, env)
        safe = env.replace("/", "_")
        drawn += curves(safe, panels, results.study.rounds * results.study.interactions, figures)
        drawn.append(seeds(safe, panels, figures / f"seeds-{safe}.png"))
        lines.append(_curves_picture(env, panels))
        dots.append(
            Picture(
                f"figures/seeds-{safe}.png",
                f"{env}: the final score of every seed as a dot, by algorithm and fraction of random actions; "
                "a line across marks the published mean. The table of every cell has the numbers.",
                f"{env}. A dot is a seed; seeds stand in their order. A line across is the published mean.",
            )
        )
    for cell in results.cells:
        source = cell.folder / "portrait.png"
        if source.is_file():
            name = f"portrait-{cell.folder.name}.png"
            drawn.append(Path(shutil.copyfile(source, figures / name)))
            portraits.append(_portrait_picture(cell, name))
    return drawn, _Pictures(tuple(lines), tuple(dots), tuple(portraits))


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
        own = results.behaviour.get((env, fraction))
        panels.append(Panel(fraction, lines, None if own is None else float(own.final.mean())))
    return panels


def _curves_picture(env: str, panels: Sequence[Panel]) -> Picture:
    safe = env.replace("/", "_")

    def told(panel: Panel) -> str:
        ends = [
            f"{NAMES[line.algo]} ends at {rounded(float(line.scores[:, -1].mean()))}"
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


def _portrait_picture(cell: CellResults, name: str) -> Picture:
    return Picture(
        f"figures/{name}",
        f"{cell.name}: colours show the learned value Q over a plane of states; lines show a trajectory imagined by "
        "the learned model, and the one really taken from the same start.",
        f"{cell.name}: the seed whose last round is the median.",
    )


# --- writing ---------------------------------------------------------------------------------------------------


def _blocks(results: Results, pictures: _Pictures) -> list[Block]:
    missing, study = _missing(results), results.study
    blocks: list[Block] = [Text(_summary(results)), Facts(_facts(results))]
    if missing:
        blocks += [Heading("What is missing"), Items(missing, alert=True)]
    blocks.append(Heading("Ours beside the paper's"))
    blocks += [_main_table(results, env) for env in study.envs]
    score = "best of rounds" if study.protocol == "paper" else "final score"
    blocks.append(
        Text(
            f"Rows: the share of random actions in the data. Ours: mean ± standard deviation over seeds of the "
            f"**{score}**; of π_o, over data sets. Paper: {SOURCE}."
        )
    )
    blocks += [Text(RULE), Heading("Return against interactions"), *pictures.curves]
    blocks += [Heading("Every seed"), *pictures.seeds]
    blocks += [Heading("Every cell in full"), *(_full_table(results, env) for env in study.envs)]
    if pictures.portraits:
        blocks += [Heading("What D3G learned"), Text(_PORTRAITS), *pictures.portraits]
    return [*blocks, Heading("How to read this"), *_reading(results)]


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
        parts.append(f"**{NAMES[algo]}:** of {len(found)} cells, {', '.join(counts)}.")
    return " ".join(parts)


def _judged(results: Results, found: CellResults) -> str:
    cell = found.cell
    paper = published(cell.env, cell.random_frac, cell.algo)
    if len(found.scores) == 0:
        return ""
    return "new" if paper is None else verdict(results.headline(found.scores), paper)


def _facts(results: Results) -> list[tuple[str, str]]:
    study, infos = results.study, [found.info for found in results.cells if found.info]
    scored = sum(len(found.scores) > 0 for found in results.cells)
    busy = sum(found.status.seconds for found in results.cells)
    name = shlex.quote(results.folder.resolve().name)
    facts = [
        ("protocol", _PROTOCOLS[study.protocol]),
        ("cells with scores", f"{scored} of {len(results.cells)}"),
        ("hours, summed over cells", f"{busy / 3600:.1f}"),
        ("hours by the clock", f"{_at_work(results.cells) / 3600:.1f}"),
        ("command", f"`d3g-lfo study {name}/study.toml -o {name}`"),
        ("versions", "; ".join(_unique(_listed(info.get("versions", {})) for info in infos))),
        ("machine", "; ".join(_unique(_machine(info.get("machine")) for info in infos))),
    ]
    shown = ("envs", "random_frac", "protocol")
    facts += [(name, _value(value)) for name, value in flat(study).items() if name not in shown]
    return sorted(((name, value) for name, value in facts if value), key=lambda fact: len(fact[1]) > LONG)


def _at_work(found: Sequence[CellResults]) -> float:
    """Seconds in which at least one cell was at work: the union of what each spent up to its last word.

    Of a cell that was interrupted the pause is not known: it counts as if it had gone on in one piece.
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
    """What ``run.json`` has under ``machine``."""
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
    algos = results.study.algos
    rows = []
    for fraction in results.study.random_frac:
        own = results.behaviour.get((env, fraction), _NONE)
        row: list[str | Mark] = [
            f"{fraction:.0%}",
            *_beside(own.final, published(env, fraction, BEHAVIOUR)),
        ]
        for algo in algos:
            scores = results.of(Cell(env, fraction, algo)).scores
            row += _beside(results.headline(scores), published(env, fraction, algo))
        rows.append(row)
    return Table(
        caption=env,
        heads=["random", *(["ours", "paper", "ours is"] * (1 + len(algos)))],
        rows=rows,
        groups=[("", 1), ("π_o", 3), *((NAMES[algo], 3) for algo in algos)],
    )


def _beside(ours: Array, paper: Published | None) -> list[str | Mark]:
    theirs = "–" if paper is None else _printed(paper)
    if len(ours) == 0:
        return [Mark("missing", "none"), theirs, ""]
    return [spread(ours), theirs, "" if paper is None else _MARKS[verdict(ours, paper)]]


def _printed(paper: Published) -> str:
    """As the paper has it: a place after the point, none where there is nothing in it."""
    places = 0 if paper.mean == round(paper.mean) and paper.std == round(paper.std) else 1
    return f"{paper.mean:.{places}f} ± {paper.std:.{places}f}"


def _full_table(results: Results, env: str) -> Table:
    threshold = SUCCESS.get(env.rpartition("-v")[0])
    heads = ["random", "seeds", "final score", "IQM of final [95% interval]"]
    heads += ["best of rounds (optimistic)", *([f"success (≥ {threshold:g})"] if threshold else [])]
    heads += ["interactions", "gradient steps", "hours"]
    rows = []
    for found in results.cells:
        if found.cell.env == env:
            success = [] if threshold is None else ["–" if found.success is None else f"{found.success:.0%}"]
            hours = f"{found.status.seconds / 3600:.2f}" if found.status.seconds else "–"
            rows.append([found.short, *_full_row(found.scores, success), hours])
    return Table(env, heads, rows)


def _full_row(scores: Scores, success: list[str]) -> list[str]:
    if len(scores) == 0:
        return ["0", "missing", "–", "–", *("–" for _ in success), "–", "–"]
    low, high = stratified_interval(scores.final, scores.datasets)
    best = scores.best[np.isfinite(scores.best)]
    return [
        str(len(scores)),
        spread(scores.final),
        f"{rounded(float(iqm(scores.final)))} [{rounded(float(low))}, {rounded(float(high))}]",
        spread(best) if len(best) else "–",
        *success,
        whole_range(scores.interactions),
        whole_range(scores.gradient_steps),
    ]


_PROTOCOLS = {
    "final": "final: the last score counts",
    "paper": "paper: each seed's best round counts, as published",
}
_PORTRAITS = (
    "Colours: Q(s, aim), the value of what the policy aims for. **Real**: what the policy did, through its learned "
    "inverse dynamics. **Imagined by C(s, τ(s))**: the learned model alone, again and again from the same start, "
    "without an environment; where the policy aims for another state than that, its aim is imagined likewise."
)


def _reading(results: Results) -> list[Block]:
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
    if any(env.rpartition("-v")[0] in SUCCESS for env in results.study.envs):
        items.insert(3, "**success:** the share of the final episodes with a return of 950 or more.")
    blocks: list[Block] = [Items(items)]
    if results.experts:
        heads = list(results.experts[0])
        rows = [[_tidy(row.get(head) or "") for head in heads] for row in results.experts]
        blocks.append(Table("The experts, measured without random actions", heads, rows))
    return blocks


def _tidy(text: str) -> str:
    """A number to two places where it is one."""
    try:
        value = float(text)
    except ValueError:
        return text
    return text if text.lstrip("-").isdigit() else rounded(value)
