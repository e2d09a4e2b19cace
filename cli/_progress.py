"""Progress on stderr: a bar on a terminal; elsewhere, such as in a file, a plain line now and then."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click
from tqdm import tqdm

from lfo.cli._common import duration, note
from lfo.training.progress import Progress

__all__ = ["Bars", "Lines", "Pace", "Shown", "bars", "duration"]

FIRST_SECONDS = 10.0
EVERY_SECONDS = 60.0
_BAR = 20
"""Characters that a bar needs to be readable."""
_FIGURES = 2
"""Figures behind a bar, at most."""


class Pace:
    """When to print a line: first after 10 seconds, then once a minute.

    Args:
        clock: gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._next = clock() + FIRST_SECONDS

    def due(self) -> bool:
        """Whether it is time; if so, the next line is due a minute later."""
        now = self.clock()
        if now < self._next:
            return False
        self._next = now + EVERY_SECONDS
        return True


class Shown(Progress):
    """What bars and lines have in common: the time, and notes.

    Args:
        clock: gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.started = clock()

    @property
    def seconds(self) -> float:
        """Seconds since this was made."""
        return self.clock() - self.started

    def note(self, text: str) -> None:
        """Print a note for the user."""
        note(text)

    def close(self) -> None:
        """Take away what is on the screen."""


class Bars(Shown):
    """One bar a stage; notes go above it."""

    _bar: Any = None

    def start(self, stage: str, total: int, done: int = 0, *, round: int = 0) -> None:
        """Put up the bar of the next stage."""
        self.close()
        self._bar = tqdm(
            desc=_title(stage, round),
            total=total,
            initial=done,
            unit="",
            leave=False,
            disable=None,
            dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}% |{bar}| {remaining} left, {rate_noinv_fmt}{postfix}",
        )

    def step(self, count: int = 1) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(count)

    def show(self, values: Mapping[str, float]) -> None:
        """Put figures behind the bar, as many as leave the bar readable and two at most."""
        if self._bar is None:
            return
        finite = [(name, value) for name, value in values.items() if math.isfinite(value)]
        figures = [f"{name.removesuffix('_loss')[:9]} {value:.2g}" for name, value in finite[:_FIGURES]]
        columns = self._bar.format_dict["ncols"] or 80
        around = len(f"{self._bar.desc} 100% || 0:00:00 left, 1234.56/s")
        while figures and around + _BAR + len("".join(f", {figure}" for figure in figures)) > columns:
            figures.pop()
        self._bar.set_postfix_str(", ".join(figures), refresh=False)

    def note(self, text: str) -> None:
        """Print a note above the bar."""
        with tqdm.external_write_mode():
            note(text)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Lines(Shown):
    """A plain line now and then: the stage, the share done, the speed, the time left.

    Args:
        clock: gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._pace = Pace(clock)
        self._title, self._unit = "", ""
        self._total = self._first = self._done = 0
        self._since = self.started

    def start(self, stage: str, total: int, done: int = 0, *, round: int = 0) -> None:
        """Begin the next stage."""
        self._title, self._unit = _title(stage, round), "episodes" if stage == "evaluate" else "steps"
        self._total, self._first, self._done, self._since = total, done, done, self.clock()

    def step(self, count: int = 1) -> None:
        """Count, and print a line if it is time."""
        self._done += count
        if self._pace.due():
            click.echo(self._line(), err=True)

    def _line(self) -> str:
        speed = (self._done - self._first) / max(self.clock() - self._since, 1e-3)
        left = duration((self._total - self._done) / max(speed, 1e-9))
        share = self._done / self._total
        return f"{self._title}: {share:.0%} of {self._total:,} {self._unit}, {speed:.3g}/s, {left} left"


def _title(stage: str, round: int) -> str:
    return f"round {round}: {stage}" if round else stage


@contextmanager
def bars() -> Iterator[Shown]:
    """Show progress for the block. A bar is taken away at the end, so that an error starts on its own line."""
    progress: Shown = Bars() if sys.stderr.isatty() else Lines()
    try:
        yield progress
    finally:
        progress.close()
