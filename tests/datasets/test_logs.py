"""Logs to transitions: what a recipe means, what is refused, and what no log may do."""

from __future__ import annotations

import gzip
import io
import json
import math
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tomli_w
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shell import error

from lfo.datasets import LfoError, Recipe, from_dataframe, from_logs, save
from lfo.datasets.expressions import FUNCTIONS

PLAIN = {"state": ["x"], "reward": "0"}
STEPS = {"time": [0.0, 1.0, 2.0, 3.0], "x": [0.0, 2.0, 4.0, 6.0]}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, columns: dict[str, Any]) -> Path:
    frame, path, out = pl.DataFrame(columns), Path(name), io.BytesIO()
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        frame.write_parquet(out)
    elif kind == "jsonl":
        frame.write_ndjson(out)
    else:
        frame.write_csv(out, separator="\t" if kind == "tsv" else ",")
    path.write_bytes(gzip.compress(out.getvalue()) if name.endswith(".gz") else out.getvalue())
    return path


# Formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "jsonl"])
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_every_format_gives_the_same(kind: str, packed: str) -> None:
    path = write(f"a.{kind}{packed}", {**STEPS, "note": ["a", "b", "c", "d"], "unused": [None, 1, None, 2]})
    data = from_logs(path, {"state": ["x", "time"], "reward": "next_x - x", "end": "note == 'd'"})
    assert data.states.tolist() == [[0, 0], [2, 1], [4, 2]]
    assert data.next_states.tolist() == [[2, 1], [4, 2], [6, 3]]
    assert data.rewards.tolist() == [2, 2, 2]
    assert data.terminated.tolist() == [False, False, True]
    assert not data.truncated.any()


def test_patterns_and_the_order_of_files() -> None:
    for name, first in (("b.csv", 10.0), ("a.csv", 0.0), ("c.parquet", 20.0)):
        write(name, {"x": [first, first + 1]})
    data = from_logs(["*.csv", "c.parquet", "a.csv"], PLAIN)
    assert data.states.ravel().tolist() == [0, 10, 20]
    assert data.truncated.all()
    assert data.num_episodes == 3


