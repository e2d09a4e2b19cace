"""Data sets really created with Minari, in a store of the test's own."""

from __future__ import annotations

import json
from hashlib import sha256

import gymnasium
import h5py
import minari
import numpy as np
import pytest
from flat import recording
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer

from lfo.datasets import LfoError, Transitions, export_minari, file_sha256, load, load_with_actions

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari")

BOX = spaces.Box(-np.inf, np.inf, (3,), np.float64)
ACTIONS = spaces.Box(-1, 1, (2,), np.float32)


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def episodes(observe=lambda rng, n: rng.standard_normal((n, 3))):
    """Three episodes: terminated, truncated, and one whose end is flagged by neither."""
    rng = np.random.default_rng(0)
    return [
        EpisodeBuffer(
            observations=observe(rng, n + 1),
            actions=rng.uniform(-1, 1, (n, 2)).astype(np.float32),
            rewards=list(rng.standard_normal(n)),
            terminations=[how == "terminated" and i == n - 1 for i in range(n)],
            truncations=[how == "truncated" and i == n - 1 for i in range(n)],
            infos={},
        )
        for n, how in ((4, "terminated"), (3, "truncated"), (5, "neither"))
    ]


def create(name="test/walk-v0", space=BOX, buffers=None, **options):
    buffers = episodes() if buffers is None else buffers
    minari.create_dataset_from_buffers(
        name, buffers, observation_space=space, action_space=ACTIONS, **options
    )
    return buffers


def test_every_row_has_its_next_state():
    buffers = create()
    data, actions = load_with_actions("minari:test/walk-v0")
    stack = lambda arrays: np.concatenate(list(arrays)).astype(np.float32)  # noqa: E731
    np.testing.assert_array_equal(data.states, stack(b.observations[:-1] for b in buffers))
    np.testing.assert_array_equal(data.next_states, stack(b.observations[1:] for b in buffers))
    np.testing.assert_array_equal(data.rewards, stack(b.rewards for b in buffers))
    np.testing.assert_array_equal(actions, stack(b.actions for b in buffers))
    assert data.episode_lengths().tolist() == [4, 3, 5]
    assert np.flatnonzero(data.terminated).tolist() == [3]
    assert np.flatnonzero(data.truncated).tolist() == [6, 11]
    assert data.metadata.has_actions
    assert data.metadata.sha256
    assert data.warnings == ()


def test_arrow_has_a_checksum_too(store):
    """Arrow keeps many files; the checksum is of all of them, so that a run on them can be resumed."""
    pytest.importorskip("pyarrow")
    buffers = create("arrow-v0", data_format="arrow")
    data = load("minari:arrow-v0")
    np.testing.assert_array_equal(data.rewards, np.concatenate([np.float32(b.rewards) for b in buffers]))
    assert data.metadata.sha256 == load("minari:arrow-v0").metadata.sha256
    assert len(data.metadata.sha256) == 64
    part = next((store / "arrow-v0" / "data" / "0").glob("*.arrow"))
    part.write_bytes(part.read_bytes() + b"0")
    assert file_sha256(store / "arrow-v0" / "data") != data.metadata.sha256


def test_checksum_of_a_folder(tmp_path):
    """Of every file's name and contents, in the order of names."""
    for name, content in (("b/1", b"one"), ("a", b"two"), ("b/0", b"")):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(content)
    hashes = {
        name: sha256(content).hexdigest() for name, content in (("a", b"two"), ("b/0", b""), ("b/1", b"one"))
    }
    expected = sha256("".join(f"{name}\0{value}\n" for name, value in hashes.items()).encode()).hexdigest()
    assert file_sha256(tmp_path / "data") == expected
    (tmp_path / "data" / "b" / "0").rename(tmp_path / "data" / "b" / "2")
    assert file_sha256(tmp_path / "data") != expected


