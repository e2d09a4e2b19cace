"""Scores by member and round: worked by hand, and read from damaged files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from record import WHOLE, record

from lfo import RunFolder
from lfo.datasets import LfoError
from lfo.runs.scores import read_rounds, stopped_members


def made(path: Path, rows: Sequence[tuple[int, int, float]], members: int = 2) -> RunFolder:
    """A run with these rows of (member, round, return); 10 interactions a round."""
    run = RunFolder(path)
    run.write_info(record(members))
    run.write_rows(
        "evaluations.csv",
        [{**WHOLE, "member": m, "round": r, "interactions": 10 * r, "return": value} for m, r, value in rows],
    )
    return run


def test_by_hand(tmp_path: Path) -> None:
    rows = [(0, 1, 2.0), (0, 1, 4.0), (0, 2, 9.0), (1, 1, -1.0), (0, 2, -9.0)]
    found = read_rounds(made(tmp_path, rows, members=3))
    np.testing.assert_array_equal(found.scores, [[3, 0], [-1, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(found.interactions, [[10, 20], [10, 0], [0, 0]])
    np.testing.assert_array_equal(found.final, [0, -1, np.nan])
    np.testing.assert_array_equal(found.best, [3, -1, np.nan])
    np.testing.assert_array_equal(found.spent, [20, 10, 0])
    assert len(found.of([2, 0])) == 2
    np.testing.assert_array_equal(found.of([2, 0]).spent, [0, 20])


def test_no_evaluations_yet(tmp_path: Path) -> None:
    found = read_rounds(made(tmp_path, []))
    assert found.scores.shape == (2, 0)
    assert np.isnan(found.final).all()
    assert np.isnan(found.best).all()
    assert found.spent.tolist() == [0, 0]


def test_a_member_that_the_run_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(
        LfoError, match=r"evaluations\.csv: line 2, member: expected .* from 0 to 1, found '2'"
    ):
        read_rounds(made(tmp_path, [(2, 1, 0.0)]))


def test_stopped_members() -> None:
    assert stopped_members({}) == {}
    assert stopped_members({"stopped": {"1": "critic_loss not finite"}}) == {1: "critic_loss not finite"}
