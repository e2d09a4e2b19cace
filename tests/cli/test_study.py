"""``d3g-lfo study``: a tiny one end to end, killed, interrupted, failed, grown, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from forked import forked
from rich.console import Console, Group
from shell import ancestors, assert_same_weights, d3g, error, must

from lfo import RunFolder
from lfo.cli._progress import Pace
from lfo.cli.study import _Live, table
from lfo.datasets import LfoError, load
from lfo.locks import locked
from lfo.study import report as study_report
from lfo.study import scheduler as study_run
from lfo.study.cell import work_on
from lfo.study.spec import Cell, load_study, to_toml
from lfo.study.status import Overview, Row, Status, overview, read_status, write_status
from lfo.study.worker import make_data, measure_experts

TINY = """
envs = ["Reacher-v5"]
random_frac = [1.0]
seeds = [3, 4, 5]
transitions = 300
datasets = 2
steps = 200
rounds = 2
interactions = 30
grad_steps = 10
episodes_per_round = 2
final_episodes = 3
hidden = 8

[d3g]
batch_size = 16
"""
PATIENCE = 600
"""Seconds to wait for what takes one or two on a machine that has nothing else to do."""
D3G, BCO = Cell("Reacher-v5-100", "d3g"), Cell("Reacher-v5-100", "bco")


@pytest.fixture(autouse=True, scope="module")
def strict() -> Iterator[None]:
    """Warnings are errors in the processes of a study too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONWARNINGS", "error")
        yield