def test_vectors_and_objects_are_columns() -> None:
    lines = [{"q": [0.5 * i, i], "pose": {"z": -i, "name": "a"}} for i in range(3)]
    Path("a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = from_logs("a.jsonl", {"state": ["q", "pose.z", "q[0] + 1"], "reward": "next_q[1]"})
    assert data.states.tolist() == [[0, 0, 0, 1], [0.5, 1, -1, 1.5]]
    assert data.rewards.tolist() == [1, 2]
    names = json.loads(str(data.metadata.attributes["state_names"]))
    assert names == ["q[0]", "q[1]", "pose.z", "q[0] + 1"]


def test_times_of_the_calendar_are_seconds() -> None:
    text = "t,x\n2024-01-01T00:00:00.000,0\n2024-01-01T00:00:00.500,1\n2024-01-01T00:00:01.000,2\n"
    Path("a.csv").write_text(text)
    data = from_logs("a.csv", {**PLAIN, "time": "t", "dt": 0.25})
    assert data.states.ravel().tolist() == [0, 0.5, 1, 1.5]


def test_text_files_of_other_habits() -> None:
    Path("a.csv").write_bytes("\ufeffx; flag\n1.5; true\n 2.5;false\nNA;true\n".encode())
    recipe = {**PLAIN, "separator": ";", "nulls": ["NA"], "missing": "drop", "state": ["x", "flag"]}
    data = from_logs("a.csv", recipe)
    assert data.states.tolist() == [[1.5, 1]]
    assert data.metadata.dropped == 1


def test_a_data_frame_of_texts() -> None:
    for texts in (np.array(["a", "a", "b"]), np.array(["a", "a", "b"], dtype=object), ["a", "a", "b"]):
        data = from_dataframe({"x": [0, 1, 2], "mode": texts}, {**PLAIN, "end": "mode == 'b'"})
        assert data.terminated.tolist() == [False, True]


def test_times_of_day_zones_and_durations() -> None:
    start = datetime(2024, 1, 1, 12, tzinfo=timezone.utc)
    steps = [timedelta(milliseconds=250 * i) for i in range(4)]
    for times in ([start + step for step in steps], steps, [(start + step).time() for step in steps]):
        data = from_dataframe(
            pl.DataFrame({"t": times, "x": [0.0, 1, 2, 3]}), {**PLAIN, "time": "t", "dt": 0.125}
        )
        np.testing.assert_allclose(data.states.ravel(), [0, 0.5, 1, 1.5, 2, 2.5], atol=1e-5)


def test_a_data_frame_or_a_mapping() -> None:
    for frame in (pl.DataFrame(STEPS), {name: np.array(values) for name, values in STEPS.items()}):
        assert from_dataframe(frame, PLAIN).states.ravel().tolist() == [0, 2, 4]


# What a recipe means ---------------------------------------------------------------------------------------------


def test_the_pendulums_recipe() -> None:
    """An angle that wraps is unwrapped before it is resampled."""
    time = np.arange(0, 4, 0.013)
    angle = 2.5 * time
    write("a.csv", {"t": time, "angle": (angle + math.pi) % (2 * math.pi) - math.pi})
    recipe = {
        "state": {"c": "cos(unwrap(angle))", "s": "sin(angle)", "speed": "diff(unwrap(angle)) / dt"},
        "reward": "-unwrap(next(angle))",
        "time": "t",
        "dt": 0.02,
        "units": {"speed": "rad/s"},
    }
    with pytest.raises(LfoError, match=r"next\(unwrap\(x\)\)"):
        from_logs("a.csv", recipe)
    recipe["reward"] = "-next(unwrap(angle))"
    data = from_logs("a.csv", recipe)
    expected = 2.5 * 0.02 * np.arange(1, len(data) + 1)  # the first row has no difference
    np.testing.assert_allclose(data.states[:, 0], np.cos(expected), atol=1e-5)
    np.testing.assert_allclose(data.states[:, 2], 2.5, rtol=1e-4)
    np.testing.assert_allclose(data.rewards, -(expected + 0.05), rtol=1e-4)
    assert json.loads(str(data.metadata.attributes["state_units"])) == ["", "", "rad/s"]
    assert data.metadata.attributes["dt"] == 0.02


def test_where_an_episode_ends() -> None:
    x = [0.0, 1, 2, 3, 4, 5, 6, 7]
    data = from_dataframe({"x": x}, {**PLAIN, "end": "x == 2 or x == 3", "cut": "x == 5"})
    assert data.states.ravel().tolist() == [0, 1, 4, 6]
    assert data.next_states.ravel().tolist() == [1, 2, 5, 7]
    assert data.terminated.tolist() == [False, True, False, False]
    assert data.truncated.tolist() == [False, False, True, True]
    assert data.metadata.dropped == 1  # the row of x == 3, of which nothing is known but that it ended


def test_an_end_between_two_steps_is_not_lost() -> None:
    time = np.arange(11) * 0.1
    data = from_dataframe(
        {"t": time, "x": time, "fell": time > 0.95}, {**PLAIN, "time": "t", "dt": 0.3, "end": "fell"}
    )
    np.testing.assert_allclose(data.states.ravel(), [0, 0.3, 0.6], rtol=1e-6)
    assert data.terminated.tolist() == [False, False, True]


def test_a_condition_on_the_row_before_does_not_change_the_state() -> None:
    """``diff`` means a difference of rows in `end`, and of steps in `state`."""
    time = np.arange(9) * 0.5
    recipe = {"state": ["diff(x)"], "reward": "diff(next_x)", "time": "t", "dt": 1.0, "end": "diff(x) > 0.75"}
    data = from_dataframe({"t": time, "x": time}, recipe)
    assert data.states.ravel().tolist() == [1, 1, 1]
    assert data.rewards.tolist() == [1, 1, 1]


def test_a_reward_that_looks_two_rows_ahead_ends_each_episode_earlier() -> None:
    frame = {"run": [1, 1, 1, 2, 2, 2], "x": [0.0, 1, 2, 5, 6, 7], "end": [0, 0, 1, 0, 0, 0]}
    data = from_dataframe(frame, {**PLAIN, "episode": "run", "reward": "next(next_x)", "end": "end"})
    assert data.states.ravel().tolist() == [0, 5]
    assert data.rewards.tolist() == [2, 7]
    assert data.truncated.tolist() == [True, True]  # the step into the end has no reward, and is left out


def test_a_column_of_episodes() -> None:
    data = from_dataframe(
        {"run": ["a", "a", "b", "b", "b"], "x": [0.0, 1, 5, 6, 7]}, {**PLAIN, "episode": "run"}
    )
    assert data.states.ravel().tolist() == [0, 5, 6]
    assert data.episode_starts.tolist() == [0, 1]


def test_a_row_without_a_value_is_left_out() -> None:
    frame = {"t": [0.0, 1, 2, 3, 4], "x": [0.0, 1, math.nan, 3, 4]}
    recipe = {**PLAIN, "missing": "drop"}
    assert from_dataframe(frame, recipe).states.ravel().tolist() == [0, 3]
    assert from_dataframe(frame, {**recipe, "time": "t"}).states.ravel().tolist() == [0, 3]
    assert from_dataframe(frame, {**recipe, "time": "t", "dt": 1.0}).states.ravel().tolist() == [0, 1, 2, 3]


def test_a_reward_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("my_rewards.py").write_text("def travel(s, s2):\n    return (s2 - s).sum(axis=1) * 10\n")
    data = from_dataframe({"x": [0.0, 1, 3]}, {**PLAIN, "reward": "my_rewards:travel"})
    assert data.rewards.tolist() == [10, 20]
    for reward, text in (("no_module:f", "ModuleNotFoundError"), ("my_rewards:f", "AttributeError")):
        with pytest.raises(LfoError, match=text):
            from_dataframe({"x": [0.0, 1, 3]}, {**PLAIN, "reward": reward})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x + 2 * y - 1", 7),
        ("-x ** 2", -4),
        ("7 // x + 7 % y", 4),
        ("atan2(y, x)", math.atan2(3, 2)),
        ("min(x, y, 1) + max(x, y)", 4),
        ("clip(x, 0, 1.5)", 1.5),
        ("sqrt(abs(-y)) + exp(log(x))", math.sqrt(3) + 2),
        ("x if y > 2 and not x > y else 9", 2),
        ("1 < x < y == 3", 1),
        ("x if name == 'b' else 5", 5),
        ("sin(pi / 2) + cos(0) + tan(0) + tanh(0) + sign(-y)", 1),
        ("degrees(radians(x)) + round(y / 2) + floor(1.7)", 5),
        ("asin(1) + acos(0) + atan(0)", math.pi),
        ("previous(x) + diff(y)", 3),
        ("unwrap(x, 360)", 2),
        ("col('a b')", 8),
        ("next_x + next(y) + next_x", 11),
    ],
)
def test_the_language(text: str, value: float) -> None:
    frame = pl.DataFrame({"x": [1.0, 2, 4], "y": [1.0, 3, 3], "name": ["a", "a", "b"], "a b": [7, 8, 9]})
    data = from_dataframe(frame, {**PLAIN, "reward": text})
    assert data.rewards[-1] == pytest.approx(value, rel=1e-6)


