"""Progress bars on stderr: how fast, and how long still. Silent where stderr is not a terminal."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from lfo.cli._common import duration, note
from lfo.training.progress import Progress

__all__ = ["Bars", "bars", "duration"]


class Bars(Progress):
    """One bar a stage; notes go above it."""

    def __init__(self) -> None:
        self._bar: Any = None
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self.started

    def start(self, stage: str, total: int, done: int = 0, *, round: int = 0) -> None:
        """Put up the bar of the next stage."""
        self.close()
        unit = "episode" if stage == "evaluate" else "step"
        self._bar = tqdm(
            desc=f"round {round}: {stage}" if round else stage,
            total=total,
            initial=done,
            unit=unit,
            leave=False,
            disable=None,
            dynamic_ncols=True,
        )

    def step(self, count: int = 1) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(count)

    def show(self, values: Mapping[str, float]) -> None:
        """Put figures behind the bar."""
        if self._bar is not None:
            figures = {name: f"{value:.3g}" for name, value in values.items() if math.isfinite(value)}
            self._bar.set_postfix(figures, refresh=False)

    def note(self, text: str) -> None:
        """Say something without breaking the bar."""
        with tqdm.external_write_mode():
            note(text)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@contextmanager
def bars() -> Iterator[Bars]:
    """Bars that are taken away at the end, so that an error starts on a line of its own."""
    progress = Bars()
    try:
        yield progress
    finally:
        progress.close()
