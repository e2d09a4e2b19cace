"""``d3g-lfo convert``: from CSV files to a data set."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from shell import d3g, error, must

from lfo.datasets import load

RECIPE = """
state  = ["cos(angle)", "sin(angle)", "speed"]
reward = "-next_speed ** 2"
time   = "t"
dt     = 0.02
units  = { speed = "rad/s" }
"""


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two recordings and a recipe, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        time = np.arange(0, 1, 0.013)
        table = np.column_stack([time, np.sin(time), np.cos(time)])
        np.savetxt(f"{name}.csv", table, delimiter=",", header="t,angle,speed", comments="")
    Path("r.toml").write_text(RECIPE)


def test_from_files_to_a_data_set() -> None:
    out = must("convert", "a.csv", "b.csv", "--recipe", "r.toml", "-o", "d.h5")
    assert out.startswith(
        "d.h5: 98 transitions of 3-dimensional states in 2 episodes; next: d3g-lfo inspect d.h5"
    )
    data = load("d.h5")
    np.testing.assert_allclose(data.states[:49, 2], np.cos(0.02 * np.arange(49)), atol=1e-3)
    shown = must("inspect", "d.h5")
    assert "s[0]" in shown
    assert "cos(angle)" in shown
    assert "speed (rad/s)" in shown
    assert "state_names" not in shown
    summary = json.loads(must("inspect", "d.h5", "--json"))
    assert summary["state_names"] == ["cos(angle)", "sin(angle)", "speed"]


def test_a_pattern_and_keys_on_the_command_line() -> None:
    must("convert", "*.csv", "--recipe", "r.toml", "--set", "dt=0.1", "-o", "d.h5")
    assert len(load("d.h5")) == 18
    must("convert", "a.csv", "--set", "state=['speed']", "--set", "reward=next_speed", "-o", "e.h5")
    assert load("e.h5").state_dim == 1


def test_a_reward_that_is_python_is_told() -> None:
    Path("mine.py").write_text("def reward(s, s2):\n    return -s2[:, 2] ** 2\n")
    recipe = RECIPE.replace('"-next_speed ** 2"', '"mine:reward"')
    Path("r.toml").write_text(recipe)
    done = d3g("convert", "a.csv", "--recipe", "r.toml", "-o", "d.h5")
    assert done.code == 0
    assert "note: r.toml: the reward is the Python function mine:reward, which is run now" in done.err
    must("convert", "a.csv", "--recipe", "r.toml", "--set", "reward=-next_speed ** 2", "-o", "e.h5")
    np.testing.assert_allclose(load("d.h5").rewards, load("e.h5").rewards, rtol=1e-6)


def test_what_goes_wrong_is_one_line() -> None:
    assert "r2.toml: --recipe: expected a TOML file" in error(
        "convert", "a.csv", "--recipe", "r2.toml", "-o", "d.h5"
    )
    assert "c.csv: path: expected a file" in error("convert", "c.csv", "--recipe", "r.toml", "-o", "d.h5")
    message = error("convert", "a.csv", "--recipe", "r.toml", "--set", "cut=spead > 1", "-o", "d.h5")
    assert "a.csv: spead" in message
    assert "did you mean speed?" in message
    assert not Path("d.h5").exists()
    must("convert", "a.csv", "--recipe", "r.toml", "-o", "d.h5")
    assert "--overwrite" in error("convert", "a.csv", "--recipe", "r.toml", "-o", "d.h5")
    assert d3g("convert", "a.csv", "-o", "e.h5").code == 2


def test_without_polars_the_error_names_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['polars'] = None\n"
        "from lfo.cli import main\n"
        "sys.argv = 'd3g-lfo convert a.csv --recipe r.toml -o d.h5'.split()\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'polars>=1'" in done.stderr