def test_the_language_runs_no_python() -> None:
    for text in (
        "__import__('os').system('touch here')",
        "x.__class__()",
        "[x for x in (1,)]",
        "(lambda: 1)()",
        "open('here')",
        "f'{x}'",
        "x[y]",
        "(a := 1)",
        "cos(*x)",
        "cos(x=1)",
        "9 ** 9 ** 9 ** 9",
        "col(x)",
        "x" + " + x" * 5_000,
        "-" * 3_000 + "x",
        "(" * 3_000 + "x" + ")" * 3_000,
    ):
        with pytest.raises(LfoError):
            from_dataframe({"x": [0.0, 1, 2], "y": [0.0, 1, 2]}, {**PLAIN, "reward": text})
    assert not Path("here").exists()
    assert {"cos", "diff", "unwrap"} <= set(FUNCTIONS)


# What is refused -------------------------------------------------------------------------------------------------

CSV = "time,x\n0,0\n1,2\n2,4\n"
T = {**PLAIN, "time": "time"}

BAD_LOGS: dict[str, tuple[str, bytes | str, dict[str, Any], tuple[str, ...]]] = {
    "missing column": ("a.csv", CSV, {**PLAIN, "state": ["timr"]}, ("timr", "state[0]", "did you mean time?")),
    "missing next": ("a.csv", CSV, {**PLAIN, "reward": "next_y"}, ("next_y", "`reward`")),
    "missing episode": ("a.csv", CSV, {**PLAIN, "episode": "xx"}, ("xx", "`episode`", "did you mean x?")),
    "next in state": ("a.csv", CSV, {**PLAIN, "state": ["next_x"]}, ("next_x", "only `reward`")),
    "index": ("a.jsonl", '{"x":[1,2]}\n' * 2, {**PLAIN, "state": ["x[2]"]}, ("x[2]", "correct the index")),
    "vector": ("a.jsonl", '{"x":[1,2]}\n' * 2, {**PLAIN, "reward": "x"}, ("x: ", "a vector", "x[0]")),
    "mixed types": ("a.csv", "x\n1\n2\noff\n", PLAIN, ("x: ", "'off' in row 3", 'nulls = ["off"]')),
    "mixed types in JSON": ("a.jsonl", '{"x":1}\n{"x":"a"}\n', PLAIN, ("x: ", "'a' in row 2")),
    "text as a number": ("a.csv", "x\na\nb\n", PLAIN, ("state[0]", "the text 'a'")),
    "text resampled": (
        "a.csv", "time,x\n0,a\n1,b\n", {**T, "dt": 1, "state": ["x == 'a'"]}, ("x: ", "texts")
    ),
    "text in arithmetic": ("a.csv", "x\na\nb\n", {**PLAIN, "state": ["cos(x)"]}, ("state[0]", "cos(x)")),
    "time backwards": ("a.csv", "time,x\n0,0\n2,1\n1,2\n", T, ("time: ", "1 after 2 in row 3", "sort")),
    "duplicate stamps": ("a.csv", "time,x\n0,0\n1,1\n1,2\n1,3\n", T, ("1 again in row 3 and 1 more", "remove")),
    "one row": ("a.csv", "x\n1\n", PLAIN, ("rows", "at least 2", "found 1")),
    "no rows": ("a.csv", "x\n", PLAIN, ("rows", "found none")),
    "one-row episode": (
        "a.csv", "e,x\n1,0\n1,1\n2,5\n3,6\n3,7\n", {**PLAIN, "episode": "e"}, ("1 in episode 2, row 3",)
    ),
    "episode again": (
        "a.csv", "e,x\n1,0\n1,1\n2,5\n2,6\n1,7\n1,8\n", {**PLAIN, "episode": "e"}, ("episode 1 again in row 5",)
    ),
    "dt over everything": ("a.csv", CSV, {**T, "dt": 5.0}, ("a.csv: time", "dt = 5", "found at most 2", "smaller")),
    "gap under the step": ("a.csv", CSV, {**T, "gap": 0.5}, ("a.csv: rows", "`gap`")),
    "NaN run": ("a.csv", "x\n1\nnan\nNaN\n4\n", PLAIN, ("x: ", "none in row 2 and 1 more", 'missing = "drop"')),
    "empty field": ("a.csv", "x,y\n1,2\n,2\n", PLAIN, ("x: ", "none in row 2")),
    "short line": ("a.csv", "y,x\n1,2\n3\n", PLAIN, ("x: ", "none in row 2")),
    "long line": ("a.csv", "y,x\n1,2\n3,4,5\n", PLAIN, ("file", "3 values in row 2 under a header of 2")),
    "all missing": ("a.csv", "x,y\n1,\n,3\n", {**PLAIN, "missing": "drop", "state": ["x", "y * 1"]}, ("a.csv",)),
    "missing everywhere": (
        "a.csv", "x,y\n1,\n,3\n", {**PLAIN, "missing": "drop", "state": ["x", "y"]}, ("without a missing value",)
    ),
    "infinity": ("a.csv", "x\n1\ninf\n", PLAIN, ("x: ", "inf in row 2")),
    "log of a negative": ("a.csv", "x\n1\n-1\n", {**PLAIN, "state": ["log(x)"]}, ("state[0]", "nan at row 2")),
    "division by zero": ("a.csv", CSV, {**PLAIN, "reward": "1 / x"}, ("reward", "inf at row 1")),
    "too large": ("a.csv", "x\n1\n1e300\n", PLAIN, ("state[0]", "inf at row 2")),
    "not a condition": ("a.csv", CSV, {**PLAIN, "end": "x"}, ("end", "2 in row 2", "comparison")),
    "a name twice": ("a.csv", "x,x\n1,2\n", PLAIN, ("x: ", "it twice", "rename")),
    "other separator": ("a.csv", "y;x\n1;2\n3;4\n", PLAIN, ('separator = ";"',)),
    "not UTF-8": ("a.csv", b"x,y\n1,\xff\n", PLAIN, ("a.csv: file",)),
    "empty file": ("a.csv", b"", PLAIN, ("a.csv: file",)),
    "cut gzip": ("a.csv.gz", gzip.compress(CSV.encode() * 99)[:-20], PLAIN, ("a.csv.gz: file", "copy it again")),
    "no gzip": ("a.csv.gz", b"\x1f\x8bnonsense", PLAIN, ("a.csv.gz: file",)),
    "cut Parquet": ("a.parquet", b"PAR1\x15\x04", PLAIN, ("a.parquet: file", "Parquet")),
    "cut JSON": ("a.jsonl", '{"x":1}\n{"x":', PLAIN, ("file", "row 2 that is not JSON")),
    "not JSON objects": ("a.jsonl", '{"x":1}\n3\n', PLAIN, ("file", "row 2")),
    "vectors of two lengths": ("a.jsonl", '{"x":[1,2]}\n{"x":[1]}\n', PLAIN, ("x: ", "1 in row 2")),
    "another ending": ("a.xlsx", b"PK", PLAIN, ("name", "'a.xlsx'", ".parquet")),
    "no vector": ("a.jsonl", '{"x":[1,2]}\n{"x":null}\n', PLAIN, ("x: ", "vectors of 2 numbers, found 0 in row 2")),
    "steps without number": ("a.csv", "time,x\n0,0\n1,2\n1e15,4\n", {**T, "dt": 1e-3, "gap": 1e16}, ("memory",)),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_LOGS)
