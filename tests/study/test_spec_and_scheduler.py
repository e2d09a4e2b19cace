"""What a study is: its fields, its cells, its file, and where it stands."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record import WHOLE, record

from lfo.algorithms import registry
from lfo.algorithms.d3g import D3GConfig
from lfo.atomic import read_csv, write_csv
from lfo.cli import cli
from lfo.datasets import LfoError
from lfo.locks import locked
from lfo.study import spec as s
from lfo.study import status as t
from lfo.study.cell import FINAL_SEED, work_units
from lfo.study.results import cell_results

ENVS = ("InvertedPendulum-v5", "Reacher-v5")
SMALL = s.Study(envs=("Reacher-v5",), random_frac=(0.5, 1.0), seeds=(3, 4, 5), datasets=2)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_table1_is_the_published_table() -> None:
    study = s.load_study("table1")
    found = s.cells(study)
    assert len(found) == len(set(found)) == 20
    assert {row.env for row in study.rows.values()} == set(ENVS)
    assert {row.random_frac for row in study.rows.values()} == {0, 0.25, 0.5, 0.75, 1}
    assert {cell.data for cell in found} == set(study.rows)
    assert {cell.algo for cell in found} == {"bco", "d3g"}
    assert study.seeds == tuple(range(10))
    assert s.shipped() == ["ablation", "locomotion", "table1"]


def test_the_ablation_turns_off_each_part_alone() -> None:
    """Whatever D3G does otherwise than the paper, and the cycle; alone, and at once."""
    study = s.load_study("ablation")
    assert len(study.rows) == 5
    default, paper = (asdict(config) for config in (registry.spec("d3g").config(), D3GConfig.paper()))
    departures = {name for name in default if default[name] != paper[name]}
    configs = {c: asdict(s.algorithm_config(study, c)) for c in study.algos if study.algorithm(c) == "d3g"}
    changed = {c: {k for k in default if config[k] != default[k]} for c, config in configs.items()}
    alone = [set(one) for one in changed.values() if len(one) == 1]
    assert sorted(map(list, alone)) == sorted([name] for name in departures | {"cycle_weight"})
    assert changed["d3g"] == set()
    assert changed["published"] == departures
    for column in study.algos:
        s.inverse_config(study, column)


def test_locomotion_tells_which_policy_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = s.load_study("locomotion")
    assert len(study.rows) == 9
    with pytest.raises(
        LfoError, match=r"data.hopper-weak: policy: expected a file or folder, found nothing at /"
    ):
        s.require_ready(study, tmp_path)
    for row in study.rows.values():
        if row.policy != "random":
            Path(row.policy).parent.mkdir(parents=True, exist_ok=True)
            Path(row.policy).touch()
    s.require_ready(study, tmp_path)


GENERAL = """
seeds = [0, 1]

[d3g]
batch_size = 16

[data.mine]
source = "data/mine.h5"
env = "Hopper-v5"

[data.robot]
source = "lerobot:robot"
env = "mine:Robot-v0"
env_kwargs = { speed = [1, 2] }

[data.log]
source = "log.csv"
recipe = "recipe.toml"
env = "Pendulum-v1"

[data.collected]
env = "Pendulum-v1"
policy = "runs/first"
transitions = 99
seeds = [7]

[variants.plain]
algo = "d3g"

[variants.no-cycle]
algo = "d3g"
cycle_weight = 0
steps = 7
rounds = 3

