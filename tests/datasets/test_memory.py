"""Transitions from arrays and episodes in memory."""

from __future__ import annotations

import numpy as np
import pytest
from flat import recording

from lfo.datasets import LfoError, Metadata, from_arrays, from_episodes


def test_arrays_are_the_flat_layout() -> None:
    columns = recording()
    data = from_arrays(**columns)
    assert np.array_equal(data.states, columns["observations"])
    assert data.episode_lengths().tolist() == [5, 7, 6]
    del columns["next_observations"]
    shorter = from_arrays(**columns, metadata=Metadata(source="mine"))
    assert shorter.metadata.dropped == 3 - columns["terminals"].sum()
    assert shorter.metadata.source == "mine"
    with pytest.raises(LfoError, match="terminals, timeouts: expected at least one"):
        from_arrays(columns["observations"], columns["rewards"])
    with pytest.raises(LfoError, match="rewards: expected 18 rows"):
        from_arrays(columns["observations"], [1.0], terminals=columns["terminals"])


def test_the_callers_arrays_are_left_alone() -> None:
    columns = recording()
    del columns["next_observations"]
    kept = {name: values.copy() for name, values in columns.items()}
    from_arrays(**columns)
    for name, values in columns.items():
        assert np.array_equal(values, kept[name])
        assert values.flags.writeable


def test_episodes() -> None:
    data = from_episodes([([[0.0], [1], [2]], [1, 2], True), (np.array([[5.0], [6]]), np.array([3]), False)])
    assert data.states.ravel().tolist() == [0, 1, 5]
    assert data.next_states.ravel().tolist() == [1, 2, 6]
    assert data.rewards.tolist() == [1, 2, 3]
    assert data.terminated.tolist() == [False, True, False]
    assert data.truncated.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("episodes", "text"),
    [
        ([], "at least one"),
        ([([[0.0]], [], True)], "episode 0"),
        ([([[0.0], [1]], [1, 2], True)], r"\[2, 1\] and \[2\]"),
        ([([0.0, 1], [1], True)], "episode 0"),
        (
            [([[0.0], [1]], [1], True), ([[0.0, 1], [1, 2]], [1], True)],
            r"episode 1: expected states \[T \+ 1, 1\]",
        ),
        ([([[0.0], [np.nan]], [1], True)], "next_observations: expected finite"),
    ],
)
def test_episodes_that_do_not_fit(episodes: list[tuple[object, object, bool]], text: str) -> None:
    with pytest.raises(LfoError, match=text):
        from_episodes(episodes)  # type: ignore[arg-type]
