"""Batches come from where they should: a member's own rows, in its own units, the latest of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from shell import TINY, error, must

from lfo.datasets import Transitions, load
from lfo.nn.batches import Batch, own_rows
from lfo.nn.scaling import Units
from lfo.training.seeding import seeded
from lfo.training.sources import Mixture, ReplayBuffer, Table


def make_data(rows: int, offset: float) -> Transitions:
    rng = np.random.default_rng(int(offset))
    states = offset + rng.normal(size=(rows, 2))
    ends = np.arange(rows) % 7 == 6
    return Transitions(
        states,
        states + rng.normal(size=(rows, 2)),
        rng.normal(size=rows),
        ends,
        ~ends & (np.arange(rows) % 5 == 4),
    )


@pytest.fixture
def data() -> list[Transitions]:
    return [make_data(30, 0.0), make_data(20, 50.0)]


def test_a_table_gives_each_member_its_own_data_in_its_own_units(data: list[Transitions]) -> None:
    which = [1, 0, 1]
    units = Units.of(data, which, standardise=True)
    table = Table(data, which, units)
    index = table.draw([seeded(m) for m in range(3)], 4, 16)
    assert index.shape == (4, 3, 16)
    for m, number in enumerate(which):
        rows = index[:, m] - (30 if number else 0)
        assert rows.min() >= 0
        assert rows.max() < len(data[number])
        batch, own = table.batch(index[0], units), data[number]
        chosen = rows[0].numpy()
        raw = torch.from_numpy(own.states[chosen])
        torch.testing.assert_close(batch.states[m], (raw - units.mean[m]) / units.std[m])
        change = torch.from_numpy(own.next_states[chosen]) - raw
        torch.testing.assert_close(batch.deltas[m], change / units.delta_std[m])
        torch.testing.assert_close(
            batch.next_states[m] * units.std[m] + units.mean[m], raw + change, rtol=1e-4, atol=1e-4
        )
        assert batch.rewards[m, :, 0].tolist() == own.rewards[chosen].tolist()
        assert batch.terminated[m, :, 0].tolist() == own.terminated[chosen].tolist()
        assert batch.truncated[m, :, 0].tolist() == own.truncated[chosen].tolist()
    low, high = data[1].rewards.min(), data[1].rewards.max()
    assert table.reward_range[0].tolist() == pytest.approx([low, high])


def test_draws_depend_on_nothing_but_their_generators(data: list[Transitions]) -> None:
    units = Units.of(data, [0], standardise=True)
    alone = Table(data[:1], [0], units).draw([seeded(5, 1)], 3, 8)
    stacked = Table(data, [1, 0], Units.of(data, [1, 0], standardise=True)).draw(
        [seeded(4, 1), seeded(5, 1)], 3, 8
    )
    assert torch.equal(alone[:, 0], stacked[:, 1])


def some(first: int, count: int) -> tuple[torch.Tensor, ...]:
    """Interactions of two members, numbered from ``first``; the second's are negative."""
    numbers = torch.arange(first, first + count, dtype=torch.float32)
    signed = torch.stack([numbers, -numbers])
    states = signed[..., None].expand(2, count, 2)
    return states, states + 1, signed, signed > 3, signed > 5, signed[..., None]


def test_a_replay_buffer_keeps_the_latest_of_each_member() -> None:
    units = Units(2, 2)
    for name in ("mean",):
        getattr(units, name).zero_()
    buffer = ReplayBuffer(units, 1, capacity=6)
    buffer.append(*some(0, 4))
    assert len(buffer) == 4
    batch = buffer.batch(buffer.draw([seeded(0), seeded(1)], 1, 64)[0], units)
    assert set(batch.actions[0].flatten().tolist()) <= {0.0, 1.0, 2.0, 3.0}
    buffer.append(*some(4, 5))
    assert (len(buffer), buffer.seen) == (6, 9)
    batch = buffer.batch(buffer.draw([seeded(0), seeded(1)], 1, 256)[0], units)
    for m, sign in ((0, 1.0), (1, -1.0)):
        assert {sign * a for a in batch.actions[m].flatten().tolist()} == {3.0, 4.0, 5.0, 6.0, 7.0, 8.0}
        torch.testing.assert_close(batch.states[m, :, :1], batch.actions[m])
        torch.testing.assert_close(batch.deltas[m], torch.ones(256, 2))
        torch.testing.assert_close(batch.next_states[m], batch.states[m] + 1)
        assert torch.equal(batch.rewards[m], batch.actions[m])
        assert torch.equal(batch.terminated[m].bool(), batch.actions[m] > 3)
        assert torch.equal(batch.truncated[m].bool(), batch.actions[m] > 5)


def test_more_at_once_than_there_is_room_for_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 3"):
        ReplayBuffer(Units(2, 2), 1, capacity=3).append(*some(0, 4))


def test_steps_that_are_all_alike_are_refused() -> None:
    from lfo import D3G, D3GConfig
    from lfo.datasets import LfoError
    from lfo.runs.record import Member
    from lfo.training.loop import build

    states, none = np.arange(20.0)[:, None], np.zeros(20, bool)
    same = Transitions(states, states + 1, np.zeros(20), none, none)
    with pytest.raises(LfoError, match="expected steps s' − s that differ"):
        build(D3G, D3GConfig(hidden=4), [same], [Member(0)], "cpu")


def test_data_that_does_not_fit_into_memory_is_refused_with_what_it_needs(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data itself is read: it is the table beside it that is too much."""
    rows = len(load(dataset))
    need = rows * (4 * 9 + 2 + 4 * 11)
    monkeypatch.setattr("lfo.training.sources.usable_memory", lambda: need - 1)
    message = error("train", dataset, "-o", tmp_path / "run", *TINY)
    assert f"{rows:,} transitions of 4 dimensions need {need / 2**30:.1f} GiB" in message
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
    monkeypatch.setattr("lfo.training.sources.usable_memory", lambda: need)
    must("train", dataset, "-o", tmp_path / "other", *TINY)


def test_a_mixture_has_the_demonstrations_first_and_a_share_of_each_members_interactions(
    data: list[Transitions],
) -> None:
    units = Units.of(data, [0, 1], standardise=True)
    table, buffer = Table(data, [0, 1], units), ReplayBuffer(units, 1, 10)
    states = torch.full((2, 6, 2), 3.0)
    rewards = torch.tensor([[100.0], [200.0]]).expand(2, 6)
    never = torch.zeros(2, 6, dtype=torch.bool)
    buffer.append(states, states + 1, rewards, never, never, torch.zeros(2, 6, 1))
    mixture = Mixture(table, buffer, 0.25)
    index = mixture.draw([seeded(m) for m in range(2)], 3, 16)
    assert index.shape == (3, 2, 16)
    batch = mixture.batch(index[0], units)
    for m in range(2):
        assert batch.rewards[m, 12:, 0].tolist() == [100.0 * (m + 1)] * 4
        assert batch.rewards[m, :12].max() < 50
    torch.testing.assert_close(batch.states[:, 12:], units.states(states[:, :4]))
    torch.testing.assert_close(batch.next_states[:, 12:], units.states(states[:, :4] + 1))
    given = table.batch(index[0][:, :12], units)
    for name in Batch._fields:
        torch.testing.assert_close(getattr(batch, name)[:, :12], getattr(given, name))


@pytest.mark.parametrize(
    ("size", "share", "rows"), [(256, 0.25, 64), (4, 0.999, 3), (1, 0.9, 0), (10, 0.0, 0)]
)
def test_a_minibatch_is_never_all_interactions(size: int, share: float, rows: int) -> None:
    assert own_rows(size, share) == rows
