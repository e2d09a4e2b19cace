"""What several commands share: option types, the line for the record, how an interruption is told."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from lfo.errors import LfoError

__all__ = [
    "DEVICE",
    "PRECISIONS",
    "command_line",
    "duration",
    "note",
    "parse_seeds",
    "parse_settings",
    "resumable",
    "seed_ranges",
]


def parse_seeds(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """``0,2,5-7`` is (0, 2, 5, 6, 7)."""
    if value is None:
        return None
    seeds: list[int] = []
    for part in value.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        last = last if dash else first
        if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit()):
            raise click.BadParameter(f"expected seeds such as 3, 0-9 or 0,2,5-7, found {value!r}")
        if not 0 <= int(last) - int(first) < 10_000:
            raise click.BadParameter(
                f"expected a rising range of at most 10,000 seeds, found {part.strip()!r}"
            )
        seeds += range(int(first), int(last) + 1)
    if len(set(seeds)) < len(seeds):
        raise click.BadParameter(f"expected every seed once, found {value!r}")
    return tuple(seeds)


def parse_settings(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """``("hidden=128",)`` is {"hidden": 128}."""
    from lfo.settings import parse_setting

    try:
        return dict(map(parse_setting, values))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


DEVICE = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to compute; auto takes a GPU where there is one.",
)


PRECISIONS = {
    "fp32": {"bf16": False, "tf32": False},
    "tf32": {"bf16": False, "tf32": True},
    "bf16": {"bf16": True, "tf32": False},
}
"""What ``--precision`` means as settings of D3G."""


def seed_ranges(seeds: list[int]) -> str:
    """The other way: [0, 1, 2, 5] is ``0-2,5``."""
    parts: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if parts and parts[-1][-1] == seed - 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def note(text: str) -> None:
    """Tell the user something that is not a result: on stderr, in one line."""
    click.echo(f"note: {' '.join(text.split())}", err=True)


def command_line(ctx: click.Context) -> str:
    """The line that was typed, for ``run.json``."""
    return shlex.join(ctx.meta["lfo.line"])


def duration(seconds: float) -> str:
    """``3m12s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


@contextmanager
def resumable(remedy: str) -> Iterator[None]:
    """Turn an interruption inside the block into an error that says how to go on."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise LfoError(f"interrupted, what is finished is kept; go on with `{remedy}`") from error