@pytest.fixture(scope="module")
def toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("toml") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def finished(toml: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole of it, its tasks done one after the other in this process: not to be changed.

    :func:`wounded` is what the command makes of it, in processes of their own.
    """
    out, study = tmp_path_factory.mktemp("study") / "a study", load_study(toml)
    for name in ("data", "logs"):
        (out / name).mkdir(parents=True)
    for k, name in enumerate(study.files(BCO.data)):
        make_data(study, BCO.data, k, out / name)
    measure_experts(study, out)
    for cell in (D3G, BCO):
        work_on(study, cell, out, "cpu")
    (out / "study.toml").write_text(to_toml(study))
    done = d3g("study", toml, "-o", out)
    assert (done.code, done.err) == (0, "2 of 2 cells done\n")
    assert done.out == f"{out}: report.html, report.md, report.csv, results.csv\n"
    return out


def copy(finished: Path, folder: Path, *without: Cell) -> Path:
    """A copy that lacks some cells."""
    out = Path(shutil.copytree(finished, folder / "study"))
    for cell in without:
        shutil.rmtree(out / "cells" / cell.name)
    return out


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the report is not what matters."""
    monkeypatch.setattr(study_report, "write_report", lambda folder: [])


@contextmanager
def meanwhile(what: Callable[[], bool], then: Callable[[], object]) -> Iterator[None]:
    """Do ``then`` as soon as ``what`` holds, while the block runs; it must come to that."""
    over, done = Event(), Event()

    def watch() -> None:
        while not over.wait(0.01):
            if what():
                then()
                done.set()
                return

    thread = Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert done.is_set()


def rows(out: Path) -> list[dict[str, str]]:
    with open(out / "results.csv", newline="") as file:
        return list(csv.DictReader(file))


def at_work(out: Path, *states: str) -> bool:
    """Whether D3G's cell is in one of these states, and its run has begun."""
    return read_status(out, D3G).state in states and (out / "cells" / D3G.name / "run.json").is_file()


def test_it_leaves_runs_scores_and_a_report(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()} - {".lock", "figures"}
    assert names == {
        *("study.toml", "totals.json", "data", "cells", "logs", "experts.csv", "results.csv"),
        *("report.html", "report.md", "report.csv"),
    }
    for cell in (D3G, BCO):
        out = RunFolder(finished / "cells" / cell.name)
        assert [(m["seed"], m["dataset"]) for m in out.info()["members"]] == [(3, 0), (4, 1), (5, 0)]
        assert out.interactions_spent() == 60
        scores = out.rows("scores.csv")
        assert [int(row["episode"]) for row in scores] == [0, 1, 2] * 3
        last = [float(r["return"]) for r in out.rows("evaluations.csv") if r["round"] == "2"]
        assert not {float(row["return"]) for row in scores} & set(last)  # other starts than the rounds'
        status = read_status(finished, cell)
        assert (status.state, status.error) == ("done", None)
        assert status.done == status.total > 0
    assert (finished / "cells" / D3G.name / "portrait.png").is_file()
    assert not (finished / "cells" / BCO.name / "portrait.png").exists()
    expert = dict(next(csv.DictReader((finished / "experts.csv").read_text().splitlines())))
    assert (expert["env"], expert["policy"], expert["episodes"]) == ("Reacher-v5", "expert", "100")
    assert -6 < float(expert["return_mean"]) < -2


def test_results_are_the_means_of_what_was_measured(finished: Path) -> None:
    found = rows(finished)
    assert [(row["algo"], row["seed"], row["dataset"]) for row in found] == [
        *(("pi_o", "", str(k)) for k in range(2)),
        *((algo, str(seed), str(k)) for algo in ("bco", "d3g") for seed, k in ((3, 0), (4, 1), (5, 0))),
    ]
    for row, k in zip(found[:2], range(2), strict=True):
        data = load(finished / "data" / f"Reacher-v5-100-{k}.h5")
        assert float(row["score_final"]) == data.episode_returns().mean()
        assert (row["score_best"], row["interactions"], row["gradient_steps"]) == ("", "0", "0")
    for cell, steps in ((BCO, 40), (D3G, 220)):
        mine = [row for row in found if row["algo"] == cell.algo]
        assert {(row["interactions"], row["gradient_steps"]) for row in mine} == {("60", str(steps))}
        assert {(row["env"], row["random_frac"], row["protocol"]) for row in mine} == {
            ("Reacher-v5", "1.0", "final")
        }
        out = RunFolder(finished / "cells" / cell.name)
        for m, row in enumerate(mine):
            final = [float(r["return"]) for r in out.rows("scores.csv") if r["member"] == str(m)]
            assert float(row["score_final"]) == pytest.approx(np.mean(final), rel=1e-12)


def test_data_sets_are_independent(finished: Path) -> None:
    one, other = (load(finished / "data" / f"Reacher-v5-100-{k}.h5") for k in range(2))
    assert one.metadata.seed != other.metadata.seed
    assert not (one.states == other.states).all(axis=1).any()


@pytest.mark.usefixtures("no_report")
def test_again_does_nothing(finished: Path, toml: Path) -> None:
    kept = [path for path in finished.rglob("*") if path.suffix in (".h5", ".pt", ".npz")]
    before = [path.stat().st_mtime_ns for path in kept]
    assert len(kept) == 9
    for words in ((toml, "-o", finished), (finished,)):
        done = d3g("study", *words)
        assert (done.code, done.err) == (0, "2 of 2 cells done\n")
    assert [path.stat().st_mtime_ns for path in kept] == before


@pytest.mark.usefixtures("no_report")
def test_what_grows_is_run_and_the_rest_is_kept(finished: Path, toml: Path, tmp_path: Path) -> None:
    """Data are collected for a fraction more; its BCO, to spare a process, is there."""
    out = copy(finished, tmp_path)
    shutil.copytree(out / BCO.path, out / "cells" / "Reacher-v5-50-bco")
    done = d3g("study", toml, "-o", out, "--random-frac", "0.5", "--algos", "bco")
    assert done.code == 0, done.err
    assert load_study(out / "study.toml").random_frac == (0.5, 1.0)
    found = rows(out)
    assert [row for row in found if row["random_frac"] == "1.0"] == rows(finished)
    assert [row["algo"] for row in found if row["random_frac"] == "0.5"] == ["pi_o"] * 2 + ["bco"] * 3
    assert "waiting" in must("study", out, "--status")  # D3G at 50%: in the table, and not asked for


@pytest.fixture(scope="module")
def wounded(toml: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Started, two processes at a time, of which D3G's is killed; and stderr."""
    out = tmp_path_factory.mktemp("wounded") / "study"

    def kill() -> None:
        pid = read_status(out, D3G).pid
        assert pid
        assert pid != os.getpid()
        os.kill(pid, signal.SIGKILL)

    with meanwhile(lambda: at_work(out, "training"), kill):
        done = d3g("study", toml, "-o", out, "--jobs", "2")
    assert done.code == 1
    return out, done.err


def test_a_killed_cell_is_named_and_the_others_go_on(finished: Path, wounded: tuple[Path, str]) -> None:
    out, err = wounded
    lines = err.splitlines()
    assert lines[0] == "0 of 2 cells done"
    assert f"{BCO.name}: done" in err
    assert not any("\x1b" in line for line in lines)
    reason = "its process was killed by SIGKILL, perhaps because memory ran out"
    assert f"failed: cells/{D3G.name}: {reason}" in err.splitlines()
    assert err.splitlines()[-1].startswith(f"Error: {out}: 1 failed (cells/{D3G.name}), the rest is done; ")
    assert reason in must("study", out, "--status")
    assert read_status(out, BCO).state == "done"
    assert rows(out) == [row for row in rows(finished) if row["algo"] != "d3g"]
    for name in ("data/Reacher-v5-100-0.h5", "data/Reacher-v5-100-1.h5", "experts.csv"):
        assert (out / name).read_bytes() == (finished / name).read_bytes()
    assert (out / "report.html").is_file()
    assert [path.name for path in (out / "logs").iterdir()] == [f"{D3G.name}.log"]


@pytest.mark.usefixtures("no_report")
def test_killed_and_interrupted_it_ends_as_if_nothing_had_been(
    finished: Path, wounded: tuple[Path, str], tmp_path: Path
) -> None:
    """The failed cell is tried again. With the parent killed, its process stops by itself."""
    out = copy(wounded[0], tmp_path)
    with forked("study", out) as process:
        process.until(lambda: at_work(out, "training"))
        assert "training" in must("study", out, "--status")
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    with meanwhile(
        lambda: at_work(out, "interacting") and overview(out).running,
        lambda: os.kill(os.getpid(), signal.SIGINT),
    ):
        interrupted = d3g("study", out)
    assert interrupted.code == 1
    assert interrupted.err.splitlines()[-1] == (
        f"Error: interrupted; finished work is saved, continue with `d3g-lfo study {out}`"
    )
    assert read_status(out, D3G).state == "waiting"
    assert (out / "cells" / D3G.name / "checkpoint.pt").is_file()
    assert "; nothing is running" in must("study", out, "--status")
    work_on(
        load_study(out / "study.toml"), D3G, out, "cpu"
    )  # as a third start would, in a process of its own
    must("study", out)
    for name in ("results.csv", "study.toml"):
        assert (out / name).read_bytes() == (finished / name).read_bytes()


def test_a_damaged_cell_says_so(finished: Path, tmp_path: Path) -> None:
    out = copy(finished, tmp_path)
    (out / D3G.path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(LfoError, match="found a damaged or foreign file"):
        work_on(load_study(out / "study.toml"), D3G, out, "cpu")
    assert read_status(out, D3G).state == "waiting"


@pytest.mark.usefixtures("no_report")
def test_data_that_cannot_be_written_fail_their_cells_alone(
    finished: Path, toml: Path, tmp_path: Path
) -> None:
    out = copy(finished, tmp_path)
    (out / "data" / "Reacher-v5-50-0.h5").mkdir()
    done = d3g("study", toml, "-o", out, "--random-frac", "0.5,1", "--algos", "bco,d3g")
    assert done.code == 1
    failed = {line.split(": ")[1]: line for line in done.err.splitlines() if line.startswith("failed: ")}
    assert set(failed) == {
        "data/Reacher-v5-50-0.h5",
        "cells/Reacher-v5-50-bco",
        "cells/Reacher-v5-50-d3g",
    }
    assert "no data/Reacher-v5-50-0.h5: " in failed["cells/Reacher-v5-50-bco"]
    assert "expected a file name, found a directory" in failed["data/Reacher-v5-50-0.h5"]
    assert read_status(out, Cell("Reacher-v5-50", "bco")).state == "failed"
    assert (out / "data" / "Reacher-v5-50-1.h5").is_file()
    assert [read_status(out, cell).state for cell in (BCO, D3G)] == ["done", "done"]
    assert "Traceback" not in done.err


def test_other_fields_are_refused(finished: Path, toml: Path) -> None:
    told = error("study", toml, "-o", finished, "--steps", "99")
    assert told == (
        f"Error: {finished}/study.toml: steps: expected 200, as the study was started, found 99; "
        "start it with the same, or choose another -o"
    )
    told = error("study", finished, "--set", "gamma=0.5")
    assert (
        "d3g: expected {'batch_size': 16}, as the study was started, found {'batch_size': 16, 'gamma': 0.5}"
        in told
    )


def test_one_start_at_a_time(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_run, "LOCK_SECONDS", 0.0)
    with locked(finished / ".lock"):
        told = error("study", finished)
    assert "expected a study that nothing is working on, found it running" in told
    assert "--status`" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("table1",),
            "table1: study: expected a study's folder, found the name of a study that ships; "
            "start the study with `d3g-lfo study table1 -o DIR`",
        ),
        (
            ("mine.toml",),
            "mine.toml: study: expected a study's folder, found no such file or folder; check the path",
        ),
        (
            ("file",),
            "file: study: expected a study's folder, found a file; start the study with `d3g-lfo study",
        ),
        (
            ("full",),
            "full: study: expected a study's folder, found a folder without study.toml; check the path",
        ),
        (("tabel1", "-o", "D"), "ships (ablation, locomotion, table1), found neither; did you mean table1?"),
        (("nowhere.toml", "-o", "D"), "nowhere.toml: study: expected a TOML file"),
        (("table1", "-o", "D", "--envs", "Hopper-v5"), "options: envs: expected a list of environments that"),
        (("table1", "-o", "D", "--random-frac", "2"), "options: random_frac: expected a list of fractions"),
        (("table1", "-o", "D", "--algos", "bco,bco"), "options: algos: expected a list of algorithms"),
        (("table1", "-o", "D", "--set", "gama=1"), "study: d3g: gama: expected a setting of D3GConfig"),
        (("table1", "-o", "D", "--set", "inverse.noise=x"), "study: inverse: noise: expected a number"),
        (("table1", "-o", "D", "--set", "inverse.rounds=5"), "options: inverse.rounds: expected the study's"),
        (("D", "--status"), "D/study.toml: study: expected a TOML file, found No such file or directory"),
        (("D", "--report"), "D/study.toml: study: expected a TOML file, found No such file or directory"),
        (("table1", "-o", "file"), "/file: expected a folder, found a file; choose another"),
        (
            ("table1", "-o", "full"),
            "/full: expected an empty folder or one with study.toml, found other files; choose another",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_done(
    words: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    assert told in error("study", *words)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "thesis.tex"]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("table1", "-o", "D", "--random-frac", "x"),
        ("table1", "-o", "D", "--set", "nothing.key=1"),
        ("table1", "-o", "D", "--seeds", "x"),
        ("table1", "-o", "D", "--jobs", "0"),
    ],
)
def test_wrong_usage_exits_2(words: tuple[str, ...]) -> None:
    assert d3g("study", *words).code == 2


def test_the_report_can_be_written_at_any_time(finished: Path, tmp_path: Path) -> None:
    out = copy(finished, tmp_path, BCO)
    (out / "report.html").unlink()
    assert str(out / "report.html") in must("study", out, "--report").splitlines()
    assert (out / "report.html").is_file()


def test_status_imports_no_torch(finished: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from lfo.cli import cli\n"
        "cli.main(['study', sys.argv[1], '--status'], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules\n"
    )
    command = [sys.executable, "-c", code, str(finished)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [[BCO.name, "done"], [D3G.name, "done"]]
    assert lines[-1] == "2 done of 2 cells"


def test_what_is_being_collected_is_told(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(TINY)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "Reacher-v5-100-1.h5").touch()
    write_status(tmp_path, D3G, Status("collecting", 0, 400))
    shown = drawn(overview(tmp_path, running=True))
    assert shown[1].split(None, 2)[1:] == ["collecting", "··········   0%           data 1 of 2"]


OLD = Path(__file__).parents[1] / "data" / "study-d39b168"
"""A study that commit d39b168 made, without BCO's cell and without D3G's final evaluation."""


@pytest.mark.usefixtures("no_report")
def test_a_study_of_an_older_version_is_resumed(tmp_path: Path) -> None:
    out = Path(shutil.copytree(OLD, tmp_path / "study"))
    cell = Cell("InvertedPendulum-v5-100", "d3g")
    record = out / cell.path / "run.json"
    info = json.loads(record.read_text())
    info["datasets"][0]["path"] = str(out / "data" / "InvertedPendulum-v5-100-0.h5")
    record.write_text(json.dumps(info))
    before = (out / cell.path / "interactions.h5").read_bytes()
    old, study = rows(out), load_study(out / "study.toml")
    assert study.settings == {"d3g": {"batch_size": 16}, "bco": {"batch_size": 16}}
    for one in (cell, Cell("InvertedPendulum-v5-100", "bco")):
        work_on(study, one, out, "cpu")
    assert (out / cell.path / "interactions.h5").read_bytes() == before  # nothing was done again
    assert d3g("study", out).code == 0
    assert rows(out) == [row | {"data": "InvertedPendulum-v5-100", "stopped": ""} for row in old]
    assert "expected {'batch_size': 16}, as the study was started" in error(
        "study", out, "--set", "gamma=0.5"
    )
    assert load_study(out / "study.toml") == study


def some(*states: str) -> Overview:
    cells = [Cell(f"Reacher-v5-{10 * k}", "d3g") for k in range(len(states))]
    shown = [Row(cell, Status(state, 1, 4, 3.0), 9.0) for cell, state in zip(cells, states, strict=True)]
    return Overview(tuple(shown), True, 75.0)


def drawn(found: Overview, height: int = 24, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(Group(*table(found, height)))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_table_too_tall_shows_what_matters() -> None:
    shown = drawn(some("done", "waiting", "training", "failed", "done"), height=4)
    assert [line.split()[1] for line in shown[:2]] == ["training", "failed"]
    assert shown[2:] == [
        "… and 3 more",
        "2 done, 1 failed of 5 cells; about 1m15s left",
    ]
    assert "██········  25%       3s  9s left" in shown[0]
    assert len(drawn(some("done", "waiting"))) == 3
    assert len(drawn(some("done", "waiting"), height=3)) == 3


def test_a_table_is_not_garbled_at_80_columns() -> None:
    cell = Cell("InvertedDoublePendulum-v5-12.5", "d3g")
    rows = (
        Row(cell, Status("interacting", 1, 3, 4000.0), 8000.0),
        Row(cell, Status("failed", 1, 3, 4000.0, error="[/x] no " + "room " * 40), None),
    )
    found = Overview(rows, True, None)
    shown = drawn(found)
    assert len(shown) == 3
    assert max(map(len, shown)) <= 80
    assert "interacting" in shown[0]
    assert "███·······  33%" in shown[0]
    assert "  [/x]" in shown[1]
    assert shown[1].endswith("…")
    assert table(found)[1].plain.endswith(" room")


def test_a_terminal_is_redrawn() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    live = _Live(console)
    live.show(some("waiting", "waiting"))
    live.show(some("training", "waiting"))
    live.end()
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert written.count("\x1b[1A\x1b[2K") >= 2  # up, and the line cleared
    assert written.count("Reacher-v5-0-d3g") >= 2


def test_elsewhere_there_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    clock = [0.0]
    live = _Live(Console(file=io.StringIO()), Pace(lambda: clock[0]))
    for clock[0] in range(100):
        live.show(some("training", "waiting"))
    live.show(some("done", "waiting"))
    live.end()
    told = "; about 1m15s left"
    assert capsys.readouterr().err.splitlines() == [
        *["0 of 2 cells done" + told] * 3,  # at once, after 10 s, and 60 s later
        f"Reacher-v5-0-d3g: done (1 of 2 cells done{told})",
    ]


def test_overview_of_the_finished_one(finished: Path) -> None:
    found = overview(finished)
    assert (found.running, found.count("done"), found.seconds_left) == (False, 2, 0.0)


def test_a_ray_cluster_that_loses_a_process_and_a_node_ends_as_if_nothing_had_been(
    finished: Path, toml: Path, tmp_path: Path
) -> None:
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed")
    out, small = tmp_path / "study", {"object_store_memory": 80 << 20}
    soon = {
        "health_check_period_ms": 200,
        "health_check_initial_delay_ms": 0,
        "health_check_timeout_ms": 2000,
    }
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": soon, **small}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1, **small) for _ in range(2)]
    killed: list[int] = []

    def kill() -> None:
        pid = read_status(out, D3G).pid
        assert pid
        killed.append(pid)
        os.kill(pid, signal.SIGKILL)

    def at_work_again() -> int | None:
        pid = read_status(out, D3G).pid
        return pid if killed and pid not in killed and at_work(out, "training", "interacting") else None

    lost: list[Any] = []

    def found() -> bool:
        above = ancestors(at_work_again() or 0)
        lost.extend(node for node in nodes if node.all_processes["raylet"][0].process.pid in above)
        return bool(lost)

    def remove() -> None:
        cluster.remove_node(lost[0], allow_graceful=False)

    try:
        with (
            meanwhile(lambda: at_work(out, "training"), kill),
            meanwhile(found, remove),
        ):
            done = d3g("study", toml, "-o", out, "--executor", "ray", "--address", cluster.address)
    finally:
        cluster.shutdown()
    assert done.code == 0, done.err
    again = [line for line in done.err.splitlines() if line.endswith("trying again")]
    assert any("killed by SIGKILL" in line for line in again), done.err
    assert any("its worker or its node was lost" in line for line in again), done.err
    for cell in (D3G, BCO):
        assert_same_weights(out / cell.path, finished / cell.path)
    assert (out / "results.csv").read_bytes() == (finished / "results.csv").read_bytes()
    assert not [path for path in out.rglob(".*") if "lock" not in path.name]
    assert not list((out / "logs").iterdir())
