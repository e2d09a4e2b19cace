"""Progress on stderr: a bar on a terminal; elsewhere, such as in a file, a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from lfo.cli._common import duration
from lfo.training.progress import Bars, Shown, stage_title

FIRST_SECONDS = 10.0
EVERY_SECONDS = 60.0
_UNITS = {"evaluate": "episodes", "trials": "trials"}


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
        self._title, self._unit = stage_title(stage, round), _UNITS.get(stage, "steps")
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


@contextmanager
def bars() -> Iterator[Shown]:
    """Show progress for the block. A bar is taken away at the end, so that an error starts on its own line."""
    progress: Shown = Bars() if sys.stderr.isatty() else Lines()
    try:
        yield progress
    finally:
        progress.close()
