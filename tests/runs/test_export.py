"""Exported policies act as the original does, without this package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import plugin
import pytest
import torch
from shell import d3g, error, must

from lfo import evaluate, load_agent, load_policy
from lfo.datasets import LfoError
from lfo.runs import export as module
from lfo.runs.folder import RunFolder

STATES = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
EPISODE = """
import sys
import gymnasium, numpy, onnxruntime
policy = onnxruntime.InferenceSession(sys.argv[1])
env = gymnasium.make("InvertedPendulum-v5")
observation, _ = env.reset(seed=int(sys.argv[2]))
total, over = 0.0, False
while not over:
    batch = observation[None].astype(numpy.float32)
    observation, reward, terminated, truncated, _ = env.step(policy.run(None, {"observation": batch})[0][0])
    total, over = total + float(reward), terminated or truncated
assert not {"torch", "lfo"} & set(sys.modules)
print(total)
"""


def onnx_file(run: Path, folder: Path, *words: object) -> Path:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    told = must("export", run, *words, "-o", folder / "policy.onnx")
    assert "largest difference" in told
    assert "on 1,000 observations" in told
    return folder / "policy.onnx"


def test_onnxruntime_and_numpy_act_a_whole_episode(interacted: Path, tmp_path: Path) -> None:
    path = onnx_file(interacted, tmp_path, "--member", "1")
    found = evaluate(load_agent(RunFolder(interacted), "cpu"), "InvertedPendulum-v5", episodes=1)
    start = np.random.SeedSequence([0, 1]).generate_state(1)[0]
    command = [sys.executable, "-c", EPISODE, str(path), str(start)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == found.returns[1, 0]
    assert [one.name for one in tmp_path.iterdir()] == ["policy.onnx"]


@pytest.mark.parametrize("batch", [1, 7])
def test_bco_in_onnx(bco: Path, tmp_path: Path, batch: int) -> None:
    path = onnx_file(bco, tmp_path)
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    (found,) = session.run(["action"], {"observation": STATES[:batch]})
    np.testing.assert_allclose(found, load_policy(bco).predict(STATES[:batch]), atol=1e-5)
    record = json.loads(session.get_modelmeta().custom_metadata_map["policy"])
    assert record == load_policy(bco).record


def test_somebody_elses_algorithm_in_onnx(dataset: Path, tmp_path: Path) -> None:
    with plugin.installed(plugin.install(tmp_path)):
        run = tmp_path / "run"
        must(
            "train", dataset, "-o", run, "--algo", "mean", "--hidden", "8", "--steps", "5", "--device", "cpu"
        )
        must("interact", run, "--rounds", "1", "--interactions", "20", "--grad-steps", "5", "--episodes", "1")
        onnx_file(run, tmp_path)


def test_the_cycle_and_full_size(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("--set", "act_on_cycle=true", "--steps", "3", "--device", "cpu")
    must("train", dataset, "-o", run, *words)
    must("interact", run, "--rounds", "1", "--interactions", "20", "--grad-steps", "5", "--episodes", "1")
    onnx_file(run, tmp_path)


def test_bfloat16_is_refused_with_a_remedy_that_works(dataset: Path, tmp_path: Path) -> None:
    """Other runtimes compute in float32, which is another policy."""
    run = tmp_path / "run"
    must("train", dataset, "-o", run, "--precision", "bf16", "--steps", "3", "--device", "cpu")
    must("interact", run, "--rounds", "1", "--interactions", "20", "--grad-steps", "5", "--episodes", "1")
    told = error("export", run, "-o", tmp_path / "p.pt2")
    assert "export to .safetensors, or train with precision fp32" in told
    must("export", run, "-o", tmp_path / "p.safetensors")


def test_pt2_runs_with_torch_alone(interacted: Path, tmp_path: Path) -> None:
    path = tmp_path / "policy.pt2"
    assert load_policy(interacted).export(path) <= 1e-5
    extra = {"policy": ""}
    program = torch.export.load(path, extra_files=extra)
    assert json.loads(extra["policy"])["seed"] == 0
    found = program.module()(torch.from_numpy(STATES)).numpy(force=True)
    np.testing.assert_allclose(found, load_policy(interacted).predict(STATES), atol=1e-5)


def test_safetensors_are_the_policy_itself(interacted: Path, tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    assert "largest difference 0.0e+00" in must("export", interacted, "-o", path)
    np.testing.assert_array_equal(load_policy(path).predict(STATES), load_policy(interacted).predict(STATES))
    assert "already exists" in error("export", interacted, "-o", path)
    must("export", path, "-o", path, "--overwrite")


def test_a_file_that_differs_is_refused(
    interacted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load_policy(interacted)
    monkeypatch.setitem(
        module.FORMATS, ".pt2", lambda agent, record, path: lambda x: policy.predict(x) + 1e-3
    )
    with pytest.raises(LfoError, match=r"found a difference of 0\.00033; export to \.safetensors"):
        policy.export(tmp_path / "p.pt2")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_one_line(
    interacted: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = error("export", interacted, "-o", tmp_path / "p.pth")
    assert "expected a name ending in .onnx, .pt2, .safetensors, found p.pth" in told
    assert "interact" in error("export", trained, "-o", tmp_path / "p.pt2")
    assert "member: expected 0 to 1, found 2" in error(
        "export", interacted, "--member", "2", "-o", tmp_path / "p.pt2"
    )
    assert d3g("export", interacted).code == 2
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    told = error("export", interacted, "-o", tmp_path / "p.onnx")
    assert "pip install onnx onnxscript onnxruntime" in told
    assert list(tmp_path.iterdir()) == []