def test_a_log_that_cannot_be_read_without_guessing(case: str) -> None:
    """The command ends with one line, which names the file and says what is wrong."""
    name, content, recipe, texts = BAD_LOGS[case]
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    Path("r.toml").write_text(tomli_w.dumps(recipe), encoding="utf-8")
    message = error("convert", name, "--recipe", "r.toml", "-o", "d.h5")
    for text in (name, " expected ", *texts):
        assert text in message, message
    assert not Path("d.h5").exists()


def test_a_gzip_file_that_unpacks_to_more_than_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.csv.gz").write_bytes(gzip.compress(b"x\n" + b"1\n" * 5_000_000))
    monkeypatch.setattr("lfo.datasets.tables.usable_memory", lambda: 1 << 24)
    line = error("convert", "a.csv.gz", "--set", "state=['x']", "--set", "reward='0'", "-o", "d.h5")
    assert "a.csv.gz: size: expected at most 0.0 GiB when unpacked, a quarter of the memory here" in line
    assert "split it" in line


BAD_RECIPES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no state": ({"reward": "0"}, ("state", "none", "add a line")),
    "empty state": ({"state": [], "reward": "0"}, ("state", "a list of expressions")),
    "no reward": ({"state": ["x"]}, ("reward", "none", "add a line")),
    "a misspelt key": ({**PLAIN, "rewards": "x"}, ("rewards", "did you mean reward?")),
    "a state that is no text": ({**PLAIN, "state": [1]}, ("state", "a list of expressions")),
    "dt of zero": ({**T, "dt": 0.0}, ("dt", "a number above 0")),
    "dt without time": ({**PLAIN, "dt": 0.1}, ("time", "as dt needs it")),
    "gap without time": ({**PLAIN, "gap": 0.1}, ("time", "as gap needs it")),
    "dt over the gap": ({**T, "dt": 0.2, "gap": 0.1}, ("dt", "at most gap = 0.1", "found 0.2")),
    "missing": ({**PLAIN, "missing": "guess"}, ("missing", '"refuse" or "drop"')),
    "a unit of nothing": ({**PLAIN, "units": {"y": "m"}}, ("units", "'y'")),
    "a syntax error": ({**PLAIN, "state": ["cos(x"]}, ("state[0]", "'cos(x'")),
    "a power": ({**PLAIN, "reward": "x^2"}, ("reward", "x ** 2")),
    "an unknown function": ({**PLAIN, "reward": "coz(x)"}, ("reward", "did you mean cos?")),
    "too many arguments": ({**PLAIN, "reward": "cos(x, 2)"}, ("reward", "1 argument of cos")),
    "a state twice": ({**PLAIN, "state": ["x", "v", "x"]}, ("state", "'x' twice")),
    "an empty table": ({**PLAIN, "state": {}}, ("state", "a list of expressions")),
    "an invented source": ({**PLAIN, "source": "x"}, ("source", "remove it")),
    "arguments of no environment": ({**PLAIN, "env_kwargs": {"g": 5}}, ("env", "as env_kwargs needs it")),
    "an argument that is a date": (
        {**PLAIN, "env": "A-v0", "env_kwargs": {"g": datetime(2024, 1, 1)}},
        ("env_kwargs", "datetime is not JSON serializable"),
    ),
    "next in the end": ({**PLAIN, "end": "next(x) > 0"}, ("end", "only `reward`")),
}


