"""``d3g-lfo train``: what it leaves, and every way in which it says no."""

from __future__ import annotations

import csv
import json
import platform
from pathlib import Path

import pytest
import torch
from shell import TINY, assert_same_weights, copy, d3g, error, must

from lfo.datasets import load, save
from lfo.processes import available_cores


def record(run: Path) -> dict[str, object]:
    return dict(json.loads((run / "run.json").read_text()))


def test_leaves_a_run(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = d3g("train", dataset, "-o", out, "--seeds", "0,5-6", *TINY)
    assert done.code == 0, done.err
    assert "3 members (seeds 0,5-6), 40 steps" in done.out
    assert f"next: d3g-lfo interact {out}" in done.out
    found = record(out)
    assert found["members"] == [{"seed": seed, "dataset": 0} for seed in (0, 5, 6)]
    assert (found["algo"], found["env"], found["steps"]) == ("d3g", "InvertedPendulum-v5", 40)
    assert found["command"] == f"d3g-lfo train {dataset} -o {out} --seeds 0,5-6 {' '.join(TINY)}"
    machine = found["machine"]
    assert isinstance(machine, dict)
    assert (machine["cores"], machine["device"]) == (available_cores(), "cpu")
    assert platform.system() in machine["system"]
    assert machine["processor"]
    with open(out / "metrics.csv") as file:
        assert [(row["step"], row["seed"]) for row in csv.DictReader(file)] == [("40", s) for s in "056"]


def test_every_seed_learns_from_every_data_set(dataset: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    must("collect", "InvertedPendulum-v5", "--random-frac", "0.5", "--steps", "300", "-o", other)
    must("train", dataset, other, "-o", tmp_path / "run", "--seeds", "0-1", *TINY)
    members = record(tmp_path / "run")["members"]
    assert members == [{"seed": s, "dataset": d} for d in (0, 1) for s in (0, 1)]
    lines = must("interact", tmp_path / "run", "--rounds", "1", "--interactions", "20", "--grad-steps", "5")
    assert [line.split()[2] for line in lines.splitlines()] == ["d.h5", "other.h5"]
    found = json.loads(must("eval", tmp_path / "run", "--episodes", "1", "--json"))
    assert found["random_frac"] is None
    assert [member["random_frac"] for member in found["members"]] == [1.0, 1.0, 0.5, 0.5]


def test_settings_come_from_the_file_then_from_the_options(dataset: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("hidden = 16\ngamma = 0.9\nlearning_rate = 1\nbatch_size = 4\n")
    options = ("--config", config, "--hidden", "8", "--set", "standardise=false", "--steps", "2")
    must("train", dataset, "-o", tmp_path / "run", *options)
    found = record(tmp_path / "run")["config"]
    assert isinstance(found, dict)
    wanted = {"hidden": 8, "gamma": 0.9, "learning_rate": 1.0, "batch_size": 4, "standardise": False}
    assert {key: found[key] for key in wanted} == wanted


def test_paper_turns_the_departures_off(dataset: Path, tmp_path: Path) -> None:
    from lfo import D3GConfig

    must("train", dataset, "-o", tmp_path / "run", "--paper", *TINY)
    wanted = {**vars(D3GConfig.paper()), "hidden": 8, "batch_size": 16}
    assert record(tmp_path / "run")["config"] == wanted


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_precision_is_kept_in_the_record(dataset: Path, tmp_path: Path, precision: str) -> None:
    must("train", dataset, "-o", tmp_path / "run", *TINY, "--precision", precision)
    config = record(tmp_path / "run")["config"]
    assert isinstance(config, dict)
    assert config["precision"] == precision


def test_precision_is_none_of_bcos_settings(dataset: Path, tmp_path: Path) -> None:
    failed = d3g("train", dataset, "-o", tmp_path / "run", "--algo", "bco", "--precision", "bf16")
    assert failed.code == 2
    assert "--precision" in failed.err


def test_bco_says_that_it_learns_nothing_yet(dataset: Path, tmp_path: Path) -> None:
    done = d3g("train", dataset, "-o", tmp_path / "run", "--algo", "bco", *TINY)
    assert done.code == 0
    assert "note: bco learns nothing offline" in done.err


def test_warnings_of_the_data_are_told(dataset: Path, tmp_path: Path) -> None:
    data = load(dataset)
    constant = tmp_path / "constant.h5"
    save(
        type(data)(data.states, data.next_states, 0 * data.rewards, data.terminated, data.truncated), constant
    )
    done = d3g("train", constant, "-o", tmp_path / "run", *TINY)
    assert done.code == 0, done.err
    assert len(load(constant).warnings) == len(done.err.splitlines()) > 0
    assert all(line.startswith(f"note: {constant}: ") for line in done.err.splitlines())


def test_overwrite_replaces_a_run(trained: Path, dataset: Path, tmp_path: Path) -> None:
    run = copy(trained, tmp_path)
    must("train", dataset, "-o", run, "--overwrite", "--seeds", "7", *TINY)
    assert record(run)["members"] == [{"seed": 7, "dataset": 0}]


def test_more_steps_by_resume_are_the_same_as_at_once(dataset: Path, tmp_path: Path) -> None:
    """Options that are left out keep their earlier values, as does the data set."""
    must("train", dataset, "-o", tmp_path / "parts", "--seeds", "3-4", *TINY)
    must("train", "-o", tmp_path / "parts", "--resume", "--steps", "60")
    must("train", dataset, "-o", tmp_path / "whole", "--seeds", "3-4", *TINY[:-1], "60")
    assert record(tmp_path / "parts")["steps"] == 60
    assert_same_weights(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.parametrize("machine", [None, {"processor": "another", "cores": 96}])
def test_resuming_a_finished_run_changes_nothing(
    trained: Path, dataset: Path, tmp_path: Path, machine: dict[str, object] | None
) -> None:
    """Wherever it was begun; older versions did not say where."""
    run = copy(trained, tmp_path)
    info = record(run)
    del info["machine"]
    if machine is not None:
        info["machine"] = machine
    (run / "run.json").write_text(json.dumps(info))
    must("train", dataset, "-o", run, "--resume", "--seeds", "0-1", *TINY)
    assert_same_weights(run, trained)
    assert record(run) == info


def changed(dataset: Path, tmp_path: Path) -> Path:
    data = load(dataset)
    path = tmp_path / "changed.h5"
    metadata = type(data.metadata)(env_id="InvertedPendulum-v5")
    arrays = (data.states, data.next_states, data.rewards + 1, data.terminated, data.truncated)
    return save(type(data)(*arrays, metadata=metadata), path)


def test_resume_refuses_another_data_set(trained: Path, dataset: Path, tmp_path: Path) -> None:
    run = copy(trained, tmp_path)
    line = error("train", changed(dataset, tmp_path), "-o", run, "--resume")
    assert "--resume: data set 0: expected the file the run was started on" in line
    assert_same_weights(run, trained)


def test_resume_refuses_data_that_changed_or_went(trained: Path, dataset: Path, tmp_path: Path) -> None:
    run = copy(trained, tmp_path)
    info = record(run)
    assert isinstance(info["datasets"], list)
    info["datasets"][0]["path"] = str(changed(dataset, tmp_path))
    (run / "run.json").write_text(json.dumps(info))
    assert "was trained on (SHA-256" in error("train", "-o", run, "--resume")
    info["datasets"][0]["path"] = str(tmp_path / "gone.h5")
    (run / "run.json").write_text(json.dumps(info))
    assert "gone.h5" in error("train", "-o", run, "--resume")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hidden", "16"], "config: expected hidden 8 (found 16)"),
        (["--set", "gamma=0.5"], "config: expected gamma 0.99 (found 0.5)"),
        (["--paper", "--hidden", "8"], "config: expected"),
        (["--seeds", "0-2"], "members: expected"),
        (["--algo", "bco"], "algo: expected d3g (found bco)"),
    ],
)
def test_resume_refuses_other_settings(
    trained: Path, dataset: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    run = copy(trained, tmp_path)
    assert message in error("train", dataset, "-o", run, "--resume", *options)


def test_resume_refuses_a_run_that_went_on(interacted: Path, tmp_path: Path) -> None:
    run = copy(interacted, tmp_path)
    line = error("train", "-o", run, "--resume", "--steps", "50")
    assert "d3g-lfo interact" in line
    assert record(run)["steps"] == 40


def test_resume_finds_nothing(tmp_path: Path, dataset: Path) -> None:
    assert "expected a run folder, found nothing there" in error("train", "-o", tmp_path / "no", "--resume")
    assert "no run.json" in error("train", dataset, "-o", tmp_path, "--resume")


@pytest.mark.parametrize("damage", ["truncated", "text", "version"])
def test_resume_refuses_a_damaged_checkpoint(trained: Path, tmp_path: Path, damage: str) -> None:
    run = copy(trained, tmp_path)
    path = run / "checkpoint.pt"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "text":
        path.write_text("not a checkpoint")
    else:
        torch.save({**torch.load(path, weights_only=True), "format": 99}, path)
    wanted = "format 2, found 99" if damage == "version" else "damaged or foreign"
    for words in (["train", "-o", run, "--resume"], ["interact", run], ["eval", run]):
        assert wanted in error(*words)


def test_refuses_an_existing_output(trained: Path, dataset: Path, tmp_path: Path) -> None:
    assert "--resume to continue it or --overwrite" in error("train", dataset, "-o", trained)
    (tmp_path / "mine").write_text("precious")
    assert "choose another" in error("train", dataset, "-o", tmp_path, "--overwrite")
    assert "found a file" in error("train", dataset, "-o", tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_failed_start_leaves_the_old_run(trained: Path, tmp_path: Path) -> None:
    run = copy(trained, tmp_path)
    error("train", tmp_path / "gone.h5", "-o", run, "--overwrite")
    assert_same_weights(run, trained)


def test_what_a_run_killed_at_once_leaves_is_no_obstacle(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.json.123.tmp").write_text("{")
    must("train", dataset, "-o", tmp_path / "run", *TINY)
    assert [p.name for p in (tmp_path / "run").glob(".*")] == [".run.lock"]
    assert sorted(p.suffix for p in (tmp_path / "run").glob("[!.]*") if p.is_file()) == [
        ".csv",
        ".json",
        ".pt",
    ]


def test_refuses_an_output_that_cannot_be_written(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write to this folder" in error("train", dataset, "-o", tmp_path / "file" / "run", *TINY)


def test_refuses_data_of_two_environments(dataset: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    must("collect", "Reacher-v5", "--random-frac", "1", "--steps", "100", "-o", other)
    line = error("train", dataset, other, "-o", tmp_path / "run")
    assert "expected one environment" in line
    assert "Reacher-v5" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_refuses_a_gpu_that_is_not_there(dataset: Path, tmp_path: Path) -> None:
    assert "--device cuda: expected a CUDA GPU" in error(
        "train", dataset, "-o", tmp_path / "run", "--device", "cuda"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hiden = 8", "hiden: expected a setting of D3GConfig, one of hidden, batch_size"),
        ("hidden = 8.5", "hidden: expected a whole number from 1 up, found 8.5"),
        ("hidden = true", "hidden: expected a whole number from 1 up, found True"),
        ("hidden = 0", "hidden: expected a whole number from 1 up, found 0"),
        ("gamma = 1.0", "gamma: expected a number from 0 up and below 1, found 1.0"),
        ("polyak = 2", "polyak: expected a number from 0 to 1, found 2"),
        ("learning_rate = nan", "learning_rate: expected a number above 0, found nan"),
        ("standardise = 1", "standardise: expected true or false, found 1"),
        ("hidden 8", "expected TOML"),
        (None, "expected a TOML file"),
    ],
)
def test_refuses_settings(dataset: Path, tmp_path: Path, text: str | None, message: str) -> None:
    config = tmp_path / "c.toml"
    if text is not None:
        config.write_text(text + "\n")
    line = error("train", dataset, "-o", tmp_path / "run", "--config", config)
    assert str(config) in line
    assert message in line
    assert not (tmp_path / "run").exists()


def test_refuses_settings_given_one_by_one(dataset: Path, tmp_path: Path) -> None:
    assert "found 'big'" in error("train", dataset, "-o", tmp_path / "run", "--set", "hidden=big")
    assert "one of hidden" in error(
        "train", dataset, "-o", tmp_path / "run", "--algo", "bco", "--set", "gamma=0"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["-o", "RUN"],
        ["DATA"],
        ["DATA", "-o", "RUN", "--seeds", "a"],
        ["DATA", "-o", "RUN", "--seeds", "3-1"],
        ["DATA", "-o", "RUN", "--seeds", "-1"],
        ["DATA", "-o", "RUN", "--seeds", "0,0-2"],
        ["DATA", "-o", "RUN", "--seeds", ""],
        ["DATA", "-o", "RUN", "--seeds", "1" * 23],
        ["DATA", "-o", "RUN", "--seeds", "0-99999999999"],
        ["DATA", "-o", "RUN", "--steps", "0"],
        ["DATA", "-o", "RUN", "--hidden", "0"],
        ["DATA", "-o", "RUN", "--set", "hidden"],
        ["DATA", "-o", "RUN", "--set", "=3"],
        ["DATA", "-o", "RUN", "--algo", "dqn"],
        ["DATA", "-o", "RUN", "--device", "tpu"],
        ["DATA", "-o", "RUN", "--resume", "--overwrite"],
    ],
)
def test_wrong_usage_exits_2(dataset: Path, tmp_path: Path, words: list[str]) -> None:
    places = {"DATA": dataset, "RUN": tmp_path / "run"}
    done = d3g("train", *(places.get(word, word) for word in words))
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("Usage: d3g-lfo train ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("size", [("--hidden", "1000000"), ("--set", "batch_size=10000000000")])
def test_says_the_size_that_would_be_needed(
    trained: Path, dataset: Path, tmp_path: Path, size: tuple[str, str]
) -> None:
    line = error("train", dataset, "-o", tmp_path / "run", *size)
    assert "GiB of memory here, found that" in line
    assert "GiB; make them smaller, or use fewer seeds" in line
    assert "inverse: hidden, batch_size: expected" in error("interact", copy(trained, tmp_path / "a"), *size)
