"""A run folder under commands in any order, some of them killed, against a model of what must be true.

``EXAMPLES=200 pytest tests/runs/test_any_order.py`` tries more orders.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import h5py
import odd  # noqa: F401  # registers the environment
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from shell import d3g, must

from lfo import RunFolder, load_agent

SMALL = ("--hidden", "4", "--set", "batch_size=8")
PER_ROUND = 10
ROUND = ("--interactions", PER_ROUND, "--grad-steps", "2", "--episodes", "1", "--hidden", "4")
KILLS = st.none() | st.integers(0, 8)


class Killed(BaseException):
    """Stands for kill -9."""


class AnyOrder(RuleBasedStateMachine):
    """What was finished so far. Each command changes it, and each time the files must say the same."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.run = RunFolder(self.folder / "run")
        self.wanted = self.done = self.rounds = 0
        self.scores: list[dict[str, str]] = []
        self.stopped: set[str] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def command(self, *words: object, kill: int | None) -> bool:
        """Run a command, and kill it before it has written its file number ``kill``; whether it came to its end."""
        left = kill

        def replace(source: Path, target: Path) -> Path:
            nonlocal left
            if left == 0:
                raise Killed
            left = left - 1 if left is not None else None
            os.replace(source, target)
            return target

        with mock.patch.object(Path, "replace", replace):
            try:
                done = d3g(*words)
            except Killed:
                return False
        assert done.code == 0, done.err
        return True

    def steps(self) -> int:
        """By the checkpoint; 0 if there is none."""
        return load_agent(self.run).updates if self.run.checkpoint_path.exists() else 0

    def rounds_done(self) -> int:
        """By the checkpoint."""
        if not self.run.checkpoint_path.exists():
            return 0
        return int(self.run.load_checkpoint().get("inverse", {}).get("rounds_done", 0))

    def begins(self, folder_name: str = "run.json") -> bool:
        return (self.run.path / folder_name).exists()

    @initialize(diverges=st.booleans())
    def record(self, diverges: bool) -> None:
        """A data set for each of two members; the rewards of the second may let it diverge."""
        self.sets = [self.folder / f"{k}.h5" for k in (0, 1)]
        for k, path in enumerate(self.sets):
            must("collect", "Odd-v0", "--random-frac", "1", "--steps", "40", "--seed", k, "-o", path)
        if diverges:
            with h5py.File(self.sets[1], "a") as file:
                file["rewards"][::2] = 1e30

    @rule(steps=st.integers(1, 5), kill=KILLS)
    def train_anew(self, steps: int, kill: int | None) -> None:
        before = self.run.info() if self.begins() else None
        words = ("train", *self.sets, "-o", self.run.path, "--steps", steps, "--overwrite", *SMALL)
        ended = self.command(*words, kill=kill)
        if not ended and before is not None and self.begins() and self.run.info() == before:
            self.check()  # killed before anything was replaced, or there is the same record again
            return
        self.wanted, self.rounds, self.scores, self.stopped = steps, 0, [], set()
        self.done = steps if ended else self.steps() if self.begins() else 0
        self.check()

    @precondition(lambda self: self.begins() and not self.has_stage())
    @rule(more=st.integers(0, 3), kill=KILLS)
    def train_on(self, more: int, kill: int | None) -> None:
        words = ("train", "-o", self.run.path, "--resume", "--steps", self.wanted + more)
        if self.command(*words, kill=kill):
            self.wanted += more
            self.done = self.wanted
        else:
            found = self.run.info()["steps"]
            assert self.wanted <= found <= self.wanted + more
            assert self.done <= self.steps() <= found
            self.wanted, self.done = found, self.steps()
        self.check()

    def has_stage(self) -> bool:
        return self.run.checkpoint_path.exists() and "inverse" in self.run.load_checkpoint()

    def is_trained(self) -> bool:
        return self.begins() and self.done == self.wanted and self.run.checkpoint_path.exists()

    @precondition(lambda self: self.is_trained())
    @rule(rounds=st.integers(1, 2), kill=KILLS)
    def interact_anew(self, rounds: int, kill: int | None) -> None:
        words = ("interact", self.run.path, "--rounds", rounds, *ROUND, "--overwrite")
        old = self.rounds
        if self.command(*words, kill=kill):
            self.rounds = rounds
        else:
            self.rounds = self.rounds_done()
            assert self.rounds in {old, *range(rounds + 1)}
        kept = [row for row in self.scores if int(row["round"]) <= self.rounds]
        found = self.finished()
        self.scores = kept if found == kept else found
        self.check()

    @precondition(lambda self: self.rounds > 0)
    @rule(more=st.integers(0, 2), kill=KILLS)
    def interact_on(self, more: int, kill: int | None) -> None:
        words = ("interact", self.run.path, "--resume", "--rounds", self.rounds + more)
        if self.command(*words, kill=kill):
            self.rounds += more
        else:
            assert self.rounds <= self.rounds_done() <= self.rounds + more
            self.rounds = self.rounds_done()
        found = self.finished()
        assert found[: len(self.scores)] == self.scores  # of finished rounds, nothing changes
        self.scores = found
        self.check()

    @precondition(lambda self: self.rounds > 0)
    @rule()
    def evaluate(self) -> None:
        before = self.run.checkpoint_path.read_bytes()
        assert self.command("eval", self.run.path, "--episodes", "1", kill=None)
        assert self.run.checkpoint_path.read_bytes() == before
        self.check()

    def finished(self) -> list[dict[str, str]]:
        """The scores of the rounds that the checkpoint marks as done."""
        return [row for row in self.run.rows("evaluations.csv") if int(row["round"]) <= self.rounds]

    def check(self) -> None:
        """What the files say is what was done."""
        if not self.begins():
            assert self.rounds == 0
            return
        stopped = set(self.run.info().get("stopped", {}))
        assert self.stopped <= stopped, "a stopped member was revived"
        self.stopped = stopped
        if not self.run.checkpoint_path.exists():
            assert self.done == self.rounds == 0
            return
        agent = load_agent(self.run)
        assert {str(member) for member in agent.stopped} <= stopped
        assert agent.updates == self.done
        assert self.rounds_done() == self.rounds
        if self.rounds:
            spent = self.run.interactions(self.rounds)["actions"].shape[1]
            rows = self.finished()
            assert {int(row["interactions"]) for row in rows} == {
                PER_ROUND * (n + 1) for n in range(self.rounds)
            }
            assert spent == PER_ROUND * self.rounds


@pytest.fixture(autouse=True)
def no_board(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard's files are slow to open."""
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)


MANY = int(os.environ.get("EXAMPLES", "0"))
TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=MANY or 6,
    stateful_step_count=20 if MANY else 7,
    deadline=None,
    derandomize=not MANY,
    suppress_health_check=list(HealthCheck),
    database=None,
)
