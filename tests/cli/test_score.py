"""``d3g-lfo score``: the scores of each transition, the worst moments, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from shell import copy, d3g, error, must

from lfo import load_policy
from lfo.datasets import from_episodes, load, save
from lfo.reporting.scoring import score, worst
from lfo.runs.folder import RunFolder
from lfo.runs.loading import load_agent


def test_a_table_of_what_the_members_think(trained: Path, dataset: Path, tmp_path: Path) -> None:
    """Against ``Policy``, member by member."""
    table, other = tmp_path / "s.parquet", tmp_path / "s.csv"
    out = must("score", trained, dataset, "-o", table)
    assert "better than the run's own aim" in out
    assert out.count("  episode ") == 5
    must("score", trained, dataset, "-o", other)
    frame, data = pl.read_parquet(table), load(dataset)
    assert frame["reward"].to_numpy().tolist() == data.rewards.tolist()
    assert frame["episode"].to_numpy().tolist() == data.episode_ids.tolist()
    assert frame["step"].to_numpy()[data.episode_starts].tolist() == [0] * data.num_episodes
    q, advantage, distance = [], [], []
    spread = (data.next_states - data.states).astype(np.float64).std(axis=0)
    for member in range(2):
        policy = load_policy(trained, member)
        aim = policy.aim(data.states)
        q.append(policy.value(data.states, data.next_states))
        advantage.append(q[-1] - policy.value(data.states, aim))
        distance.append(np.sqrt(np.square((data.next_states - aim) / spread).mean(axis=1)))
    for name, values in {"q": q, "advantage": advantage, "distance": distance}.items():
        np.testing.assert_allclose(frame[name], np.mean(values, axis=0), rtol=2e-3, atol=2e-4)
        np.testing.assert_allclose(frame[f"{name}_std"], np.std(values, axis=0), rtol=2e-2, atol=2e-4)
        np.testing.assert_allclose(pl.read_csv(other)[name], frame[name], rtol=1e-6)


def test_a_member_that_has_diverged_does_not_count(trained: Path, dataset: Path) -> None:
    agent, data = load_agent(RunFolder(trained), "cpu"), load(dataset)
    agent.stopped = {1: "it was made to"}
    scores = score(agent, data)
    np.testing.assert_allclose(
        scores["q"], load_policy(trained, 0).value(data.states, data.next_states), rtol=1e-4, atol=1e-5
    )
    assert not scores["q_std"].any()


def test_an_episode_is_drawn(trained: Path, dataset: Path, tmp_path: Path) -> None:
    pictures = []
    for words in ((), ("--episode", "1")):
        plot = tmp_path / f"{len(pictures)}.png"
        done = d3g("score", trained, dataset, "-o", tmp_path / "s.csv", "--overwrite", "--plot", plot, *words)
        assert done.code == 0, done.err
        assert f"wrote {plot}: episode" in done.err
        pictures.append(plot.read_bytes())
        with Image.open(plot) as image:
            assert image.width > 800
    assert pictures[0] != pictures[1]


def test_the_worst_moments_lie_apart() -> None:
    advantage = np.array([0, -9, -8, 0, 0, 0, 0, -1, -7, 0], np.float32)
    scores: dict[str, Any] = {"advantage": advantage, "episode": np.array([0] * 7 + [1] * 3)}
    assert worst(scores, 3).tolist() == [1, 8, 3]
    assert worst(scores, 1, episode=1).tolist() == [8]


def test_what_is_refused(
    trained: Path, bco: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(from_episodes([(np.zeros((3, 2)), np.zeros(2), False)]), "two.h5")
    Path("there.csv").touch()
    Path("a.csv").write_text("x\n1\n2\n")
    for words, text in (
        (
            (bco, dataset, "-o", "s.csv"),
            "algo: expected one that learns values, found bco; pass a run of d3g",
        ),
        ((trained, "two.h5", "-o", "s.csv"), "two.h5: observations: expected 4 dimensions, as "),
        ((trained, "none.h5", "-o", "s.csv"), "none.h5: path"),
        ((trained, "a.csv", "-o", "s.csv"), "d3g-lfo convert"),
        (("none", dataset, "-o", "s.csv"), "none"),
        ((trained, dataset, "-o", "s.xlsx"), "s.xlsx: name: expected one that ends in .csv or .parquet"),
        ((trained, dataset, "-o", "there.csv"), "--overwrite"),
        ((trained, dataset, "-o", "no/s.csv"), "no such folder"),
        ((trained, dataset, "-o", "s.csv", "--plot", "there.csv"), "--overwrite"),
        (
            (trained, dataset, "-o", "s.csv", "--plot", "w.png", "--episode", "99999"),
            "episode: expected 0 to",
        ),
    ):
        assert text in error("score", *words), words
        assert not Path("s.csv").exists()
    assert d3g("score", trained, dataset, "-o", "s.csv", "--episode", "1").code == 2
    assert d3g("score", trained, dataset).code == 2
    run = copy(trained, tmp_path)
    info = (run / "run.json").read_text()
    (run / "run.json").write_text(info.replace('"steps": 40', '"steps": 4000'))
    assert "found 40 of its 4,000 steps" in error("score", run, dataset, "-o", "s.csv")


def test_all_members_have_diverged(trained: Path, dataset: Path) -> None:
    from lfo.datasets import LfoError

    agent = load_agent(RunFolder(trained), "cpu")
    agent.stopped = {0: "", 1: ""}
    with pytest.raises(LfoError, match="all have diverged"):
        score(agent, load(dataset), name="run")


def test_without_polars_it_says_what_to_install(trained: Path, dataset: Path, tmp_path: Path) -> None:
    words = ["d3g-lfo", "score", str(trained), str(dataset), "-o", "s.csv"]
    code = f"import sys; sys.modules['polars'] = None\nfrom lfo.cli import main\nsys.argv = {words}\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 1
    assert "Error: writing scores needs the package polars" in done.stderr
    assert "pip install 'polars>=1'" in done.stderr


def test_names_and_units_are_on_the_picture(trained: Path, dataset: Path) -> None:
    data = load(dataset)
    named = replace(
        data.metadata,
        attributes={"state_names": '["x", "angle", "v", "w"]', "state_units": '["m", "rad", "m/s", ""]'},
    )
    assert [named.dimension(i) for i in range(5)] == ["x (m)", "angle (rad)", "v (m/s)", "w", "s[4]"]
    assert named.dimension(1, longest=3, between="\n") == "an…\n(rad)"
