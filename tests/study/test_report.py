"""The report of a study: numbers worked by hand, a page that stands alone, and what is missing named."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lfo import RunFolder
from lfo.atomic import read_csv
from lfo.datasets import LfoError
from lfo.reporting import document as page
from lfo.study import report as study_report
from lfo.study.figures import Panel, panel_file
from lfo.study.references import Reference, read_references, verdict, why_not_judged
from lfo.study.report import read_results, write_report
from lfo.study.spec import Cell

ENV = "InvertedPendulum-v5"
FIELDS = f"""
envs = ["{ENV}"]
random_frac = [0.5, 1.0]
algos = ["bco", "d3g"]
seeds = [0, 1, 2]
protocol = "final"
datasets = 2
rounds = 2
steps = 1000000
interactions = 50000
grad_steps = 500000
references = "peers.csv"

[d3g]
gamma = 0.99
"""
RESULTS = """env,random_frac,algo,seed,dataset,protocol,score_final,score_best,interactions,gradient_steps
ENV,1.0,pi_o,,0,final,4.0,,0,0
ENV,1.0,pi_o,,1,final,6.0,,0,0
ENV,1.0,bco,0,0,final,30.0,41.0,60,40
ENV,1.0,bco,1,1,final,34.0,43.0,60,40
ENV,1.0,bco,2,0,final,nan,44.0,60,40
ENV,1.0,d3g,0,0,final,100.0,700.0,60,80
ENV,1.0,d3g,1,1,final,400.0,800.0,60,80
ENV,1.0,d3g,2,0,final,1000.0,1000.0,60,80
""".replace("ENV", ENV)
PEERS = f"""
{ENV}-100,Peer|<b>*$x$,500.5,20.25,5,=actions,1000,,,"`theirs`, <i>"
{ENV}-100,qsi,-7,,,,,,,
"""
HEADS = ["data", *["ours", "reference", "ours is"] * 3, "reference", "reference"]


class Parsed(HTMLParser):
    """Fails at a tag that is closed in the wrong order; collects links, text and tables."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if self.open[-1:] and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def status(state: str, **more: Any) -> str:
    known = {"state": state, "done": 0, "total": 0, "seconds": 0.0, "updated": "", "error": None, "pid": 1}
    return json.dumps({**known, **more})


