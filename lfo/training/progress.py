"""How training and interaction report their progress, and a bar that shows it on a terminal."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from tqdm import tqdm

_BAR = 20
"""Characters that a bar needs to be readable."""
_FIGURES = 2
"""Figures behind a bar, at most."""


class Progress:
    """Receives the reports and ignores them. Override the methods that you need."""

    def start(self, stage: str, total: int, done: int = 0, *, round: int = 0) -> None:
        """A stage begins.

        Args:
            stage: ``train``, ``act``, ``fit I``, ``learn`` or ``evaluate``.
            total: its steps (``evaluate``: episodes).
            done: how many of them an earlier call has done.
            round: the number of the round that the stage belongs to, from 1; 0 outside of rounds.
        """

    def step(self, count: int = 1) -> None:
        """``count`` more steps of the stage are done."""

    def show(self, values: Mapping[str, float]) -> None:
        """The latest metrics, each the mean over members."""

    def note(self, text: str) -> None:
        """Something the user should read."""

    def close(self) -> None:
        """Nothing more will come."""


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
        _note(text)

    def close(self) -> None:
        """Take away what is on the screen."""


class Bars(Shown):
    """One bar a stage; notes go above it."""

    _bar: Any = None

    def start(self, stage: str, total: int, done: int = 0, *, round: int = 0) -> None:
        """Put up the bar of the next stage."""
        self.close()
        self._bar = tqdm(
            desc=stage_title(stage, round),
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
        if self._bar is None or self._bar.disable:
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
            _note(text)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def as_progress(progress: Progress | bool | None) -> Progress:
    """What ``progress`` stands for: True is a bar if stderr is a terminal, False and None are silence."""
    if isinstance(progress, Progress):
        return progress
    return Bars() if progress else Progress()


def stage_title(stage: str, round: int) -> str:
    """What a bar calls a stage."""
    return f"round {round}: {stage}" if round else stage


def _note(text: str) -> None:
    print(f"note: {' '.join(text.split())}", file=sys.stderr)
