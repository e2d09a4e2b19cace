"""Damaged run folders: one line that names the file, never a result."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from shell import copy, error, must

from lfo.atomic import atomic_path, read_csv, write_csv


def records(path: Path) -> dict[str, tuple[int, int]]:
    """Where each record of a checkpoint lies in the file: its first byte and its size."""
    found, data = {}, path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name, extra = struct.unpack("<HH", data[entry.header_offset + 26 : entry.header_offset + 30])
            found[entry.filename] = (entry.header_offset + 30 + name + extra, entry.file_size)
    return found


def test_one_flipped_exponent_in_a_weight_is_found(interacted: Path, tmp_path: Path) -> None:
    """torch reads such a file without a word, and the score is another."""
    run = copy(interacted, tmp_path)
    path = run / "checkpoint.pt"
    data = bytearray(path.read_bytes())
    start, size = max(
        (where for name, where in records(path).items() if "/data/" in name), key=lambda w: w[1]
    )
    data[start + size // 2 // 4 * 4 + 3] ^= 0x02  # little-endian float32: in the exponent
    path.write_bytes(data)
    torch.load(path, weights_only=True)
    for words in (("eval", run), ("interact", run, "--resume", "--rounds", "3")):
        line = error(*words)
        assert "checkpoint.pt: expected a checkpoint" in line
        assert "wrong checksum of" in line
        assert "restore the file from a copy" in line


@pytest.mark.parametrize("change", [{"agent": None}, {"stopped": None}, {"agent": {}}, {"stopped": {"x": 1}}])
def test_a_checkpoint_without_what_a_run_needs(trained: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    run = copy(trained, tmp_path)
    path = run / "checkpoint.pt"
    torch.save(torch.load(path, weights_only=True) | change, path)
    for words in (("eval", run), ("train", "-o", run, "--resume")):
        assert "checkpoint.pt: expected" in error(*words)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="everything can be read here")
@pytest.mark.parametrize(
    "name", ["checkpoint.pt", "run.json", "evaluations.csv", "interactions/round-0001.h5"]
)
def test_what_may_not_be_read_is_not_called_damaged(interacted: Path, tmp_path: Path, name: str) -> None:
    run = copy(interacted, tmp_path)
    (run / name).chmod(0)
    line = error("interact", run, "--resume", "--rounds", "3")
    assert f"{name}: cannot be read (Permission denied); check its permissions" in line


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("members", [], "members: expected list should have at least 1 item"),
        ("members", [{"seed": "x"}], "members.0.seed: expected a valid integer, found 'x'"),
        ("members", [{"seed": 10**23}], "members.0.seed: expected"),
        ("members", [{"seed": 0, "dataset": 7}], "members.0.dataset: expected a number below 1"),
        ("datasets", {}, "datasets: expected a valid list"),
        ("datasets", [{}], "datasets.0.source: expected a value, found nothing"),
        ("state_dim", 10**12, "state_dim: expected less than or equal to 1000000"),
        ("state_dim", "4", "state_dim: expected a valid integer, found '4'"),
        ("steps", None, "steps: expected a valid integer, found None"),
        ("config", 3, "config: expected a valid dictionary, found 3"),
        ("stopped", {"5": "lost"}, "stopped: expected indices of the 2 members, found '5'"),
        ("interact", None, "interact: expected"),
        ("env", 5, "env: expected a valid string, found 5"),
    ],
)
def test_a_wrong_field_of_the_record(
    trained: Path, tmp_path: Path, field: str, value: object, message: str
) -> None:
    run = copy(trained, tmp_path)
    path = run / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    for words in (("eval", run), ("interact", run), ("compare", run), ("train", "-o", run, "--resume")):
        assert f"run.json: {message}" in error(*words)


@pytest.mark.parametrize("content", ["", "[" * 100_000, "\0", "[]", "{}", "null"])
def test_a_record_that_is_none(trained: Path, tmp_path: Path, content: str) -> None:
    run = copy(trained, tmp_path)
    (run / "run.json").write_text(content)
    assert "run.json: expected" in error("eval", run)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("round", "999999999"),
        ("round", "0"),
        ("round", "1.5"),
        ("member", "2"),
        ("member", "-1"),
        ("interactions", "9" * 30),
        ("return", "nan"),
        ("return", "much"),
        ("return", None),
    ],
)
def test_a_wrong_value_in_the_scores(
    interacted: Path, tmp_path: Path, column: str, value: str | None
) -> None:
    run = copy(interacted, tmp_path)
    rows = read_csv(run / "evaluations.csv")
    if value is None:
        rows = [{name: old for name, old in row.items() if name != column} for row in rows]
    else:
        rows[1][column] = value
    write_csv(run / "evaluations.csv", rows)
    for words in (("compare", run), ("interact", run, "--resume", "--rounds", "3"), ("eval", run)):
        assert f"evaluations.csv: line {2 if value is None else 3}, {column}: expected" in error(*words)


def test_scores_that_are_no_text(interacted: Path, tmp_path: Path) -> None:
    run = copy(interacted, tmp_path)
    (run / "evaluations.csv").write_bytes(b"member,round\n\xff\xfe,1\n")
    assert "evaluations.csv: expected CSV in UTF-8" in error("compare", run)


def _shorter(file: Any) -> None:
    data = file["actions"][:, :-1]
    del file["actions"]
    file["actions"] = data


def _infinite(file: Any) -> None:
    file["observations"][0, 0, 0] = np.inf


def _link(file: Any) -> None:
    del file["observations"]
    file["observations"] = h5py.ExternalLink("/etc/hostname", "observations")


def _text(file: Any) -> None:
    del file["actions"]
    file["actions"] = "left"


def _gone(file: Any) -> None:
    del file["actions"]


@pytest.mark.parametrize("change", [_shorter, _infinite, _link, _text, _gone])
def test_damaged_interactions(interacted: Path, tmp_path: Path, change: Callable[[Any], None]) -> None:
    run = copy(interacted, tmp_path)
    with h5py.File(run / "interactions" / "round-0001.h5", "a") as file:
        change(file)
    line = error("interact", run, "--resume", "--rounds", "3")
    assert "interactions" in line
    assert "expected" in line


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_path(tmp_path / "d.csv"):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: '.*d\.csv'"):
        write()


def test_resume_never_shortens_a_run(trained: Path, tmp_path: Path) -> None:
    run = copy(trained, tmp_path)
    before = (run / "run.json").read_text()
    line = error("train", "-o", run, "--resume", "--steps", "10")
    assert "steps: expected at least the 40 that the run was started for, found 10" in line
    assert (run / "run.json").read_text() == before


def test_interactions_that_were_never_begun_are_not_resumed_with_defaults(
    trained: Path, tmp_path: Path
) -> None:
    run = copy(trained, tmp_path)
    assert "expected interactions that were begun, found none" in error("interact", run, "--resume")


def test_a_killed_overwrite_leaves_what_overwrite_replaces(
    interacted: Path, dataset: Path, tmp_path: Path
) -> None:
    run = copy(interacted, tmp_path)
    (run / "checkpoint.pt").unlink()
    assert "no checkpoint yet" in error("eval", run)
    must("train", dataset, "-o", run, "--overwrite", "--steps", "5", "--hidden", "8")
    assert not (run / "evaluations.csv").exists()