@pytest.fixture(scope="module")
def reported(interacted: Path, bco: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished cell of each algorithm, of real tiny runs; one that failed, one that has not begun; the report.

    Not to be changed: see ``study``.
    """
    folder = tmp_path_factory.mktemp("reported") / "tiny"
    cells = folder / "cells"
    for run, algo in ((interacted, "d3g"), (bco, "bco")):
        shutil.copytree(run, cells / f"{ENV}-100-{algo}")
        # Two cells of an hour and a half, the second begun an hour after the first: two and a half by the clock.
        ended = f"2026-01-02T0{3 if algo == 'd3g' else 4}:00:00+00:00"
        written = status("done", seconds=5400.0, updated=ended)
        (cells / f"{ENV}-100-{algo}" / "status.json").write_text(written)
    rows = [{"member": m, "return": value} for m in range(2) for value in (949.0, 950.0, 1000.0, 3.0)]
    RunFolder(cells / f"{ENV}-100-d3g").write_rows("scores.csv", rows)
    (cells / f"{ENV}-50-bco").mkdir()
    (cells / f"{ENV}-50-bco" / "status.json").write_text(status("failed", error="disk <full> & gone"))
    (folder / "study.toml").write_text(FIELDS)
    (folder / "results.csv").write_text(RESULTS)
    shipped = (resources.files("lfo.study.shipped") / "table1.csv").read_text(encoding="utf-8")
    rows = RunFolder(cells / f"{ENV}-100-d3g").info()["datasets"][0][
        "transitions"
    ]  # of the paper's size, for once
    (folder / "peers.csv").write_text(shipped.replace(",1000000,1000000,", f",{rows},1000000,") + PEERS[1:])
    (folder / "experts.csv").write_text(f"env,episodes,return_mean,return_std\n{ENV},100,998.765,1.5\n")
    (cells / f"{ENV}-100-d3g" / "portrait.png").write_bytes(b"\x89PNG picture")
    written = write_report(folder)
    assert {path.name for path in written} >= {"report.html", "report.md", f"portrait-{ENV}-100-d3g.png"}
    assert all(path.is_file() for path in written)
    return folder


@pytest.fixture
def study(reported: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(reported, tmp_path / "study"))


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty pictures, where the text is what matters."""

    def curves(env: str, panels: Sequence[Panel], last: int, folder: Path) -> list[Path]:
        names = [panel_file(env), *(panel_file(env, panel.name) for panel in panels)]
        return [seeds(env, panels, folder / name) for name in names]

    def seeds(env: str, panels: Sequence[Panel], path: Path) -> Path:
        path.write_bytes(b"\x89PNG")
        return path

    monkeypatch.setattr(study_report, "curves", curves)
    monkeypatch.setattr(study_report, "seeds", seeds)


def table(parsed: Parsed, heads: list[str]) -> dict[str, list[str]]:
    """The rows of the table with these heads, by their first cell."""
    start = parsed.rows.index(heads) + 1
    found = {}
    for row in parsed.rows[start:]:
        if len(row) != len(heads):
            break
        found[row[0]] = row[1:]
    return found


def test_the_tables_by_hand(reported: Path) -> None:
    parsed = Parsed((reported / "report.html").read_text(encoding="utf-8"))
    main = table(parsed, HEADS)
    # d3g: mean 500, deviations 400, 100, 500: std sqrt(140000) = 374.2. Two standard errors: s² = 210000 over 3 is
    # 70000, its root 264.6, twice that 529 > 500, so within noise of 1000. bco: 32 ± 2; s² = 8, /2 = 4, and the
    # paper's 4.7² / 10 = 2.2: two errors 5. pi_o: 5 ± 1; s² = 2, /2 = 1: two errors 2, and 3.6 off.
    assert main[f"{ENV}, 100% random"] == [
        *["32.00 ± 2.00", "31.0 ± 4.7", "≈"],
        *["500.0 ± 374.2", "1000 ± 0", "≈"],
        *["5.00 ± 1.00", "8.6 ± 0.3", "▼ lower"],
        *["500.5 ± 20.2", "−7"],
    ]
    assert main[f"{ENV}, 50% random"] == [
        *["missing", "12.1 ± 8.3", ""],
        *["missing", "900.2 ± 299.2", ""],
        *["missing", "18.0 ± 2.4", ""],
        *["–", "–"],
    ]
    heads = ["data", "column", "seeds", "final score", "IQM of final [95% interval]"]
    heads += ["best of rounds (optimistic)", "success", "interactions", "gradient steps", "hours"]
    start = parsed.rows.index(heads) + 1
    full = {(row[0], row[1]): row[2:] for row in parsed.rows[start : start + 4]}
    seeds, final, robust, best, success, *rest = full[f"{ENV}, 100% random", "D3G"]
    assert (seeds, final, best, success) == ("3", "500.0 ± 374.2", "833.3 ± 124.7", "50%")
    assert robust.startswith("500.0 [")
    assert rest == ["60", "80", "1.50"]
    assert full[f"{ENV}, 100% random", "BCO"][0] == "2"
    assert full[f"{ENV}, 50% random", "BCO"][:2] == ["0", "missing"]


def test_the_page_stands_alone(reported: Path) -> None:
    text = (reported / "report.html").read_text(encoding="utf-8")
    parsed = Parsed(text)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in parsed.tags}
    for _, attributes in parsed.tags:
        for name in ("src", "href", "data", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert "url(" not in text
    assert "@import" not in text
    images = [attributes for tag, attributes in parsed.tags if tag == "img"]
    assert len(images) == 2 + 1 + 1  # curves of two fractions, seeds, a portrait
    assert all(len(image["alt"] or "") > 20 for image in images)
    meta = [attributes for tag, attributes in parsed.tags if tag == "meta"]
    assert any("width=device-width" in (tag.get("content") or "") for tag in meta)
    tables = sum(tag == "table" for tag, _ in parsed.tags)
    assert tables == 4
    assert sum(a.get("class") == "scroll" and a.get("role") == "region" for _, a in parsed.tags) == tables


def test_markdown_shows_the_same(reported: Path) -> None:
    text = (reported / "report.md").read_text(encoding="utf-8")
    assert (
        f"| {ENV}, 100% random | 32.00 ± 2.00 | 31.0 ± 4.7 | ≈ | 500.0 ± 374.2 | 1000 ± 0 | ≈ "
        "| 5.00 ± 1.00 | 8.6 ± 0.3 | ▼ lower | 500.5 ± 20.2 | −7 |" in text.splitlines()
    )
    assert "| data | BCO ours | BCO reference | BCO ours is |" in text
    for name in (f"curves-{ENV}.png", f"seeds-{ENV}.png"):
        assert f"](figures/{name})" in text
        assert (reported / "figures" / name).read_bytes().startswith(b"\x89PNG")
    assert str(reported) not in text


def test_what_is_missing_is_named(reported: Path) -> None:
    parsed = Parsed((reported / "report.html").read_text(encoding="utf-8"))
    for line in (
        f"{ENV}, 50% random, BCO failed: disk <full> & gone",
        f"{ENV}, 50% random, not started yet: D3G",
        f"{ENV}, 100% random, BCO has no score of seed 2; the others are shown",
    ):
        assert line in parsed.text
    assert f"{ENV}, 100% random, D3G has" not in parsed.text
    assert "3 of 4" not in parsed.text
    assert "2 of 4" in parsed.text  # cells with scores


def test_what_was_run_is_told(reported: Path) -> None:
    text = Parsed((reported / "report.html").read_text(encoding="utf-8")).text
    info = RunFolder(reported / "cells" / f"{ENV}-100-d3g").info()
    machine = info["machine"]
    told = [
        "d3g-lfo study tiny/study.toml -o tiny",
        f"{machine['processor']}, {machine['cores']} cores, cpu, ",
        "hours, summed over cells3.0",
        "hours by the clock2.5",
        f"torch {info['versions']['torch']}",
        "final: the last score counts",
        "gamma 0.99",
    ]
    for words in [*told, "998.8", "arXiv 2002.09505"]:  # the expert
        assert words in text
    assert "not recorded" not in text


@pytest.mark.usefixtures("no_pictures")
def test_a_machine_that_was_not_recorded(study: Path) -> None:
    run = RunFolder(study / "cells" / f"{ENV}-100-d3g")
    run.write_info({key: value for key, value in run.info().items() if key != "machine"})
    write_report(study)
    text = (study / "report.md").read_text(encoding="utf-8")
    machine = RunFolder(study / "cells" / f"{ENV}-100-bco").info()["machine"]
    assert f"**machine:** {machine['processor']}, " in text
    assert text.count("not recorded") == 1


@pytest.mark.usefixtures("no_pictures")
def test_under_the_papers_protocol_the_best_round_counts(study: Path) -> None:
    (study / "study.toml").write_text(FIELDS.replace('"final"', '"paper"'))
    write_report(study)
    parsed = Parsed((study / "report.html").read_text(encoding="utf-8"))
    main = table(parsed, HEADS)
    assert main[f"{ENV}, 100% random"][3:5] == ["833.3 ± 124.7", "1000 ± 0"]
    assert main[f"{ENV}, 100% random"][6:8] == ["5.00 ± 1.00", "8.6 ± 0.3"]  # π_o has no rounds
    assert "best of rounds; of π" in parsed.text


@pytest.mark.usefixtures("no_pictures")
def test_a_study_that_has_just_begun(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(FIELDS.replace('references = "peers.csv"', ""))
    write_report(tmp_path)
    text = Parsed((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert f"{ENV}, 100% random, not started yet: BCO, D3G" in text
    assert "0 of 4" in text
    (tmp_path / "results.csv").write_text("")
    assert all(len(cell.scores) == 0 for cell in read_results(tmp_path).cells)


@pytest.mark.usefixtures("no_pictures")
def test_a_cell_at_work_shows_how_far_it_is(study: Path) -> None:
    (study / "cells" / f"{ENV}-50-d3g").mkdir()
    at_work = status("training", done=30, total=120, updated="2026-01-02T03:04:05+00:00")
    (study / "cells" / f"{ENV}-50-d3g" / "status.json").write_text(at_work)
    write_report(study)
    text = (study / "report.md").read_text(encoding="utf-8")
    assert "has no scores yet: training, 25% of its work done, last heard of at 2026-01-02 03:04 UTC" in text


@pytest.mark.usefixtures("no_pictures")
def test_a_damaged_cell_hides_no_other(study: Path) -> None:
    (study / "cells" / f"{ENV}-100-d3g" / "evaluations.csv").write_text("member,round\n0,1\n")
    (study / "cells" / f"{ENV}-100-bco" / "scores.csv").write_text("member,return\n0,much\n")
    write_report(study)
    text = (study / "report.md").read_text(encoding="utf-8")
    assert f"**{ENV}, 100% random, D3G** cannot be read completely: " in text
    assert "500.0 ± 374.2" in text
    assert "return: expected a column of numbers" in text


def test_rounds_are_those_of_the_run(reported: Path) -> None:
    cell = read_results(reported).of(Cell(f"{ENV}-100", "d3g"))
    rows = RunFolder(cell.folder).rows("evaluations.csv")
    for seed in (0, 1):
        for number in (1, 2):
            returns = [
                float(r["return"]) for r in rows if (r["seed"], r["round"]) == (str(seed), str(number))
            ]
            assert cell.rounds[seed, number - 1] == pytest.approx(np.mean(returns))
    np.testing.assert_array_equal(cell.interactions, [30, 60])
    assert cell.scores.seeds == ("0", "1", "2")
    np.testing.assert_array_equal(cell.scores.datasets, [0, 1, 0])


@pytest.mark.parametrize(
    ("ours", "paper", "expected"),
    [
        ([1000, 1000, 1000], (1000, 0), "same"),
        ([979, 981], (1000, 0), "lower"),  # 20 off, two errors are 2
        ([999.96], (1000, 0), "same"),
        ([999.94], (1000, 0), "lower"),
        ([1000, 1000], (602.1, 487.4), "higher"),  # 397.9 off, two errors 2 · 487.4 / √10 = 308
        ([900, 900], (602.1, 487.4), "same"),
        ([400, 700, 1000], (1000, 0), "same"),  # 300 off, s = 300, two errors 346
        ([600, 700, 800], (1000, 0), "lower"),
    ],
)
def test_the_rule(ours: list[float], paper: tuple[float, float], expected: str) -> None:
    reference = Reference("d", "D3G", *paper, members=10, sizes={}, given="", source="")
    assert verdict(np.array(ours, float), reference) == expected


def test_nothing_is_judged_across_sizes_that_differ_by_more_than_four() -> None:
    reference = Reference("d", "D3G", 1.0, 0.0, 10, {"steps": 400, "interactions": 100}, "", "")
    assert not why_not_judged({"steps": 100, "interactions": 400}, reference)
    assert why_not_judged({"steps": 99, "interactions": 100}, reference) == "99 gradient steps against 400"
    assert why_not_judged({"steps": 1601}, reference) == "1,601 gradient steps against 400"
    assert why_not_judged({"transitions": 1}, reference) == "its transitions are not known"
    assert "spread" in why_not_judged({}, replace(reference, std=None))
    assert "members" in why_not_judged({}, replace(reference, members=None))


def test_table_1_ships_as_references() -> None:
    """30 numbers; the ones the deck's headline is about."""
    found = read_references("table1")
    assert len(found) == 2 * 5 * 3
    for (row, label), expected in {
        ("InvertedPendulum-v5-100", "d3g"): (1000, 0),
        ("InvertedPendulum-v5-25", "d3g"): (602.1, 487.4),
        ("Reacher-v5-0", "pi_o"): (-4.1, 0.7),
        ("Reacher-v5-100", "bco"): (-9.7, 0.8),
    }.items():
        assert (found[row, label].mean, found[row, label].std) == expected


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("d,,1", "line 2: label: expected a value, found nothing"),
        ("d,x,much", "line 2: return_mean: expected a number, found 'much'"),
        ("d,x,1,-2", "line 2: return_std: expected a number, found '-2'"),
        ("d,x,1\nd,X,2", "line 3: expected one number of X on d, found another; remove one"),
    ],
)
def test_a_wrong_table_of_references_is_told_with_its_line(line: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "peers.csv"
    path.write_text(f"data,label,return_mean,return_std\n{line}\n")
    with pytest.raises(LfoError) as caught:
        read_references(str(path))
    assert str(caught.value).startswith(f"{path}: {told}")


def test_text_from_outside_is_shown_as_it_is(reported: Path) -> None:
    page, markdown = ((reported / name).read_text("utf-8") for name in ("report.html", "report.md"))
    parsed = Parsed(page)
    assert "Peer|<b>*$x$" in parsed.text
    assert "`theirs`, <i>" in parsed.text
    assert not {"b", "i"} & {tag for tag, _ in parsed.tags}
    assert r"| Peer\|\<b\>\*\$x\$ reference |" in markdown
    assert r"| \`theirs\`, \<i\> |" in markdown
    assert r"failed: disk \<full\> \& gone" in markdown
    rows = {row["label"]: row for row in read_csv(reported / "report.csv") if row["data"] == f"{ENV}-100"}
    assert (rows["Peer|<b>*$x$"]["given"], rows["qsi"]["return_mean"]) == ("'=actions", "-7.0")
    assert (rows["d3g"]["return_mean"], rows["d3g"]["steps"], rows["d3g"]["source"]) == (
        *("500.0", "1000000"),
        "this study",
    )


@pytest.mark.usefixtures("no_pictures")
def test_what_is_refused(study: Path, tmp_path: Path) -> None:
    with pytest.raises(LfoError, match=r"nothing/study\.toml: study: expected a TOML file"):
        write_report(tmp_path / "nothing")
    (study / "results.csv").write_text(RESULTS.replace("score_final", "score"))
    with pytest.raises(LfoError, match=r"results\.csv: expected columns env, .* found something else"):
        write_report(study)
    (study / "study.toml").write_text('envs = "Reacher-v5"\nrandom_frac = [1]\nalgos = ["bco"]\n')
    with pytest.raises(LfoError, match=r"study\.toml: envs: expected a list of .*, found 'Reacher-v5'"):
        write_report(study)


def test_results_come_first_and_settings_last(reported: Path) -> None:
    parsed = Parsed((reported / "report.html").read_text(encoding="utf-8"))
    places = [
        parsed.text.index(words) for words in ("1000 ± 0", "What is missing", "Every seed", "grad_steps")
    ]
    assert places == sorted(places)


def test_no_picture_is_wider_than_the_screen(reported: Path) -> None:
    style = (reported / "report.html").read_text(encoding="utf-8").partition("</style>")[0]
    assert not [rule for rule in style.splitlines() if "img" in rule and "min-width" in rule]


@pytest.mark.usefixtures("no_pictures")
def test_stopped_seeds_are_named_and_not_counted(study: Path) -> None:
    run = RunFolder(study / "cells" / f"{ENV}-100-d3g")
    run.write_info({**run.info(), "stopped": {"1": "critic_loss not finite at step 1234"}})
    write_report(study)
    text = (study / "report.md").read_text(encoding="utf-8")
    told = f"**{ENV}, 100% random, D3G:** seed 1 stopped (critic\\_loss not finite at step 1234): not counted"
    assert text.count(told) == 1
    cell = read_results(study).of(Cell(f"{ENV}-100", "d3g"))
    assert (cell.scores.seeds, cell.scores.final.tolist()) == (("0", "2"), [100, 1000])
    assert cell.rounds.shape == (1, 2)
    assert cell.strata.tolist() == [0]
    assert cell.success == 0.5  # of member 0 alone
    assert "D3G** has no score of seed" not in text


@pytest.mark.usefixtures("no_pictures")
def test_a_cell_whose_seeds_all_stopped(study: Path) -> None:
    run = RunFolder(study / "cells" / f"{ENV}-100-d3g")
    run.write_info({**run.info(), "stopped": {"0": "a", "1": "b"}})
    write_report(study)
    found = read_results(study).of(Cell(f"{ENV}-100", "d3g"))
    assert (found.rounds.size, found.success, len(found.scores)) == (0, None, 1)


@pytest.mark.parametrize(
    ("env", "expected"), [(ENV, 950.0), ("Reacher-v5", -3.75), ("Nothing-v0", None), ("no.module:X-v0", None)]
)
def test_success_is_the_environments_own_threshold(env: str, expected: float | None) -> None:
    assert study_report.threshold(env) == expected


@pytest.mark.usefixtures("no_pictures")
def test_one_minus_sign_on_the_page(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(
        FIELDS.replace(ENV, "Reacher-v5").replace('references = "peers.csv"', "")
    )
    rows = RESULTS.replace(ENV, "Reacher-v5").replace(",final,", ",final,-")
    (tmp_path / "results.csv").write_text(rows.replace("-nan", "nan"))
    (tmp_path / "experts.csv").write_text("env,episodes,return_mean,return_std\nReacher-v5,100,-4.125,1.5\n")
    write_report(tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    for words in ("−5.00 ± 1.00", "−40.6", "| −4.12 |"):
        assert words in text
    assert not re.findall(r"(?<![\w.])-\d[^\s]*", text)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("name", ["table1", "published", "qsi"])
def test_the_reports_in_docs_are_what_the_command_writes(name: str, tmp_path: Path) -> None:
    kept = Path(__file__).parents[2] / "docs" / "results" / name
    study = Path(shutil.copytree(kept, tmp_path / name))
    write_report(study)
    assert (study / "report.md").read_text("utf-8") == (kept / "report.md").read_text("utf-8")


def test_of_equal_curves_and_published_lines_both_are_seen() -> None:
    from matplotlib.figure import Figure

    from lfo.study import figures

    lines = tuple(
        figures.Line(
            style,
            np.array([10.0, 20.0]),
            np.full((2, 2), 1000.0),
            np.array([0, 1]),
            np.full(2, 1000.0),
            Reference("d", algo, 1000.0, 0.0, 10, {}, "", ""),
        )
        for algo, style in figures.styles({"d3g": "d3g", "bco": "bco"}).items()
    )
    ax = Figure().subplots()
    figures._curves_panel(ax, Panel("row", "50% random actions", lines, -4.125), (21.0, 0.0, 1100.0))
    below, above = (line for line in ax.lines if line.get_marker() in ("o", "s"))
    assert below.get_linewidth() > 1.5 * above.get_linewidth()
    styles = [figures._reference(line.style, place, 2)["linestyle"] for place, line in enumerate(lines)]
    (first, (on, off)), (second, same) = styles
    assert (on, off) == same
    assert on <= first - second <= off  # one line's dashes fall into the other's gaps
    assert "returns −4.12" in ax.get_title()


# --- the page itself -------------------------------------------------------------------------------------------


def test_texts_are_escaped_and_marked(tmp_path: Path) -> None:
    blocks: list[page.Block] = [
        page.Heading("A < B"),
        page.Text("**bold** `x < y` & π_o <script>alert(1)</script>"),
        page.Facts([("name", "short"), ("long", "x" * 200)]),
        page.Items(["one", "two"], alert=True),
        page.Table("T", ["k", "v"], [["a|b", page.Mark("5", "good")]], groups=[("", 1), ("G", 1)]),
    ]
    text = page.to_html("T & t", blocks, tmp_path)
    parsed = Parsed(text)
    assert "<script" not in text
    assert "<strong>bold</strong> <code>x &lt; y</code> &amp; π<sub>o</sub>" in text
    assert parsed.rows == [["", "G"], ["k", "v"], ["a|b", "5"]]
    assert ("td", {"class": "good"}) in parsed.tags
    markdown = page.to_markdown("T & t", blocks)
    assert "| k | G v |\n| --- | --: |\n| a\\|b | 5 |" in markdown
    assert markdown.startswith("# T \\& t\n\n## A < B\n")


def test_numbers_are_finite_in_every_page(reported: Path) -> None:
    words = (reported / "report.md").read_text(encoding="utf-8").split()
    assert not [word for word in words if word.strip("[],|") in ("nan", "inf", "-inf")]
    assert math.isclose(read_results(reported).of(Cell(f"{ENV}-100", "d3g")).success or 0, 0.5)
