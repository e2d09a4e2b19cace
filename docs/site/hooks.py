"""What MkDocs makes beside the pages: the command line from click, the notebooks from their scripts."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import click
import jupytext
from mkdocs.structure.files import File, Files

from lfo.cli import COMMANDS, cli

ROOT = Path(__file__).parents[2]


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    files.append(File.generated(config, "commands.md", content=commands_page()))
    for script in sorted((ROOT / "docs/notebooks").glob("*.py")):
        page = f"notebooks/{script.stem}.md"
        files.append(File.generated(config, page, content=notebook_page(script)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A link to a file outside docs/ is its path: the site has no copy of it."""
    return re.sub(r"\[([^]]*)\]\((?:\.\./)+((?!d3g\.md)[^)]*)\)", r"\1 (`\2`)", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """A name in a docstring, such as ``:class:`~lfo.Policy```, is code."""
    html = re.sub(r":(?:class|func|meth|data|mod|attr):\s*<code>", "<code>", html)
    return re.sub(r"<code>~(?:[\w]+\.)*(\w+)</code>", r"<code>\1</code>", html)


def notebook_page(script: Path) -> str:
    """A jupytext script as Markdown, with a line that says how to open it in Jupyter."""
    notebook = jupytext.read(script)
    path = script.relative_to(ROOT).as_posix()
    how = f"\n*This page is `{path}`; `jupytext --to ipynb {path}` makes a notebook of it.*\n"
    page = re.sub(r"\A---\n.*?\n---\n+", "", jupytext.writes(notebook, "md"), flags=re.DOTALL)
    head, _, rest = page.partition("\n")
    return f"{head}\n{how}{rest}"


def commands_page() -> str:
    """Every command with its help and options."""
    parts = ["# Command line", "", _prose(cli.help or ""), "", _options(cli), ""]
    context = click.Context(cli, info_name="d3g-lfo")
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        usage = command.collect_usage_pieces(click.Context(command, context, info_name=name))
        parts += [f"## d3g-lfo {name}", "", f"    d3g-lfo {name} {' '.join(usage)}", ""]
        parts += [_prose(command.help or ""), "", _options(command), ""]
    return "\n".join(parts)


def _prose(text: str) -> str:
    """click's help as Markdown: what follows a ``\\b`` is a block of code."""
    blocks = []
    for block in inspect.cleandoc(text).split("\n\n"):
        if block.startswith("\b"):
            lines = block.removeprefix("\b\n").splitlines()
            blocks.append("\n".join(["```sh", *lines, "```"]))
        else:
            blocks.append(_plain(block))
    return "\n\n".join(blocks)


def _options(command: click.Command) -> str:
    rows = ["| option | what |", "|---|---|"]
    context = click.Context(command)
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None:
            name, what = record
            rows.append(
                f"| `{name.replace('|', chr(92) + '|')}` | {_plain(what).replace('|', chr(92) + '|')} |"
            )
    return "\n".join(rows)


def _plain(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", r"\*").replace("_", r"\_") if "`" not in text else text
