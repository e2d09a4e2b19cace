"""``d3g-lfo gridworld``: its output, its errors, and that a killed run goes on."""

import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import packages_distributions

import pytest

from lfo.cli import main
from lfo.datasets import load

SMALL = ["--trials", "2", "--episodes", "20", "--jobs", "1"]


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line: (exit code, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["d3g-lfo", "gridworld", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as stopped:
            code = stopped.code
        out, err = capsys.readouterr()
        return code, out, err

    return call


def one_line(err):
    """The error's line, without the progress bar that may precede it."""
    lines = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert "Traceback" not in err
    return lines[0]


@pytest.fixture
def no_figures(monkeypatch):
    """Where they are not what matters."""
    monkeypatch.setattr("lfo.tabular.report.save_figure", lambda figure, path: None)
    for name in ("curves_figure", "values_figure"):
        monkeypatch.setattr(f"lfo.tabular.report.{name}", lambda *parts: None)


NAMES = ["equivalence", "stochastic", "cliff", "redundant", "permuted"]


@pytest.mark.parametrize(("asked", "names"), [("redundant", ["redundant"]), ("all", NAMES)])
def test_an_experiment_writes_its_report_and_prints_the_findings(run, tmp_path, monkeypatch, asked, names):
    monkeypatch.setattr("lfo.cli._progress.FIRST_SECONDS", 600.0)  # the learner is compiled first
    words = ["--trials", "1", "--episodes", "5", "--jobs", "1"]
    code, out, err = run(asked, "-o", tmp_path / "report", *words)
    assert code == 0
    assert out.strip() == (tmp_path / "report" / "findings.md").read_text().strip()
    assert [line.split(":")[0] for line in out.splitlines() if line.startswith("## ")] == [
        f"## {name}" for name in names
    ]
    assert err == ""  # progress is told after a while
    written = {path.name for path in (tmp_path / "report").iterdir()}
    for name in names:
        assert {f"{name}.csv", f"{name}.png", f"{name}-values.png", "results.json"} < written


@pytest.mark.usefixtures("no_figures")
def test_an_existing_report_is_refused_resumed_or_overwritten(run, tmp_path):
    report = tmp_path / "report"
    assert run("cliff", "-o", report, *SMALL)[0] == 0
    before = (report / "cliff.csv").read_bytes()
    code, out, err = run("cliff", "-o", report, *SMALL)
    assert (code, out) == (1, "")
    assert "pass --resume to continue it or --overwrite to replace it" in one_line(err)

    trial = report / "trials" / "cliff" / "1-001.npz"
    kept = trial.with_name("0-000.npz").stat().st_mtime_ns
    trial.unlink()
    (report / "cliff.csv").unlink()
    assert run("cliff", "-o", report, *SMALL, "--resume")[0] == 0
    assert (report / "cliff.csv").read_bytes() == before
    assert trial.with_name("0-000.npz").stat().st_mtime_ns == kept

    results = (report / "results.json").read_bytes()
    assert run("cliff", "-o", report, *SMALL, "--seed", 1, "--overwrite")[0] == 0
    assert (report / "results.json").read_bytes() != results


@pytest.mark.usefixtures("no_figures")
def test_resuming_with_other_settings_is_refused(run, tmp_path):
    report = tmp_path / "report"
    assert run("cliff", "-o", report, *SMALL)[0] == 0
    code, _, err = run("cliff", "-o", report, *SMALL, "--seed", 7, "--resume")
    assert code == 1
    assert "run.json: settings: expected --seed 7 --episodes 20, found --seed 0 --episodes 20" in one_line(
        err
    )
    remedy = re.search(r"; pass (.*), or", one_line(err)).group(1).split()
    assert run("cliff", "-o", report, *SMALL, *remedy, "--resume")[0] == 0


@pytest.mark.usefixtures("no_figures")
def test_damaged_settings_can_be_overwritten_as_the_error_says(run, tmp_path):
    assert run("cliff", "-o", tmp_path, *SMALL)[0] == 0
    (tmp_path / "run.json").write_text("{")
    code, _, err = run("cliff", "-o", tmp_path, *SMALL, "--resume")
    assert code == 1
    assert "pass --overwrite to start again" in one_line(err)
    assert run("cliff", "-o", tmp_path, *SMALL, "--overwrite")[0] == 0


def test_a_folder_that_is_not_ours_is_never_touched(run, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for option in ([], ["--resume"], ["--overwrite"]):
        code, _, err = run("cliff", "-o", tmp_path, *SMALL, *option)
        assert code == 1
        assert "found other files; choose another" in one_line(err)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_output_that_cannot_be_written_is_one_line(run, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for output, told in ((file, "found a file"), (file / "below", "cannot write to this folder")):
        code, _, err = run("cliff", "-o", output, *SMALL)
        assert code == 1
        assert told in one_line(err)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_line(run, tmp_path):
    tmp_path.chmod(0o500)
    code, _, err = run("cliff", "-o", tmp_path / "report", *SMALL)
    assert code == 1
    assert "Permission denied" in one_line(err)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense", "-o", "x"],
        ["cliff"],
        ["cliff", "-o", "x", "--trials", "0"],
        ["cliff", "-o", "x", "--trials", "many"],
        ["cliff", "-o", "x", "--episodes", "0"],
        ["cliff", "-o", "x", "--seed", "-1"],
        ["cliff", "-o", "x", "--jobs", "0"],
        ["cliff", "-o", "x", "--resume", "--overwrite"],
        ["dataset"],
        ["dataset", "-o", "x", "--steps", "0"],
        ["dataset", "-o", "x", "--slip", "1.1"],
    ],
)
def test_wrong_usage_exits_2(run, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "Error: " in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["cliff", *SMALL], ["dataset", "--steps", "10"]])
def test_without_numba_the_remedy_installs_it_and_nothing_is_touched(run, tmp_path, monkeypatch, arguments):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "lfo.tabular.learners", raising=False)
    code, _, err = run(*arguments, "-o", tmp_path / "x")
    assert code == 1
    assert one_line(err).endswith("numba is not installed; run `pip install numba`")
    assert packages_distributions()["numba"] == ["numba"]  # the package of that name has the module
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_figures")
def test_a_damaged_trial_is_one_line(run, tmp_path):
    assert run("cliff", "-o", tmp_path, *SMALL)[0] == 0
    (tmp_path / "trials" / "cliff" / "0-001.npz").write_bytes(b"PK")
    code, _, err = run("cliff", "-o", tmp_path, *SMALL, "--resume")
    assert code == 1
    assert "0-001.npz: trial: expected a stored trial" in one_line(err)
    assert "delete the file and run again with --resume" in one_line(err)
    (tmp_path / "trials" / "cliff" / "0-001.npz").unlink()
    assert run("cliff", "-o", tmp_path, *SMALL, "--resume")[0] == 0