@pytest.mark.parametrize("case", BAD_RECIPES)
def test_a_recipe_that_makes_no_sense(case: str) -> None:
    recipe, texts = BAD_RECIPES[case]
    Path("r.toml").write_text(tomli_w.dumps(recipe), encoding="utf-8")
    message = error("convert", "a.csv", "--recipe", "r.toml", "-o", "d.h5")
    for text in ("r.toml: ", " expected ", *texts):
        assert text in message, message


def test_paths_that_are_not_there() -> None:
    Path("folder").mkdir()
    for path, text in (("a.csv", "nothing there"), ("*.csv", "no match"), ("folder", "a folder")):
        with pytest.raises(LfoError, match=text):
            from_logs(path, PLAIN)


def test_columns_that_are_named_like_nothing_else() -> None:
    """NumPy writes ``# `` before a header; names such as ``#row`` mean nothing here."""
    np.savetxt("a.csv", [[0, 1, 5], [1, 2, 6]], delimiter=",", header="time,#row,#time")
    with pytest.raises(LfoError, match=r"did you mean col\('#time'\)"):
        from_logs("a.csv", {**T, "state": ["time"]})
    data = from_logs("a.csv", {**PLAIN, "state": ["col('#row')", "col('#time')"], "time": "col('# time')"})
    assert data.states.tolist() == [[1, 5]]


