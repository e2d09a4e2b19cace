from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flat import recording, write_h5

from lfo.datasets import LfoError, load, normalized_return, reference_scores, summarize
from lfo.datasets.d4rl import FILES


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("hopper-medium-v2", "hopper_medium-v2.hdf5"),
        ("walker2d-medium-replay-v2", "walker2d_medium_replay-v2.hdf5"),
        ("walker2d-medium-replay-v0", "walker_mixed.hdf5"),
        ("halfcheetah-medium-expert-v0", "halfcheetah_medium_expert.hdf5"),
        (
            "antmaze-large-play-v2",
            "Ant_maze_hardest-maze_noisy_multistart_True_multigoal_False_sparse_fixed.hdf5",
        ),
        ("maze2d-umaze-v1", "maze2d-umaze-sparse-v1.hdf5"),
        ("maze2d-large-dense-v1", "maze2d-large-dense-v1.hdf5"),
        ("pen-cloned-v1", "pen-cloned-v1.hdf5"),
        ("door-human-v0", "door-v0_demos_clipped.hdf5"),
        ("kitchen-mixed-v0", "kitchen_microwave_kettle_bottomburner_light-v0.hdf5"),
    ],
)
def test_found_in_the_cache_folder_under_d4rls_file_name(tmp_path, monkeypatch, name, file):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    write_h5(tmp_path / file, recording())
    data = load(f"d4rl:{name}")
    assert data.metadata.source == f"d4rl:{name}"
    assert data.metadata.path == tmp_path / file
    mean = data.episode_returns().mean()
    assert summarize(data)["normalized_return"] == pytest.approx(normalized_return(name, mean))
    assert summarize(load(tmp_path / file))["normalized_return"] == summarize(data)["normalized_return"]


def test_file_names_are_told_apart():
    assert len(set(FILES.values())) == len(FILES)


def test_default_folder_is_in_the_error(tmp_path, monkeypatch):
    monkeypatch.delenv("D4RL_DATASET_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(LfoError) as caught:
        load("d4rl:hopper-medium-v2")
    assert str(Path(tmp_path, ".d4rl", "datasets", "hopper_medium-v2.hdf5")) in str(caught.value)
    assert "D4RL_DATASET_DIR" in str(caught.value)


def test_unknown_name():
    with pytest.raises(LfoError, match="check the spelling"):
        load("d4rl:../../etc/passwd")


def test_normalized_return():
    assert normalized_return("hopper-medium-v2", -20.272305) == 0
    assert normalized_return("hopper-medium-v2", 3234.3) == 100
    np.testing.assert_allclose(normalized_return("antmaze-umaze-v2", np.array([0.0, 0.5])), [0, 50])
    assert reference_scores("maze2d-umaze-dense-v1") == (68.537689, 193.66285642381482)
    assert reference_scores("maze2d-umaze-v1") == (23.85, 161.86)
    assert reference_scores("reacher-v5") is None
    with pytest.raises(LfoError, match="reference scores"):
        normalized_return("reacher-v5", 1.0)
