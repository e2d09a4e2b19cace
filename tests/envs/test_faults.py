"""Environments that misbehave: one line that says which, what and when; finished rounds are kept."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import odd  # registers them
import pytest
from shell import TINY, TINY_ROUNDS, assert_same_weights, copy, d3g, error, must

from lfo import RunFolder
from lfo.datasets.collect import collect
from lfo.envs.faults import EnvironmentFault
from lfo.envs.make import make_env
from lfo.envs.rollout import rollout


def name(call: str, what: str, at: int) -> str:
    return f"Odd-{call}-{what.replace(' ', '-')}-{at}-v0"


@pytest.mark.parametrize("at", [1, 7])
@pytest.mark.parametrize("what", odd.STEP)
def test_a_step_that_goes_wrong(what: str, at: int) -> None:
    with pytest.raises(EnvironmentFault) as caught:
        collect(name("step", what, at), random_frac=1.0, steps=20)
    assert str(caught.value).startswith(
        f"environment {name('step', what, at)}: {odd.STEP[what].format(n=at)}"
    )


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("what", odd.RESET)
def test_a_reset_that_goes_wrong(what: str, at: int) -> None:
    with pytest.raises(EnvironmentFault) as caught:
        collect(name("reset", what, at), random_frac=1.0, steps=20)
    call = "reset" if at == 1 else "reset after step 5"
    assert str(caught.value).startswith(f"environment {name('reset', what, at)}: {call}: {odd.RESET[what]}")


def test_nothing_is_lost_when_closing_fails() -> None:
    with pytest.warns(RuntimeWarning, match=r"Odd-close-raises-1-v0: close: ZeroDivisionError.*; ignored"):
        data, _ = collect("Odd-close-raises-1-v0", random_frac=1.0, steps=20)
    assert len(data) == 20


def test_one_of_several_is_named_and_ended_ones_do_not_matter() -> None:
    envs = [make_env("Odd-v0"), make_env(name("step", "nan", 7))]
    steps = rollout(envs, lambda observations, running: np.full((len(running), 1), 0.5), [0, 1], [3, 9])
    assert [len(next(steps).running) for _ in range(6)] == [2, 2, 2, 1, 1, 1]
    with pytest.raises(EnvironmentFault, match=r"Odd-step-nan-7-v0: step 7: expected a finite observation"):
        next(steps)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on data of the environment that does nothing wrong."""
    folder = tmp_path_factory.mktemp("odd")
    must("collect", "Odd-v0", "--random-frac", "1", "--steps", "200", "-o", folder / "d.h5")
    must("train", folder / "d.h5", "-o", folder / "run", *TINY)
    return folder / "run"


@pytest.mark.parametrize("what", ["raises", "nan", "nan reward"])
def test_rounds_that_are_finished_are_kept(run: Path, tmp_path: Path, what: str) -> None:
    """A round steps the first environment for 30 steps, and then for an episode of 5: the second round fails."""
    broken = copy(run, tmp_path)
    lines = must_fail_after_a_round(broken, name("step", what, 45))
    assert f"environment {name('step', what, 45)}: step " in lines
    assert lines.endswith("; continue after round 1 with --resume")
    assert {row["round"] for row in RunFolder(broken).rows("evaluations.csv")} == {"1"}


def must_fail_after_a_round(broken: Path, env: str) -> str:
    done = d3g("interact", broken, "--env", env, *TINY_ROUNDS)
    assert done.code == 1, done
    assert done.out.startswith("round 1/2"), done
    return done.err.splitlines()[-1]


def test_without_a_round_the_run_is_as_it_was(run: Path, tmp_path: Path) -> None:
    broken = copy(run, tmp_path)
    done = d3g("interact", broken, "--env", name("step", "raises", 3), *TINY_ROUNDS)
    assert done.err.splitlines()[-1].startswith(
        "Error: environment Odd-step-raises-3-v0: step 3: ZeroDivisionError"
    )
    assert "has no time limit: evaluation episodes are cut after 10,000 steps" in done.err
    assert_same_weights(broken, run)


def test_a_data_set_does_not_import_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file may come from anyone. What the user typed once is known from then on."""
    (tmp_path / "planted.py").write_text(
        "import pathlib, odd, gymnasium\n"
        "pathlib.Path('ran').touch()\n"
        "gymnasium.register('Planted-v0', odd.Odd)\n"
    )
    monkeypatch.chdir(tmp_path)
    must("collect", "Odd-v0", "--random-frac", "1", "--steps", "60", "-o", "d.h5")
    with h5py.File("d.h5", "a") as file:
        file.attrs["env_id"] = "planted:Planted-v0"
    must("inspect", "d.h5")
    must("train", "d.h5", "-o", "run", *TINY)
    for command in ("interact", "eval"):
        line = error(command, "run")
        assert "would import a module" in line
        assert "pass --env planted:Planted-v0" in line
    assert not Path("ran").exists()
    must("interact", "run", "--env", "planted:Planted-v0", *TINY_ROUNDS)
    assert Path("ran").exists()
    must("eval", "run", "--episodes", "2", "--max-steps", "5")