def test_data_frames_that_are_none() -> None:
    with pytest.raises(LfoError, match="columns of one length"):
        from_dataframe({"x": [1.0, 2], "y": [1.0, 2, 3]}, PLAIN)
    with pytest.raises(LfoError, match="at least one file"):
        from_logs([], PLAIN)


def test_a_vector_may_be_missing() -> None:
    frame = pl.DataFrame({"x": [None, [1.0, 2], [3.0, 4]]}, schema={"x": pl.Array(pl.Float64, 2)})
    with pytest.raises(LfoError, match=r"x\[0\]: expected a value in every row, found none in row 1"):
        from_dataframe(frame, PLAIN)
    assert from_dataframe(frame, {**PLAIN, "missing": "drop"}).states.tolist() == [[1, 2]]


def test_files_of_different_states() -> None:
    for name, width in (("a", 2), ("b", 3)):
        Path(f"{name}.jsonl").write_text(f'{{"x":{[1] * width}}}\n' * 2)
    with pytest.raises(LfoError, match=r"b.jsonl: state: expected 2 numbers, as in a.jsonl, found 3"):
        from_logs("*.jsonl", PLAIN)


def test_what_was_left_out_is_told() -> None:
    write("a.csv", {"time": [0.0, 1, 2, 9, 10, 30], "x": [0.0] * 6})
    data = from_logs("a.csv", {**T, "dt": 1.0})
    assert any("split at 2 gaps longer than 5" in warning for warning in data.warnings)
    assert data.metadata.dropped == 1


# Properties ------------------------------------------------------------------------------------------------------

SOME = settings(max_examples=40, deadline=None)
numbers = st.floats(-1e6, 1e6, width=32)


@SOME
@given(
    st.lists(
        st.lists(st.tuples(numbers, numbers, st.booleans()), min_size=2, max_size=6), min_size=1, max_size=4
    ),
    st.sampled_from(["csv", "parquet", "jsonl", "tsv.gz"]),
)
def test_what_is_written_is_read_back(episodes: list[list[tuple[float, float, bool]]], kind: str) -> None:
    rows = [(i, *row) for i, episode in enumerate(episodes) for row in episode]
    columns = {name: [row[k] for row in rows] for k, name in enumerate(("run", "x", "v", "fell"))}
    recipe = {"state": ["x", "v"], "reward": "next_x", "episode": "run", "end": "fell"}
    assume(any(not fell for episode in episodes for _, _, fell in episode[:-1]))
    direct = from_dataframe(pl.DataFrame(columns), recipe)
    again = from_logs(write(f"a.{kind}", columns), recipe)
    for name in ("states", "next_states", "rewards", "terminated", "truncated", "episode_starts"):
        assert np.array_equal(getattr(direct, name), getattr(again, name)), name


