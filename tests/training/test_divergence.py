"""A member that diverged stays stopped: through a resume, an evaluation, a comparison and a study's table."""

from __future__ import annotations

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from shell import TINY, TINY_ROUNDS, copy, d3g, must

from lfo import RunFolder, evaluate, load_agent

STEPS = TINY[:-1]


def spoil(good: Path, bad: Path, column: str) -> Path:
    """The same data set with one value that no network survives."""
    bad.write_bytes(good.read_bytes())
    with h5py.File(bad, "r+") as file:
        values = file[column][()]
        values[7] = 1e30
        file[column][...] = values
    return bad


@pytest.fixture(scope="module")
def diverged(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seed 0 on good data and on bad."""
    folder = tmp_path_factory.mktemp("diverged")
    bad = spoil(dataset, folder / "bad.h5", "rewards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lfo.training.loop.LOG_EVERY", 100)
        done = d3g("train", dataset, bad, "-o", folder / "run", *STEPS, "300", "--device", "cpu")
    assert done.code == 0, done.err
    assert "seed 0 stopped: critic_loss not finite at step" in done.err
    assert "diverged and will not be counted" in done.err
    return folder / "run"


def stopped(run: Path) -> tuple[dict[str, str], dict[int, str]]:
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    return RunFolder(run).info()["stopped"], state["stopped"]


def test_it_is_written_down(diverged: Path) -> None:
    record, checkpoint = stopped(diverged)
    assert list(record) == ["1"]
    assert record["1"].startswith("critic_loss not finite at step")
    assert checkpoint == {1: record["1"]}
    assert load_agent(RunFolder(diverged), "cpu").stopped == checkpoint


def test_a_resume_does_not_revive_it(diverged: Path, tmp_path: Path) -> None:
    run = copy(diverged, tmp_path)
    before = load_agent(RunFolder(run), "cpu")
    must("train", "-o", run, "--resume", "--steps", "400", "--device", "cpu")
    assert stopped(run) == stopped(diverged)
    after = load_agent(RunFolder(run), "cpu")
    assert after.updates == 400
    same = [torch.equal(a[1], b[1]) for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert all(same)
    moved = [torch.equal(a[0], b[0]) for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert not all(moved)
    for optimiser in after.optimisers():
        for slots in optimiser.state.values():
            assert torch.isfinite(slots["exp_avg_sq"]).all()


def test_every_table_says_so(diverged: Path, tmp_path: Path) -> None:
    run = copy(diverged, tmp_path)
    good, bad = must("interact", run, *TINY_ROUNDS).splitlines()[:2]
    assert "d.h5" in good
    assert "diverged" not in good
    assert re.search(r"bad.h5  30 interactions  no return  \(seed 0: \S+ diverged, not counted\)", bad)
    table = must("eval", run, "--episodes", "2")
    assert "diverged, not counted: critic_loss not finite" in table
    found = json.loads(must("eval", run, "--episodes", "2", "--json"))
    healthy, lost = found["members"]
    assert healthy["stopped"] is None
    assert lost["stopped"].startswith("critic_loss")
    assert found["return_mean"] == healthy["return_mean"]
    result = evaluate(load_agent(RunFolder(run), "cpu"), "InvertedPendulum-v5", episodes=2)
    assert "1 × 2 episodes" in str(result)
    assert "1 diverged and not counted" in str(result)
    assert "seed 0 stopped (critic_loss not finite" in " ".join(must("compare", run).split())


def test_a_checkpoint_between_two_rows_of_metrics_is_a_good_one(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint is written after every step; none may hold what is not finite."""
    monkeypatch.setattr("lfo.training.loop.CHECKPOINT_SECONDS", 0.0)
    bad = spoil(dataset, tmp_path / "bad.h5", "next_observations")
    run = tmp_path / "run"
    must("train", dataset, bad, "-o", run, *STEPS, "150", "--device", "cpu")
    agent = load_agent(RunFolder(run), "cpu")
    assert list(agent.stopped) == [1]
    assert all(bool(torch.isfinite(p).all()) for p in agent.parameters())


def test_when_all_have_diverged_nothing_is_learned(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lfo.training.loop.LOG_EVERY", 100)
    bad = spoil(dataset, tmp_path / "bad.h5", "rewards")
    done = d3g("train", bad, "-o", tmp_path / "run", *STEPS, "300")
    assert done.code == 1
    assert "every member has diverged: seed 0: critic_loss not finite" in done.err
    assert "Traceback" not in done.err


def test_without_a_time_limit_an_evaluation_says_where_it_cuts() -> None:
    from lfo.acting import evaluation

    class Endless:
        spec = None

        def __init__(self) -> None:
            from gymnasium.spaces import Box

            self.observation_space = Box(-1, 1, (2,), np.float32)
            self.action_space = Box(-1, 1, (1,), np.float32)

        def reset(self, seed: int | None = None) -> tuple[np.ndarray, dict[str, object]]:
            return np.zeros(2, np.float32), {}

        def step(self, action: object) -> tuple[np.ndarray, float, bool, bool, dict[str, object]]:
            return np.zeros(2, np.float32), 1.0, False, False, {}

    def still(states: np.ndarray) -> np.ndarray:
        return np.zeros((*states.shape[:2], 1), np.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "NO_LIMIT_STEPS", 50)
        found = evaluation.evaluate_policy(still, "Endless-v0", episodes=2, envs=[Endless(), Endless()])  # type: ignore[list-item]
        assert (found.cut, found.lengths.tolist()) == (2, [[50, 50]])
        asked = evaluation.evaluate_policy(
            still,
            "Endless-v0",
            episodes=2,
            envs=[Endless(), Endless()],  # type: ignore[list-item]
            max_steps=20,
        )
        assert asked.cut == 0
