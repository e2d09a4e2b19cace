"""What is legal but suspicious is loaded, with a line that says why; what is sound is loaded in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flat import recording, write_h5

from lfo.datasets import load

LENGTHS = (20, 31, 17, 24, 28, 22)


def walks(lengths=LENGTHS, dim=3, step=0.1):
    """Smooth random walks from random starts, rewards that vary, all ends timeouts of uneven lengths."""
    rng = np.random.default_rng(0)
    columns = recording(lengths, dim)
    parts = [
        rng.standard_normal(dim) + step * np.cumsum(rng.standard_normal((n + 1, dim)), axis=0)
        for n in lengths
    ]
    columns["observations"] = np.concatenate([part[:-1] for part in parts]).astype(np.float32)
    columns["next_observations"] = np.concatenate([part[1:] for part in parts]).astype(np.float32)
    columns["timeouts"] |= columns["terminals"]
    columns["terminals"] = np.zeros_like(columns["timeouts"])
    return columns


@pytest.fixture
def warned(tmp_path):
    def read(columns):
        return load(write_h5(tmp_path / "a.h5", columns)).warnings

    return read


def test_sound_data_is_silent(warned):
    columns = walks()
    assert warned(columns) == ()
    columns["terminals"], columns["timeouts"] = columns["timeouts"], columns["terminals"]
    assert warned(columns) == ()  # terminals at uneven lengths
    del columns["next_observations"]
    assert [line[:20] for line in warned(columns)] == ["the next states of 6"]


def test_time_limit_stored_as_terminal(warned):
    columns = walks((25,) * 6)
    columns["terminals"] = columns["timeouts"].copy()
    (line,) = warned(columns)
    assert "every terminal ends an episode of exactly 25 steps" in line
    assert "timeouts" in line


def test_time_limit_stored_as_terminal_among_early_ends(warned):
    columns = walks((60, 12, 60, 60, 33, 60, 60, 60))
    columns["terminals"] = columns["timeouts"].copy()
    (line,) = warned(columns)
    assert "6 terminals end an episode of exactly 60 steps" in line


def test_random_short_episodes_are_not_a_time_limit(warned):
    columns = walks(tuple(np.random.default_rng(0).geometric(0.1, 300) + 4))
    columns["terminals"] = columns["timeouts"].copy()
    assert warned(columns) == ()


def test_inverted_terminals(warned):
    columns = walks()
    columns["terminals"] = ~columns["timeouts"]
    del columns["timeouts"]
    assert any("looks inverted" in line for line in warned(columns))


def test_no_flag_ever_set(warned):
    columns = walks()
    columns["timeouts"][:] = False
    lines = warned(columns)
    assert any(f"one episode of {sum(LENGTHS)} rows" in line for line in lines)
    assert any(f"in 5 of {sum(LENGTHS) - 1} rows" in line for line in lines)  # the five resets in the middle


def test_broken_chain_is_counted(warned):
    columns = walks()
    columns["observations"][[5, 40, 41]] += 0.01
    (line,) = warned(columns)
    assert f"in 3 of {sum(LENGTHS) - 6} rows" in line


def test_constant_dimensions_and_rewards(warned):
    columns = walks()
    columns["observations"][:, 1] = columns["next_observations"][:, 1] = 4
    columns["rewards"][:] = 1
    lines = warned(columns)
    assert any("dimension 1 never changes" in line for line in lines)
    assert any("all are 1" in line for line in lines)
    columns["observations"][-1, 1] = 5  # far behind the rows that are looked at first
    assert not any("never changes" in line for line in warned(columns))


@pytest.mark.parametrize("bare", [False, True])
def test_last_row_holds_another_episodes_observation(warned, bare):
    columns = walks()
    ends = np.flatnonzero(columns["timeouts"])
    columns["observations"][ends] = np.roll(columns["observations"][ends], 1, axis=0)
    if bare:
        del columns["next_observations"]
    assert any("the last step of an episode is a jump" in line for line in warned(columns))


def test_next_state_after_automatic_reset(warned):
    columns = walks()
    ends = np.flatnonzero(columns["timeouts"])[:-1]
    columns["next_observations"][ends] = columns["observations"][ends + 1]
    (line,) = warned(columns)
    assert "the last step of an episode is a jump" in line


def test_terminal_state_overwritten_by_a_reset(warned):
    columns = walks(step=1)  # steps so long that none stands out
    columns["terminals"], columns["timeouts"] = columns["timeouts"], columns["terminals"]
    ends = np.flatnonzero(columns["terminals"])[:-1]
    columns["next_observations"][ends[1:]] = columns["observations"][ends[1:] + 1]
    (line,) = warned(columns)
    assert "first state in 4 of 5 terminal rows" in line


def test_first_row_holds_the_episode_befores_observation(warned):
    columns = walks()
    starts = np.flatnonzero(columns["timeouts"])[:-1] + 1
    columns["observations"][starts] = columns["next_observations"][starts - 1]
    (line,) = warned(columns)
    assert "the first step of an episode is a jump" in line


def test_states_that_mostly_stand_still(warned):
    columns = walks()
    moving = np.arange(sum(LENGTHS)) % 5 == 0
    columns["next_observations"] = columns["observations"] + moving[:, None].astype(np.float32)
    assert not any("jump" in line for line in warned(columns))


@pytest.mark.parametrize("value", [-3.0, 7, "half"])
def test_a_fraction_that_is_none_is_warned_of_and_ignored(tmp_path: Path, value: object) -> None:
    data = load(write_h5(tmp_path / "d.h5", recording(), random_frac=value))
    assert data.metadata.random_frac is None
    assert any(
        f"random_frac: expected a number from 0 to 1, found {value!r}" in line for line in data.warnings
    )
