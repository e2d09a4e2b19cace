"""``d3g-lfo inspect``, and every error of reading as a user meets it: one line on stderr, exit code 1."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from flat import recording, write_h5
from PIL import Image

from lfo.cli import main
from lfo.datasets import Metadata, Transitions, behaviour_name, save


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the command line in this process: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "d4rl"))

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["d3g-lfo", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def by_hand() -> Transitions:
    """Two episodes, returns 3 and 7, lengths 2 and 3; the first truncated, the second terminated."""
    states = np.array([[0, 1], [1, 1], [5, 2], [6, 2], [8, 2]], np.float32)
    metadata = Metadata(env_id="Reacher-v5", random_frac=0.5, policy="expert", seed=3)
    return Transitions(
        states,
        states + np.float32(1),
        np.array([1, 2, 0, 3, 4]),
        np.arange(5) == 4,
        np.arange(5) == 1,
        metadata,
    )


def test_json_by_hand(run):
    save(by_hand(), "a.h5", actions=np.zeros((5, 1)))
    code, out, err = run("inspect", "a.h5", "--json")
    assert (code, err) == (0, "")
    summary = json.loads(out)
    expected = {
        "path": "a.h5",
        "env": "Reacher-v5",
        "transitions": 5,
        "episodes": 2,
        "state_dim": 2,
        "return_mean": 5.0,
        "return_std": 2.0,
        "length_mean": 2.5,
        "terminated": 1,
        "truncated": 1,
        "has_actions": True,
        "random_frac": 0.5,
        "policy": "expert",
        "behaviour": "expert, 50% random actions",
        "seed": 3,
        "dropped": 0,
        "normalized_return": None,
    }
    assert {key: summary[key] for key in expected} == expected
    assert summary["states"]["min"] == [0, 1]
    assert summary["states"]["max"] == [8, 2]
    np.testing.assert_allclose(summary["states"]["mean"], [4, 1.6])
    np.testing.assert_allclose(summary["states"]["std"][0], np.std([0, 1, 5, 6, 8]))
    assert summary["steps"] == {"min": [1, 1], "mean": [1, 1], "max": [1, 1], "std": [0, 0]}
    assert summary["rewards"]["mean"] == 2
    assert isinstance(summary["warnings"], list)


@pytest.mark.parametrize(
    ("policy", "random_frac", "name"),
    [
        (None, None, "not recorded"),
        ("expert", None, "expert"),
        ("expert", 0.0, "expert"),
        ("expert", 0.25, "expert, 25% random actions"),
        ("expert", 1.0, "random"),
        ("random", 1.0, "random"),
        ("random", 0.5, "random"),
        (None, 0.5, "50% random actions"),
    ],
)
def test_the_recorded_policy_has_one_name(run, policy, random_frac, name):
    assert behaviour_name(policy, random_frac) == name
    save(replace(by_hand(), metadata=Metadata(policy=policy, random_frac=random_frac)), "a.h5")
    assert re.search(rf"^policy +{name}$", run("inspect", "a.h5")[1], re.MULTILINE)


def test_table(run):
    columns = recording()
    del columns["next_observations"]
    columns["rewards"][:] = 1
    write_h5(Path("hopper_medium-v2.hdf5"), columns, note="by hand")
    code, out, err = run("inspect", "hopper_medium-v2.hdf5")
    assert (code, err) == (0, "")
    for text in (
        "2 rows",
        "no `next_observations`",
        "next states of 1 terminal",
        "16 of 3-dimensional",
        "D4RL score",
        "s[2]",
        "s'-s[0]",
        "by hand",
    ):
        assert text in out
    assert "Warning: rewards never vary: all are 1" in out


@pytest.mark.parametrize(("episodes", "dim"), [((5,), 1), ((5, 7), 1), ((5, 7, 6, 600), 12)])
def test_a_plot(run, episodes, dim):
    write_h5(Path("a.h5"), recording(episodes, dim=dim))
    code, out, err = run("inspect", "a.h5", "--plot", "a.png")
    assert (code, err) == (0, "note: wrote a.png\n")
    assert "transitions" in out
    with Image.open("a.png") as image:
        assert image.size[0] > 800
        assert len(image.convert("RGB").resize((60, 60)).getcolors(4_000)) > 20
    assert_one_line(run("inspect", "a.h5", "--plot", "a.png"), "--overwrite")


def test_a_plot_is_replaced_when_told(run):
    write_h5(Path("a.h5"), recording((5,), dim=1))
    Path("a.png").write_text("old")
    assert run("inspect", "a.h5", "--plot", "a.png", "--overwrite")[0] == 0
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")


def test_wide_states_are_cut_in_the_table_only(run):
    write_h5(Path("a.h5"), recording(dim=60))
    out = run("inspect", "a.h5")[1]
    assert "20 more dimensions" in out
    assert "s[59]" not in out
    assert len(json.loads(run("inspect", "a.h5", "--json")[1])["states"]["max"]) == 60


def changed(**changes):
    """A recording with columns replaced; None removes one."""
    columns = {**recording(), **changes}
    return {name: values for name, values in columns.items() if values is not None}


def with_value(name, index, value, dtype=np.float64):
    column = recording()[name].astype(dtype)
    column[index] = value
    return changed(**{name: column})


COLUMNS = {
    "no rewards": (changed(rewards=None), "rewards", "a column of that name"),
    "no observations": (changed(observations=None), "observations", "found next_observations, rewards"),
    "neither flag": (changed(terminals=None, timeouts=None), "terminals, timeouts", "at least one"),
    "unequal rewards": (changed(rewards=np.zeros(17)), "rewards", "as observations has, found 17"),
    "unequal flags": (changed(timeouts=np.zeros(19, bool)), "timeouts", "found 19"),
    "other dimensions": (changed(next_observations=np.zeros((18, 2))), "next_observations", "[18, 3]"),
    "NaN": (with_value("observations", (4, 2), np.nan), "observations", "nan in row 4, dimension 2"),
    "inf": (with_value("next_observations", (7, 0), -np.inf), "next_observations", "-inf in row 7, dimen"),
    "NaN reward": (with_value("rewards", 9, np.nan), "rewards", "nan in row 9"),
    "overflow": (with_value("observations", (3, 1), 1e39), "observations", "1e+39 in row 3"),
    "strings": (changed(rewards=np.array([b"1"] * 18)), "rewards", "strings"),
    "complex": (changed(observations=np.zeros((18, 3), complex)), "observations", "complex"),
    "records": (changed(rewards=np.zeros(18, [("a", "f4")])), "rewards", "records"),
    "flat observations": (changed(observations=np.zeros(18)), "observations", "[N, 1]"),
    "images": (changed(observations=np.zeros((18, 8, 8, 3), np.uint8)), "observations", "images"),
    "grey images": (changed(observations=np.zeros((18, 8, 8), np.uint8)), "observations", "images"),
    "wide rewards": (changed(rewards=np.zeros((18, 2))), "rewards", "[18, 2]"),
    "scalar": (changed(rewards=np.float32(1)), "rewards", "found []"),
    "flags of two": (with_value("terminals", 5, 2), "terminals", "2.0 in row 5"),
    "NaN flag": (with_value("timeouts", 6, np.nan), "timeouts", "nan in row 6"),
    "no rows": ({name: values[:0] for name, values in recording().items()}, "observations", "[0, 3]"),
    "no dimensions": (changed(observations=np.zeros((18, 0))), "observations", "[18, 0]"),
    "no pair": (
        changed(next_observations=None, terminals=np.ones(18, bool)),
        "observations",
        "18 rows, 18 of them flagged",
    ),
}  # fmt: skip


def assert_one_line(result, *texts):
    code, out, err = result
    assert code == 1
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("Error: ")
    assert "Traceback" not in err
    for text in texts:
        assert text in err


@pytest.mark.parametrize("suffix", ["h5", "npz"])
@pytest.mark.parametrize("case", COLUMNS)
def test_columns_that_are_not_what_they_should_be(run, case, suffix):
    columns, field, text = COLUMNS[case]
    if suffix == "h5":
        write_h5(Path("a.h5"), columns)
    else:
        np.savez("a.npz", **columns)
    assert_one_line(run("inspect", f"a.{suffix}"), f"a.{suffix}: {field}: expected ", text, "found ", "; ")


def links(kind):
    """A file whose rewards lie elsewhere."""
    write_h5(Path("other.h5"), recording())
    path = write_h5(Path("a.h5"), changed(rewards=None))
    with h5py.File(path, "a") as file:
        if kind == "external":
            file["rewards"] = h5py.ExternalLink("other.h5", "/rewards")
        elif kind == "soft":
            file["there"] = h5py.ExternalLink("other.h5", "/")
            file["rewards"] = h5py.SoftLink("/there/rewards")
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape=(18,), dtype="f4")
            layout[:] = h5py.VirtualSource("other.h5", "rewards", shape=(18,))
            file.create_virtual_dataset("rewards", layout)
        elif kind == "storage":
            Path("raw").write_bytes(np.zeros(18, "f4").tobytes())
            file.create_dataset("rewards", (18,), "f4", external=[("raw", 0, h5py.h5f.UNLIMITED)])
        elif kind == "group":
            file["rewards/x"] = np.zeros(18)
        elif kind == "declared":
            file.create_dataset("rewards", (10**12,), "f4", chunks=(1000,))
    return path


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("external", "an external link"),
        ("soft", "a soft link"),
        ("virtual", "a virtual data set"),
        ("storage", "an external file"),
        ("group", "a group"),
        ("declared", "only a declaration"),
    ],
)
def test_data_that_is_not_in_the_file(run, kind, text):
    assert_one_line(run("inspect", links(kind)), "a.h5: rewards: expected", text)


def test_larger_than_memory(run):
    columns = recording()
    with h5py.File("a.h5", "w") as file:
        for name, values in columns.items():
            shape = (10**12, *values.shape[1:])
            file.create_dataset(name, shape, values.dtype, chunks=(1000, *values.shape[1:]))[:18] = values
    assert_one_line(run("inspect", "a.h5"), "GiB declared")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "nothing there; check the spelling"),
        (b"", "an empty file"),
        (b"obs,reward\n1,2\n", "text that begins 'obs,reward'"),
        (b"\x80\x04\x95", "pickle"),
        (b"\x93NUMPY\x01\x00", ".npy"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "web page"),
        (b"\x00\x01\x02", "unknown binary format"),
        (b"PK\x03\x04 and no more", "a complete .npz file"),
        (b"\x89HDF\r\n\x1a\n and no more", "a complete HDF5 file"),
    ],
)
def test_files_that_are_no_data_set(run, content, text):
    if content is not None:
        Path("a.h5").write_bytes(content)
    assert_one_line(run("inspect", "a.h5"), "a.h5: ", "expected", text)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("name", ["a.h5", "a.npz"])
def test_truncated_file(run, name, kept):
    if name == "a.h5":
        write_h5(Path(name), recording((500, 700)))
    else:
        np.savez_compressed(name, **recording((500, 700)))
    whole = Path(name).read_bytes()
    Path(name).write_bytes(whole[: int(len(whole) * kept)])
    assert_one_line(run("inspect", name), f"{name}: ", "cut short")


def test_damaged_chunk(run):
    with h5py.File("a.h5", "w") as file:
        for name, values in recording((500, 700)).items():
            file.create_dataset(name, data=values, chunks=True, compression="gzip", fletcher32=True)
        offset = file["observations"].id.get_chunk_info(0).byte_offset
    content = bytearray(Path("a.h5").read_bytes())
    content[offset + 100] ^= 255
    Path("a.h5").write_bytes(content)
    assert_one_line(run("inspect", "a.h5"), "a.h5: ", "damaged")


def test_directory_and_special_files(run, tmp_path):
    assert_one_line(run("inspect", tmp_path), "a directory")
    os.mkfifo("pipe")
    assert_one_line(run("inspect", "pipe"), "a device or pipe")


def test_pickled_objects_are_never_opened(run):
    class Bomb:
        def __reduce__(self):
            return Path.touch, (Path("exploded"),)

    np.savez("a.npz", **changed(rewards=np.array([Bomb()] * 18, dtype=object)))
    assert_one_line(run("inspect", "a.npz"), "rewards", "pickled objects")
    assert not Path("exploded").exists()


def test_newer_schema(run):
    write_h5(Path("a.h5"), recording(), schema_version=99)
    assert_one_line(run("inspect", "a.h5"), "schema_version", "99", "upgrade")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("minari:none-v0", "minari download none-v0"),
        ("d4rl:hopper-medium-v2", "hopper_medium-v2.hdf5"),
        ("d4rl:hopper", "a name of D4RL's"),
        ("hdf5:none.h5", "nothing there"),
    ],
)
def test_named_data_sets_that_are_not_there(run, source, text):
    assert_one_line(run("inspect", source), text)


def test_minaris_own_file_by_path(run):
    with h5py.File("main_data.hdf5", "w") as file:
        file["episode_0/observations"] = np.zeros((3, 2))
    assert_one_line(run("inspect", "main_data.hdf5"), "minari:ID")


def test_the_executable_itself(tmp_path):
    program = Path(sys.executable).with_name("d3g-lfo")
    save(by_hand(), tmp_path / "a.h5")
    good = subprocess.run([program, "inspect", "a.h5"], cwd=tmp_path, capture_output=True, text=True)
    assert (good.returncode, good.stderr) == (0, "")
    bad = subprocess.run([program, "inspect", "b.h5"], cwd=tmp_path, capture_output=True, text=True)
    assert_one_line((bad.returncode, bad.stdout, bad.stderr), "b.h5", "nothing there")
    usage = subprocess.run([program, "inspect"], cwd=tmp_path, capture_output=True, text=True)
    assert usage.returncode == 2
