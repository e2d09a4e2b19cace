"""The README names every command, every path in it and in docs/ exists; help has examples and is quick."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from lfo.cli import COMMANDS, cli

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "docs/results/README.md",
]
PATH = re.compile(r"(?<![\w./-])(?:lfo|datasets|cli|tests|benchmarks|docs)/[a-z][\w/]*(?:\.[a-z]\w*)?")
NAME = re.compile(r"(?<![\w./-])lfo(?:\.[A-Za-z_]\w*)+")
GENERATED = {"commands.md"}  # by docs/site/hooks.py; `make docs` checks the links to it
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_help_with_an_example(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help
    assert f"d3g-lfo {name}" in command.help or name == "completion"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts[0]} has no help"


# README.md is checked for "d3g-lfo NAME" with each command's name: an example a command will do.
@pytest.mark.parametrize("name", COMMANDS)
def test_the_readme_shows_every_command(name: str) -> None:
    assert f"d3g-lfo {name}" in README.read_text(encoding="utf-8")


def test_help_is_quick(tmp_path: Path) -> None:
    """No command's help imports torch, pydantic, rich or polars, nor does the package or its list of commands."""
    code = (
        "import sys, click, lfo\n"
        "from lfo.cli import COMMANDS, cli\n"
        "for words in [['--help'], *([name, '--help'] for name in COMMANDS)]:\n"
        "    cli.main(words, standalone_mode=False)\n"
        "assert not {'torch', 'pydantic', 'rich', 'polars'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    for name, line in COMMANDS.items():
        assert name in done.stdout
        assert " ".join(line.split()[:4]) in " ".join(done.stdout.split())


def test_help_tells_the_true_defaults() -> None:
    """Help may not import the configs, which need torch: the numbers it names must be theirs all the same."""
    from lfo import D3GConfig, InverseConfig

    wanted = {
        "interact": vars(InverseConfig()),
        "train": {"hidden": D3GConfig().hidden, "steps": 50_000, "algo": "d3g", "seeds": 0},
    }
    for name, defaults in wanted.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        found = {p.name: getattr(p, "help", None) or "" for p in command.params}
        told = {key: text for key, text in found.items() if "[default: " in text and key in defaults}
        assert len(told) >= 4
        for key, text in told.items():
            assert f"[default: {defaults[key]}]" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [name for name in PATH.findall(text) if not (ROOT / name).exists()]
    missing += [
        link for link in LINK.findall(text) if not (page.parent / link).exists() and link not in GENERATED
    ]
    assert not missing
    for name in NAME.findall(text):
        pkgutil.resolve_name(name)


def test_paths_are_found_in_a_page() -> None:
    text = "See `lfo/nn/networks.py`, `datasets/NAME.py`, `tests/` and `lfo.datasets.save`, [here](docs/d3g.md#a)."
    assert PATH.findall(text) == ["lfo/nn/networks.py", "docs/d3g.md"]
    assert NAME.findall(text) == ["lfo.datasets.save"]
    assert LINK.findall(text) == ["docs/d3g.md"]
