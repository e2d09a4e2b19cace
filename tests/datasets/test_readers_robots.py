"""``lerobot:FOLDER`` and ``robomimic:FILE``, on data sets that the tests write."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
import pytest
from shell import TINY, error, must

from lfo.datasets import LfoError, from_logs, load, load_with_actions

RECORDINGS = Path(
    os.environ.get("D3G_LFO_RECORDINGS", Path(__file__).parents[3] / "shared" / "data" / "recorded")
)
STATE = {"dtype": "float32", "shape": [2], "names": [["x", "v"]]}
FEATURES: dict[str, Any] = {
    "observation.state": STATE,
    "observation.images.top": {"dtype": "video", "shape": [8, 8, 3], "names": None},
    "observation.effort": {"dtype": "float32", "shape": [1], "names": None},
    "action": {"dtype": "float32", "shape": [1], "names": None},
    "next.reward": {"dtype": "float32", "shape": [1], "names": None},
    "next.done": {"dtype": "bool", "shape": [1], "names": None},
}
LENGTHS = (3, 4, 2)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def lerobot(version: str = "v2.1", without: tuple[str, ...] = (), **changes: Any) -> Path:
    """Three episodes, whose state is (10 episode + frame, frame²); one file an episode before v3.0, two files in it."""
    frames = [
        {
            "observation.state": [10.0 * episode + frame, float(frame**2)],
            "observation.effort": 0.5 * frame,
            "action": [-1.0],
            "next.reward": float(frame),
            "next.done": episode == 1 and frame == length - 2,
            "episode_index": episode,
            "frame_index": frame,
        }
        for episode, length in enumerate(LENGTHS)
        for frame in range(length)
    ]
    kept = [{key: value for key, value in frame.items() if key not in without} for frame in frames]
    (Path("robot") / "meta").mkdir(parents=True)
    (Path("robot") / "data" / "chunk-000").mkdir(parents=True)
    for index in range(2 if version == "v3.0" else 3):
        name = f"file-{index:03d}" if version == "v3.0" else f"episode_{index:06d}"
        inside = (
            [frame for frame in kept if (frame["episode_index"] == 2) == bool(index)]
            if version == "v3.0"
            else [frame for frame in kept if frame["episode_index"] == index]
        )
        pl.DataFrame(inside).write_parquet(Path("robot") / "data" / "chunk-000" / f"{name}.parquet")
    info = {
        "codebase_version": version,
        "fps": 20,
        "total_frames": len(frames),
        "features": {key: value for key, value in FEATURES.items() if key not in without},
        **changes,
    }
    (Path("robot") / "meta" / "info.json").write_text(json.dumps(info))
    return Path("robot")


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_a_lerobot_data_set(version: str) -> None:
    lerobot(version)
    data = load("lerobot:robot")
    # the second episode is over with its frame 2: its s' is extrapolated; frame 3, the reset, is dropped
    assert data.states[:, 0].tolist() == [0, 1, 10, 11, 12, 20]
    assert data.next_states[:, 0].tolist() == [1, 2, 11, 12, 13, 21]
    assert data.terminated.tolist() == [False, False, False, False, True, False]
    assert data.rewards[:4].tolist() == [0, 1, 0, 1]
    assert data.metadata.state_names == ("x", "v")
    assert data.metadata.attributes["dt"] == 0.05
    assert data.metadata.has_actions
    assert data.metadata.dropped == 3
    assert "2-dimensional" in must("inspect", "lerobot:robot")
    assert load_with_actions("lerobot:robot")[1].tolist() == [[-1.0]] * 6


def test_other_features_of_a_lerobot_data_set() -> None:
    lerobot()
    data = load("lerobot:robot#observation.effort,observation.state")
    assert data.states[1].tolist() == [0.5, 1, 1]
    assert data.metadata.state_names == ("observation.effort", "x", "v")


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_a_lerobot_data_set_gets_its_reward_from_a_recipe(version: str) -> None:
    lerobot(version, without=("next.reward", "next.done"))
    message = error("inspect", "lerobot:robot")
    assert "next.reward: expected a feature of numbers" in message
    assert "d3g-lfo convert lerobot:FOLDER --recipe" in message
    recipe = {"state": ["observation.state"], "reward": "next_observation.state[1]"}
    data = from_logs("lerobot:robot", recipe)
    assert data.states[:, 0].tolist() == [0, 1, 10, 11, 12, 20]
    assert data.rewards.tolist() == [1, 4, 1, 4, 9, 1]


@pytest.mark.parametrize("source", ["lerobot:robot#observation.state", "robomimic:demo.hdf5#pos"])
def test_a_run_on_it_is_resumed_from_elsewhere(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lerobot()
    robomimic()
    must("train", source, "-o", "run", *TINY)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    must("train", "-o", "../run", "--resume", "--steps", "50")
    assert "2-dimensional" in must(
        "inspect", str(json.loads(Path("../run/run.json").read_text())["datasets"][0]["source"])
    )


def test_what_is_refused_of_lerobot() -> None:
    assert "lerobot:robot" in error("inspect", lerobot())
    for source, text in (
        ("nothing", "meta/info.json: expected LeRobot's description, found No such file"),
        ("robot#observation.stat", "did you mean observation.state?"),
        ("robot#observation.images.top", "found a video"),
    ):
        assert text in error("inspect", f"lerobot:{source}")
    info = Path("robot/meta/info.json")
    kept = json.loads(info.read_text())
    for changes, text in (
        ({"total_frames": 10}, "expected 10 frames, as meta/info.json says, found 9"),
        ({"codebase_version": "v1.6"}, "found version v1.6"),
    ):
        info.write_text(json.dumps({**kept, **changes}))
        assert text in error("inspect", "lerobot:robot")
    info.write_text(json.dumps(kept))
    next(Path("robot/data/chunk-000").iterdir()).write_bytes(b"PAR1")
    assert "data: expected Parquet files" in error("inspect", "lerobot:robot")


def test_a_real_robot() -> None:
    source = RECORDINGS / "lerobot_unitree_g1"
    if not source.is_dir():
        pytest.skip("the recordings are not here; D3G_LFO_RECORDINGS names their folder")
    with pytest.raises(LfoError, match=r"next\.reward"):
        load(f"lerobot:{source}")
    data = from_logs(f"lerobot:{source}", {"state": ["observation.state"], "reward": "0"})
    assert (len(data), data.state_dim, data.num_episodes) == (2031 - 5, 26, 5)
    assert data.episode_lengths().tolist() == [478, 392, 342, 458, 356]


def robomimic(next_obs: bool = True) -> Path:
    """Two demonstrations of 3 and 11 rows, then one of 2, by number and not by name."""
    with h5py.File("demo.hdf5", "w") as file:
        for number, length in ((0, 3), (2, 11), (10, 2)):
            demo = file.create_group(f"data/demo_{number}")
            steps = np.arange(length + 1, dtype=np.float64)
            for group, rows in (("obs", steps[:-1]), ("next_obs", steps[1:])):
                if group == "obs" or next_obs:
                    demo[f"{group}/pos"] = np.column_stack([rows + 100 * number, rows**2])
                    demo[f"{group}/angle"] = rows
                    demo[f"{group}/image"] = np.zeros((length, 4, 4, 3), np.uint8)
            demo["rewards"] = steps[1:]
            demo["dones"] = (np.arange(length) == length - 1).astype(np.int64) * (number == 2)
            demo["actions"] = np.ones((length, 7))
    return Path("demo.hdf5")


def test_a_robomimic_file() -> None:
    robomimic()
    data, actions = load_with_actions("robomimic:demo.hdf5")
    assert data.states[:4].tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 4], [0, 200, 0]]
    assert data.next_states[2].tolist() == [3, 3, 9]
    assert data.metadata.state_names == ("angle", "pos[0]", "pos[1]")
    assert data.episode_lengths().tolist() == [3, 11, 2]
    assert np.flatnonzero(data.terminated).tolist() == [13]
    assert actions.shape == (16, 7)
    chosen = load("robomimic:demo.hdf5#pos")
    assert chosen.state_dim == 2
    assert chosen.metadata.has_actions


def test_a_robomimic_file_without_next_states() -> None:
    robomimic(next_obs=False)
    data = load("robomimic:demo.hdf5")
    assert data.episode_lengths().tolist() == [2, 11, 1]
    assert data.metadata.dropped == 2
    assert np.flatnonzero(data.terminated).tolist() == [12]


def test_what_is_refused_of_robomimic() -> None:
    robomimic()
    assert "robomimic:demo.hdf5" in error("inspect", "demo.hdf5")
    assert "nothing there" in error("inspect", "robomimic:none.hdf5")
    assert "did you mean pos?" in error("inspect", "robomimic:demo.hdf5#poss")
    with h5py.File("demo.hdf5", "a") as file:
        del file["data/demo_2/rewards"]
        file["data/demo_2/rewards"] = np.zeros(3)
    assert "/data/demo_2/rewards: expected 11 rows" in error("inspect", "robomimic:demo.hdf5")
    with h5py.File("demo.hdf5", "a") as file:
        del file["data/demo_2/obs"]
    assert "demo_2/obs/angle" in error("inspect", "robomimic:demo.hdf5")
    with h5py.File("demo.hdf5", "a") as file:
        del file["data"]
    assert "an empty file" in error("inspect", "robomimic:demo.hdf5")


def test_a_log_that_is_inspected_is_to_be_converted() -> None:
    Path("a.csv").write_text("x\n1\n2\n")
    assert "d3g-lfo convert" in error("inspect", "a.csv")


@pytest.mark.filterwarnings("default")  # that package's own
def test_a_data_set_that_the_lerobot_package_wrote() -> None:
    """v3.0, several files, value by value.

    The package needs an environment of its own. Run this test there with `python -P -m pytest` from outside the clone,
    whose folder datasets/ hides Hugging Face's package of that name.
    """
    writer = pytest.importorskip("lerobot.datasets.lerobot_dataset")
    lengths, rng = (40, 60, 2, 70), np.random.default_rng(0)
    features = {
        "observation.state": {"dtype": "float32", "shape": (3,), "names": ["x", "y", "v"]},
        "action": {"dtype": "float32", "shape": (2,), "names": ["a", "b"]},
        "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
        "next.done": {"dtype": "bool", "shape": (1,), "names": None},
    }
    made = writer.LeRobotDataset.create("me/robot", 25, features, root="robot", use_videos=False)
    made.meta.update_chunk_settings(data_files_size_in_mb=0.01)
    states, rewards = [], []
    for length in lengths:
        states.append(rng.normal(size=(length, 3)).astype(np.float32))
        rewards.append(rng.normal(size=(length, 1)).astype(np.float32))
        for row in range(length):
            frame = {
                "observation.state": states[-1][row],
                "next.reward": rewards[-1][row],
                "action": np.full(2, row, np.float32),
                "next.done": np.array([row == length - 1]),
            }
            made.add_frame({**frame, "task": "reach"})
        made.save_episode()
    made.finalize()
    assert json.loads(Path("robot/meta/info.json").read_text())["codebase_version"] == "v3.0"
    assert len(list(Path("robot/data").rglob("*.parquet"))) > 1
    data, actions = load_with_actions("lerobot:robot")
    assert np.array_equal(data.states, np.concatenate(states))
    inside = ~data.terminated
    assert (~inside).sum() == len(lengths)
    assert np.array_equal(data.next_states[inside], np.concatenate([episode[1:] for episode in states]))
    assert np.array_equal(data.rewards, np.concatenate(rewards)[:, 0])
    assert np.array_equal(actions[:, 0], np.concatenate([np.arange(length) for length in lengths]))
    assert data.metadata.state_names == ("x", "y", "v")