[variants.no-cycle.inverse]
noise = 0.3
"""


def test_rows_and_columns_by_name(tmp_path: Path) -> None:
    study = s.load_study(write(tmp_path / "mine.toml", GENERAL))
    assert study.algos == ("plain", "no-cycle")
    assert [cell.name for cell in s.cells(study)][:3] == ["mine-plain", "mine-no-cycle", "robot-plain"]
    assert study.rows["mine"].source == str(tmp_path / "data" / "mine.h5")
    assert study.rows["robot"].source == f"lerobot:{tmp_path / 'robot'}"
    assert study.rows["collected"].policy == str(tmp_path / "runs" / "first")
    assert study.files("collected") == ("data/collected-0.h5",)
    assert study.experts == ()
    config = s.algorithm_config(study, "no-cycle")
    assert asdict(config).items() >= {"cycle_weight": 0.0, "batch_size": 16}.items()
    assert s.algorithm_config(study, "plain") == replace(config, cycle_weight=1.0)
    assert (s.inverse_config(study, "no-cycle").noise, s.inverse_config(study, "plain").noise) == (0.3, 0.1)
    assert [s.inverse_config(study, column).rounds for column in study.algos] == [10, 3]
    assert [study.sized(column).steps for column in study.algos] == [50_000, 7]


def test_paths_are_kept_relative_to_the_studys_folder(tmp_path: Path) -> None:
    study = s.load_study(write(tmp_path / "mine.toml", 'references = "x.csv"\n' + GENERAL))
    out = tmp_path / "out"
    out.mkdir()
    text = s.to_toml(study, out)
    assert str(tmp_path) not in text
    assert 'source = "lerobot:../robot"' in text
    assert s.load_study(write(out / "study.toml", text)) == study


def test_options_choose_rows_and_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", "envs = ['Reacher-v5']\nrandom_frac = [0, 1]\n" + GENERAL)

    def names(**options: Any) -> list[str]:
        return [cell.name for cell in s.cells(s.load_study(path, options))]

    assert len(names()) == 12
    assert names(data=("log",), algos=("bco", "plain")) == ["log-bco", "log-plain"]
    assert names(random_frac=(0.5,), algos=("d3g",)) == ["Reacher-v5-50-d3g"]
    with pytest.raises(
        LfoError, match=r"options: data: expected names of data sets in .*found 'logg'; did you mean log"
    ):
        names(data=("logg",))


def test_rows_and_columns_may_be_added_but_not_changed(tmp_path: Path) -> None:
    study = s.load_study(write(tmp_path / "mine.toml", GENERAL))
    part = replace(study, data={"log": study.data["log"]}, algos=("plain",), references="")
    assert s.same_study(part, study, Path("f")) == replace(
        study, data={"log": study.data["log"], **study.data}, references=study.references
    )
    for name, changed in (
        ("data.log", {"data": {"log": replace(study.data["log"], env="Reacher-v5")}}),
        ("variants.plain", {"variants": {"plain": {"algo": "bco"}}}),
    ):
        with pytest.raises(LfoError, match=rf"f: {name}: expected .* as the study was started"):
            s.same_study(study, replace(study, **changed), Path("f"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[data.x]\nsource = 'a.h5'", "data.x: env: expected the environment to act in, found nothing"),
        ("[data.x]\nenv = 'A'\nsorce = 'a'", "data.x: sorce: expected a field of a data set, one of env"),
        (
            "[data.x]\nenv = 'A'\nsource = 'a'\nseeds = [1]",
            "data.x: expected either source, to read data, or seeds",
        ),
        ("[data.x]\nenv = 'A'\nrecipe = 'a'", "data.x: source: expected the logs that the recipe reads"),
        ("[data.x]\nenv = 'A'\ntransitions = 0", "data.x: transitions: expected a whole number from 1 up"),
        ("[data.'a b']\nenv = 'A'", "data.a b: expected a name of at most 64 letters"),
        ("[data.'..']\nenv = 'A'", "data...: expected a name of at most 64 letters"),
        (
            "[variants.x]\nalgo = 'd3'",
            "variants.x: algo: expected one of d3g, bco, qsi, found d3; did you mean d3g?",
        ),
        ("[variants.bco]\nalgo = 'd3g'", "variants.bco: expected a name that no algorithm has"),
        ("[variants.x]\nalgo = 'd3g'\nsteps = 0", "variants.x: steps: expected a whole number from 1 up"),
        (
            "[variants.x]\nalgo = 'd3g'\ninverse = { rounds = 2 }",
            "variants.x: inverse.rounds: expected the study's",
        ),
        (
            "algos = ['plan']\n[variants.plain]\nalgo = 'd3g'",
            "algos: expected a list of algorithms and variants",
        ),
        (
            "algos = ['y-z', 'Z']\n[data.x]\nenv = 'A'\n[data.X-y]\nenv = 'A'\n"
            "[variants.y-z]\nalgo = 'd3g'\n[variants.Z]\nalgo = 'd3g'",
            "expected names that tell cells apart, found X-y-Z twice (y-z on x, Z on X-y); rename one",
        ),
    ],
)
def test_a_wrong_row_or_column_is_told(text: str, told: str, tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", text)
    with pytest.raises(LfoError) as caught:
        s.load_study(path)
    assert str(caught.value).startswith(f"{path}: {told}")
    assert "\n" not in str(caught.value)


def test_a_misspelt_setting_of_a_variant_is_told(tmp_path: Path) -> None:
    study = s.load_study(write(tmp_path / "mine.toml", GENERAL.replace("cycle_weight", "cycle_wait")))
    with pytest.raises(
        LfoError, match=r"study: variants\.no-cycle: cycle_wait: .* did you mean cycle_weight"
    ):
        s.require_ready(study, tmp_path)


def test_protocol_final_is_within_the_budget() -> None:
    study = s.load_study("table1")
    assert study.protocol == "final"
    assert study.datasets >= 3
    assert study.rounds * study.interactions <= 10_000
    assert 10_000 + study.rounds < FINAL_SEED  # starts of the final evaluation: none of the rounds'


def test_protocol_paper_has_the_published_sizes_and_options_override_it() -> None:
    study = s.load_study("table1", {"protocol": "paper"})
    assert (study.transitions, study.steps, study.rounds, study.datasets) == (1_000_000, 1_000_000, 100, 1)
    assert study.interactions == 1_000
    assert s.load_study("table1", {"protocol": "paper", "steps": 7, "datasets": 2}) == replace(
        study, steps=7, datasets=2
    )


def test_names() -> None:
    study = s.Study(("InvertedPendulum-v5", "Reacher-v5"), (0.07, 0.125, 0.25), seeds=(3, 4, 5), datasets=2)
    assert list(study.rows)[:3] == [f"InvertedPendulum-v5-{percent}" for percent in ("7", "12.5", "25")]
    cell = s.cells(study)[5]
    assert cell.name == "InvertedPendulum-v5-25-d3g"
    assert study.files(cell.data) == (
        "data/InvertedPendulum-v5-25-0.h5",
        "data/InvertedPendulum-v5-25-1.h5",
    )
    assert len(replace(study, seeds=(1,)).files(cell.data)) == 1  # no data set without a member


some_settings = st.dictionaries(
    st.sampled_from(["noise", "batch_size", "learning_rate"]),
    st.one_of(st.integers(1, 99), st.floats(0, 1), st.booleans(), st.text('aé"\\\n\x00\x7f😀')),
)


@given(
    envs=st.lists(st.sampled_from(ENVS), min_size=1, unique=True),
    fractions=st.lists(st.floats(0, 1).map(lambda f: round(f, 9)), min_size=1, unique=True),
    seeds=st.lists(st.integers(0, 10**9), min_size=1, unique=True),
    steps=st.integers(1),
    paper=st.booleans(),
    tables=st.dictionaries(st.sampled_from(["d3g", "bco", "inverse"]), some_settings.filter(bool)),
)
@settings(deadline=None)  # it writes a file: a busy machine may take its time
def test_a_study_is_read_as_it_was_written(
    envs: list[str],
    fractions: list[float],
    seeds: list[int],
    tables: dict[str, Any],
    tmp_path_factory: Any,
    **fields: Any,
) -> None:
    study = s.Study(tuple(envs), tuple(fractions), seeds=tuple(seeds), settings=tables, **fields)
    path = tmp_path_factory.getbasetemp() / "study.toml"
    write(path, s.to_toml(study))
    assert s.load_study(path) == study


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("stepps = 3", "stepps: expected a field of a study, one of envs, random_frac"),
        ("steps = '3'", "steps: expected a whole number from 1 up, found '3'"),
        ("steps = 0", "steps: expected a whole number from 1 up, found 0"),
        ("steps = true", "steps: expected a whole number from 1 up, found True"),
        ("seeds = '0-9'", "seeds: expected a list of whole numbers from 0 up"),
        ("seeds = []", "seeds: expected a list"),
        ("seeds = [1, 1]", "each once, found [1, 1]"),
        ("random_frac = [1.5]", "random_frac: expected a list of fractions from 0 to 1"),
        ("random_frac = [nan]", "random_frac: expected a list of fractions from 0 to 1"),
        ("random_frac = 1", "random_frac: expected a list of fractions from 0 to 1"),
        ("envs = ['Hopper-v5']", "envs: expected a list of environments that have an expert (Acrobot"),
        (
            "algos = ['sac']",
            "algos: expected a list of algorithms and variants (d3g, bco, qsi), each once, found ['sac']",
        ),
        ("protocol = 'best'", "protocol: expected final or paper, found 'best'"),
        ("protocol = []", "protocol: expected final or paper, found []"),
        ("precision = 'fp8'", "precision: expected fp32, tf32 or bf16, found 'fp8'"),
        ("random_fraq = [1]", "random_fraq: expected a field of a study, one of envs, random_frac, algos"),
        ("paper = 1", "paper: expected true or false, found 1"),
        ("d3g = 5", "d3g: expected a table of settings"),
        ("d3g = { gamma = [1] }", "d3g: expected a table of settings"),
        ("inverse = { rounds = 3 }", "inverse.rounds: expected the study's own field rounds"),
        ("inverse = { episodes = 3 }", "inverse.episodes: expected the study's own field episodes_per_round"),
        ("steps = = 3", "study: expected TOML, such as `hidden = 128`, found Invalid value (at line 1"),
    ],
)
def test_a_wrong_file_is_told_with_its_field_or_line(line: str, told: str, tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", line + "\n")
    with pytest.raises(LfoError) as caught:
        s.load_study(path)
    assert str(caught.value).startswith(f"{path}: {told}" if not told.startswith("each") else str(path))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "missing"), [("envs = ['Reacher-v5']", "random_frac"), ("random_frac = [0]", "envs")]
)
def test_what_has_no_default_must_be_there(text: str, missing: str, tmp_path: Path) -> None:
    with pytest.raises(LfoError, match=f"{missing}: expected a list .*, found nothing; add a line"):
        s.load_study(write(tmp_path / "mine.toml", text))
    with pytest.raises(LfoError, match=r"nowhere\.toml: study: expected a TOML file"):
        s.load_study(tmp_path / "nowhere.toml")


def test_settings_reach_the_configs() -> None:
    study = replace(
        SMALL,
        hidden=32,
        precision="bf16",
        rounds=3,
        settings={"d3g": {"gamma": 0.9}, "inverse": {"noise": 0.2}},
    )
    d3g, bco, inverse = (
        s.algorithm_config(study, "d3g"),
        s.algorithm_config(study, "bco"),
        s.inverse_config(study, "d3g"),
    )
    assert (
        asdict(d3g).items() >= {"hidden": 32, "precision": "bf16", "gamma": 0.9, "standardise": True}.items()
    )
    assert (bco.hidden, inverse.hidden, inverse.noise, inverse.rounds) == (32, 32, 0.2, 3)
    published = s.algorithm_config(replace(study, paper=True), "d3g")
    assert asdict(published).items() >= {"standardise": False, "gamma": 0.9, "hidden": 32}.items()
    with pytest.raises(LfoError, match="study: d3g: nothing: expected a setting of D3GConfig"):
        s.algorithm_config(replace(SMALL, settings={"d3g": {"nothing": 1}}), "d3g")
    with pytest.raises(LfoError, match="study: inverse: noise: expected a number from 0 up"):
        s.inverse_config(replace(SMALL, settings={"inverse": {"noise": "loud"}}), "d3g")


def test_the_precision_of_an_older_study_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "old.toml", "envs = ['Reacher-v5']\nrandom_frac = [1.0]\n[d3g]\nbf16 = true\n")
    study = s.load_study(path)
    assert study.settings == {"d3g": {"precision": "bf16"}}
    assert s.algorithm_config(study, "d3g").precision == "bf16"
    write(path, path.read_text().replace("true", "false"))
    assert s.load_study(path).settings == {"d3g": {"precision": "fp32"}}


def test_an_algorithm_without_a_precision_uses_fp32() -> None:
    study = replace(SMALL, precision="bf16")
    assert s.algorithm_config(study, "d3g").precision == "bf16"
    assert not hasattr(s.algorithm_config(study, "bco"), "precision")


def test_help_and_docs_tell_the_true_defaults() -> None:
    command = cli.get_command(click.Context(cli), "study")
    assert command is not None
    told = {p.name: getattr(p, "help", None) or "" for p in command.params}
    docs = (Path(__file__).parents[2] / "docs" / "study.md").read_text(encoding="utf-8")
    for known in fields(s.Study):
        assert known.name in told or known.name == "variants"
        assert f"| `{known.name}` |" in docs or known.name == "settings"
        if type(known.default) is int:
            paper = s.PROTOCOLS["paper"].get(known.name)
            changed = f"{known.default}; paper: {paper}" if paper else f"{known.default}"
            assert f"[default: {changed}]" in told[known.name]
            shown = f"{known.default:,} ({paper:,})" if paper else f"{known.default:,}"
            assert f"| `{known.name}` | {shown} |" in docs
    assert "`[inverse]`" in docs


def test_a_folder_keeps_its_study_but_may_grow() -> None:
    where = Path("DIR/study.toml")
    for change in (
        {"steps": 3},
        {"seeds": (1,)},
        {"protocol": "paper"},
        {"settings": {"d3g": {"gamma": 0.5}}},
    ):
        with pytest.raises(LfoError) as caught:
            s.same_study(SMALL, replace(SMALL, **change), where)  # type: ignore[arg-type]
        text = str(caught.value)
        name = "d3g" if "settings" in change else next(iter(change))
        assert text.startswith(f"{where}: {name}: expected ")
        assert "as the study was started, found " in text
        assert text.endswith("; start it with the same, or choose another -o")
    more = replace(SMALL, envs=ENVS[:1], random_frac=(0.25, 1.0), algos=("bco",))
    grown = s.same_study(SMALL, more, where)
    assert grown.envs == ("Reacher-v5", "InvertedPendulum-v5")
    assert grown.random_frac == (0.25, 0.5, 1.0)
    assert grown.algos == SMALL.algos


def test_status_is_kept_and_anything_else_is_waiting(tmp_path: Path) -> None:
    cell = s.cells(SMALL)[0]
    assert t.read_status(tmp_path, cell) == t.Status()
    t.write_status(tmp_path, cell, t.Status("training", 3, 9, 1.5))
    found = t.read_status(tmp_path, cell)
    assert (found.state, found.done, found.total, found.seconds) == ("training", 3, 9, 1.5)
    assert found.pid
    assert found.updated
    (tmp_path / "cells" / cell.name / "status.json").write_text("[]")
    assert t.read_status(tmp_path, cell) == t.Status()


def test_time_left_follows_from_the_speed_so_far(tmp_path: Path) -> None:
    """One cell did 50 of 100 units in 10 s; three wait, one worker: 10 s, and 20 s for each other."""
    (tmp_path / "study.toml").write_text(s.to_toml(replace(SMALL, algos=("bco", "d3g"))))
    first, *others = s.cells(SMALL)
    for cell in others:
        t.write_status(tmp_path, cell, t.Status("waiting", 0, 100))
    assert t.overview(tmp_path, running=True).seconds_left is None
    t.write_status(tmp_path, first, t.Status("training", 0, 100, 5.0))  # starting: nothing is known yet
    assert t.overview(tmp_path, running=True).seconds_left is None
    t.write_status(tmp_path, first, t.Status("training", 50, 100, 10.0))
    found = t.overview(tmp_path, running=True)
    assert [row.seconds_left for row in found.rows] == [10, 20, 20, 20]
    assert found.seconds_left == 70
    t.write_status(tmp_path, others[0], t.Status("training", 50, 100, 10.0))
    assert t.overview(tmp_path, running=True).seconds_left == 30  # two at a time now
    stopped = t.overview(tmp_path)  # nobody holds the lock
    assert not stopped.running
    assert stopped.count("stopped") == 2
    with locked(tmp_path / ".lock") as mine:
        assert mine
        assert t.overview(tmp_path).running
        with locked(tmp_path / ".lock") as again:
            assert not again


def test_a_lock_is_free_when_its_holder_dies(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    code = (
        "import sys, time; from pathlib import Path; from lfo.locks import locked\n"
        "with locked(Path(sys.argv[1])) as mine: print(mine, flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        with locked(path) as mine:
            assert not mine
        holder.kill()
        holder.wait()
    with locked(path, timeout=10) as mine:
        assert mine
    path.touch()  # what is left of the file means nothing
    with locked(path) as mine:
        assert mine


def test_a_lock_holds_where_there_is_no_fcntl(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        "from pathlib import Path; from lfo.locks import locked\n"
        "with locked(Path('.lock')) as first, locked(Path('.lock')) as second: print(first, second)\n"
        "with locked(Path('.lock')) as again: print(again)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stdout == "True False\nTrue\n", done.stderr


def test_costs_come_from_the_registry() -> None:
    """D3G's steps are offline, BCO's are in the rounds; in units of a hundredth of a second."""
    study = replace(SMALL, steps=100, rounds=2, interactions=10, grad_steps=3, seeds=(1, 2))
    episode = 0.2 * 0.1 * 50  # two of ten members, 50 steps
    d3g, bco = (work_units(study, s.Cell("Reacher-v5-50", algo)) for algo in ("d3g", "bco"))
    assert d3g == pytest.approx((500, 2 + 6 + 10 * episode, 100 * episode))
    assert bco == pytest.approx((0, 2 + 12 + 10 * episode / 4, 100 * episode / 4))


def test_a_cells_rows_are_worked_out_from_its_files(tmp_path: Path) -> None:
    """Member 1: final (1 + 3) / 2 = 2; rounds (5 + 7) / 2 = 6 and (0 + 1) / 2 = 0.5."""
    study = replace(SMALL, rounds=2, interactions=30, grad_steps=20, steps=500, seeds=(7, 8, 9))
    cell = s.Cell("Reacher-v5-50", "d3g")
    assert cell_results(tmp_path, study, cell) == []
    where = tmp_path / "cells" / cell.name
    where.mkdir(parents=True)
    (where / "run.json").write_text(json.dumps(record(3, stopped={"2": "loss is nan at step 3"})))
    final = [(0, 10.0), (0, 20.0), (1, 1.0), (1, 3.0), (2, -4.0), (2, -4.0)]
    write_csv(where / "scores.csv", [{"member": m, "return": r} for m, r in final])
    rounds = [(0, 1, 1.0), (0, 2, 2.0), (1, 1, 5.0), (1, 1, 7.0), (1, 2, 0.0), (1, 2, 1.0), (2, 1, -3.0)]
    write_csv(
        where / "evaluations.csv",
        [{**WHOLE, "member": m, "round": k, "interactions": 30 * k, "return": r} for m, k, r in rounds],
    )
    found = cell_results(tmp_path, study, cell)
    assert [(row["seed"], row["dataset"]) for row in found] == [(7, 0), (8, 1), (9, 0)]
    assert [row["score_final"] for row in found] == [15.0, 2.0, ""]  # a member that diverged has no score
    assert [row["score_best"] for row in found] == [2.0, 6.0, ""]
    assert [row["stopped"] for row in found] == ["", "", "loss is nan at step 3"]
    assert {(row["interactions"], row["gradient_steps"]) for row in found} == {(60, 540)}
    write_csv(tmp_path / "rows.csv", found)
    header = read_csv(tmp_path / "rows.csv")[0]
    assert ",".join(header) == (
        "data,env,random_frac,algo,seed,dataset,protocol,score_final,score_best,interactions,gradient_steps,"
        "stopped"
    )
