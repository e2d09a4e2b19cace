"""A report as a list of blocks, written once and rendered twice: as one HTML page and as Markdown.

Texts may hold ``**bold**``, `` `code` `` and π_o, whose o HTML sets lower; the rest is shown as it stands.
The HTML page needs nothing but itself: its style is inside, its pictures are data URIs, and it runs no script.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TypeAlias

__all__ = [
    "LONG",
    "Block",
    "Facts",
    "Heading",
    "Items",
    "Mark",
    "Picture",
    "Table",
    "Text",
    "to_html",
    "to_markdown",
]


@dataclass(frozen=True)
class Heading:
    """A section's title, of level 2 or 3."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of short texts."""

    texts: Sequence[str]
    alert: bool = False
    """Whether it is of what went wrong."""


@dataclass(frozen=True)
class Facts:
    """Names and what they are."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Mark:
    """A table's cell that stands out, in words and by a colour."""

    text: str
    kind: str
    """``good``, ``bad``, ``same`` or ``none``."""


@dataclass(frozen=True)
class Table:
    """Rows below heads; the first column names its row."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str | Mark]]
    groups: Sequence[tuple[str, int]] = ()
    """Heads over the heads: (text, how many columns), all columns covered."""


@dataclass(frozen=True)
class Picture:
    """A PNG by its path relative to the page; ``panels`` are its parts, which HTML shows instead."""

    path: str
    alt: str
    caption: str
    panels: Sequence[tuple[str, str]] = ()
    """(path, alternative text)"""


LONG = 32
"""Characters from which a fact has a line of its own."""

Block: TypeAlias = Heading | Text | Items | Facts | Table | Picture


# --- Markdown --------------------------------------------------------------------------------------------------


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """The blocks as GitHub's Markdown, pictures by their paths."""
    return "\n\n".join([f"# {title}", *(_markdown(block) for block in blocks)]) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Text(text):
            return text
        case Items(texts):
            return "\n".join(f"- {text}" for text in texts)
        case Facts(pairs):
            return "\n".join(f"- **{name}:** {value}" for name, value in pairs)
        case Picture(path, alt, caption):
            return f"![{alt}]({path})\n\n{caption}"
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
    text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"**{table.caption}**\n\n{text}"


def _plain(cell: str | Mark) -> str:
    return cell.text if isinstance(cell, Mark) else cell


# --- HTML ------------------------------------------------------------------------------------------------------


def to_html(title: str, blocks: Sequence[Block], folder: Path) -> str:
    """The blocks as one page that needs no other file.

    Args:
        title: of the page.
        blocks: in order.
        folder: where the pictures' paths start.
    """
    body = "\n".join(_html(block, folder) for block in blocks)
    return _PAGE.format(title=escape(title), style=_STYLE, body=body)


def _html(block: Block, folder: Path) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Text(text):
            return f"<p>{_inline(text)}</p>"
        case Items(texts, alert):
            rows = "".join(f"<li>{_inline(text)}</li>" for text in texts)
            return f'<ul class="alert">{rows}</ul>' if alert else f"<ul>{rows}</ul>"
        case Facts(pairs):
            return f"<dl>{''.join(_html_fact(name, value) for name, value in pairs)}</dl>"
        case Picture():
            return _html_picture(block, folder)
        case Table():
            return _html_table(block)


def _inline(text: str) -> str:
    text = escape(text).replace("π_o", "π<sub>o</sub>")
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)


def _html_fact(name: str, value: str) -> str:
    wide = ' class="wide"' if len(value) > LONG else ""
    return f"<div{wide}><dt>{_inline(name)}</dt><dd>{_inline(value)}</dd></div>"


