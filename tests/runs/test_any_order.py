"""A run folder under commands in any order, some of them killed, against a model of what must be true."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import h5py
import odd  # noqa: F401  # registers the environment
import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from shell import d3g, must

from lfo import RunFolder
from lfo.training import loop

SMALL = ("--hidden", "4", "--set", "batch_size=8")
ROUND = ("--interactions", "20", "--grad-steps", "5", "--episodes", "1", "--hidden", "4")
MEMBERS = 2


class Killed(BaseException):
    """Stands for kill -9: nothing after it is done."""


class AnyOrder(RuleBasedStateMachine):
    """What the commands promised so far, and whether it is so."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.run = RunFolder(self.folder / "run")
        self.wanted = self.trained = self.rounds = 0
        self.stopped = False
        """Whether the second member has diverged."""
        self.scores: list[dict[str, str]] = []

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def command(self, *words: object, kill: int | None) -> bool:
        """Run a command; killed at the ``kill``-th file that it writes, if it comes to that. Whether it ended."""
        left = [kill]

        def replace(source: Path, target: Path) -> Path:
            if left[0] is not None:
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
            os.replace(source, target)
            return target

        with mock.patch.object(Path, "replace", replace):
            try:
                done = d3g(*words)
            except Killed:
                return False
        assert done.code == 0, done.err
        return True

    @initialize(diverges=st.booleans())
    def data(self, diverges: bool) -> None:
        """Two data sets, one for each member; the second may let it diverge."""
        self.diverges = diverges
        self.sets = [self.folder / f"{k}.h5" for k in range(MEMBERS)]
        for k, path in enumerate(self.sets):
            must("collect", "Odd-v0", "--random-frac", "1", "--steps", "40", "--seed", k, "-o", path)
        if diverges:
            with h5py.File(self.sets[1], "a") as file:
                file["rewards"][7] = 1e30

    kills = st.none() | st.integers(0, 6)

    @rule(steps=st.integers(1, 6), kill=kills)
    def train(self, steps: int, kill: int | None) -> None:
        """A new run takes the old one's place."""
        whole = self.command(
            "train", *self.sets, "-o", self.run.path, "--steps", steps, "--overwrite", *SMALL, kill=kill
        )
        if whole or self.recorded() != (self.wanted, self.rounds):
            self.wanted, self.trained, self.rounds, self.scores = steps, steps if whole else 0, 0, []
            self.stopped = self.diverges and whole

    def recorded(self) -> tuple[int, int]:
        """Steps and rounds, by the files; (-1, -1) if there is no whole record."""
        try:
            return int(self.run.info()["steps"]), self.rounds_done()
        except Exception:
            return -1, -1

    def rounds_done(self) -> int:
        return int(self.run.load_checkpoint().get("inverse", {}).get("rounds_done", 0))