@SOME
@given(
    st.lists(st.floats(0.001, 1), min_size=3, max_size=40),
    st.floats(0.01, 0.5),
    numbers,
    st.floats(-100, 100),
)
def test_a_linear_signal_is_resampled_exactly(
    spans: list[float], dt: float, offset: float, slope: float
) -> None:
    time = 5 + np.cumsum(spans)
    if time[-1] - time[0] < dt:
        return
    x = offset + slope * time
    data = from_dataframe({"time": time, "x": x}, {**T, "dt": dt, "gap": 2.0})
    expected = offset + slope * (time[0] + dt * np.arange(len(data) + 1))
    scale = max(1, abs(offset), abs(slope) * 50)
    np.testing.assert_allclose(data.states.ravel(), expected[:-1], rtol=0, atol=2e-6 * scale)
    assert len(data) == math.floor((time[-1] - time[0]) / dt + 1e-6)


@SOME
@given(
    st.lists(
        st.lists(st.lists(st.floats(0.01, 0.1), min_size=1, max_size=12), min_size=1, max_size=3),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_no_transition_crosses_a_gap_a_file_or_an_episode(
    files: list[list[list[float]]], resample: bool
) -> None:
    """Each piece between two gaps has a number of its own, and keeps it in every transition."""
    number = 0.0
    for old in Path().glob("*.csv"):
        old.unlink()
    for index, pieces in enumerate(files):
        columns: dict[str, list[float]] = {"time": [], "run": [], "piece": []}
        now = 0.0
        for which, spans in enumerate(pieces):
            number += 1
            for span in (10.0, *spans):
                now += span
                columns["time"].append(now)
                columns["run"].append(which // 2)
                columns["piece"].append(number)
        write(f"{index}.csv", columns)
    recipe = {
        "state": ["piece"],
        "reward": "next_piece - piece",
        "time": "time",
        "episode": "run",
        "gap": 0.2,
    }
    assume(not resample or any(sum(spans) > 0.051 for pieces in files for spans in pieces))
    data = from_logs("*.csv", {**recipe, **({"dt": 0.05} if resample else {})})
    assert np.array_equal(data.states, data.next_states)
    assert not data.rewards.any()
    starts = data.states.ravel()[data.episode_starts]
    assert len(set(starts)) == len(starts)


def test_a_saved_data_set_keeps_names_and_units() -> None:
    from lfo.datasets import load

    recipe = Recipe({"height": "x"}, "0", units={"height": "m"}, env="mine:Env-v0")
    save(from_dataframe(STEPS, recipe), "d.h5")
    metadata = load("d.h5").metadata
    assert metadata.state_names == ("height",)
    assert metadata.state_units == ("m",)
    assert metadata.env_id == "mine:Env-v0"


# The page --------------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "logs.md").read_text(encoding="utf-8")


def test_the_page_lists_every_key_and_function() -> None:
    for field in fields(Recipe):
        assert f"| `{field.name}` |" in PAGE or field.name == "source"
    for name in FUNCTIONS:
        assert f"{name} " in PAGE or f"{name}(" in PAGE or f"{name}`" in PAGE


def test_the_pages_recipe_reads_the_pages_log() -> None:
    Path("rod.toml").write_text(PAGE.partition("```toml\n")[2].partition("```")[0])
    time = np.arange(0, 5, 0.013)
    angle = (200 * time + 180) % 360 - 180
    write("day1.csv", {"t_ms": time * 1000, "angle": angle, "speed": np.full(len(time), np.radians(200))})
    data = from_logs("*.csv", "rod.toml")
    np.testing.assert_allclose(
        data.states[:, 0], np.cos(np.radians(200 * 0.02 * np.arange(len(data)))), atol=1e-5
    )
    assert data.num_episodes == 1


def test_a_file_too_short_for_a_transition_does_not_spoil_the_others() -> None:
    write("0.csv", {"time": [10.0, 10.0625], "x": [0.0, 1.0]})
    write("1.csv", {"time": [10.0, 10.03125], "x": [0.0, 1.0]})
    data = from_logs("*.csv", {"state": ["x"], "reward": "0", "time": "time", "dt": 0.05, "gap": 0.2})
    assert len(data) == 1
    assert data.truncated.tolist() == [True]
