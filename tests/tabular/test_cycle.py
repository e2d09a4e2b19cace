"""What the cycle is for: the command, its picture, and what counts as reachable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from shell import error, must

from lfo.tabular.cycle import proposals

TINY = ("--steps", 80, "--hidden", 8, "--seeds", "0-1")


def test_the_command_trains_both_draws_and_continues(tmp_path: Path) -> None:
    out = tmp_path / "cycle"
    shown = must("gridworld", "cycle", "-o", out, *TINY)
    numbers = json.loads((out / "cycle.json").read_text())
    assert list(numbers) == ["with", "without"]
    for name, one in numbers.items():
        assert len(one["unreachable"]) == len(one["return"]) == 2
        assert (out / name / "checkpoint.pt").is_file()
        assert f"{name} the cycle:" in shown
    assert (out / "cycle.png").read_bytes()[:4] == b"\x89PNG"
    assert "pass --resume to continue it or --overwrite" in error("gridworld", "cycle", "-o", out, *TINY)
    (out / "cycle.png").unlink()
    assert must("gridworld", "cycle", "-o", out, *TINY, "--resume") == shown
    assert (out / "cycle.png").is_file()


class Aims:
    """One seed aims a cell down, which the lower wall forbids; the other diagonally, which no action does."""

    seeds = (0, 1)

    def aim(self, states: torch.Tensor) -> torch.Tensor:
        return states + torch.tensor([[[0.9, 0.0]], [[-0.8, 0.8]]])


def test_a_proposal_is_reachable_where_an_action_leads_near_it() -> None:
    agent: Any = Aims()
    found = proposals(agent)
    assert len(found.states) == 120
    np.testing.assert_array_equal(found.reachable[0], found.states[:, 0] < 10)
    assert not found.reachable[1].any()
