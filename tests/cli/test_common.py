"""What commands share: options with one text each, and no command that imports another."""

from __future__ import annotations

import ast
import errno
import os
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from shell import d3g, error, start

from lfo.algorithms import registry
from lfo.cli import COMMANDS, cli
from lfo.cli._common import option
from lfo.datasets import readers

CLI = Path(__file__).parents[2] / "cli"


@pytest.mark.parametrize("path", sorted(CLI.glob("*.py")), ids=lambda path: path.stem)
def test_no_command_imports_another(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lfo.cli"):
            assert node.module in ("lfo.cli", "lfo.cli._common", "lfo.cli._progress"), path.name
            assert not {name.name for name in node.names} & set(COMMANDS), path.name


@click.command()
@option("algo")
@option("episodes", flag="--episodes-per-round", shown=10)
@option("set")
def toy(algo: str | None, episodes_per_round: int | None, settings: dict[str, object]) -> None:
    """Print what arrived."""
    click.echo(f"{algo} {episodes_per_round} {settings}")


def test_a_shared_option_says_its_default_and_keeps_none() -> None:
    shown = CliRunner().invoke(toy, ["--help"], terminal_width=200).output
    assert "--episodes-per-round N" in shown
    assert "per member and round.  [default: 10]" in shown
    assert CliRunner().invoke(toy, ["--set", "gamma=0.5"]).output == "None None {'gamma': 0.5}\n"


def test_algorithms_are_those_registered_when_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "expected one of d3g, bco, qsi, found 'toy'" in CliRunner().invoke(toy, ["--algo", "toy"]).output
    monkeypatch.setitem(registry.MODULES, "toy", "nowhere")
    assert CliRunner().invoke(toy, ["--algo", "toy"]).output.startswith("toy None")
    assert "[d3g|bco|qsi|toy]" in CliRunner().invoke(toy, ["--help"], terminal_width=200).output


def test_the_shell_completes_algorithms() -> None:
    context = click.Context(toy)
    found = toy.params[0].shell_complete(context, "d")
    assert [item.value for item in found] == ["d3g"]


@pytest.mark.parametrize(
    ("module", "remedy"),
    [
        (
            "safetensors.numpy",
            "run `pip install safetensors`, or reinstall d3g-lfo with `pip install .` in its clone",
        ),
        ("lfo.nn.networks", "; reinstall d3g-lfo with `pip install .` in its clone"),
        (None, "; reinstall d3g-lfo with `pip install .` in its clone"),
    ],
)
def test_a_missing_module_is_named_with_a_remedy(
    module: str | None, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(**_: object) -> None:
        raise ImportError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(cli, "main", missing)
    done = d3g("inspect", "d.h5")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert f"No module named {module!r}" in done.err
    assert done.err.strip().endswith(remedy)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            KeyError("x"),
            "Error: unexpected KeyError: 'x'; this is a fault of d3g-lfo: please report it with what",
        ),
        (ZeroDivisionError(), "Error: unexpected ZeroDivisionError: no reason given; this is a fault"),
        (RecursionError("deep\nin"), "Error: unexpected RecursionError: deep in; this is"),
        (
            MemoryError("Unable to allocate 9 EiB"),
            "Error: out of memory: Unable to allocate 9 EiB; free some",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9"), "Error: out of memory: DefaultCPU"),
        (OSError(errno.ENOSPC, "No space left", "d.h5"), "Error: d.h5: No space left"),
    ],
)
def test_what_nobody_foresaw_is_one_line(
    fault: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: str, with_actions: bool) -> None:
        raise fault

    monkeypatch.setattr(readers, "_read", fail)
    assert error("inspect", "d.h5").startswith(message)
    with pytest.raises(type(fault)):
        d3g("--debug", "inspect", "d.h5")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold to the limit")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("eval", "run"),
            "Error: eval: torch and MuJoCo: expected at most the 0.6 GiB of memory here, found that they need 0.8 GiB; "
            "raise the limit, see `ulimit -v`",
        ),
        (("inspect", "d.h5"), "raise the limit of 0.6 GiB that this process has (`ulimit -v`), or use fewer"),
    ],
)
def test_a_limit_of_memory_is_named(
    words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: str, with_actions: bool) -> None:
        raise MemoryError

    monkeypatch.setattr(readers, "_read", fail)
    monkeypatch.setattr("lfo.processes.memory_limit", lambda: 600_000 << 10)
    assert message in error(*words)


@pytest.mark.parametrize("name", ["st é.h5", b"\xff\xfe.h5"])
def test_any_terminal_and_any_name_will_do(
    dataset: Path, tmp_path: Path, name: str | bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(dataset.read_bytes())
    for key, value in {"PYTHONIOENCODING": "ascii", "MPLBACKEND": "nonsense", "LC_ALL": "C"}.items():
        monkeypatch.setenv(key, value)
    with start("inspect", path) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "InvertedPendulum-v5" in out
