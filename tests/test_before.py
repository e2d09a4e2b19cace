"""Run folders that commit d39b168 wrote are read, measured and continued; tests/study has a study of then."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from shell import must

from lfo import RunFolder, load_agent

ARCHIVE = Path(__file__).parent / "data" / "d39b168.zip"


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """The folders of then, their recorded paths changed to where they lie now."""
    folder = tmp_path / "before"
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder)
    for record in folder.rglob("run.json"):
        record.write_text(record.read_text().replace("FOLDER", str(folder)))
    return folder


@pytest.mark.parametrize("algo", ["d3g", "bco"])
def test_a_run_of_then_scores_what_it_scored_then(before: Path, algo: str) -> None:
    found = json.loads(must("eval", before / algo, "--json"))
    then = json.loads((before / f"eval-{algo}.json").read_text())
    for key, value in then.items():
        if key != "members":
            assert found[key] == pytest.approx(value, rel=1e-4) if isinstance(value, float) else value, key
    means = [[member["return_mean"] for member in one["members"]] for one in (found, then)]
    assert means[0] == pytest.approx(means[1], rel=1e-4)


@pytest.mark.parametrize("algo", ["d3g", "bco"])
def test_a_run_of_then_continues(before: Path, algo: str) -> None:
    run = before / algo
    assert "best of rounds" in must("compare", run)
    first = RunFolder(run).interactions()
    must("interact", run, "--resume", "--rounds", "3")
    assert [row["round"] for row in RunFolder(run).rows("evaluations.csv")] == ["1"] * 4 + ["2"] * 4 + [
        "3"
    ] * 4
    both = RunFolder(run).interactions()
    assert both["actions"].shape == (2, 90, 1)
    for name, array in first.items():
        np.testing.assert_array_equal(both[name][:, :30], array)
    assert load_agent(RunFolder(run), "cpu").inverse is not None


def test_training_of_then_continues(before: Path) -> None:
    run = before / "d3g-trained"
    must("train", "-o", run, "--resume", "--steps", "60")
    assert load_agent(RunFolder(run), "cpu").updates == 60
    must("interact", run, "--rounds", "1", "--interactions", "20", "--grad-steps", "5", "--episodes", "1")
