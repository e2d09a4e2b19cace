from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfo.datasets import LfoError, Metadata, Transitions, file_sha256


def make(n: int = 6, dim: int = 2, **changes: object) -> Transitions:
    arrays: dict[str, object] = {
        "states": np.arange(n * dim).reshape(n, dim),
        "next_states": np.arange(n * dim).reshape(n, dim) + dim,
        "rewards": np.arange(n, dtype=np.float64),
        "terminated": np.arange(n) == 2,
        "truncated": np.arange(n) == 3,
    }
    return Transitions(**{**arrays, **changes})  # type: ignore[arg-type]


def test_types_layout_and_order():
    data = make(states=np.asfortranarray(np.arange(12.0).reshape(6, 2)))
    assert [data.states.dtype, data.rewards.dtype, data.terminated.dtype] == [
        np.float32,
        np.float32,
        np.bool_,
    ]
    assert data.states.flags.c_contiguous
    assert len(data) == 6
    assert data.state_dim == 2
    assert "actions" not in Transitions.__dataclass_fields__


def test_read_only_without_freezing_the_callers_arrays():
    mine = np.zeros((6, 2), np.float32)
    data = make(states=mine)
    with pytest.raises(ValueError):
        data.states[0] = 1
    mine[0] = 1


def test_episodes_by_hand():
    data = make()  # ends after rows 2 and 3, last episode open
    assert data.episode_starts.tolist() == [0, 3, 4]
    assert data.episode_lengths().tolist() == [3, 1, 2]
    assert data.episode_returns().tolist() == [0 + 1 + 2, 3, 4 + 5]
    assert data.episode_ids.tolist() == [0, 0, 0, 1, 2, 2]
    assert data.num_episodes == 3


def test_terminal_wins_where_both_flags_are_set():
    data = make(truncated=np.arange(6) == 2)
    assert data.terminated.tolist() == [False, False, True, False, False, False]
    assert not data.truncated.any()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.booleans())
def test_starts_lengths_and_returns_agree(lengths, open_end):
    n, ends = sum(lengths), np.cumsum(lengths) - 1
    truncated = np.zeros(n, bool)
    truncated[ends[:-1] if open_end else ends] = True
    rewards = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    data = make(n, rewards=rewards, terminated=np.zeros(n, bool), truncated=truncated)
    assert data.episode_lengths().tolist() == lengths
    sums = [rewards[data.episode_ids == k].sum(dtype=np.float64) for k in range(len(lengths))]
    np.testing.assert_allclose(data.episode_returns(), sums, rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "numbers"),
    [
        ({"next_states": np.zeros((5, 2))}, ("[6, 2]", "[5, 2]")),
        ({"rewards": np.zeros((6, 1))}, ("[6]", "[6, 1]")),
        ({"terminated": np.zeros(7, bool)}, ("[6]", "[7]")),
        ({"states": np.zeros(6)}, ("[N, S]", "[6]")),
        ({"states": np.zeros((0, 2))}, ("≥ 1", "[0, 2]")),
        ({"rewards": np.array([0, 1, 2, np.nan, 4, 5])}, ("finite", "nan in row 3")),
        ({"states": np.where(np.arange(12).reshape(6, 2) == 9, np.inf, 0)}, ("finite", "inf in row 4")),
    ],
)
def test_errors_say_both_numbers(changes, numbers):
    with pytest.raises(LfoError) as caught:
        make(**changes)
    assert next(iter(changes)) in str(caught.value)
    for number in numbers:
        assert number in str(caught.value)


def test_sha256_of_the_file(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert Metadata(path=path).sha256 == file_sha256(path)
    assert Metadata().sha256 is None


def test_importing_is_light(tmp_path):
    code = (
        "import sys, lfo.datasets\n"
        "print([m for m in ('torch', 'minari', 'gymnasium', 'matplotlib') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert result.stdout.strip() == "[]"
