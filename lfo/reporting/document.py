"""A report as a list of blocks, rendered as one HTML page and as Markdown.

Texts may contain ``**bold**``, `` `code` `` and π_o. Text from outside goes through :func:`verbatim`. The page is a
single file: its style is inside, its pictures are data URIs, and it has no script.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


@dataclass(frozen=True)
class Heading:
    """A section's title."""

    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of short texts."""

    texts: Sequence[str]
    alert: bool = False
    """Whether it lists what went wrong."""


@dataclass(frozen=True)
class Facts:
    """Pairs of a name and a value."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Mark:
    """A table cell with a colour."""

    text: str
    kind: str
    """``good``, ``bad``, ``same`` or ``none``."""


@dataclass(frozen=True)
class Table:
    """Rows under column heads; the first column names the row."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str | Mark]]
    groups: Sequence[tuple[str, int]] = ()
    """Heads above the heads: (text, number of columns). Together they cover all columns."""


@dataclass(frozen=True)
class Picture:
    """A PNG by its path relative to the page. HTML shows ``panels``, its parts, instead if there are any."""

    path: str
    alt: str
    caption: str
    panels: Sequence[tuple[str, str]] = ()
    """(path, alternative text)"""


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side where there is room."""

    pictures: Sequence[Picture]


Block: TypeAlias = Heading | Text | Items | Facts | Table | Picture | Gallery


_BEGIN, _END = "\ue000", "\ue001"
_VERBATIM = re.compile(f"({_BEGIN}[^{_END}]*{_END})")


def verbatim(text: str) -> str:
    """Mark text from outside: both renderers show it as it is, on one line, whatever it contains."""
    return _BEGIN + " ".join(re.sub(f"[{_BEGIN}{_END}]", "", text).split()) + _END


def _bare(text: str) -> str:
    """Without the marks."""
    return re.sub(f"[{_BEGIN}{_END}]", "", text)


# --- Markdown --------------------------------------------------------------------------------------------------


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """The blocks as GitHub's Markdown, pictures by their paths."""
    return "\n\n".join([f"# {_md(verbatim(title))}", *(_markdown(block) for block in blocks)]) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text):
            return f"## {_md(text)}"
        case Text(text):
            return _md(text)
        case Items(texts):
            return "\n".join(f"- {_md(text)}" for text in texts)
        case Facts(pairs):
            return "\n".join(f"- **{name}:** {_md(value)}" for name, value in pairs)
        case Picture(path, alt, caption):
            return f"![{_md(alt)}]({path})\n\n{_md(caption)}"
        case Gallery(pictures):
            return "\n\n".join(map(_markdown, pictures))
        case Table():
            return _markdown_table(block)


def _markdown_table(table: Table) -> str:
    over = [text for text, width in table.groups for _ in range(width)] or [""] * len(table.heads)
    heads = [f"{group} {head}".strip() for group, head in zip(over, table.heads, strict=True)]
    lines = [
        heads,
        ["---", *("--:" for _ in heads[1:])],
        *([_plain(cell) for cell in row] for row in table.rows),
    ]
    text = "\n".join("| " + " | ".join(_md(cell, bars=True) for cell in line) + " |" for line in lines)
    return f"**{_md(table.caption)}**\n\n{text}"


def _md(text: str, *, bars: bool = False) -> str:
    """Text as Markdown: what is verbatim escaped, and, in a table's cell, ``|``."""
    parts = _VERBATIM.split(text)  # every second one is verbatim
    parts[1::2] = (re.sub(r"([\\`*_{}\[\]<>()#!|~$&])", r"\\\1", _bare(part)) for part in parts[1::2])
    if bars:
        parts[::2] = (part.replace("|", "\\|") for part in parts[::2])
    return "".join(parts)


def _plain(cell: str | Mark) -> str:
    return cell.text if isinstance(cell, Mark) else cell


# --- HTML ------------------------------------------------------------------------------------------------------


def to_html(title: str, blocks: Sequence[Block], folder: Path) -> str:
    """The blocks as one page that needs no other file; the template is ``templates/report.html``.

    Args:
        title: of the page.
        blocks: in order.
        folder: what the paths of pictures are relative to.
    """
    environment = Environment(
        loader=PackageLoader("lfo.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def data_uri(path: str) -> str:
        return "data:image/png;base64," + base64.b64encode((folder / path).read_bytes()).decode()

    environment.filters |= {
        "data_uri": data_uri,
        "inline": _inline,
        "kind": lambda block: type(block).__name__,
        "plain": _plain,
        "bare": _bare,
    }
    return environment.get_template("report.html").render(title=title, blocks=blocks).strip() + "\n"


def _inline(text: str) -> Markup:
    parts = [str(escape(_bare(part))) for part in _VERBATIM.split(text)]  # every second one is verbatim
    parts[1::2] = (part.replace("*", "&#42;").replace("`", "&#96;") for part in parts[1::2])
    safe = "".join(parts).replace("π_o", "π<sub>o</sub>")
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", safe))
