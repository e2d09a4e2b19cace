"""Every code block of the README and docs/ runs, in order, each page in a folder of its own, at a small size.

Commands are run by :func:`shell.d3g`, Python in a namespace of the page. What runs for minutes (``study``, ``gridworld``,
``demo``) and what names a file of the reader's (``MINE.h5``) is only parsed, so that its options exist. A block under
``<!-- not run: why -->`` is left out.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
import polars
import pytest
from shell import TINY, TINY_ROUNDS, d3g

from lfo.cli import cli

ROOT = Path(__file__).parents[1]
PAGES = [
    path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
    if re.search(r"^ *(\$ )?d3g-lfo |```python", path.read_text(encoding="utf-8"), re.MULTILINE)
]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.py"))
LONG = {"study", "gridworld", "demo", "completion"}
SMALL = {
    "collect": ("--steps", "300", "--jobs", "1", "--overwrite"),
    "train": ("--device", "cpu", *TINY),
    "interact": (*TINY_ROUNDS, "--device", "cpu"),
    "online": (
        "--steps",
        "60",
        "--start",
        "30",
        "--eval-every",
        "30",
        "--hidden",
        "8",
        "--episodes",
        "1",
        "--overwrite",
    ),
    "eval": ("--episodes", "1"),
    "export": ("--overwrite",),
    "compare": ("--overwrite",),
}
SMALLER = {
    r"\bsteps=45_000": "steps=60, start=30, eval_every=30",  # of what learns online
    r"\bsteps=[\d_]+\b(?!, start)": "steps=30",
    r"\bhidden=\d+": "hidden=8",
    r"\brounds=\d+": "rounds=1, grad_steps=3",
    r"\binteractions=\d+": "interactions=30",
    r"\bepisodes=\d+": "episodes=1",
    r"range\(5\)": "range(2)",
    r'save\(data, "mine.h5"\)': 'save(data, "mine.h5", overwrite=True)',
}
"""Python at a small size."""


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """(language, code) of each fenced or indented block."""
    found = re.finditer(
        r"(?P<skip><!-- not run: .+? -->\n+)?"
        r"(?:^```(?P<language>\w*)[^\n]*\n(?P<fenced>.*?)^```|(?P<indented>(?:^ {4}[^\n]*\n)+))",
        text,
        re.MULTILINE | re.DOTALL,
    )
    for one in found:
        if not one["skip"]:
            yield one["language"] or "", one["fenced"] or one["indented"] or ""


def commands(code: str) -> list[list[str]]:
    """The lines of a block that call d3g-lfo, without comments and placeholders of optional words."""
    joined = re.sub(r"\\\n\s*", " ", code)
    lines = (line.strip().removeprefix("$ ") for line in joined.splitlines())
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("d3g-lfo ")]


def smaller(code: str) -> str:
    for pattern, small in SMALLER.items():
        code = re.sub(pattern, small, code)
    return code


@pytest.fixture
def place(
    dataset: Path, interacted: Path, bco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with what pages take for granted: data sets, and runs that have interacted."""
    for name in ("d.h5", "mine.h5", "held-out.h5"):
        shutil.copy(dataset, tmp_path / name)
    for name in ("run", "other-run", "demo-report/d3g", "demo-report/bco"):
        shutil.copytree(interacted, tmp_path / name)
    shutil.copytree(bco, tmp_path / "bco")
    (tmp_path / "logs").mkdir()
    rows = [f"{20 * i},{i * 0.5 % 360},{25 + i % 3}" for i in range(100)]
    (tmp_path / "logs/day1.csv").write_text("\n".join(["t_ms,angle,speed", *rows]) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    return tmp_path


def run(words: list[str], trained: Path, interacted: Path) -> None:
    """One command at a small size; an output that is there already is replaced."""
    name, *rest = words
    rest = [re.sub(r"\b(My|Your)Env-v0", "InvertedPendulum-v5", word) for word in rest]
    command = cli.get_command(click.Context(cli), name)
    assert command is not None, f"there is no command {name}"
    if name in LONG or "--help" in rest or not _is_here(rest):
        command.make_context(name, [word for word in rest if word != "--help"])
        return
    if name == "train":
        target = Path(rest[rest.index("-o") + 1])
        shutil.rmtree(target, ignore_errors=True)
        if "--resume" in rest:
            shutil.copytree(trained, target)
            done = d3g(name, *rest)
            assert done.code == 0, f"{words}: {done.err}"
            return
    if name == "interact":
        rest += [] if "--resume" in rest else ["--overwrite"]
    if name in ("eval", "compare", "export") and "--offline" not in rest:
        for word in rest:
            if (Path(word) / "run.json").is_file() and not (Path(word) / "evaluations.csv").is_file():
                shutil.rmtree(word)
                shutil.copytree(interacted, word)
    done = d3g(name, *rest, *(() if name == "interact" and "--resume" in rest else SMALL.get(name, ())))
    assert done.code == 0, f"{words}: {done.err}"


def _is_here(words: list[str]) -> bool:
    """Whether the files that a command reads exist; those in capitals, such as DATA.h5, stand for the reader's."""
    outputs = {after for word, after in pairwise(words) if word in ("-o", "--output", "--video")}
    files = [word for word in words if re.search(r"\.(h5|npz|csv|toml|safetensors|zip)$", word)]
    capitals = [word for word in words if re.fullmatch(r"[A-Z][A-Z_]+(/.*|\.\w+)?", word)]
    return not capitals and all(any(Path().glob(word)) for word in files if word not in outputs)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_blocks_of_a_page_run(page: Path, place: Path, trained: Path, interacted: Path) -> None:
    rows = np.arange(6.0)
    namespace: dict[str, Any] = {  # what pages call the reader's own arrays and data frame
        "frame": polars.DataFrame({"run": [0, 0, 0, 1, 1, 1], "x": rows, "v": rows}),
        "states": rows[:, None],
        "observations": rows[1:, None],
        "rewards": rows[1:],
        "terminals": rows[1:] > 4,
    }
    for language, code in blocks(page.read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(smaller(code), str(page), "exec"), namespace)
        elif language == "toml":  # what the commands after it read
            for name in ("mine.toml", "rod.toml"):
                Path(name).write_text(code, encoding="utf-8")
        else:
            for words in commands(code):
                run(words, trained, interacted)


@pytest.mark.parametrize("script", NOTEBOOKS, ids=lambda script: script.stem)
def test_a_notebook_runs(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a notebook to jupytext, and its cells run in order."""
    jupytext = pytest.importorskip("jupytext")
    monkeypatch.chdir(tmp_path)
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot

    cells = jupytext.read(script).cells
    assert {"markdown", "code"} == {cell.cell_type for cell in cells}
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    exec(compile(smaller(code), str(script), "exec"), {})
    matplotlib.pyplot.close("all")


def test_a_block_is_found_with_what_it_is() -> None:
    text = (
        "A:\n\n    $ d3g-lfo eval run  # comment\n    prints\n\n```sh\nd3g-lfo train a.h5 \\\n  -o b\nls\n```\n"
        "<!-- not run: long -->\n```python\nx\n```\n```python\ny = 1\n```\n"
    )
    found = list(blocks(text))
    assert [language for language, _ in found] == ["", "sh", "python"]
    assert [commands(code) for _, code in found[:2]] == [[["eval", "run"]], [["train", "a.h5", "-o", "b"]]]


def test_an_option_that_does_not_exist_is_found(place: Path, trained: Path, interacted: Path) -> None:
    with pytest.raises(click.UsageError):
        run(["study", "table1", "--nonsense"], trained, interacted)
    with pytest.raises(AssertionError, match="nonsense"):
        run(["eval", "run", "--nonsense"], trained, interacted)