def test_help_needs_neither_numba_nor_matplotlib(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    code, out, _ = run("--help")
    assert code == 0
    assert "equivalence" in out
    assert "stochastic" in out
    assert "pip install numba" in out
    assert "d3g-lfo[" not in out  # the project is on no index
    assert run("redundant", "--help")[0] == 0


def test_the_data_set_is_read_back(run, tmp_path):
    file = tmp_path / "walk.h5"
    code, out, _ = run("dataset", "-o", file, "--steps", 3000, "--windy-cliff")
    assert code == 0
    assert "3000 transitions" in out
    data = load(file)
    assert data.states.shape == (3000, 2)
    assert data.next_states[:, 0].max() == 11  # the cliff
    code, _, err = run("dataset", "-o", file, "--steps", 10)
    assert code == 1
    assert "--overwrite" in one_line(err)
    assert run("dataset", "-o", file, "--steps", 10, "--overwrite")[0] == 0
    assert len(load(file)) == 10
    code, _, err = run("dataset", "-o", file / "below.h5", "--steps", 10)
    assert code == 1
    assert "below.h5" in one_line(err)


@pytest.mark.usefixtures("no_figures")
def test_a_killed_run_leaves_no_process_and_goes_on(run, tmp_path):
    """Two processes, killed after the first trials; the rest is run in one, and nothing differs."""
    options = ["--trials", "4", "--episodes", "200"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run("cliff", "-o", whole, *options, "--jobs", 1)[0] == 0

    command = [sys.executable, "-c", "from lfo.cli import main; main()", "gridworld", "cliff", "-o", killed]
    process = subprocess.Popen(
        [*command, *options, "--jobs", "2"],
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},  # compiling would take longer than the trials
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(killed.glob("trials/cliff/*.npz")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("a worker outlived its parent")

    assert run("cliff", "-o", killed, *options, "--jobs", 1, "--resume")[0] == 0
    assert (killed / "cliff.csv").read_bytes() == (whole / "cliff.csv").read_bytes()
    assert (killed / "results.json").read_bytes() == (whole / "results.json").read_bytes()
