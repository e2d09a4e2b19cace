"""What commands share: options with one text each, and no command that imports another."""

from __future__ import annotations

import ast
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from shell import d3g

from lfo.algorithms import registry
from lfo.cli import COMMANDS, cli
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
    assert "expected one of d3g, bco, found 'toy'" in CliRunner().invoke(toy, ["--algo", "toy"]).output
    monkeypatch.setitem(registry.MODULES, "toy", "nowhere")
    assert CliRunner().invoke(toy, ["--algo", "toy"]).output.startswith("toy None")
    assert "[d3g|bco|toy]" in CliRunner().invoke(toy, ["--help"], terminal_width=200).output


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