def _html_picture(picture: Picture, folder: Path) -> str:
    images = "".join(
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(alt)}">'
        f'<img src="{_data_uri(folder / path)}" alt="{escape(alt)}"></div>'
        for path, alt in picture.panels or [(picture.path, picture.alt)]
    )
    kind = "panels" if picture.panels else "whole"
    return (
        f'<figure><div class="{kind}">{images}</div>'
        f"<figcaption>{_inline(picture.caption)}</figcaption></figure>"
    )


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _html_table(table: Table) -> str:
    heads = "".join(f'<th scope="col">{_inline(head)}</th>' for head in table.heads)
    over = "".join(
        f'<th scope="colgroup" colspan="{width}">{_inline(text)}</th>'
        if text
        else f'<td colspan="{width}"></td>'
        for text, width in table.groups
    )
    rows = "".join(
        f'<tr><th scope="row">{_inline(_plain(row[0]))}</th>{"".join(_html_cell(cell) for cell in row[1:])}</tr>'
        for row in table.rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.caption)}">'
        f"<table><caption>{_inline(table.caption)}</caption><thead>{f'<tr>{over}</tr>' if over else ''}"
        f"<tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _html_cell(cell: str | Mark) -> str:
    if isinstance(cell, Mark):
        return f'<td class="{cell.kind}">{_inline(cell.text)}</td>'
    return f"<td>{_inline(cell)}</td>"


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""

_STYLE = """
:root { --ink: #1c2126; --dim: #5a646e; --paper: #fff; --card: #f5f7f9; --line: #dde2e7; --accent: #1f5fa8;
  --good: #1a6b3c; --bad: #a8321f; --alert: #fdf1ee; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --dim: #9aa5b0; --paper: #14181c; --card: #1d2329; --line: #333c45; --accent: #7db4ee;
    --good: #6fcf97; --bad: #f0907c; --alert: #33211d; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  -webkit-text-size-adjust: 100%; }
main { max-width: 78rem; margin: 0 auto; padding: 1.5rem clamp(1rem, 4vw, 2.5rem) 4rem; }
h1 { font-size: clamp(1.5rem, 5vw, 2.1rem); line-height: 1.2; margin: .5rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; margin: 2.75rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; margin: 1.75rem 0 .5rem; }
p, ul { max-width: 48rem; }
code { font: .88em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--card);
  padding: .1em .3em; border-radius: 4px; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 9.5rem), 1fr)); gap: .5rem;
  margin: 1rem 0; }
dl .wide { grid-column: 1 / -1; }
dl div { background: var(--card); border-radius: 8px; padding: .55rem .8rem; min-width: 0; }
dt { color: var(--dim); font-size: .82rem; }
dd { margin: 0; overflow-wrap: anywhere; }
.alert { background: var(--alert); border-left: 4px solid var(--bad); border-radius: 0 8px 8px 0;
  padding: .75rem 1rem .75rem 2rem; max-width: none; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; -webkit-overflow-scrolling: touch;
  background: linear-gradient(to left, var(--paper) 2rem, transparent) right / 4rem 100% no-repeat local,
    linear-gradient(to left, var(--line), transparent) right / 1rem 100% no-repeat scroll; }
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; margin: .75rem 0 1.25rem; }
caption { text-align: left; font-weight: 600; padding-bottom: .4rem; white-space: nowrap; }
th, td { padding: .38rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
thead th { color: var(--dim); font-weight: 600; font-size: .84rem; vertical-align: bottom; }
thead th[colspan] { text-align: center; color: var(--ink); font-size: .95rem; }
thead tr:last-child > * { border-bottom: 2px solid var(--dim); }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); }
tbody th { font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; } .same, .none { color: var(--dim); }
figure { margin: 1rem 0 1.75rem; }
h1 + p { font-size: 1.08rem; }
figcaption { color: var(--dim); font-size: .9rem; max-width: 48rem; margin-top: .5rem; }
img { display: block; background: #fff; border-radius: 6px; height: auto; width: 100%; }
.whole img { min-width: 40rem; max-width: 60rem; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); gap: .75rem; }
.panels img { max-width: 34rem; }
sub { line-height: 1; }
@media (max-width: 40rem) { table { font-size: .82rem; } th, td { padding: .32rem .42rem; } }
@media print { .scroll { overflow: visible; } .whole img { min-width: 0; } }
"""
