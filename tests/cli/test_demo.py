"""``d3g-lfo demo`` with a tiny demonstration: its steps, its report, what it refuses."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from shell import d3g, error, must

from lfo import RunFolder
from lfo.cli import demo

SMALL = demo.Demo(
    transitions=400, seeds=2, hidden=8, steps=30, rounds=2, interactions=30, grad_steps=10, episodes=2
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "DEMO", SMALL)


def test_leaves_data_runs_and_a_report(tmp_path: Path) -> None:
    out = tmp_path / "a b"
    done = d3g("demo", "-o", out, "--seed", "3")
    assert done.code == 0, done.err
    names = {path.name for path in out.iterdir()}
    assert names == {"data.h5", "d3g", "bco", "report.md", "report.csv", "report.png"}
    table = [line.split()[0] for line in done.out.splitlines() if line.startswith("  ")]
    assert [word for word in table if set(word) != {"-"}] == ["policy", "D3G", "BCO", "π_o"]
    assert str(out) in done.out.splitlines()[-1]
    for name in ("d3g", "bco"):
        assert [member["seed"] for member in RunFolder(out / name).info()["members"]] == [3, 4]
        assert RunFolder(out / name).interactions_spent() == 60


def test_every_step_is_a_command_that_gives_the_same(tmp_path: Path) -> None:
    """What it shows can be typed: the data and the report come out the same."""
    shown = must("demo", "-o", tmp_path / "one")
    typed = [shlex.split(line[2:]) for line in shown.splitlines() if line.startswith("$ ")]
    assert [words[1] for words in typed] == ["collect", "train", "interact", "train", "interact", "compare"]
    (tmp_path / "two").mkdir()
    for words in typed:
        must(*(word.replace(str(tmp_path / "one"), str(tmp_path / "two")) for word in words[1:]))
    for name in ("data.h5", "d3g/evaluations.csv", "bco/evaluations.csv", "report.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    info = RunFolder(tmp_path / "one" / "d3g").info()
    assert info["command"] == shlex.join(typed[1])


def test_refuses_what_is_there_and_replaces_when_told(tmp_path: Path) -> None:
    must("demo", "-o", tmp_path / "d")
    assert "--overwrite" in error("demo", "-o", tmp_path / "d")
    must("demo", "-o", tmp_path / "d", "--overwrite")
    (tmp_path / "file").write_text("")
    assert "found a file" in error("demo", "-o", tmp_path / "file")
    assert "cannot write to this folder" in error("demo", "-o", tmp_path / "file" / "d")


def test_the_real_one_is_random_data_within_the_budget() -> None:
    """The promise: at most 5,000 interactions, at least two seeds, 75 % random actions or more."""
    real = demo.Demo()
    assert real.rounds * real.interactions <= 5_000
    assert real.seeds >= 2
    assert real.random_frac >= 0.75


def test_wrong_usage_exits_2() -> None:
    assert d3g("demo", "--seed", "-1").code == 2
