"""Every rule of reading the flat layout, and that what is written is read back."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from unittest import mock

import h5py
import numpy as np
import pytest
from flat import recording, write_h5
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lfo.datasets import READERS, LfoError, Metadata, Transitions, load, load_with_actions, save

ARRAYS = ("states", "next_states", "rewards", "terminated", "truncated", "episode_starts")
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
same_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)


@pytest.fixture(autouse=True, scope="module")
def read_here():
    """Read in this process: forking for each of hundreds of examples takes long."""
    with mock.patch("lfo.processes._can_fork", return_value=False):
        yield


def assert_same(a, b):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


@st.composite
def structures(draw):
    """Any lengths, any way for each episode to end, any finite numbers."""
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    endings = draw(st.lists(st.sampled_from("tub"), min_size=len(lengths), max_size=len(lengths)))
    open_end, dim, n = draw(st.booleans()), draw(st.integers(1, 3)), sum(lengths)
    terminals, timeouts = np.zeros((2, n), bool)
    for k, (end, how) in enumerate(zip(np.cumsum(lengths) - 1, endings, strict=True)):
        if not (open_end and k == len(lengths) - 1):
            terminals[end], timeouts[end] = how in "tb", how in "ub"
    return {
        "observations": draw(hnp.arrays(np.float32, (n, dim), elements=finite)),
        "next_observations": draw(hnp.arrays(np.float32, (n, dim), elements=finite)),
        "rewards": draw(hnp.arrays(np.float32, (n,), elements=finite)),
        "terminals": terminals,
        "timeouts": timeouts,
    }, lengths


@same_folder
@given(structures())
def test_any_structure_written_is_read_back(tmp_path, structure):
    columns, lengths = structure
    written = Transitions(*columns.values())
    assert_same(load(save(written, tmp_path / "a.h5", overwrite=True)), written)
    np.savez(tmp_path / "a.npz", **columns)
    for source in (write_h5(tmp_path / "b.h5", columns), tmp_path / "a.npz"):
        data = load(source)
        assert_same(data, written)
        assert data.episode_lengths().tolist() == lengths
        np.testing.assert_array_equal(data.terminated, columns["terminals"])
        np.testing.assert_array_equal(data.truncated, columns["timeouts"] & ~columns["terminals"])


@same_folder
@given(structures())
def test_no_transition_crosses_an_episode(tmp_path, structure):
    columns, lengths = structure
    n = sum(lengths)
    where = np.stack([np.repeat(np.arange(len(lengths)), lengths), np.arange(n)], axis=1).astype(np.float32)
    columns["observations"] = where  # (episode, row)
    del columns["next_observations"]
    path = write_h5(tmp_path / "a.h5", columns)
    ends = np.cumsum(lengths) - 1
    terminal = columns["terminals"][ends]
    if max(lengths) == 1:
        with pytest.raises(LfoError, match="at least 1 row"):
            load(path)
        return
    data = load(path)
    rows = data.states[:, 1].astype(int)
    assert len(data) == n - len(lengths) + terminal.sum()
    assert data.metadata.dropped == len(lengths) - terminal.sum()
    assert "next_observations" in data.metadata.dropped_reason
    np.testing.assert_array_equal(data.states[:, 0], data.next_states[:, 0])
    alone = np.isin(rows, ends[np.array(lengths) == 1])  # a terminal row with none before it stands still
    np.testing.assert_array_equal(data.states[:, 1] + ~alone, data.next_states[:, 1])
    np.testing.assert_array_equal(data.rewards, columns["rewards"][rows])
    kept = [k - 1 + over for k, over in zip(lengths, terminal, strict=True)]
    assert data.episode_lengths().tolist() == [k for k in kept if k]
    np.testing.assert_array_equal(data.terminated, columns["terminals"][rows])


@same_folder
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6).filter(lambda lengths: max(lengths) > 1))
def test_with_and_without_next_observations_agree_inside_episodes(tmp_path, lengths):
    columns = recording(tuple(lengths))
    full = load(write_h5(tmp_path / "full.h5", columns))
    del columns["next_observations"]
    bare = load(write_h5(tmp_path / "bare.h5", columns))
    inside = ~(full.terminated | full.truncated)
    inside[-1] = False
    for name in ("states", "next_states", "rewards"):
        np.testing.assert_array_equal(getattr(full, name)[inside], getattr(bare, name)[~bare.terminated])
    for name in ("states", "rewards"):
        found = getattr(bare, name)[bare.terminated]
        np.testing.assert_array_equal(getattr(full, name)[full.terminated], found)


def test_many_episodes_without_next_observations(tmp_path):
    """Against plain indexing."""
    columns = recording(tuple(np.random.default_rng(1).integers(1, 60, 3000)), dim=3)
    del columns["next_observations"]
    states, terminals = columns["observations"], columns["terminals"]
    ends = terminals | columns["timeouts"]
    rows = np.flatnonzero(~ends | terminals)
    data = load(write_h5(tmp_path / "a.h5", columns))
    np.testing.assert_array_equal(data.states, states[rows])
    first = np.append(True, ends[:-1])
    ahead = np.where(first[:, None], states, 2 * states - np.roll(states, 1, axis=0))
    after = np.where(terminals[:, None], ahead, np.roll(states, -1, axis=0))
    np.testing.assert_array_equal(data.next_states, after[rows])
    cut = ~terminals & np.append(columns["timeouts"][1:] & ~terminals[1:], False)
    np.testing.assert_array_equal(data.truncated, cut[rows])


@pytest.mark.parametrize("chunks", [None, (7, 2), (64, 3)])
@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", "f2", "i4"])
def test_stored_types_and_chunks(tmp_path, monkeypatch, dtype, chunks):
    monkeypatch.setattr("lfo.datasets.columns._BLOCK", 8)  # several blocks, smaller than a chunk
    columns = recording()
    whole = {name: np.round(columns[name]) for name in ("observations", "next_observations", "rewards")}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in ("observations", "next_observations"):
            file.create_dataset(
                name, data=whole[name].astype(dtype), chunks=chunks and (min(chunks[0], 18), chunks[1])
            )
        file["rewards"] = whole["rewards"].astype(dtype)
        file["terminals"] = columns["terminals"].astype("u1")
        file["timeouts"] = columns["timeouts"].astype("f4")
    data = load(tmp_path / "a.h5")
    np.testing.assert_array_equal(data.states, whole["observations"])
    np.testing.assert_array_equal(data.rewards, whole["rewards"])
    np.testing.assert_array_equal(data.truncated, columns["timeouts"])
    assert data.states.dtype == np.float32


def test_columns_of_one_are_accepted(tmp_path):
    columns = recording()
    wide = {name: columns[name][:, None] for name in ("rewards", "terminals", "timeouts")}
    assert_same(load(write_h5(tmp_path / "a.h5", columns | wide)), load(write_h5(tmp_path / "b.h5", columns)))


@pytest.mark.parametrize("missing", ["terminals", "timeouts"])
def test_one_flag_is_enough(tmp_path, missing):
    columns = recording()
    del columns[missing]
    data = load(write_h5(tmp_path / "a.h5", columns))
    assert any("there are no `terminals`" in line for line in data.warnings) == (missing == "terminals")


def test_groups_beside_the_columns_are_ignored(tmp_path):
    path = write_h5(tmp_path / "a.h5", recording(), note="x\x1b[31m", schema=np.arange(3))
    with h5py.File(path, "a") as file:
        file["infos/qpos"] = np.zeros(3)
        file["metadata/algorithm"] = "SAC"
        file["elsewhere"] = h5py.ExternalLink("secret.h5", "/")  # not a column: never opened
    data = load(path)
    assert data.metadata.attributes == {"note": "x [31m"}
    assert data.metadata.path == path


def test_content_decides_not_the_name(tmp_path):
    columns = recording()
    write_h5(tmp_path / "a.h5", columns).rename(tmp_path / "a.npz")
    np.savez_compressed(tmp_path / "b.npz", **columns)
    (tmp_path / "b.npz").rename(tmp_path / "b.hdf5")
    assert_same(load(tmp_path / "a.npz"), load(str(tmp_path / "b.hdf5")))
    assert_same(load(f"hdf5:{tmp_path / 'a.npz'}"), load(tmp_path / "a.npz"))


def test_a_format_is_one_entry(tmp_path, monkeypatch):
    monkeypatch.setitem(READERS, "mine", lambda source, actions: READERS["hdf5"](source + ".h5", actions))
    write_h5(tmp_path / "a.h5", recording())
    assert len(load(f"mine:{tmp_path / 'a'}")) == 18


def test_actions_only_when_asked_by_name(tmp_path):
    columns = recording()
    actions = np.linspace(-2, 2, 36, dtype=np.float32).reshape(18, 2)
    with_actions = write_h5(tmp_path / "a.h5", columns | {"actions": actions})
    without = write_h5(tmp_path / "b.h5", columns)
    assert_same(load(with_actions), load(without))
    assert load(with_actions).metadata.has_actions
    assert not load(without).metadata.has_actions
    data, read = load_with_actions(with_actions, bounds=(np.full(2, -1), np.full(2, 1)))
    np.testing.assert_array_equal(read, actions)
    assert any("outside the bounds" in line for line in data.warnings)
    assert not load_with_actions(with_actions)[0].warnings
    with pytest.raises(LfoError, match="action-free"):
        load_with_actions(without)


def test_broken_actions_do_not_matter_unless_asked_for(tmp_path):
    path = write_h5(tmp_path / "a.h5", recording() | {"actions": np.full((3, 2, 2), np.nan)})
    assert len(load(path)) == 18
    with pytest.raises(LfoError, match="actions"):
        load_with_actions(path)


def test_actions_follow_the_dropped_rows(tmp_path):
    columns = recording()
    del columns["next_observations"]
    actions = np.arange(18, dtype=np.float32)[:, None]
    data, read = load_with_actions(write_h5(tmp_path / "a.h5", columns | {"actions": actions}))
    assert read[:, 0].tolist() == [i for i in range(18) if columns["terminals"][i] or i not in (4, 11, 17)]
    assert len(read) == len(data)


def test_metadata_written_is_read_back(tmp_path):
    columns = recording()
    metadata = Metadata(env_id="Reacher-v5", random_frac=0.25, policy="expert", seed=7, attributes={"x": 1.5})
    path = save(Transitions(*columns.values(), metadata=metadata), tmp_path / "a.h5")
    read = load(path).metadata
    assert (read.env_id, read.random_frac, read.policy, read.seed) == ("Reacher-v5", 0.25, "expert", 7)
    assert read.attributes["x"] == 1.5
    assert "numpy" in str(read.attributes["versions"])
    with h5py.File(path) as file:
        assert file.attrs["schema_version"] == 1
        assert {file[name].dtype.str for name in ("terminals", "timeouts")} == {"|b1"}
        assert "actions" not in file


def test_same_data_same_bytes(tmp_path):
    data = Transitions(*recording().values())
    paths = [save(data, tmp_path / name) for name in ("a.h5", "b.h5")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_writer_refuses(tmp_path):
    data = Transitions(*recording().values())
    path = save(data, tmp_path / "a.h5")
    before = path.read_bytes()
    for call, message in [
        (lambda: save(data, path), "--overwrite"),
        (lambda: save(data, tmp_path), "directory"),
        (lambda: save(data, tmp_path / "none" / "a.h5"), "folder exists"),
        (lambda: save(data, path, actions=np.zeros((3, 1)), overwrite=True), r"\[18, A\]"),
        (lambda: save(data, path, actions=np.full((18, 1), np.nan), overwrite=True), "finite"),
    ]:
        with pytest.raises(LfoError, match=message):
            call()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lfo.datasets.writer._write", fail)
    with contextlib.suppress(KeyboardInterrupt):
        save(Transitions(*recording().values()), tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


def test_against_the_d4rl_package(tmp_path):
    """Where D4RL itself can be imported: its transitions, less those whose s' is not known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            d4rl = importlib.import_module("d4rl")
        except Exception as error:
            pytest.skip(f"d4rl cannot be imported: {error}")
    columns = recording((5, 7, 6))
    columns["actions"] = np.zeros((18, 1), np.float32)
    del columns["next_observations"]
    theirs = d4rl.qlearning_dataset(None, dataset=columns, terminate_on_end=False)
    data = load(write_h5(tmp_path / "a.h5", columns))
    known = ~theirs["terminals"]
    np.testing.assert_array_equal(theirs["observations"][known], data.states)
    np.testing.assert_array_equal(theirs["next_observations"][known], data.next_states)
