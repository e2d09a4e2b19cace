"""A policy to take away: numpy in and out, one safe file, π_o of a data set."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import plugin
import pytest
import torch
from safetensors.numpy import load_file, save_file
from shell import error, must

from lfo import Policy, RunFolder, load_agent, load_policy
from lfo.datasets import LfoError, load_with_actions
from lfo.datasets.collect import collect
from lfo.datasets.policies import TRAINED, expert_envs, is_trained_policy
from lfo.envs.make import make_env

ENV = "InvertedPendulum-v5"
RNG = np.random.default_rng(0)
STATES = RNG.normal(size=(2, 5, 4)).astype(np.float32)


@pytest.fixture
def file(interacted: Path, tmp_path: Path) -> Path:
    path = tmp_path / "policy.safetensors"
    load_policy(interacted, 1).save(path)
    return path


@pytest.mark.parametrize("member", [0, 1])
def test_it_acts_as_its_member_does(interacted: Path, member: int) -> None:
    agent, policy = load_agent(RunFolder(interacted), "cpu"), load_policy(interacted, member)
    together = torch.from_numpy(STATES[:1]).expand(2, -1, -1)
    wanted = agent.act(together)[member].numpy()
    many = policy.predict(STATES[0])
    assert (many.shape, many.dtype) == ((5, 1), np.float32)
    np.testing.assert_allclose(many, wanted, atol=1e-5)
    one = policy.predict(STATES[0, 2].tolist())
    assert one.shape == (1,)
    np.testing.assert_allclose(one, many[2], atol=1e-6)
    np.testing.assert_array_equal(policy.predict(STATES[0], sb3=True)[0], many)
    assert policy.predict(STATES[0], sb3=True)[1] is None
    after = torch.from_numpy(STATES[1:]).expand(2, -1, -1)
    values = agent.values(together, after)[member].numpy()  # type: ignore[attr-defined]
    np.testing.assert_allclose(policy.value(STATES[0], STATES[1]), values, atol=1e-4)
    assert policy.value(STATES[0, 0], STATES[1, 0]) == pytest.approx(values[0], abs=1e-4)
    aims = agent.aim(together)[member].numpy()  # type: ignore[attr-defined]
    np.testing.assert_allclose(policy.aim(STATES[0]), aims, atol=1e-4)
    assert policy.aim(STATES[0, 0]).shape == (4,)


def test_stable_baselines_evaluates_it(interacted: Path) -> None:
    evaluation = pytest.importorskip("stable_baselines3.common.evaluation")
    policy, env = load_policy(interacted), make_env(ENV)
    mean, _ = evaluation.evaluate_policy(policy.stable_baselines(), env, n_eval_episodes=2, warn=False)
    assert mean > 0


def test_what_does_not_fit_is_one_line(interacted: Path, trained: Path, bco: Path) -> None:
    policy = load_policy(interacted)
    for wrong in (np.zeros(3), np.zeros((2, 3)), np.zeros((1, 2, 4)), 1.0):
        with pytest.raises(LfoError, match=r"observations: expected shape \[4\] or \[B, 4\], found \["):
            policy.predict(wrong)
    with pytest.raises(LfoError, match="next_states: expected as many as states, 5, found 1"):
        policy.value(STATES[0], STATES[1, 0])
    with pytest.raises(LfoError, match=r"bco learns no value Q\(s, s'\)"):
        load_policy(bco).value(STATES[0], STATES[1])
    with pytest.raises(LfoError, match=r"bco learns no aim τ\(s\)"):
        load_policy(bco).aim(STATES[0])
    with pytest.raises(LfoError, match="member: expected 0 to 1, found 2"):
        load_policy(interacted, 2)
    with pytest.raises(LfoError, match="d3g cannot act yet"):
        load_policy(trained).predict(STATES[0])
    with pytest.raises(LfoError, match="expected a run folder"):
        load_policy("nowhere")


def test_a_file_holds_everything(interacted: Path, file: Path) -> None:
    first, again = load_policy(interacted, 1), Policy.load(file)
    np.testing.assert_array_equal(first.predict(STATES[0]), again.predict(STATES[0]))
    np.testing.assert_array_equal(first.value(STATES[0], STATES[1]), again.value(STATES[0], STATES[1]))
    assert again.record == first.record
    info = RunFolder(interacted).info()
    assert again.record["algo"] == "d3g"
    assert again.record["config"]["hidden"] == 8
    assert (again.record["seed"], again.record["env"]) == (1, ENV)
    assert again.record["dataset"]["sha256"] == info["datasets"][0]["sha256"]
    assert again.record["versions"]["d3g-lfo"]
    assert again.space.same_as(first.space)
    with pytest.raises(LfoError, match="already exists"):
        first.save(file)
    with pytest.raises(LfoError, match=r"ending in \.safetensors"):
        first.save("policy.pt")
    with pytest.raises(LfoError, match="the file holds one policy"):
        load_policy(file, 1)


def test_a_run_that_cannot_act_yet_keeps_what_it_knows(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    load_policy(trained).save(path)
    np.testing.assert_array_equal(load_policy(path).aim(STATES[0]), load_policy(trained).aim(STATES[0]))
    with pytest.raises(LfoError, match="has not learned to act yet"):
        _ = load_policy(path).space
    told = error("collect", ENV, "--policy", path, "--random-frac", "0", "-o", tmp_path / "d.h5")
    assert "run `d3g-lfo interact` on it and export it again" in told


def test_it_is_sent_to_other_processes(interacted: Path) -> None:
    policy = load_policy(interacted)
    copied = pickle.loads(pickle.dumps(policy))
    np.testing.assert_array_equal(copied.predict(STATES[0]), policy.predict(STATES[0]))
    assert copied.name == policy.name == f"{interacted.name}, seed 0"


def test_it_is_the_policy_of_a_data_set(interacted: Path, file: Path, tmp_path: Path) -> None:
    words = ["--random-frac", "0", "--steps", "100", "--keep-actions", "-o", tmp_path / "d.h5"]
    assert "policy policy.safetensors, random_frac 0" in must("collect", ENV, "--policy", file, *words)
    data, actions = load_with_actions(tmp_path / "d.h5")
    np.testing.assert_allclose(actions, load_policy(file).predict(data.states), atol=1e-5)
    same, _ = collect(ENV, random_frac=0, steps=100, policy=load_policy(file))
    np.testing.assert_array_equal(same.states, data.states)
    told = error("collect", "Hopper-v5", "--policy", file, *words[:-1], tmp_path / "e.h5")
    assert "length 4" in told
    with pytest.raises(LfoError, match=r"pass policy=lfo\.load_policy"):
        collect(ENV, random_frac=0, steps=100, policy=file)
    assert not is_trained_policy(interacted / "run.json")
    assert expert_envs()


def test_a_policy_of_somebody_elses_algorithm(dataset: Path, tmp_path: Path) -> None:
    with plugin.installed(plugin.install(tmp_path)):
        run, path = tmp_path / "run", tmp_path / "p.safetensors"
        words = ("--algo", "mean", "--hidden", "8", "--steps", "5", "--device", "cpu")
        must("train", dataset, "-o", run, *words)
        must("interact", run, "--rounds", "1", "--interactions", "20", "--grad-steps", "5", "--episodes", "1")
        policy = load_policy(run)
        policy.save(path)
        np.testing.assert_array_equal(load_policy(path).predict(STATES[0]), policy.predict(STATES[0]))
        with pytest.raises(LfoError, match="mean learns no value"):
            policy.value(STATES[0], STATES[1])
    with pytest.raises(LfoError, match="algo: expected one of"):
        load_policy(path)


def change(file: Path, tensors: dict[str, Any] | None = None, **record: Any) -> None:
    """Rewrite the file with other tensors or another record."""
    metadata = {
        "format": TRAINED,
        "version": "1",
        "policy": json.dumps({**Policy.load(file).record, **record}),
    }
    save_file({**load_file(file), **(tensors or {})}, file, metadata)


def test_a_file_from_anyone_is_safe(file: Path) -> None:
    """It asks for no more memory than it has itself, and its settings are checked."""
    good = file.read_bytes()
    config = Policy.load(file).record["config"]
    for record, message in (
        ({"config": {**config, "hidden": 1_000_000}}, "tensors are not those of its settings"),
        ({"state_dim": 10**7}, "tensors are not those of its settings"),
        ({"config": {**config, "hidden": -1}}, "hidden: expected a whole number from 1 up"),
        ({"config": {**config, "hiden": 8}}, "did you mean hidden"),
        ({"config": 3}, "expected a trained policy"),
        ({"algo": "gone"}, "algo: expected one of"),
        ({"space": {"kind": "words"}}, "expected continuous or discrete actions, found words"),
        (
            {"space": {"kind": "discrete", "low": [0], "high": [9], "shape": []}},
            "tensors are not those of its settings",
        ),
    ):
        file.write_bytes(good)
        change(file, **record)
        with pytest.raises(LfoError, match=message) as caught:
            Policy.load(file)
        assert "\n" not in str(caught.value)
    file.write_bytes(good)
    change(file, {"inverse.head.mid": np.array([np.nan], np.float32)})
    with pytest.raises(LfoError, match="not finite"):
        Policy.load(file)
    for content in (b"", good[:100], good[:-8], b"\xff" * 64):
        file.write_bytes(content)
        with pytest.raises(LfoError, match="damaged"):
            Policy.load(file)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"x": np.zeros(3, np.float32)}, path, {"format": "d3g-lfo policy"})
    with pytest.raises(LfoError, match="expected 'd3g-lfo trained policy', found 'd3g-lfo policy'"):
        Policy.load(path)
    with pytest.raises(LfoError, match="found none; check the path"):
        Policy.load(tmp_path / "none.safetensors")
