"""``d3g-lfo interact`` and ``d3g-lfo eval``."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from shell import TINY, TINY_ROUNDS, assert_same_weights, copy, d3g, error, must

from lfo import RunFolder, evaluate, load_agent
from lfo.datasets import load, save

LINE = re.compile(
    r"round (\d)/(\d)  (\d+) interactions  return ([\d.]+) ± ([\d.]+)  \(seed 0: ([\d.]+)  seed 1: ([\d.]+)\)"
)


def rounds(text: str) -> list[list[float]]:
    found = [LINE.fullmatch(line) for line in text.splitlines()]
    assert all(found), text
    return [[float(part) for part in match.groups()] for match in found if match]


@pytest.mark.parametrize("algo", ["d3g", "bco"])
def test_prints_a_line_a_round(dataset: Path, tmp_path: Path, algo: str) -> None:
    run = tmp_path / "run"
    must("train", dataset, "-o", run, "--seeds", "0-1", "--algo", algo, *TINY)
    found = rounds(must("interact", run, *TINY_ROUNDS))
    assert [line[:3] for line in found] == [[1, 2, 30], [2, 2, 60]]
    rows = RunFolder(run).rows("evaluations.csv")
    for number, _, _, mean, std, first, second in found:
        per_seed = [
            np.mean([float(r["return"]) for r in rows if (int(r["round"]), r["seed"]) == (number, seed)])
            for seed in "01"
        ]
        np.testing.assert_allclose([first, second], per_seed, atol=0.006)
        np.testing.assert_allclose([mean, std], [np.mean(per_seed), np.std(per_seed)], atol=0.006)
    assert RunFolder(run).interactions()["actions"].shape == (2, 60, 1)


def test_more_rounds_by_resume_are_the_same_as_at_once(
    trained: Path, interacted: Path, tmp_path: Path
) -> None:
    """Options that are left out keep their earlier values."""
    parts = copy(interacted, tmp_path / "parts")
    done = d3g("interact", parts, "--resume", "--rounds", "3")
    assert rounds(done.out)[0][:3] == [3, 3, 90]
    whole = copy(trained, tmp_path / "whole")
    must("interact", whole, "--rounds", "3", *TINY_ROUNDS[2:])
    assert_same_weights(parts, whole)
    assert (parts / "evaluations.csv").read_text() == (whole / "evaluations.csv").read_text()


def test_resume_with_nothing_left_says_so(interacted: Path, tmp_path: Path) -> None:
    run = copy(interacted, tmp_path)
    done = d3g("interact", run, "--resume")
    assert (done.code, done.out) == (0, "")
    assert "nothing left to do" in done.err
    assert_same_weights(run, interacted)


def test_refuses_a_second_time_without_a_word(interacted: Path) -> None:
    assert "pass --resume to continue after them or --overwrite" in error("interact", interacted)


def test_overwrite_starts_again(interacted: Path, trained: Path, tmp_path: Path) -> None:
    again = copy(interacted, tmp_path / "again")
    must("interact", again, "--overwrite", "--rounds", "1", *TINY_ROUNDS[2:])
    first = copy(trained, tmp_path / "first")
    must("interact", first, "--rounds", "1", *TINY_ROUNDS[2:])
    assert_same_weights(again, first)
    assert {row["round"] for row in RunFolder(again).rows("evaluations.csv")} == {"1"}


@pytest.mark.parametrize("which", ["interacted", "bco"])
def test_a_stage_that_was_started_again_does_not_come_back(
    which: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the first round after --overwrite: resuming must not take the old rounds for the new ones."""
    from lfo.acting import rounds as interaction

    run = copy(request.getfixturevalue(which), tmp_path)

    def die(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(interaction.Stage, "_act", die)
        assert f"`d3g-lfo interact {run} --resume`" in error("interact", run, "--overwrite", *TINY_ROUNDS)
    assert load_agent(RunFolder(run)).inverse is None
    assert "found none; run `d3g-lfo interact" in error("compare", run)
    assert [line[:3] for line in rounds(must("interact", run, "--resume"))] == [[1, 2, 30], [2, 2, 60]]
    assert_same_weights(run, request.getfixturevalue(which))


@pytest.mark.parametrize("option", ["--interactions", "--grad-steps", "--hidden"])
def test_resume_refuses_other_settings(interacted: Path, option: str) -> None:
    line = error("interact", interacted, "--resume", "--rounds", "4", option, "99")
    assert f"{option[2:].replace('-', '_')}: expected" in line
    assert "found 99" in line


def test_bco_reads_its_data_again_and_knows_it(dataset: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.h5"
    own.write_bytes(dataset.read_bytes())
    must("train", own, "-o", tmp_path / "run", "--algo", "bco", *TINY)
    data = load(own)
    arrays = (data.states, data.next_states, data.rewards + 1, data.terminated, data.truncated)
    save(type(data)(*arrays), own, overwrite=True)
    assert "found another" in error("interact", tmp_path / "run", *TINY_ROUNDS)
    own.unlink()
    assert "nothing there" in error("interact", tmp_path / "run", *TINY_ROUNDS)
    own.write_bytes(dataset.read_bytes())
    must("interact", tmp_path / "run", *TINY_ROUNDS)


def test_refuses_a_run_in_training(trained: Path, tmp_path: Path) -> None:
    run = copy(trained, tmp_path)
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, "steps": 100}))
    for command in ("interact", "eval"):
        line = error(command, run)
        assert "found 40 of its 100 steps" in line
        assert f"`d3g-lfo train -o {run} --resume`" in line


