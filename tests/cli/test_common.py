"""What commands share: options with one text each, and no command that imports another."""

from __future__ import annotations

import ast
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lfo.algorithms import registry
from lfo.cli import COMMANDS
from lfo.cli._common import option

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
    assert "expected one of d3g, bco, iqss, found 'toy'" in CliRunner().invoke(toy, ["--algo", "toy"]).output
    monkeypatch.setitem(registry.MODULES, "toy", "nowhere")
    assert CliRunner().invoke(toy, ["--algo", "toy"]).output.startswith("toy None")
    assert "[d3g|bco|iqss|toy]" in CliRunner().invoke(toy, ["--help"], terminal_width=200).output


def test_the_shell_completes_algorithms() -> None:
    context = click.Context(toy)
    found = toy.params[0].shell_complete(context, "d")
    assert [item.value for item in found] == ["d3g"]
