"""The rows of a study: where their data come from, and that cells act where and as they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from shell import error

from lfo import RunFolder
from lfo.datasets import LfoError, load, load_with_actions, save
from lfo.datasets.collect import collect
from lfo.study.cell import time_limit, work_on
from lfo.study.results import cell_results
from lfo.study.spec import Cell, load_study
from lfo.study.worker import make_data

TINY = """
seeds = [3, 4]
transitions = 60
datasets = 2
steps = 20
rounds = 2
interactions = 30
grad_steps = 4
episodes_per_round = 1
final_episodes = 1
hidden = 8
"""


def study(folder: Path, rows: str, head: str = "") -> tuple[Path, Path]:
    """A file with these rows, and the folder of its study, with a place for data."""
    path, out = folder / "mine.toml", folder / "study"
    path.write_text(TINY + head + rows)
    (out / "data").mkdir(parents=True)
    return path, out


def test_a_source_is_copied_without_its_actions(tmp_path: Path) -> None:
    data, actions = collect("Pendulum-v1", policy="random", steps=60)
    save(data, tmp_path / "mine.h5", actions=actions)
    path, out = study(tmp_path, "[data.mine]\nsource = 'mine.h5'\nenv = 'Pendulum-v1'\n")
    found = load_study(path)
    (name,) = found.files("mine")
    make_data(found, "mine", 0, out / name)
    copied = load(out / name)
    assert (copied.states == data.states).all()
    assert (copied.rewards == data.rewards).all()
    with pytest.raises(LfoError, match="actions"):
        load_with_actions(out / name)


def test_logs_are_read_with_their_recipe(tmp_path: Path) -> None:
    pytest.importorskip("polars")
    (tmp_path / "log.csv").write_text("t,x\n" + "".join(f"{k / 10},{k % 3}\n" for k in range(20)))
    (tmp_path / "recipe.toml").write_text('state = ["x", "x * 2"]\ntime = "t"\nreward = "-x"\n')
    path, out = study(tmp_path, "[data.log]\nsource = '*.csv'\nrecipe = 'recipe.toml'\nenv = 'Pendulum-v1'\n")
    make_data(load_study(path), "log", 0, out / "data" / "log-0.h5")
    assert load(out / "data" / "log-0.h5").states[:4].tolist() == [[0, 0], [1, 2], [2, 4], [0, 0]]


def test_data_are_collected_as_the_row_says(tmp_path: Path, interacted: Path) -> None:
    path, out = study(
        tmp_path,
        f"""
[data.run]
env = "InvertedPendulum-v5"
policy = "{interacted}"
member = 1
transitions = 40
seeds = [7, 8]

[data.easy]
env = "Pendulum-v1"
env_kwargs = {{ g = 5.0 }}
policy = "random"
""",
    )
    found = load_study(path)
    for row in found.rows:
        for k, name in enumerate(found.files(row)):
            make_data(found, row, k, out / name)
    runs = [load(out / name) for name in found.files("run")]
    assert [(len(one), one.metadata.seed, one.metadata.random_frac) for one in runs] == [
        (40, 7, 0),
        (40, 8, 0),
    ]
    assert runs[0].metadata.policy == f"{interacted.name}, seed 1"
    easy = load(out / found.files("easy")[0])
    assert (len(easy), easy.metadata.env_kwargs, easy.metadata.random_frac) == (60, {"g": 5.0}, 1.0)


def test_a_cell_acts_in_its_rows_environment_with_its_columns_settings(tmp_path: Path) -> None:
    path, out = study(
        tmp_path,
        """
[data.easy]
env = "Pendulum-v1"
env_kwargs = { g = 5.0, max_episode_steps = 20 }
policy = "random"

[variants.short]
algo = "d3g"
cycle_weight = 0.5
batch_size = 16
steps = 10
interactions = 25
""",
    )
    found, cell = load_study(path), Cell("easy", "short")
    assert time_limit(found.rows["easy"]) == 20
    for k, name in enumerate(found.files("easy")):
        make_data(found, "easy", k, out / name)
    work_on(found, cell, out, "cpu")
    run = RunFolder(out / cell.path)
    info = run.info()
    assert (info["algo"], info["config"]["cycle_weight"], info["steps"]) == ("d3g", 0.5, 10)
    assert info["interact"]["env_kwargs"] == {"g": 5.0, "max_episode_steps": 20}
    assert {row["length"] for row in run.rows("scores.csv")} == {"20"}
    rows = cell_results(out, found, cell)
    assert [(row["data"], row["env"], row["algo"], row["interactions"]) for row in rows] == [
        ("easy", "Pendulum-v1", "short", 50)
    ] * 2
    assert {row["gradient_steps"] for row in rows} == {10 + 2 * 4}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("env = 'Pendulum-v9'\npolicy = 'random'", "unknown environment 'Pendulum-v9'; did you mean"),
        ("env = 'nowhere:E-v0'\npolicy = 'random'", "module 'nowhere' cannot be imported"),
        ("env = 'Pendulum-v1'\nenv_kwargs = { gg = 1 }\npolicy = 'random'", "'Pendulum-v1' fails to start"),
        (
            "env = 'Pendulum-v1'\nsource = 'nothing.h5'",
            "data.x: source: expected a file or folder, found nothing at",
        ),
    ],
)
def test_what_a_row_lacks_is_told_before_anything_starts(row: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"{TINY}[data.x]\n{row}\n")
    assert told in error("study", path, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