@pytest.mark.parametrize("command", ["interact", "eval", "compare"])
def test_refuses_what_is_no_run(tmp_path: Path, command: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text("{}")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "run.json").write_text("hello")
    assert "found nothing there" in error(command, tmp_path / "gone")
    assert "found no run.json in it" in error(command, tmp_path / "empty")
    assert "found other JSON" in error(command, tmp_path / "other")
    assert "expected JSON" in error(command, tmp_path / "text")


@pytest.mark.parametrize("which", ["trained", "interacted"])
def test_refuses_an_environment_that_does_not_fit(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run = request.getfixturevalue(which)
    commands = [["eval", run]] if which == "interacted" else [["interact", run]]
    for words in commands:
        line = error(*words, "--env", "Reacher-v5")
        assert "expected observations of length 4, as the run takes, found 10" in line
        assert "did you mean" in error(*words, "--env", "InvertedPendulm-v5")
        assert "not supported yet" in error(*words, "--env", "Blackjack-v1")
    assert not (request.getfixturevalue("trained") / "evaluations.csv").exists()


def test_refuses_an_environment_with_other_actions(tmp_path: Path) -> None:
    """Hopper and Reacher-v4 both show 11 numbers; they take 3 and 2."""
    must(
        "collect",
        "Hopper-v5",
        "--policy",
        "random",
        "--random-frac",
        "1",
        "--steps",
        "99",
        "-o",
        tmp_path / "h.h5",
    )
    must("train", tmp_path / "h.h5", "-o", tmp_path / "run", *TINY)
    must("interact", tmp_path / "run", *TINY_ROUNDS)
    source = (
        "import gymnasium as gym\nfrom gymnasium.envs.mujoco.hopper_v5 import HopperEnv\n"
        "class Two(HopperEnv):\n"
        "    def __init__(self, **k):\n"
        "        super().__init__(**k)\n"
        "        self.action_space = gym.spaces.Box(-1, 1, (2,), 'float32')\n"
        "gym.register('TwoActions-v0', entry_point=Two)\n"
    )
    (tmp_path / "two_actions.py").write_text(source)
    sys.path.insert(0, str(tmp_path))
    try:
        line = error("eval", tmp_path / "run", "--env", "two_actions:TwoActions-v0")
    finally:
        sys.path.remove(str(tmp_path))
    assert "expected actions of length 3, as the run has learned, found 2" in line


def test_data_without_an_environment_needs_one_once(dataset: Path, tmp_path: Path) -> None:
    data = load(dataset)
    bare = tmp_path / "bare.npz"
    np.savez(
        bare,
        observations=data.states,
        next_observations=data.next_states,
        rewards=data.rewards,
        terminals=data.terminated,
        timeouts=data.truncated,
    )
    run = tmp_path / "run"
    must("train", bare, "-o", run, *TINY)
    assert "pass one with --env" in error("interact", run, *TINY_ROUNDS)
    must("interact", run, "--env", "InvertedPendulum-v5", *TINY_ROUNDS)
    assert json.loads(must("eval", run, "--episodes", "1", "--json"))["env"] == "InvertedPendulum-v5"
    assert "bare.npz" in must("compare", run)


def test_eval_prints_what_python_measures(interacted: Path) -> None:
    found = json.loads(must("eval", interacted, "--episodes", "3", "--seed", "5", "--json"))
    wanted = evaluate(load_agent(RunFolder(interacted)), "InvertedPendulum-v5", episodes=3, seed=5)
    keys = "env algo random_frac interactions episodes return_mean return_std success_rate members"
    assert set(keys.split()) <= set(found)
    assert found["env"] == "InvertedPendulum-v5"
    assert (found["algo"], found["random_frac"], found["interactions"], found["episodes"]) == (
        "d3g",
        1.0,
        60,
        3,
    )
    assert (found["return_mean"], found["return_std"]) == (wanted.mean, wanted.std)
    assert found["success_rate"] == wanted.success_rate
    assert [m["seed"] for m in found["members"]] == [0, 1]
    assert [m["return_mean"] for m in found["members"]] == wanted.member_means.tolist()
    assert [m["return_std"] for m in found["members"]] == wanted.member_stds.tolist()
    assert [m["interactions"] for m in found["members"]] == [60, 60]
    table = must("eval", interacted, "--episodes", "3", "--seed", "5")
    assert f"{wanted.mean:.2f} ± {wanted.std:.2f}" in table


@pytest.mark.parametrize("algo", ["d3g", "bco"])
def test_eval_without_i_learns_it_from_one_round(
    dataset: Path, tmp_path: Path, algo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from lfo.algorithms import inverse

    small = replace(inverse.InverseConfig(), interactions=40, grad_steps=5, episodes=1, hidden=8)
    monkeypatch.setattr(
        inverse.InverseConfig, "__init__", lambda self, **k: vars(self).update({**vars(small), **k})
    )
    run = tmp_path / "run"
    must("train", dataset, "-o", run, "--algo", algo, *TINY)
    done = d3g("eval", run, "--episodes", "1", "--json")
    assert done.code == 0, done.err
    assert done.err.startswith(f"note: {run} has no inverse dynamics yet: learning them from one round of 40")
    assert json.loads(done.out)["interactions"] == 40
    assert d3g("eval", run, "--episodes", "1", "--json").err == ""  # the round was kept


def test_eval_films(interacted: Path, tmp_path: Path) -> None:
    from lfo.acting.video import headless_backend
    from lfo.datasets import LfoError

    pytest.importorskip("imageio_ffmpeg")
    try:
        headless_backend()
    except LfoError:
        pytest.skip("nothing renders here")
    video = tmp_path / "v.mp4"
    done = d3g("eval", interacted, "--episodes", "1", "--seed", "3", "--video", video, "--json")
    assert done.code == 0, done.err
    assert video.read_bytes()[4:8] == b"ftyp"
    first = json.loads(done.out)["members"][0]["return_mean"]
    assert (
        done.err == f"note: {video}: seed 0, one episode, return {first:.2f}\n"
    )  # the very episode measured
    assert "--overwrite" in error("eval", interacted, "--video", video)


def test_eval_names_the_extra_that_films(
    interacted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert "pip install imageio-ffmpeg" in error("eval", interacted, "--video", tmp_path / "v.mp4")


def test_eval_refuses_bad_places_for_a_video(interacted: Path, tmp_path: Path) -> None:
    assert "no such folder" in error("eval", interacted, "--video", tmp_path / "none" / "v.mp4")
    assert ".mp4" in error("eval", interacted, "--video", tmp_path / "v.avi")


@pytest.mark.parametrize(
    "words",
    [
        ["interact"],
        ["interact", "RUN", "--rounds", "0"],
        ["interact", "RUN", "--interactions", "many"],
        ["interact", "RUN", "--resume", "--overwrite"],
        ["interact", "RUN", "--set", "noise"],
        ["eval"],
        ["eval", "RUN", "--episodes", "0"],
        ["eval", "RUN", "--seed", "-1"],
        ["compare"],
    ],
)
def test_wrong_usage_exits_2(interacted: Path, words: list[str]) -> None:
    done = d3g(*(interacted if word == "RUN" else word for word in words))
    assert done.code == 2
    assert done.err.startswith(f"Usage: d3g-lfo {words[0]} ")


@pytest.mark.parametrize(("data", "warned"), [(1e6, True), (-1e6, False)])
def test_warns_of_a_policy_that_does_worse_than_its_data(
    interacted: Path, tmp_path: Path, data: float, warned: bool
) -> None:
    run = copy(interacted, tmp_path)
    info = json.loads((run / "run.json").read_text())
    info["datasets"][0]["return_mean"] = data
    (run / "run.json").write_text(json.dumps(info))
    done = d3g("interact", run, "--resume", "--rounds", "3")
    assert done.code == 0
    assert ("less than the 1e+06 of its data; add rounds (`--resume --rounds 8`)" in done.err) == warned