def test_environment_is_named(store):
    create("named-v0", spaces.Box(-np.inf, np.inf, (3,), np.float64))
    assert load("minari:named-v0").metadata.env_id is None
    path = store / "named-v0" / "data" / "metadata.json"
    spec = {"id": "Pendulum-v1", "entry_point": "nowhere:Nothing", "kwargs": {}, "additional_wrappers": []}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"env_spec": json.dumps(spec)}))
    assert load("minari:named-v0").metadata.env_id == "Pendulum-v1"
    assert load("minari:named-v0").metadata.env_kwargs == {}


def test_the_arguments_of_the_environment_are_kept(store):
    made = {"reset_noise_scale": 0.5, "max_episode_steps": 7}
    env = gymnasium.make("InvertedPendulum-v5", render_mode="rgb_array", **made)
    create("made-v0", env=env.spec)
    assert load("minari:made-v0").metadata.env_id == "InvertedPendulum-v5"
    assert load("minari:made-v0").metadata.env_kwargs == made


def test_export_is_read_back():
    data = Transitions(*recording((5, 7, 6)).values())
    actions = np.random.default_rng(0).uniform(-1, 1, (18, 2)).astype(np.float32)
    export_minari(data, actions, "exported-v0", low=-1, high=1)
    read, read_actions = load_with_actions("minari:exported-v0")
    for name in ("states", "next_states", "rewards", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(read, name), getattr(data, name))
    np.testing.assert_array_equal(read_actions, actions)
    with pytest.raises(LfoError, match="exported-v0"):
        export_minari(data, actions, "exported-v0", low=-1, high=1)
    broken = Transitions(data.states, data.next_states + 1, data.rewards, data.terminated, data.truncated)
    with pytest.raises(LfoError, match="next row's state"):
        export_minari(broken, actions, "broken-v0", low=-1, high=1)


@pytest.mark.parametrize("dataset_id", ["walk-v9", "no-version", "a/b/c-v0", ""])
def test_unknown_id(dataset_id):
    with pytest.raises(LfoError, match="minari download"):
        load(f"minari:{dataset_id}")


@pytest.mark.parametrize(
    ("space", "observe"),
    [
        (spaces.Discrete(4), lambda rng, n: rng.integers(0, 4, n)),
        (
            spaces.Box(0, 255, (4, 4, 3), np.uint8),
            lambda rng, n: rng.integers(0, 255, (n, 4, 4, 3), np.uint8),
        ),
        (spaces.Dict(x=BOX), lambda rng, n: {"x": rng.standard_normal((n, 3))}),
        (spaces.Tuple([BOX]), lambda rng, n: (rng.standard_normal((n, 3)),)),
    ],
)
def test_other_spaces_are_refused(space, observe):
    create(space=space, buffers=episodes(observe))
    with pytest.raises(LfoError, match=rf"Box of one dimension, found {type(space).__name__}.*yet"):
        load("minari:test/walk-v0")


def test_environment_named_by_the_file_is_never_built(store):
    create("test/walk-v0")
    path = store / "test" / "walk-v0" / "data" / "metadata.json"
    metadata = json.loads(path.read_text())
    del metadata["observation_space"]
    path.write_text(json.dumps(metadata))
    with pytest.raises(LfoError, match="observation_space"):
        load("minari:test/walk-v0")


def test_links_and_damage(store):
    create()
    main = store / "test" / "walk-v0" / "data" / "main_data.hdf5"
    whole = main.read_bytes()
    with h5py.File(main, "a") as file:
        del file["episode_1"]["rewards"]
        file["episode_1"]["rewards"] = h5py.ExternalLink("elsewhere.h5", "/rewards")
    with pytest.raises(LfoError, match="external link"):
        load("minari:test/walk-v0")
    main.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LfoError, match="damaged"):
        load("minari:test/walk-v0")
    main.write_bytes(whole)
    (main.parent / "metadata.json").write_text("{")
    with pytest.raises(LfoError, match=r"metadata\.json"):
        load("minari:test/walk-v0")


def test_unequal_lengths():
    buffers = episodes()
    buffers[1].rewards.append(0.0)
    create(buffers=buffers)
    with pytest.raises(LfoError, match="episode 1"):
        load("minari:test/walk-v0")


def test_without_minari(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "minari", None)
    with pytest.raises(LfoError, match="pip install"):
        load("minari:walk-v0")
